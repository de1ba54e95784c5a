"""Losses and accuracies of a model on labelled images."""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from neural_echos.datasets import Dataset, StreamedDataset
from neural_echos.training.batches import (
    EVALUATION_BATCH,
    normalise,
    pixel_statistics,
)
from neural_echos.training.devices import make_accelerator, memory_sentence, pick_device, torch_settings
from neural_echos.training.preparation import make_batches
from neural_echos.training.recipe import Recipe


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: np.ndarray | torch.Tensor,
    labels: np.ndarray | torch.Tensor,
    mean: np.ndarray,
    std: np.ndarray,
    device: str | torch.device = "auto",
    batch_size: int = EVALUATION_BATCH,
) -> tuple[float, float, float]:
    """Evaluate a model in float32; it stays on the device in evaluation mode.

    Parameters
    ----------
    model : nn.Module
        Maps images (n, c, h, w) to logits (n, classes).
    images : ndarray or Tensor of uint8, shape (n, c, h, w)
    labels : ndarray or Tensor of int64, shape (n,)
    mean, std : ndarray, shape (c,)
        Mean and standard deviation of pixels scaled to [0, 1].
    device : str or torch.device
        See `pick_device`.
    batch_size : int

    Returns
    -------
    loss : float
        Mean cross-entropy, nats.
    top1, top5 : float
        Share of images whose class ranks first, or among the first five, in [0, 1]; with five classes or fewer, top5 is 1.
    """
    device = pick_device(device)
    pixels = pixel_statistics(mean, std, device)
    batches = (
        (
            normalise(torch.as_tensor(images[start : start + batch_size]).to(device), *pixels),
            torch.as_tensor(labels[start : start + batch_size]).to(device),
        )
        for start in range(0, len(images), batch_size)
    )
    loss, top1, top5 = (score_sums(model.to(device), batches, device) / len(images)).tolist()
    return loss, top1, top5


def score_run(
    model: nn.Module,
    data: Dataset | StreamedDataset,
    recipe: Recipe,
    *,
    device: str | torch.device = "auto",
    threads: int = 1,
) -> tuple[float, float, float]:
    """Evaluate a model on the test images of a dataset, in memory or on disk, as `train` does after each epoch.

    Returns
    -------
    loss, top1, top5 : float
        See `evaluate`.
    """
    place = pick_device(device)
    with torch_settings(threads, place), memory_sentence(recipe), make_accelerator(place, recipe).autocast():
        model.to(place, memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format)
        batches = make_batches(data, recipe, seed=0, device=place, workers=threads - 1)
        loss, top1, top5 = (score_sums(model, batches.test(), place) / len(data.test_labels)).tolist()
    return loss, top1, top5


@torch.no_grad()
def score_sums(
    model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], device: torch.device
) -> torch.Tensor:
    """Sums of losses, top-1 hits and top-5 hits; float64, shape (3,)."""
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for images, labels in batches:
        logits = model(images).float()
        hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        sums += torch.stack([F.cross_entropy(logits, labels, reduction="sum"), hits[:, 0].sum(), hits.sum()]).double()
    return sums
