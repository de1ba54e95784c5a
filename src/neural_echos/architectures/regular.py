"""Regular twins: the small networks with every depthwise convolution replaced by a regular one; controls for claim NE1.

A regular convolution has one kernel per pair of channels, so a twin of the same cost has fewer channels. Each twin is initialised
like its original, with its authors' rule for regular convolutions.

Papers: see `neural_echos.architectures.small`.
"""

from collections.abc import Callable
from typing import Any

from timm.models import register_model
from torch import nn

from neural_echos.architectures import small
from neural_echos.architectures.hornet import initialise

__all__: list[str] = []


def _regular(model: nn.Module, draw: Callable[[nn.Conv2d], None] | None = None) -> nn.Module:
    """Replace a model's depthwise convolutions with regular ones; `draw` initialises them, by default PyTorch's own rule."""
    for name, old in list(model.named_modules()):
        if isinstance(old, nn.Conv2d) and 1 < old.groups == old.in_channels == old.out_channels:
            biased = old.bias is not None
            new = nn.Conv2d(old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=biased)
            if draw is not None:
                draw(new)
            model.set_submodule(name, new)
    return model


def _fan_out(layer: nn.Conv2d) -> None:
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")


@register_model
def convmixer_regular(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ConvMixer with regular spatial convolutions; PyTorch's own initialisation."""
    return _regular(small.convmixer_small(pretrained, **{"dim": 16, **kwargs}))


@register_model
def convnext_regular(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ConvNeXt with regular spatial convolutions: truncated normal with σ = .02, and zero biases."""
    return _regular(small.convnext_small_images(pretrained, **{"dims": (16,), **kwargs}), initialise)


@register_model
def mobilenetv2_regular(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MobileNetV2 with regular spatial convolutions: normal with σ² = 2 / (k² · channels)."""
    return _regular(small.mobilenetv2_small_images(pretrained, **{"dims": (4, 8, 12), **kwargs}), _fan_out)


@register_model
def hornet_regular(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HorNet with regular spatial convolutions: truncated normal with σ = .02, and zero biases."""
    return _regular(small.hornet_small_images(pretrained, **{"base_dim": 16, **kwargs}), initialise)
