"""Small trainings that the tests of this room share: digits of 8×8 pixels, networks of a moment."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from neural_echos import architectures
from neural_echos.datasets import Dataset, StreamedDataset, make_digits
from neural_echos.training import (
    MemoryBatches,
    Recipe,
    Watcher,
    train,
    write_run,
)

torch.set_num_threads(1)

DATA = make_digits(size=8, test_share=0.25, seed=0)[0]


FEW = replace(
    DATA,
    train_images=DATA.train_images[:330],
    train_labels=DATA.train_labels[:330],
    test_images=DATA.test_images[:100],
    test_labels=DATA.test_labels[:100],
)


COLOUR = replace(
    FEW,
    train_images=FEW.train_images.repeat(3, axis=1),
    test_images=FEW.test_images.repeat(3, axis=1),
    mean=FEW.mean.repeat(3),
    std=FEW.std.repeat(3),
)


MIXER = {"dim": 8, "depth": 1, "kernel_size": 3, "patch_size": 2}


LAYER_NORMED = {"name": "convnext_small_images", "depths": [1], "dims": [8], "kernel_size": 3, "patch_size": 2}


OUTPUTS = ("weights.safetensors", "kernels.safetensors", "history.parquet", "metrics.json")


def build(
    seed: int = 0, name: str = "convmixer_small", classes: int = 10, channels: int = 1, **kwargs: Any
) -> nn.Module:
    torch.manual_seed(seed)
    return architectures.create(name, num_classes=classes, in_chans=channels, kwargs=kwargs or MIXER)


def run(
    folder: Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    data: Dataset | StreamedDataset = FEW,
    model: nn.Module | None = None,
    **options,
):
    options = {"device": "cpu", "key": "test", "labels": {"dataset": "digits"}, **options}
    model = model or build(seed)
    result = train(model, data, recipe, seed=seed, folder=folder, **options)
    write_run(folder, model, result, recipe=recipe, seed=seed, kernel_size=3)
    return result


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in OUTPUTS}


def greatest_difference(one: Path, other: Path) -> float:
    first, second = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def batches(data: Dataset, recipe: Recipe, **options: Any) -> MemoryBatches:
    return MemoryBatches(data, recipe, **{"seed": 1, "device": torch.device("cpu"), **options})


class Stop(Exception):
    """Stands for whatever ends a run."""


def interrupt(folder: Path, recipe: Recipe, after: int, **options: Any) -> None:
    """Train until `after` epochs are done, leaving the checkpoint."""
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        if len(lines) == after:
            raise Stop

    with pytest.raises(Stop):
        run(folder, recipe, checkpoint_seconds=0, progress=progress, **options)


class Warn(Watcher):
    """Sends this process a signal after some steps."""

    def __init__(self, number: int, after: int):
        self.number, self.left = number, after

    def step(self, images_per_second: float) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), self.number)
