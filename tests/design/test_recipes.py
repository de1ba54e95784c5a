"""Recipes of the presets beside the published ones: released code, its README and its defaults."""

from pathlib import Path
from typing import Any

import pytest

from neural_echos.design.load import load_preset
from neural_echos.design.preset import Preset
from neural_echos.training.recipe import Recipe, learning_rate

ROOT = Path(__file__).resolve().parents[2]

# facebookresearch/ConvNeXt, main.py and TRAINING.md: ConvNeXt-T, 4,096 images in micro-batches of 128
CONVNEXT: dict[str, Any] = {
    "epochs": 300,
    "batch_size": 4096,
    "optimizer": "adamw",
    "lr": 4e-3,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup_epochs": 20,
    "min_lr": 1e-6,
    "label_smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "mixing_group": 128,
    "random_erasing": 0.25,
    "randaugment": "rand-m9-mstd0.5-inc1",
    "resized_crop": (0.08, 1.0),
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "colour_jitter": 0.4,
    "flip": True,
    "drop_path": 0.1,
    "ema_decay": 0.9999,
}
# raoyongming/HorNet, README.md
HORNET = CONVNEXT | {"drop_path": 0.2, "clip_grad": 5.0}
# locuslab/convmixer, README.md (ConvMixer-768/32 for 300 epochs) and the defaults of its copy of timm
CONVMIXER: dict[str, Any] = {
    "epochs": 300,
    "batch_size": 640,
    "optimizer": "adamw",
    "optimizer_options": {"eps": 1e-3},
    "lr": 0.01,
    "weight_decay": 2e-5,
    "schedule": "one-cycle-linear",
    "warmup_epochs": 0,
    "label_smoothing": 0.1,
    "mixup": 0.5,
    "cutmix": 0.5,
    "mixing_group": 64,
    "random_erasing": 0.25,
    "randaugment": "rand-m9-mstd0.5-inc1",
    "resized_crop": (0.08, 1.0),
    "interpolation": "random",
    "crop_pct": 0.96,
    "flip": True,
    "clip_grad": 1.0,
    "drop_path": 0.0,
    "ema_decay": 0.0,
}


def recipe_of(preset: str, architecture: str) -> Recipe:
    return Recipe.from_dict(Preset(load_preset(ROOT, preset)).recipe("imagenet", architecture))


@pytest.mark.parametrize(
    ("preset", "architecture", "published"),
    [
        ("imagenet", "convnext_tiny", CONVNEXT),
        ("imagenet", "hornet_tiny", HORNET),
        ("imagenet", "convmixer_768", CONVMIXER),
        ("quest_gpu", "convnextv2_tiny", CONVNEXT),
    ],
)
def test_imagenet_recipes_are_the_published_ones(preset, architecture, published):
    recipe = recipe_of(preset, architecture)
    assert {name: getattr(recipe, name) for name in published} == published


def test_the_one_cycle_schedule_is_that_of_convmixer():
    """timm/scheduler/onecycle_lr.py there: linear from 0 to the peak at 2/5, to a twentieth of it at 4/5, and to 0."""
    recipe = recipe_of("imagenet", "convmixer_768")
    assert [learning_rate(recipe, epoch) for epoch in (0, 60, 120, 180, 240, 270, 300)] == pytest.approx(
        [0, 0.005, 0.01, 0.00525, 0.0005, 0.00025, 0]
    )
