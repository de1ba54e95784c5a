"""Signals: measure the effect of an initialisation on activations and gradients before training, layer by layer.

One batch of real images makes a forward and a backward pass through a fresh network in training mode. This shows, before the first
step, whether a depthwise layer shrinks or amplifies its input, passes the mean, or passes only low or only high frequencies.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torch.nn import functional

from neural_echos.datasets import Dataset, StreamedDataset
from neural_echos.errors import EchosError
from neural_echos.kernels import Layer, layers_of
from neural_echos.tables import SCHEMAS

BANDS = 8  # bands of radial frequency, from 0 to the corner at sqrt(½) cycles per tap


@dataclass(frozen=True)
class LayerSignals:
    """Statistics of one depthwise layer's input, output and gradients for a batch.

    Attributes
    ----------
    layer : Layer
    frozen : bool
        Whether its kernels are frozen.
    kernel_l2 : float
        Mean L2 norm of its kernels.
    input_mean, output_mean : float
        Root mean square, over channels, of a channel's mean over images and positions.
    input_variance, output_variance : float
        Mean, over channels, of a channel's variance over images and positions.
    spectrum : ndarray of float64, shape (8,)
        Shares of the power of the centred output in eight equal bands of radial frequency up to sqrt(½) cycles per
        position; NaN if the output is constant.
    frequency : float
        Power-weighted mean radial frequency of the output, cycles per position.
    gradient_output : float
        Root mean square of the gradient of the batch's mean loss with respect to the output.
    gradient_norm : float
        L2 norm of the gradient of this loss with respect to the kernels, whether or not they are frozen.
    """

    layer: Layer
    frozen: bool
    kernel_l2: float
    input_mean: float
    input_variance: float
    output_mean: float
    output_variance: float
    spectrum: np.ndarray
    frequency: float
    gradient_output: float
    gradient_norm: float


def measure_signals(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> list[LayerSignals]:
    """Pass a batch forward and back through a model in training mode and measure every depthwise layer.

    The running statistics of batch norms are updated, as in a first training step. Parameters, their `requires_grad` and their
    gradients are unchanged, and the model's mode is restored.

    Parameters
    ----------
    model : torch.nn.Module
        Model with depthwise layers; stochastic parts (dropout) draw from torch's global generator.
    images : tensor of float32, shape (b, c, h, w)
        Normalised as for training.
    labels : tensor of int64, shape (b,)

    Returns
    -------
    list of LayerSignals
        In the order of the layers; a layer that the forward pass skips has no entry.

    Raises
    ------
    EchosError
        The model has no depthwise layer, or the loss is not finite.
    """
    layers = [layer for layer in layers_of(model) if layer.kind == "depthwise"]
    if not layers:
        raise EchosError(f"{type(model).__name__} has no depthwise layers to measure; choose another model")
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    weights = {layer.name: model.get_submodule(layer.name).weight for layer in layers}
    with _training(model), _trainable(weights.values()), _watched(model, layers, seen):
        loss = functional.cross_entropy(model(images), labels)
        if not torch.isfinite(loss):
            raise EchosError(
                f"{type(model).__name__}: the loss of the first batch is {loss.item()}; choose another scale"
            )
        reached = [layer for layer in layers if layer.name in seen]
        outputs = [seen[layer.name][1] for layer in reached]
        gradients = torch.autograd.grad(loss, [weights[layer.name] for layer in reached] + outputs)
    return [
        _layer_signals(layer, weights[layer.name], *seen[layer.name], to_kernels, to_output)
        for layer, to_kernels, to_output in zip(reached, gradients, gradients[len(reached) :], strict=False)
    ]


def spectrum_of(output: torch.Tensor) -> tuple[np.ndarray, float]:
    """Power by band of radial frequency, (8,), and mean frequency, of maps (b, c, h, w); see `LayerSignals`."""
    maps = output.detach().double()
    power = torch.fft.fft2(maps - maps.mean(dim=(2, 3), keepdim=True)).abs().square().sum(dim=(0, 1)).cpu().numpy()
    radius = np.hypot(np.fft.fftfreq(power.shape[0])[:, None], np.fft.fftfreq(power.shape[1]))
    if not power.sum() > 0:
        return np.full(BANDS, np.nan), float("nan")
    band = np.minimum((radius / np.sqrt(0.5) * BANDS).astype(int), BANDS - 1)
    shares = np.bincount(band.ravel(), weights=power.ravel(), minlength=BANDS) / power.sum()
    return shares, float((power * radius).sum() / power.sum())


def batch_of(data: Dataset | StreamedDataset, images: int, size: int = 224) -> tuple[torch.Tensor, torch.Tensor]:
    """Take evenly spaced train images, so that every class is represented, normalised as for training.

    Parameters
    ----------
    data : Dataset or StreamedDataset
    images : int
        Number of images.
    size : int
        Side in pixels to which images of a streamed dataset are resized and cropped.

    Returns
    -------
    images : tensor of float32, shape (images, c, h, w)
    labels : tensor of int64, shape (images,)

    Raises
    ------
    EchosError
        `images` is below two or above the size of the train split.
    """
    if not 2 <= images <= len(data.train_labels):
        raise EchosError(
            f"{data.name}: images must be from 2 to {len(data.train_labels)}, the size of the train split, not {images}"
        )
    rows = np.linspace(0, len(data.train_labels) - 1, images).round().astype(np.int64)
    shape = (1, -1, 1, 1)
    chosen = data.images("train", rows, size) if isinstance(data, StreamedDataset) else data.train_images[rows]
    pixels = (chosen / 255 - data.mean.reshape(shape)) / data.std.reshape(shape)
    return torch.tensor(pixels, dtype=torch.float32), torch.tensor(data.train_labels[rows])


def signals_table(signals: Iterable[LayerSignals], replaced: Mapping[str, int], run: Mapping[str, Any]) -> pa.Table:
    """Make a table of schema "signals".

    Parameters
    ----------
    signals : iterable of LayerSignals
    replaced : mapping
        Number of replaced kernels by layer name; 0 if absent.
    run : mapping
        dataset, architecture, initialisation and seed.
    """
    rows = [
        {
            **run,
            "layer": one.layer.name,
            "layer_index": one.layer.index,
            "depth": one.layer.depth,
            "kernel_height": one.layer.kernel_height,
            "kernel_width": one.layer.kernel_width,
            "replaced": replaced.get(one.layer.name, 0),
            **{name: getattr(one, name) for name in SCHEMAS["signals"].names if hasattr(one, name) and name != "layer"},
        }
        for one in signals
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["signals"])


def _layer_signals(
    layer: Layer,
    weight: torch.Tensor,
    entering: torch.Tensor,
    output: torch.Tensor,
    to_kernels: torch.Tensor,
    to_output: torch.Tensor,
) -> LayerSignals:
    spectrum, frequency = spectrum_of(output)
    input_mean, input_variance = _moments(entering)
    output_mean, output_variance = _moments(output)
    return LayerSignals(
        layer=layer,
        frozen=not weight.requires_grad,
        kernel_l2=float(weight.detach().double().flatten(1).norm(dim=1).mean()),
        input_mean=input_mean,
        input_variance=input_variance,
        output_mean=output_mean,
        output_variance=output_variance,
        spectrum=spectrum,
        frequency=frequency,
        gradient_output=float(to_output.double().square().mean().sqrt()),
        gradient_norm=float(to_kernels.double().norm()),
    )


def _moments(maps: torch.Tensor) -> tuple[float, float]:
    maps = maps.detach().double()
    return float(maps.mean(dim=(0, 2, 3)).square().mean().sqrt()), float(maps.var(dim=(0, 2, 3), correction=0).mean())


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    """Put a model into training mode within the context."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train()
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def _trainable(weights: Iterable[torch.Tensor]) -> Iterator[None]:
    """Make frozen kernels require gradients within the context."""
    before = [(weight, weight.requires_grad) for weight in weights]
    try:
        for weight, _ in before:
            weight.requires_grad_(True)
        yield
    finally:
        for weight, trainable in before:
            weight.requires_grad_(trainable)


@contextmanager
def _watched(model: nn.Module, layers: list[Layer], seen: dict[str, Any]) -> Iterator[None]:
    """Record the input and output of each layer within the context."""

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, entering: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            seen[name] = (entering[0], output)

        return keep

    handles = [model.get_submodule(layer.name).register_forward_hook(keeper(layer.name)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
