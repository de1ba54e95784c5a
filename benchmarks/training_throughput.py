"""Training throughput of the small architectures on one thread, plain and channels-last.

Run from the checkout: `PYTHONPATH=src python benchmarks/training_throughput.py [--size 32] [--batch 64] [--rounds 5]`.
Plain and channels-last rounds alternate, so that a noisy machine affects both alike. Each line gives the best round of
each kind (images/s: forward, backward, AdamW step) and the median of the rounds' ratios.
"""

import argparse
import time
from copy import deepcopy

import torch
import torch.nn.functional as F
from record import record
from torch import nn

from neural_echos.architectures import create

FAMILIES: dict[str, dict[str, int]] = {
    "convmixer_small": {"dim": 48, "depth": 2},
    "convnext_small_images": {},
    "hornet_small_images": {},
    "mobilenetv2_small_images": {},
    "convmixer_regular": {"dim": 16, "depth": 2},
}


def images_per_second(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int) -> float:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    began = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return steps * len(images) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32, help="side of the images, pixels")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps per round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.randn(arguments.batch, arguments.channels, arguments.size, arguments.size)
    labels = torch.randint(10, (arguments.batch,))
    for name, kwargs in FAMILIES.items():
        plain = create(name, num_classes=10, in_chans=arguments.channels, kwargs=kwargs)
        last = deepcopy(plain).to(memory_format=torch.channels_last)
        speeds = [
            [images_per_second(model, images, labels, arguments.steps) for model in (plain, last)]
            for _ in range(arguments.rounds + 1)
        ][1:]  # the first round warms up
        theirs, own = (max(pair[kind] for pair in speeds) for kind in (0, 1))
        ratios = [pair[1] / pair[0] for pair in speeds]
        record(f"training {name}, channels-last, one thread", "contiguous", ratios, "images/s", own, theirs)


if __name__ == "__main__":
    main()
