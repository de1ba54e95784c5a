"""Whole training steps on one thread: fast layers, and settings that keep freed memory.

Run from the checkout: `PYTHONPATH=src python benchmarks/cpu_layers.py [--batch 64] [--rounds 7]`.
Two processes take turns, one with training's memory settings of the C library and one without; in each, steps with and without
`fast_layers` alternate with steps whose weight gradient of depthwise kernels is zeros: they show the most that a faster one could
gain. CPU time is measured, so that a busy machine matters less.
"""

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from record import record
from torch import nn

from neural_echos.architectures import create
from neural_echos.training import cpu_layers
from neural_echos.training.devices import torch_settings
from neural_echos.training.recipe import Recipe
from neural_echos.transfer.replacement import freeze_depthwise_

CPU = torch.device("cpu")
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ConvMixer-64/4, k = 5": ("convmixer_small", {"dim": 64, "depth": 4, "patch_size": 4, "kernel_size": 5}),
    "ConvMixer-64/4, k = 7": ("convmixer_small", {"dim": 64, "depth": 4, "patch_size": 4, "kernel_size": 7}),
    "ConvMixer-64/4, k = 9": ("convmixer_small", {"dim": 64, "depth": 4, "patch_size": 4, "kernel_size": 9}),
    "ConvMixer-64/4, k = 9, frozen": ("convmixer_small", {"dim": 64, "depth": 4, "patch_size": 4, "kernel_size": 9}),
    "ConvNeXt 40-80, k = 7": ("convnext_small_images", {"depths": (2, 2), "dims": (40, 80), "patch_size": 4}),
    "HorNet-24, k = 7": ("hornet_small_images", {"patch_size": 4}),
    "MobileNetV2, k = 3": (
        "mobilenetv2_small_images",
        {"depths": (1, 2, 2), "dims": (16, 32, 64), "strides": (1, 2, 1), "stem_stride": 2},
    ),
}


def images_per_second(model: nn.Module, recipe: Recipe, images: torch.Tensor, steps: int) -> float:
    """Train for some steps; return images per second of CPU time."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    labels = torch.arange(len(images)) % 10
    with cpu_layers.fast_layers(model, recipe, CPU):
        began = time.process_time()
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return steps * len(images) / (time.process_time() - began)


def free(images: torch.Tensor, gradient: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Zeros in place of the weight gradient, at next to no cost: the limit of what a faster one could gain."""
    return gradient.new_zeros(gradient.shape[1], 1, *size)


def work(place: Connection, settled: bool, batch: int, steps: int) -> None:
    """Answer every network's name with its plain, fast and free speeds in one round."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if settled:
        with torch_settings(1, CPU):  # its memory settings persist
            pass
    torch.manual_seed(0)
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    models: dict[str, nn.Module] = {}
    while name := place.recv():
        if name not in models:
            model, kwargs = NETWORKS[name]
            models[name] = create(model, num_classes=10, in_chans=3, kwargs=kwargs)
            models[name].to(memory_format=torch.channels_last)
            if name.endswith("frozen"):
                freeze_depthwise_(models[name])
        speeds = [images_per_second(models[name], Recipe(fast_layers=on), images, steps) for on in (False, True)]
        with mock.patch.object(cpu_layers, "weight_gradient", free):
            speeds.append(images_per_second(models[name], Recipe(), images, steps))
        place.send(speeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="steps per round")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    places = []
    for settled in (False, True):
        here, there = spawn.Pipe()
        spawn.Process(target=work, args=(there, settled, arguments.batch, arguments.steps), daemon=True).start()
        places.append(here)
    for name in NETWORKS:
        rounds = []
        for _ in range(arguments.rounds + 1):
            speeds = []
            for place in places:
                place.send(name)
                speeds.append(place.recv())
            rounds.append(speeds)
        del rounds[0]  # warm-up
        alternatives = [(1, 0, "PyTorch's layers"), (0, 0, "PyTorch's layers and memory")]
        if not name.endswith(("frozen", "k = 3")):  # frozen kernels have none to save, and 3×3 ones keep PyTorch's
            alternatives.append((1, 2, "a depthwise weight gradient that costs nothing"))
        for process, way, what in alternatives:
            ours, theirs = (max(one[p][w] for one in rounds) for p, w in ((1, 1), (process, way)))
            ratios = [one[1][1] / one[process][way] for one in rounds]
            record(f"training steps of {name}, one thread", what, ratios, "images/s", ours, theirs)
    for place in places:
        place.send("")


if __name__ == "__main__":
    main()
