"""Batches in memory: the same wherever an epoch starts, and however many processes share it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import COLOUR, FEW, batches, build, run

from neural_echos.training import (
    Recipe,
)


def test_randaugment_does_not_depend_on_the_processes() -> None:
    recipe = Recipe(batch_size=20, randaugment="rand-m9-mstd0.5-inc1")
    few = replace(FEW, train_images=FEW.train_images[:60], train_labels=FEW.train_labels[:60])
    epochs = [[images for images, _ in batches(few, recipe, workers=workers).epoch(0)] for workers in (0, 2)]
    assert len(epochs[0]) == 3
    assert all(torch.equal(one, other) for one, other in zip(*epochs, strict=True))
    plain = batches(few, replace(recipe, randaugment=""))
    assert not torch.equal(next(plain.epoch(0))[0], epochs[0][0])


@pytest.mark.parametrize(
    "parts",
    [
        {"flip": True, "shift": 2, "colour_jitter": 0.4},
        {"resized_crop": [0.5, 1.0], "randaugment": "torchvision-n2-m12", "random_erasing": 0.5},
        {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1},
    ],
)
def test_batches_start_anywhere_and_are_shared_without_a_change(parts: dict[str, Any]) -> None:
    recipe = Recipe(batch_size=32, **parts)
    whole = list(batches(COLOUR, recipe).epoch(3))
    assert len(whole) == 10
    late = list(batches(COLOUR, recipe).epoch(3, start=7))
    halves = [list(batches(COLOUR, recipe, rank=rank, world=2).epoch(3)) for rank in (0, 1)]
    assert all(
        torch.equal(a, b) for one, other in zip(whole[7:], late, strict=True) for a, b in zip(one, other, strict=True)
    )
    for (images, labels), one, other in zip(whole, *halves, strict=True):
        for place, half in enumerate((one, other)):
            assert torch.equal(half[0], images[place::2])
            assert torch.equal(half[1], labels[place::2])
    assert not torch.equal(whole[0][0], next(batches(COLOUR, recipe).epoch(4))[0])


def test_colour_images_go_through_every_augmentation(tmp_path: Path) -> None:
    parts = {"flip": True, "shift": 2, "random_erasing": 0.5, "mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1}
    recipe = Recipe(epochs=1, randaugment="rand-m9-mstd0.5-inc1", **parts)
    result = run(tmp_path, recipe, data=COLOUR, model=build(channels=3))
    assert np.isfinite(result.history[0]["train_loss"])
