"""Read and set the kernels of a trained model's depthwise layers."""

import numpy as np
import torch
from torch import nn

from neural_echos.errors import EchosError
from neural_echos.kernels import Layer, layers_of


def depthwise_layers(model: nn.Module) -> list[Layer]:
    """List the depthwise layers of a model; raises `EchosError` if there are none."""
    found = [layer for layer in layers_of(model) if layer.kind == "depthwise"]
    if not found:
        raise EchosError(f"{type(model).__name__} has no depthwise convolutions; choose a model that has some")
    return found


def kernels_of_layer(model: nn.Module, layer: Layer) -> np.ndarray:
    """Kernels of a layer, float64 (n, h, w)."""
    return np.asarray(model.get_submodule(layer.name).weight.detach().double().cpu().numpy()[:, 0])


@torch.no_grad()
def set_kernels(model: nn.Module, layer: Layer, kernels: np.ndarray | torch.Tensor) -> None:
    """Set the kernels of a layer, (n, h, w)."""
    weight = model.get_submodule(layer.name).weight
    weight.copy_(torch.as_tensor(kernels)[:, None])
