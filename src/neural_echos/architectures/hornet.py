"""HorNet with 7×7 kernels: recursive gated convolutions (gnConv) in a ConvNeXt frame.

Paper: Rao, Zhao, Tang, Zhou, Lim, Lu, "HorNet: Efficient High-Order Spatial Interactions with Recursive Gated
Convolutions", NeurIPS 2022, arXiv 2207.14284. timm does not have it. Written from the paper. Parameters have the same names as in
the authors' released checkpoints (github.com/raoyongming/HorNet, MIT), which therefore load unchanged.

Depthwise kernels: tiny 11,488 · small 17,232 · base 22,976 · large 34,464.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from timm.layers import DropPath, LayerNorm2d, trunc_normal_
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from neural_echos.errors import EchosError

__all__ = ["Block", "GnConv", "HorNet", "initialise"]


class GnConv(nn.Module):
    """Recursive gated convolution of order n on d channels (section 3.1 of the paper).

    A 1×1 projection outputs 2d channels: the first gate, of the smallest width d/2^(n−1), and parts of widths
    d/2^(n−1), …, d/2, d that pass through one depthwise convolution together. The gate is multiplied by the first part,
    projected to the next width, multiplied by the next part, and so on: n multiplications give n orders of interaction.

    Parameters
    ----------
    dim : int
        Channels d; a multiple of 2^(order − 1).
    order : int
        Order n of the interaction.
    kernel_size : int
        Side of the depthwise kernels.
    scale : float
        Factor on the output of the depthwise convolution.

    Raises
    ------
    EchosError
        `dim` cannot be halved `order` − 1 times.
    """

    def __init__(self, dim: int, order: int = 5, kernel_size: int = 7, scale: float = 1 / 3):
        super().__init__()
        if dim % 2 ** (order - 1):
            raise EchosError(
                f"hornet: a gnConv of order {order} needs a width divisible by {2 ** (order - 1)}, not {dim}; "
                "change base_dim or orders"
            )
        self.widths = [dim // 2**i for i in reversed(range(order))]
        self.scale = scale
        inner = sum(self.widths)
        self.proj_in = nn.Conv2d(dim, 2 * dim, 1)
        self.dwconv = nn.Conv2d(inner, inner, kernel_size, padding="same", groups=inner)
        self.pws = nn.ModuleList(nn.Conv2d(narrow, wide, 1) for narrow, wide in pairwise(self.widths))
        self.proj_out = nn.Conv2d(dim, dim, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, dim, h, w) to (n, dim, h, w)."""
        gate, spatial = self.proj_in(x).split((self.widths[0], sum(self.widths)), dim=1)
        first, *others = (self.dwconv(spatial) * self.scale).split(self.widths, dim=1)
        x = gate * first
        for project, part in zip(self.pws, others, strict=True):
            x = project(x) * part
        return self.proj_out(x)


