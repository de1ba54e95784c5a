"""Layers: find the spatial convolutions of a model by walking its modules, and number them.

A *depthwise* convolution has groups = input channels C > 1 and a weight of shape (C·m, 1, kh, kw) with kh·kw > 1: each of its
C·m kernels filters one channel. Every other spatial convolution is *regular*: it has one kernel per (output, input) pair,
also extracted as the control for claim NE1. Transposed convolutions are neither.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_echos.errors import EchosError
from neural_echos.layouts import KINDS

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layer:
    """One spatial convolution of a model.

    `index` counts the layers of the same kind in the order in which the model declares them; `depth` is index / (layers − 1), in
    [0, 1]. `shape` is the weight's shape (out, in / groups, kh, kw) if known; it is not saved with the layer.
    """

    name: str
    kind: str
    index: int
    depth: float
    kernel_height: int
    kernel_width: int
    stride: int | None = None
    dilation: int | None = None
    shape: tuple[int, ...] | None = field(default=None, compare=False, repr=False)


def layers_of(model: "nn.Module") -> list[Layer]:
    """List the depthwise and regular spatial convolutions of a model (on any device, including the meta device).

    Layers that store their kernels in another form (conditional and quantised convolutions) are not listed; a warning names them.

    Raises
    ------
    EchosError
        A lazy layer has no weights yet, or the model is compiled with TorchScript.
    """
    found = listed_layers(model)
    if unlisted := unlisted_layers(model):
        _LOG.warning("not listed: %s", "; ".join(f"{len(names)} {what}" for what, names in unlisted.items()))
    return found


def listed_layers(model: "nn.Module") -> list[Layer]:
    """List the layers that `layers_of` lists, without the warning about the others."""
    import torch
    from torch import nn

    if isinstance(model, torch.jit.ScriptModule):
        raise EchosError(
            "this model is a TorchScript module, whose layers cannot be identified; pass the original module instead"
        )
    found: list[Layer] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params():
            raise EchosError(f"layer {name!r} is lazy and has no weights yet; run one batch through the model first")
        height, width = module.kernel_size
        if height * width > 1:
            depthwise = module.groups == module.in_channels and module.groups > 1
            shape = (module.out_channels, module.in_channels // module.groups, height, width)
            found.append(new_layer(name, "depthwise" if depthwise else "regular", shape, module))
    return numbered(found)


def fused_layers_of(model: "nn.Module") -> list[Layer]:
    """List the layers of a timm model after fusing its branches for inference (MobileOne, RepVGG, …); empty if it has none."""
    from timm.utils import reparameterize_model

    if not any(hasattr(module, "reparameterize") or hasattr(module, "fuse") for module in model.modules()):
        return []
    return layers_of(reparameterize_model(model))


def unlisted_layers(model: "nn.Module") -> dict[str, list[str]]:
    """Name the spatial convolutions whose kernels are not stored as a weight of shape (out, in / groups, kh, kw)."""
    from torch import nn

    unlisted: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        size = getattr(module, "kernel_size", None)
        if isinstance(module, nn.modules.conv._ConvNd) or not isinstance(size, tuple) or size in {(), (1,), (1, 1)}:
            continue
        if hasattr(module, "num_experts") and hasattr(module, "weight_shape"):
            what = "conditional convolutions (CondConv), which mix their kernels for each image"
        elif ".quantized." in type(module).__module__ and callable(getattr(module, "weight", None)) and len(size) == 2:
            what = "quantised convolutions (torch.ao); extract the bank before converting the model"
        else:
            continue
        unlisted.setdefault(what, []).append(name)
    return unlisted


def new_layer(name: str, kind: str, shape: Sequence[int], module: "nn.Conv2d | None" = None) -> Layer:
    """Describe one layer that is not numbered yet."""
    stride, dilation = (module.stride[0], module.dilation[0]) if module is not None else (None, None)
    return Layer(name, kind, 0, 0.0, shape[2], shape[3], stride, dilation, tuple(shape))


def numbered(layers: Sequence[Layer]) -> list[Layer]:
    """Give each layer its index among those of its kind, and its depth."""
    totals = {kind: sum(layer.kind == kind for layer in layers) for kind in KINDS}
    counts = dict.fromkeys(KINDS, 0)
    result = []
    for layer in layers:
        index = counts[layer.kind]
        counts[layer.kind] += 1
        result.append(replace(layer, index=index, depth=index / max(totals[layer.kind] - 1, 1)))
    return result


def natural(name: str) -> list[tuple[int, str]]:
    """Natural sort key: "blocks.9" before "blocks.10"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def layers_to_json(layers: Iterable[Layer]) -> list[dict[str, Any]]:
    """Turn layers into plain dictionaries, as stored in the JSON file beside initial weights."""
    return [{key: value for key, value in asdict(layer).items() if key != "shape"} for layer in layers]


def layers_from_json(items: object, source: str | Path) -> list[Layer]:
    """Read layers back from what `layers_to_json` wrote; `source` names the file in errors."""
    try:
        return [Layer(**item) for item in items]  # type: ignore[attr-defined]
    except TypeError as error:
        raise EchosError(f"{source}: this is not a list of layers ({error}); regenerate the file") from None
