"""Layers that a CPU trains faster than PyTorch's own, equal up to rounding (benchmarks/cpu_layers.py).

Depthwise convolutions
    The weight gradient with stride 1 is itself a depthwise convolution: for kernel c and image n, it is the image's channel c
    correlated with the gradient of its output. With all images and channels arranged as one image of n·c channels, one forward
    convolution gives it for every image, and their sum is the gradient. PyTorch's own implementation takes about ten times as long
    as the forward pass, and far longer if images are not channels-last. The gradient of the images is a forward convolution with
    flipped kernels.
Linear layers of feature maps
    They are computed as 1×1 convolutions by oneDNN. PyTorch uses MKL for them, which leaves out AVX-512 on AMD processors and then
    takes up to twice as long.
Global average pooling
    The gradient of a mean over the pixels of channels-last maps is channels-last too. That of PyTorch's pooling is not, which makes
    it and the layer before it slow.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from neural_echos.training.recipe import Recipe

_LEAST_TAPS = 5  # per side: 3×3 kernels gain nothing
_LEAST_PRODUCTS = 2**22  # of a linear layer, per batch: below it, preparing a convolution takes longer than it saves


@contextmanager
def fast_layers(model: nn.Module, recipe: Recipe, device: torch.device) -> Iterator[None]:
    """During a training, compute some of a model's layers in a way that is faster on a CPU and equal up to rounding.

    It applies to depthwise layers with stride 1, no dilation, kernels with odd sides of at least 5 taps and "same" padding, to
    large linear layers of feature maps if PyTorch uses MKL, and to global average pooling, all in float32 on a CPU. For frozen
    depthwise kernels it computes no weight gradient, whereas PyTorch does if the bias is trained. PyTorch handles everything
    else: evaluation, GPUs, autocast, other types, compiled models, and layers with their own forward computation. The choice
    depends only on the layer and the shape of its input, and on no measurement, so that the same inputs give the same bytes.

    Parameters
    ----------
    model : nn.Module
        Its layers are restored afterwards.
    recipe : Recipe
        Its `fast_layers` can switch this off.
    device : torch.device
        Device on which the model is trained.
    """
    on = recipe.fast_layers and not recipe.compile and device.type == "cpu"
    replaced = []
    for layer in model.modules() if on else ():
        for holds, name, forward in _FAST:
            if holds(layer):
                setattr(layer, name, partial(forward, layer))
                replaced.append((layer, name))
    try:
        yield
    finally:
        for layer, name in replaced:
            delattr(layer, name)


def weight_gradient(images: torch.Tensor, gradient: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Gradient of the kernels of a depthwise convolution with stride 1 and "same" padding.

    Parameters
    ----------
    images : Tensor of float, shape (n, c, h, w)
        Input of the convolution.
    gradient : Tensor of float, shape (n, c, h, w)
        Gradient of its output.
    size : tuple of int
        Odd height and width of the kernels, (kh, kw).

    Returns
    -------
    Tensor, shape (c, 1, kh, kw)
    """
    number, channels, *sides = images.shape
    folded = number * channels
    each = F.conv2d(
        _channels_first(images).view(1, folded, *sides),
        _channels_first(gradient).view(folded, 1, *sides),
        padding=(size[0] // 2, size[1] // 2),
        groups=folded,
    )
    return each.view(number, channels, *size).sum(0)[:, None]


def _channels_first(images: torch.Tensor) -> torch.Tensor:
    """The same images, shape (n, c, h, w), with the pixels of each channel next to each other in memory.

    For channels-last images this transposes a matrix of pixels and channels per image. `contiguous` takes three times as long as
    `channel_shuffle`, which uses vector instructions but transposes within a pixel, so an image is passed to it as one pixel.
    """
    if not images.is_contiguous(memory_format=torch.channels_last):
        return images.contiguous()
    number, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).reshape(1, number, 1, height * width * channels).permute(0, 3, 1, 2)
    return F.channel_shuffle(pixels, height * width).permute(0, 2, 3, 1).reshape(images.shape)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with stride 1; its backward pass consists of differentiable operations."""

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: list[int]
    ) -> torch.Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding = padding
        return F.conv2d(images, weight, bias, padding=padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        gradient, *_ = gradients
        to_images = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_images = F.conv2d(gradient, weight.flip(2, 3), padding=ctx.padding, groups=len(weight))
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(images, gradient, (weight.shape[2], weight.shape[3]))
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum((0, 2, 3))
        return to_images, to_weight, to_bias, None


def _is_depthwise(module: nn.Module) -> bool:
    """Whether a layer is a depthwise convolution that this makes faster."""
    if not isinstance(module, nn.Conv2d) or type(module).forward is not nn.Conv2d.forward:
        return False
    same = module.padding == "same" or module.padding == tuple(side // 2 for side in module.kernel_size)
    return (
        type(module)._conv_forward is nn.Conv2d._conv_forward
        and module.groups == module.in_channels == module.out_channels
        and module.padding_mode == "zeros"
        and module.stride == module.dilation == (1, 1)
        and all(side >= _LEAST_TAPS and side % 2 for side in module.kernel_size)
        and same
    )


def _is_linear(module: nn.Module) -> bool:
    """Whether a layer is linear, and PyTorch has both MKL, which it would use, and oneDNN, which convolutions use."""
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return libraries and isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward


def _is_pooling(module: nn.Module) -> bool:
    """Whether a layer is global average pooling."""
    return type(module) is nn.AdaptiveAvgPool2d and module.output_size in (1, (1, 1))


def _is_served(images: torch.Tensor, *parameters: torch.Tensor | None) -> bool:
    """Whether these are feature maps of float32 on a CPU, and a gradient may be computed."""
    tensors = [images, *(one for one in parameters if one is not None)]
    return (
        torch.is_grad_enabled()
        and any(one.requires_grad for one in tensors)
        and images.dim() == 4
        and all(one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors)
        and not torch.is_autocast_enabled("cpu")
    )


def _depthwise(layer: nn.Conv2d, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Equivalent of `layer._conv_forward`."""
    trained = any(one is not None and one.requires_grad for one in (weight, bias))
    if not (trained and _is_served(images, weight, bias)):
        return nn.Conv2d._conv_forward(layer, images, weight, bias)
    return _Depthwise.apply(images, weight, bias, [side // 2 for side in layer.kernel_size])


def _linear(layer: nn.Linear, images: torch.Tensor) -> torch.Tensor:
    """Equivalent of `layer.forward`, for feature maps of shape (n, h, w, c)."""
    large = images.numel() * layer.out_features >= _LEAST_PRODUCTS
    if not (large and _is_served(images, layer.weight, layer.bias)):
        return nn.Linear.forward(layer, images)
    maps = F.conv2d(images.permute(0, 3, 1, 2), layer.weight[:, :, None, None], layer.bias)
    return maps.permute(0, 2, 3, 1)


def _pooling(layer: nn.AdaptiveAvgPool2d, images: torch.Tensor) -> torch.Tensor:
    """Equivalent of `layer.forward`, for channels-last feature maps of shape (n, c, h, w)."""
    if not (_is_served(images) and images.is_contiguous(memory_format=torch.channels_last)):
        return nn.AdaptiveAvgPool2d.forward(layer, images)
    return images.permute(0, 2, 3, 1).flatten(1, 2).mean(1)[:, :, None, None]


# whether it applies to a layer, the method that it replaces, and what replaces it
_FAST: tuple[tuple[Callable[[nn.Module], bool], str, Callable[..., torch.Tensor]], ...] = (
    (_is_depthwise, "_conv_forward", _depthwise),
    (_is_linear, "forward", _linear),
    (_is_pooling, "forward", _pooling),
)
