"""Replacement: replace every depthwise kernel of a trained model by the best a·x + b of a few filters, and measure the cost.

Accuracy is measured right after replacement, after batch norm is re-estimated for the new kernels, and after fine-tuning around
them. Papers: Lindeberg, Babaiee, Kiasari, JMIV 2026 (arXiv 2509.12746); Babaiee, Kiasari, Rus, Grosu, "The Quest for Universal
Master Key Filters", NeurIPS 2025 (arXiv 2509.11711).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from neural_echos.datasets import Dataset, StreamedDataset
from neural_echos.initialisations.assignment import assign
from neural_echos.initialisations.filters import at_size
from neural_echos.training import CHECKPOINT, Recipe, make_batches, pick_device, score_run, train
from neural_echos.transfer.layers import depthwise_layers, kernels_of_layer, set_kernels

STAGES = ("trained", "replaced", "batch_norm", "fine_tuned")


@dataclass(frozen=True)
class LayerError:
    """Replacement error of one layer.

    Attributes
    ----------
    layer : str
    layer_index : int
    depth : float
    kernel_height, kernel_width, kernels : int
    filters_used : int
        Number of filters that are the best one for some kernel.
    error : float
        Σ ‖y − (a x + b)‖² / Σ ‖y − mean y‖² over the layer's kernels y, in [0, 1]; NaN if all of them are constant.
    """

    layer: str
    layer_index: int
    depth: float
    kernel_height: int
    kernel_width: int
    kernels: int
    filters_used: int
    error: float


def replace_(model: nn.Module, filters: np.ndarray, *, resample: bool = False) -> list[LayerError]:
    """Replace every depthwise kernel of a model, in place, by its best a·x + b, and return the error of each layer.

    Parameters
    ----------
    model : nn.Module
    filters : ndarray of float, shape (m, k, k)
        From `filter_sets.make_filter_set`.
    resample : bool
        Resample filters to kernels of other sizes; otherwise another size is an error.

    Raises
    ------
    EchosError
        There is no depthwise layer, a size differs, or a kernel is not finite. The model is then unchanged.
    """
    found = []
    for layer in depthwise_layers(model):
        kernels = kernels_of_layer(model, layer)
        own = at_size(filters, layer.kernel_height, layer.kernel_width, resample=resample)
        found.append((layer, kernels, own, assign(kernels, own)))
    report = []
    for layer, kernels, own, best in found:
        set_kernels(model, layer, best.a[:, None, None] * own[best.index] + best.b[:, None, None])
        spread = ((kernels - best.b[:, None, None]) ** 2).sum()
        report.append(
            LayerError(
                layer=layer.name,
                layer_index=layer.index,
                depth=layer.depth,
                kernel_height=layer.kernel_height,
                kernel_width=layer.kernel_width,
                kernels=len(kernels),
                filters_used=len(np.unique(best.index)),
                error=float((best.error**2).sum() / spread) if spread > 0 else float("nan"),
            )
        )
    return report


@torch.no_grad()
def reestimate_batch_norm_(model: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Re-estimate the running statistics of every batch norm on some images, and return the number of batch norms.

    Parameters
    ----------
    model : nn.Module
        Left in evaluation mode. Without batch norm it is unchanged, and no image passes through it.
    batches : iterable of Tensor, shape (b, c, h, w)
        Normalised images on the model's device; all batches have equal weight.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return 0
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a plain average over batches
        module.train()
    for images in batches:
        model(images)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
        module.eval()
    return len(norms)


def freeze_depthwise_(model: nn.Module) -> None:
    """Freeze every depthwise kernel of a model; biases stay trainable."""
    for layer in depthwise_layers(model):
        model.get_submodule(layer.name).weight.requires_grad_(False)


def replacement_stages(
    model: nn.Module,
    filters: np.ndarray | None,
    data: Dataset | StreamedDataset,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    key: str,
    resample: bool = False,
    batch_norm_images: int = 1024,
    device: str | torch.device = "auto",
    threads: int = 1,
) -> tuple[list[dict[str, Any]], list[LayerError]]:
    """Score a trained model on all test images: before and after replacement, after batch norm, and after fine-tuning.

    Parameters
    ----------
    model : nn.Module
        Trained; it ends fine-tuned.
    filters : ndarray of float, shape (m, k, k), or None
        None keeps the kernels: a control with the same batch-norm re-estimation and fine-tuning.
    data : Dataset or StreamedDataset
    recipe : Recipe
        Recipe of the fine-tuning, in which depthwise kernels are frozen.
    seed : int
        Seed of the batches.
    folder, key : Path, str
        Folder from which an interrupted fine-tuning resumes, and what identifies it (`training.train`).
    resample : bool
        See `replace_`.
    batch_norm_images : int
        Number of train images, augmented by the recipe, on which batch norm is re-estimated; at least one batch.
    device, threads
        See `training.train`.

    Returns
    -------
    scores : list of dict
        `stage`, one of `STAGES` in order, with `loss`, `top1`, `top5` (NaN if the fine-tuning diverged).
    errors : list of LayerError
        Empty if the kernels are kept.
    """
    device = pick_device(device)
    where: dict[str, Any] = {"device": device, "threads": threads}
    scores = [("trained", score_run(model, data, recipe, **where))]
    errors = [] if filters is None else replace_(model, filters, resample=resample)
    scores.append(("replaced", score_run(model, data, recipe, **where)))
    batches = make_batches(data, recipe, seed=seed, device=device, workers=threads - 1)
    some = islice(batches.epoch(0), min(batches.steps, -(-batch_norm_images // recipe.batch_size)))
    norms = reestimate_batch_norm_(model, (images for images, _ in some))
    scores.append(("batch_norm", score_run(model, data, recipe, **where) if norms else scores[-1][1]))
    freeze_depthwise_(model)
    metrics = train(model, data, recipe, seed=seed, folder=folder, key=key, **where).metrics
    tuned = [np.nan if metrics[name] is None else metrics[name] for name in ("loss", "top1", "top5")]
    scores.append(("fine_tuned", (tuned[0], tuned[1], tuned[2])))
    (Path(folder) / CHECKPOINT).unlink(missing_ok=True)
    return [{"stage": stage, "loss": loss, "top1": top1, "top5": top5} for stage, (loss, top1, top5) in scores], errors
