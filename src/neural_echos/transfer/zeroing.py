"""Zeroing: evaluate a trained network with the kernels of one depthwise layer set to 0, layer by layer.

Paper: Babaiee, Kiasari, Rus, Grosu, "The Master Key Filters Hypothesis", AAAI 2025 (arXiv 2412.16751); its released code does this.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch
from torch import nn

from neural_echos.datasets import Dataset, StreamedDataset
from neural_echos.errors import EchosError
from neural_echos.kernels import layers_of
from neural_echos.tables import SCHEMAS
from neural_echos.training import Recipe, score_run


def zero_layers(
    model: nn.Module,
    data: Dataset | StreamedDataset,
    recipe: Recipe,
    run: Mapping[str, Any],
    *,
    device: str = "auto",
    threads: int = 1,
) -> pa.Table:
    """Evaluate a trained model with each depthwise layer's kernels set to 0 in turn; biases and other layers are unchanged.

    Parameters
    ----------
    model : nn.Module
        The run's network; its kernels are restored afterwards.
    data : Dataset or StreamedDataset
        Its test images are evaluated.
    recipe : Recipe
        The run's recipe, which says how images are prepared.
    run : mapping
        dataset, architecture, initialisation and seed.
    device : str
        See `pick_device`.
    threads : int

    Returns
    -------
    table of schema "ablated"

    Raises
    ------
    EchosError
        The model has no depthwise layer.
    """
    layers = [layer for layer in layers_of(model) if layer.kind == "depthwise"]
    if not layers:
        raise EchosError(f"{type(model).__name__} has no depthwise layers to zero; choose another run")
    _, intact, _ = score_run(model, data, recipe, device=device, threads=threads)
    rows = []
    for layer in layers:
        weight = model.get_submodule(layer.name).weight
        assert isinstance(weight, torch.Tensor)
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.zero_()
        loss, top1, top5 = score_run(model, data, recipe, device=device, threads=threads)
        with torch.no_grad():
            weight.copy_(kept)
        names = {"layer": layer.name, "layer_index": layer.index, "depth": layer.depth, "kernels": len(kept)}
        size = {"kernel_height": layer.kernel_height, "kernel_width": layer.kernel_width}
        rows.append({**run, **names, **size, "loss": loss, "top1": top1, "top5": top5, "intact_top1": intact})
    return pa.Table.from_pylist(rows, schema=SCHEMAS["ablated"])
