"""Layouts of checkpoints: which tensors hold kernels, judged by names and shapes, and what belongs to a quantised one.

Kept apart from reading, so that a header alone can say which tensors are worth fetching. A separable pair k×1 and 1×k is
two tensors of rectangular kernels, and a depthwise layer with m kernels a channel one of shape (C·m, 1, kh, kw); a shape tells
neither stride nor dilation, nor whether batch norm was folded in.
"""

import re
from collections.abc import Collection

KINDS = ("depthwise", "regular")
_WRAPPED = re.compile(r"((module|_orig_mod)\.)+")  # what DataParallel and torch.compile put before the names of a model


def kind_of(shape: tuple[int, ...]) -> str | None:
    """Say what a tensor of this shape holds: "depthwise" or "regular" kernels, or None for neither.

    A weight (C, i, kh, kw) with kh·kw > 1 is depthwise where C > 1 and i = 1, and regular elsewhere.
    """
    if len(shape) != 4 or shape[2] * shape[3] <= 1:
        return None
    return "depthwise" if shape[0] > 1 and shape[1] == 1 else "regular"


def layer_name(key: str) -> str:
    """Path of the module that a tensor's name belongs to."""
    return bare_name(key).removesuffix(".weight")


def bare_name(name: str) -> str:
    """Name of a module or a tensor without what DataParallel and torch.compile put before it."""
    wrapped = _WRAPPED.match(name)
    return name[wrapped.end() :] if wrapped else name


def companions(key: str, keys: Collection[str]) -> tuple[str | None, str | None]:
    """Find the names of the scale and of the zero point of an integer weight among `keys`; None for what is not there.

    For `a.weight` they are `a.weight_scale`, `a.weight.scale` or `a.scale`, and the zero point is spelled likewise.
    """
    layer = key.removesuffix(".weight")
    for prefix in (f"{layer}.weight_", f"{layer}.weight.", f"{layer}."):
        if f"{prefix}scale" in keys:
            return f"{prefix}scale", f"{prefix}zero_point" if f"{prefix}zero_point" in keys else None
    return None, None
