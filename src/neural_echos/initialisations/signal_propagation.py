"""Signals: what an initialisation does to images and gradients before any training, layer by layer.

One forward and one backward pass of a batch of real images through a fresh network in training mode. A depthwise layer that
shrinks or blows up its input, lets the mean through, or passes only low or only high frequencies, does so before the first step.
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

BANDS = 8  # of radial frequency, from 0 to the corner at sqrt(½) cycles per tap


@dataclass(frozen=True)
class LayerSignals:
    """What one depthwise layer does to a batch, and what comes back to it.

    Attributes
    ----------
    layer : Layer
    frozen : bool
        Whether its kernels are kept from training.
    kernel_l2 : float
        Mean L2 norm of its kernels.
    input_mean, output_mean : float
        Root mean square, over channels, of a channel's mean over images and positions.
    input_variance, output_variance : float
        Mean, over channels, of a channel's variance over images and positions.
    spectrum : ndarray of float64, shape (8,)
        Shares of the output's power, its means taken off, in eight equal bands of radial frequency up to sqrt(½) cycles per
        position; NaN where the output is constant.
    frequency : float
        Power-weighted mean radial frequency of the output, cycles per position.
    gradient_output : float
        Root mean square of the loss's gradient with respect to the output, summed over the batch's mean loss.
    gradient_norm : float
        L2 norm of the loss's gradient with respect to the kernels, whether or not they are frozen.
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

    The running statistics of its batch norms move, as in a first step; its parameters, their `requires_grad` and gradients stay,
    and it gets the mode back that it had.

    Parameters
    ----------
    model : torch.nn.Module
        With depthwise layers; stochastic parts (dropout) draw from torch's global generator.
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
    """Shares of power by band of radial frequency, (8,), and the mean frequency, of maps (b, c, h, w); see `LayerSignals`."""
    maps = output.detach().double()
    power = torch.fft.fft2(maps - maps.mean(dim=(2, 3), keepdim=True)).abs().square().sum(dim=(0, 1)).cpu().numpy()
    radius = np.hypot(np.fft.fftfreq(power.shape[0])[:, None], np.fft.fftfreq(power.shape[1]))
    if not power.sum() > 0:
        return np.full(BANDS, np.nan), float("nan")
    band = np.minimum((radius / np.sqrt(0.5) * BANDS).astype(int), BANDS - 1)
    shares = np.bincount(band.ravel(), weights=power.ravel(), minlength=BANDS) / power.sum()
    return shares, float((power * radius).sum() / power.sum())


def batch_of(data: Dataset | StreamedDataset, images: int, size: int = 224) -> tuple[torch.Tensor, torch.Tensor]:
    """Take train images, evenly spaced so that every class has its share, normalised as for training.

    Parameters
    ----------
    data : Dataset or StreamedDataset
    images : int
        How many.
    size : int
        Side, pixels, to which images of a streamed data set are resized and cropped.

    Returns
    -------
    images : tensor of float32, shape (images, c, h, w)
    labels : tensor of int64, shape (images,)

    Raises
    ------
    EchosError
        There are fewer than two images, or fewer than asked for.
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
    """Lay signals down as a table of schema "signals".

    Parameters
    ----------
    signals : iterable of LayerSignals
    replaced : mapping
        From a layer's name to how many of its kernels were drawn anew; 0 where it is absent.
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
    """Put a model into training mode, for as long as this lasts."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train()
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def _trainable(weights: Iterable[torch.Tensor]) -> Iterator[None]:
    """Let gradients reach frozen kernels too, for as long as this lasts."""
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
    """Keep the input and output of each layer, for as long as this lasts."""

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
