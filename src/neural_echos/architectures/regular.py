"""Regular twins: the small networks with a regular convolution in place of every depthwise one, the controls of claim NE1.

A regular convolution has a kernel for each pair of channels, so that a twin of the same cost has fewer channels. Twins start as
the networks that they are twins of, each by the rule of its authors for regular convolutions.

Papers: see `neural_echos.architectures.small`.
"""

from collections.abc import Callable
from typing import Any

from timm.layers import trunc_normal_
from timm.models import register_model
from torch import Tensor, nn

from neural_echos.architectures import small

__all__: list[str] = []


def _regular(model: nn.Module, draw: Callable[[Tensor], Any] | None = None) -> nn.Module:
    """Replace a model's depthwise convolutions; `draw` fills a new weight in place, and PyTorch's own draw stands without it."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels == layer.out_channels:
            biased = layer.bias is not None
            twin = nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, bias=biased
            )
            if draw is not None:
                draw(twin.weight)
                if twin.bias is not None:
                    nn.init.zeros_(twin.bias)
            model.set_submodule(name, twin)
    return model


def _narrow(weight: Tensor) -> None:
    trunc_normal_(weight, std=0.02)


def _fan_out(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, mode="fan_out")


@register_model
def convmixer_regular(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ConvMixer whose spatial convolutions are regular ones; PyTorch's own initialisation."""
    return _regular(small.convmixer_small(pretrained, **{"dim": 16, **kwargs}))


@register_model
def convnext_regular(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ConvNeXt whose spatial convolutions are regular ones: normal with σ = .02, truncated, and zero biases."""
    return _regular(small.convnext_small_images(pretrained, **{"dims": (16,), **kwargs}), _narrow)


@register_model
def mobilenetv2_regular(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MobileNetV2 whose spatial convolutions are regular ones: normal with σ² = 2 / (k² · channels)."""
    return _regular(small.mobilenetv2_small_images(pretrained, **{"dims": (4, 8, 12), **kwargs}), _fan_out)


@register_model
def hornet_regular(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HorNet whose spatial convolutions are regular ones: normal with σ = .02, truncated, and zero biases."""
    return _regular(small.hornet_small_images(pretrained, **{"base_dim": 16, **kwargs}), _narrow)
