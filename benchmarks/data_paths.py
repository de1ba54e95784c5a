"""Images per second of data loading for training: batches in memory against torchvision's transforms in a DataLoader.

Run from the checkout: `PYTHONPATH=src python benchmarks/data_paths.py [--shards DIR] [--images 20000] [--rounds 3]`. The images are
CIFAR-10's, from the shards in the folder. Both sides crop (with a border of 4 pixels) and flip, or flip and apply torchvision's
RandAugment (n = 2, m = 12), and normalise. Rounds of all contestants alternate, so that a noisy machine affects all alike. Each
line gives the best round, and the median of the rounds' ratios to ours. Also measured is the share of a training's wall time that
is not spent in forward and backward passes.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from record import record
from torchvision import transforms

from neural_echos.architectures import create
from neural_echos.datasets import Dataset, make_dataset
from neural_echos.training import MemoryBatches, Recipe

BATCH = 512


class _Pictures(torch.utils.data.Dataset):
    """The data of a plain training script: one picture at a time through torchvision's transforms."""

    def __init__(self, data: Dataset, transform: Callable[[object], torch.Tensor]):
        to_picture = transforms.ToPILImage()
        self.pictures = [to_picture(torch.from_numpy(image)) for image in data.train_images]
        self.labels, self.transform = data.train_labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures[row]), self.labels[row]


def _images_per_second(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    began = time.perf_counter()
    count = sum(len(labels) for _, labels in batches)
    return count / (time.perf_counter() - began)


def compare(what: str, data: Dataset, recipe: Recipe, transform: Callable[[object], torch.Tensor], rounds: int) -> None:
    """Time an epoch of each contestant in each round."""
    ours = MemoryBatches(data, recipe, seed=0, device=torch.device("cpu"))
    pictures = _Pictures(data, transform)
    loaders = {
        f"torchvision in a DataLoader, {workers} workers": torch.utils.data.DataLoader(
            pictures, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
        )
        for workers in (0, 2)
    }
    found: dict[str, list[float]] = {"in memory": [], **{name: [] for name in loaders}}
    for number in range(rounds):
        found["in memory"].append(
            _images_per_second(chain.from_iterable(map(ours.epoch, range(5 * number, 5 * number + 5))))
        )
        for name, loader in loaders.items():
            found[name].append(_images_per_second(loader))
    own = found.pop("in memory")
    for name, speeds in found.items():
        ratios = [one / other for one, other in zip(own, speeds, strict=True)]
        record(f"batches in memory, {what}", name, ratios, "images/s", max(own), max(speeds))


def share_outside(data: Dataset, recipe: Recipe, rounds: int) -> None:
    """Compare an epoch of batches and steps with the same number of forward and backward passes of one ready batch."""
    kwargs = {"dim": 64, "depth": 4, "kernel_size": 7, "patch_size": 4}
    model = create("convmixer_small", num_classes=10, in_chans=3, kwargs=kwargs).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    batches = MemoryBatches(data, recipe, seed=0, device=torch.device("cpu"))
    ready = next(batches.epoch(0))
    shares = []
    for number in range(rounds):
        began = time.perf_counter()
        for images, labels in batches.epoch(number):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        whole = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(batches.steps):
            optimizer.zero_grad()
            F.cross_entropy(model(ready[0]), ready[1]).backward()
        shares.append(1 - (time.perf_counter() - began) / whole)
    print(
        f"  {100 * median(shares):.1f} % of the wall time (rounds: {', '.join(f'{100 * one:.1f}' for one in shares)})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shards", type=Path, default=Path("../shared/data/cifar10"), help="folder with CIFAR-10's shards"
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    files = {split: sorted(map(str, arguments.shards.glob(f"{split}*.parquet"))) for split in ("train", "test")}
    options = {"name": "cifar10", "train_limit": arguments.images, "test_limit": 1000}
    data, _ = make_dataset("parquet", options, 0, files)
    finish = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    flip = transforms.RandomHorizontalFlip()
    crop = transforms.RandomCrop(32, padding=4, padding_mode="reflect")
    plain = Recipe(batch_size=BATCH, shift=4, flip=True)
    compare("crop and flip", data, plain, transforms.Compose([crop, flip, *finish]), arguments.rounds)
    rand = Recipe(batch_size=BATCH, flip=True, randaugment="torchvision-n2-m12")
    compare(
        "flip and RandAugment",
        data,
        rand,
        transforms.Compose([flip, transforms.RandAugment(2, 12), *finish]),
        arguments.rounds,
    )
    print("not in forward and backward passes, ConvMixer-64/4 with k7 and p4, crop and flip, AdamW")
    share_outside(data, plain, arguments.rounds)


if __name__ == "__main__":
    main()
