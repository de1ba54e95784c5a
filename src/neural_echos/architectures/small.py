"""Small members of the paper's four families, for images of 32×32 or 16×16.

All are timm's own classes (ours for HorNet) with other widths, depths and strides, and the same initialisation. If a kernel is
wider than its feature map, its outer taps see only padding and are not trained. The defaults therefore keep the maps large: 8×8
for a 32×32 image in 4×4 patches. For this reason ConvNeXt and HorNet have one stage (both papers include such isotropic networks);
`depths` adds more. For the same maps with 16×16 images, use `patch_size=2`, or `stem_stride=1` for MobileNetV2.

Papers: Trockman and Kolter, "Patches Are All You Need?", TMLR 2023 (ConvMixer); Liu et al., "A ConvNet for the 2020s",
CVPR 2022 (ConvNeXt); Sandler et al., "MobileNetV2", CVPR 2018; Rao et al., "HorNet", NeurIPS 2022.
"""

from collections.abc import Sequence
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.convmixer import ConvMixer
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet, decode_arch_def
from torch import nn

from neural_echos.architectures.hornet import HorNet
from neural_echos.errors import EchosError

__all__: list[str] = []


def _convmixer(
    dim: int,
    depth: int,
    kernel_size: int,
    patch_size: int,
    in_chans: int,
    num_classes: int,
    drop_rate: float = 0.0,
) -> ConvMixer:
    """Build timm's ConvMixer; all keywords are explicit because some versions of timm ignore unknown ones."""
    return ConvMixer(dim, depth, kernel_size, patch_size, in_chans, num_classes, drop_rate=drop_rate)


def _convnext(depths: Sequence[int], dims: Sequence[int], kernel_size: int, **kwargs: Any) -> ConvNeXt:
    """Build timm's ConvNeXt with the first `len(depths)` of its four stages."""
    stages, absent = len(depths), 4 - len(depths)
    if not 1 <= stages <= 4 or len(dims) != stages:
        raise EchosError(
            f"convnext_small_images: there must be 1 to 4 depths and as many dims, not depths {list(depths)} and "
            f"dims {list(dims)}; give one number per stage for each"
        )
    model = ConvNeXt(
        depths=(*depths, *[0] * absent), dims=(*dims, *[dims[-1]] * absent), kernel_sizes=kernel_size, **kwargs
    )
    model.stages, model.feature_info = model.stages[:stages], model.feature_info[:stages]
    return model


def _mobilenetv2(
    depths: Sequence[int],
    dims: Sequence[int],
    strides: Sequence[int],
    expansion: int,
    kernel_size: int,
    stem_stride: int,
    **kwargs: Any,
) -> EfficientNet:
    """Build MobileNetV2: a 3×3 stem, a stage without expansion, then stages of inverted residuals.

    The published network at 32×32: `depths` 1, 2, 3, 4, 3, 3, 1; `dims` 16, 24, 32, 64, 96, 160, 320; `expansion` 6;
    `stem_size` 32; `num_features` 1280.
    """
    if not len(depths) == len(dims) == len(strides):
        raise EchosError(
            f"mobilenetv2_small_images: there are {len(depths)} depths, {len(dims)} dims and {len(strides)} strides; "
            "give one number per stage for each"
        )
    stages = [
        [f"{'ir' if index else 'ds'}_r{depth}_k{kernel_size}_s{stride}_e{expansion if index else 1}_c{dim}"]
        for index, (depth, dim, stride) in enumerate(zip(depths, dims, strides, strict=True))
    ]
    model = EfficientNet(decode_arch_def(stages), act_layer=nn.ReLU6, round_chs_fn=int, **kwargs)
    model.conv_stem.stride = (stem_stride, stem_stride)
    return model


def _cfg(first_conv: str, classifier: str) -> dict[str, Any]:
    return {
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "first_conv": first_conv,
        "classifier": classifier,
    }


default_cfgs = generate_default_cfgs(
    {
        "convmixer_small.untrained": _cfg("stem.0", "head"),
        "convnext_small_images.untrained": _cfg("stem.0", "head.fc"),
        "mobilenetv2_small_images.untrained": _cfg("conv_stem", "classifier"),
        "hornet_small_images.untrained": _cfg("downsample_layers.0.0", "head"),
    }
)


@register_model
def convmixer_small(pretrained: bool = False, **kwargs: Any) -> ConvMixer:
    """ConvMixer of 4 blocks; the published CIFAR-10 network has dim 256, depth 8, kernel_size 5, patch_size 2."""
    kwargs = {"dim": 64, "depth": 4, "kernel_size": 9, "patch_size": 4, **kwargs}
    return build_model_with_cfg(_convmixer, "convmixer_small", pretrained, **kwargs)


@register_model
def convnext_small_images(pretrained: bool = False, **kwargs: Any) -> ConvNeXt:
    """ConvNeXt of one to four stages; the published four have depths 3, 3, 9, 3 and dims 96, 192, 384, 768."""
    kwargs = {"depths": (2,), "dims": (40,), "kernel_size": 7, "patch_size": 4, **kwargs}
    return build_model_with_cfg(_convnext, "convnext_small_images", pretrained, **kwargs)


@register_model
def mobilenetv2_small_images(pretrained: bool = False, **kwargs: Any) -> EfficientNet:
    """MobileNetV2 with strides for small images: maps of 16×16 (the stem), 8×8, 8×8 and 4×4 for a 32×32 image."""
    kwargs = {
        "depths": (1, 1, 1),
        "dims": (16, 32, 48),
        "strides": (2, 1, 2),
        "expansion": 4,
        "kernel_size": 3,
        "stem_size": 16,
        "stem_stride": 2,
        "num_features": 128,
        **kwargs,
    }
    return build_model_with_cfg(_mobilenetv2, "mobilenetv2_small_images", pretrained, **kwargs)


@register_model
def hornet_small_images(pretrained: bool = False, **kwargs: Any) -> HorNet:
    """HorNet of one to four stages, with orders 2, 3, 4, 5; the published four have depths 2, 3, 18, 2."""
    kwargs = {"depths": (2,), "base_dim": 24, "kernel_size": 7, "patch_size": 4, **kwargs}
    return build_model_with_cfg(HorNet, "hornet_small_images", pretrained, **kwargs)
