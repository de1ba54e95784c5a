"""Before a training: check that its parts fit together, and make batches and optimizer."""

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import DropPath
from timm.optim import create_optimizer_v2
from torch import nn

from neural_echos.datasets import Dataset, StreamedDataset
from neural_echos.errors import EchosError
from neural_echos.training.batches import (
    Batches,
    MemoryBatches,
)
from neural_echos.training.recipe import Recipe
from neural_echos.training.streaming import StreamedBatches


def make_batches(data: Dataset | StreamedDataset, recipe: Recipe, **where: Any) -> Batches:
    """Make the batches of a dataset in memory or on disk.

    `where` contains seed, device and workers, and also rank and world if several processes share a batch.
    """
    if isinstance(data, Dataset):
        return MemoryBatches(data, recipe, **where)
    same = (
        "batch_size",
        "crop_pct",
        "interpolation",
        "flip",
        "colour_jitter",
        "randaugment",
        "random_erasing",
        "mixup",
        "cutmix",
        "mixing_group",
        "label_smoothing",
    )
    options = {name: getattr(recipe, name) for name in same}
    scale = (recipe.resized_crop[0], recipe.resized_crop[1]) if recipe.resized_crop else (1.0, 1.0)
    return StreamedBatches(data, size=recipe.image_size, scale=scale, **options, **where)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the recipe's timm optimizer; biases, norms and other one-dimensional parameters are not decayed."""
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in recipe.optimizer_options.items()}
    try:
        return create_optimizer_v2(model, recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, **options)
    except (TypeError, ValueError) as error:
        raise EchosError(
            f"recipe: optimizer_options: {recipe.optimizer} does not accept {options} ({error}); correct them"
        ) from None


def check_training(model: nn.Module, data: Dataset | StreamedDataset, recipe: Recipe, seed: int) -> None:
    """Refuse what would fail, or silently differ, later."""
    count = len(data.train_labels)
    if seed < 0:
        raise EchosError(f"training: the seed must be at least 0, not {seed}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise EchosError("training: all parameters are frozen; leave some trainable")
    if recipe.batch_size > count:
        raise EchosError(f"recipe: batch_size: {recipe.batch_size} is more than the {count} training images; lower it")
    if isinstance(data, StreamedDataset):
        for name, used in (("shift", recipe.shift), ("randaugment", recipe.torchvision_randaugment)):
            if used:
                raise EchosError(
                    f"recipe: {name}: {getattr(recipe, name)!r} does not work with a dataset on disk; use "
                    f"{'resized_crop' if name == 'shift' else 'a description of timm'} instead, or read the images into memory"
                )
    else:
        _check_images(data.train_images.shape[1:], recipe)
    drops = any(module.drop_prob for module in model.modules() if isinstance(module, DropPath))
    if drops != bool(recipe.drop_path):
        raise EchosError(
            f"recipe: drop_path is {recipe.drop_path}, but the model was built {'with' if drops else 'without'} stochastic depth; "
            "build it with the recipe's drop_path_rate"
        )


def _check_images(shape: Sequence[int], recipe: Recipe) -> None:
    """Refuse augmentation that images in memory with this shape (c, h, w) do not allow."""
    channels, *size = shape
    if recipe.shift >= min(size):
        raise EchosError(f"recipe: shift: {recipe.shift} must be less than the image's {min(size)} pixels; lower it")
    if recipe.randaugment and channels not in (1, 3):
        raise EchosError(f"recipe: randaugment needs images with 1 or 3 channels, not {channels}; switch it off")