class Block(nn.Module):
    """Two residual branches: LayerNorm → gnConv → layer scale, and LayerNorm → MLP (×4, GELU) → layer scale."""

    def __init__(self, dim: int, order: int, kernel_size: int, ls_init_value: float, drop_path: float):
        super().__init__()
        self.norm1 = LayerNorm2d(dim)
        self.gnconv = GnConv(dim, order, kernel_size)
        self.gamma1 = nn.Parameter(torch.full((dim,), ls_init_value))
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma2 = nn.Parameter(torch.full((dim,), ls_init_value))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, dim, h, w) to (n, dim, h, w)."""
        x = x + self.drop_path(self.gamma1[:, None, None] * self.gnconv(self.norm1(x)))
        y = self.pwconv2(self.act(self.pwconv1(self.norm2(x.permute(0, 2, 3, 1)))))
        return x + self.drop_path((self.gamma2 * y).permute(0, 3, 1, 2))


class HorNet(nn.Module):
    """HorNet: a patch stem, stages of blocks with a 2×2 down-sampling between them, average pooling and a linear head.

    Weights are initialised as in the released code: truncated normal with σ = .02, and zero biases.

    Parameters
    ----------
    in_chans, num_classes : int
        Channels of an image; classes of the head (0: no head).
    depths : sequence of int
        Blocks of each stage; four stages in the paper, fewer for small images.
    base_dim : int
        Width of the first stage; it doubles with each stage.
    orders : sequence of int
        Order of gnConv in each stage; the first `len(depths)` are used.
    kernel_size, patch_size : int
        Side of the depthwise kernels; side and stride of the stem.
    ls_init_value : float
        Initial value of the layer scales.
    drop_rate, drop_path_rate : float
        Dropout before the head; stochastic depth of the last block, increasing linearly from 0 at the first block.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        depths: Sequence[int] = (2, 3, 18, 2),
        base_dim: int = 64,
        orders: Sequence[int] = (2, 3, 4, 5),
        kernel_size: int = 7,
        patch_size: int = 4,
        ls_init_value: float = 1e-6,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        self.in_chans, self.num_classes = in_chans, num_classes
        dims = [base_dim * 2**stage for stage in range(len(depths))]
        self.num_features = self.head_hidden_size = dims[-1]
        stem = nn.Sequential(nn.Conv2d(in_chans, dims[0], patch_size, stride=patch_size), LayerNorm2d(dims[0]))
        halvings = [
            nn.Sequential(LayerNorm2d(narrow), nn.Conv2d(narrow, wide, 2, stride=2)) for narrow, wide in pairwise(dims)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(*[Block(dim, order, kernel_size, ls_init_value, next(rates)) for _ in range(depth)])
            for dim, depth, order in zip(dims, depths, orders[: len(depths)], strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=1e-6)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(dims[-1], num_classes) if num_classes > 0 else nn.Identity()
        self.apply(initialise)

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head with a new one for `num_classes` classes (0: none)."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()
        self.head.apply(initialise)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (n, in_chans, h, w) to the last stage's feature maps (n, num_features, h', w')."""
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        return x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Map feature maps to logits (n, num_classes), or to the pooled features before the head."""
        x = self.head_drop(self.norm(x.mean((-2, -1))))
        return x if pre_logits else self.head(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (n, in_chans, h, w) to logits (n, num_classes)."""
        return self.forward_head(self.forward_features(x))


def initialise(module: nn.Module) -> None:
    """Draw a layer's weights as the released code (and ConvNeXt's) does: truncated normal, σ = .02; zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _cfg() -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "first_conv": "downsample_layers.0.0",
        "classifier": "head",
    }


default_cfgs = generate_default_cfgs(
    {f"hornet_{size}_7x7.untrained": _cfg() for size in ("tiny", "small", "base", "large")}
)


@register_model
def hornet_tiny_7x7(pretrained: bool = False, **kwargs: Any) -> HorNet:
    """HorNet-T 7×7: 22.4 M parameters, 82.8 % on ImageNet-1k in the paper."""
    return build_model_with_cfg(HorNet, "hornet_tiny_7x7", pretrained, **{"base_dim": 64, **kwargs})


@register_model
def hornet_small_7x7(pretrained: bool = False, **kwargs: Any) -> HorNet:
    """HorNet-S 7×7."""
    return build_model_with_cfg(HorNet, "hornet_small_7x7", pretrained, **{"base_dim": 96, **kwargs})


@register_model
def hornet_base_7x7(pretrained: bool = False, **kwargs: Any) -> HorNet:
    """HorNet-B 7×7."""
    return build_model_with_cfg(HorNet, "hornet_base_7x7", pretrained, **{"base_dim": 128, **kwargs})


@register_model
def hornet_large_7x7(pretrained: bool = False, **kwargs: Any) -> HorNet:
    """HorNet-L 7×7."""
    return build_model_with_cfg(HorNet, "hornet_large_7x7", pretrained, **{"base_dim": 192, **kwargs})
