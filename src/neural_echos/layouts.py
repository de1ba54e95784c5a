"""Layouts of checkpoints: which tensors hold kernels, judged by names and shapes, and what belongs to a quantised one.

Kept apart from reading, so that a header alone can say which tensors are worth fetching. A separable pair k×1 and 1×k is
two tensors of rectangular kernels, and a depthwise layer with m kernels a channel one of shape (C·m, 1, kh, kw); a shape tells
neither stride nor dilation, nor whether batch norm was folded in.
"""

from collections.abc import Collection

import numpy as np

from neural_echos.errors import EchosError

KINDS = ("depthwise", "regular")


def kind_of(shape: tuple[int, ...]) -> str | None:
    """Say what a tensor of this shape holds: "depthwise" or "regular" kernels, or None for neither.

    A weight (C, i, kh, kw) with kh·kw > 1 is depthwise where C > 1 and i = 1, and regular elsewhere.
    """
    if len(shape) != 4 or shape[2] * shape[3] <= 1:
        return None
    return "depthwise" if shape[0] > 1 and shape[1] == 1 else "regular"


def layer_name(key: str) -> str:
    """Path of the module that a tensor's name belongs to."""
    return key.removeprefix("module.").removesuffix(".weight")


def companions(key: str, keys: Collection[str]) -> tuple[str | None, str | None]:
    """Find the names of the scale and of the zero point of an integer weight among `keys`; None for what is not there.

    For `a.weight` they are `a.weight_scale`, `a.weight.scale` or `a.scale`, and the zero point is spelled likewise.
    """
    layer = key.removesuffix(".weight")
    for prefix in (f"{layer}.weight_", f"{layer}.weight.", f"{layer}."):
        if f"{prefix}scale" in keys:
            return f"{prefix}scale", f"{prefix}zero_point" if f"{prefix}zero_point" in keys else None
    return None, None


def dequantise(
    weight: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, *, key: str, scale_key: str, source: str
) -> np.ndarray:
    """Turn an integer weight into float: (weight − zero point) · scale.

    Parameters
    ----------
    weight : ndarray of int8 or uint8, shape (C, i, kh, kw)
    scale, zero_point : ndarray of one element, or of one for each output channel
    key, scale_key, source : str
        Names of the weight and of its scale, and of the file, for errors.

    Returns
    -------
    ndarray of float32, shape (C, i, kh, kw)

    Raises
    ------
    EchosError
        The scale or zero point is neither per tensor nor per channel; an unsigned weight has no zero point; or the scale is one
        number called `<layer>.scale`, under which torch keeps the scale of a layer's output.
    """
    channels = weight.shape[0]
    if scale.size == 1 and not scale_key.endswith(("weight_scale", "weight.scale")):
        raise EchosError(
            f"{source}: expected {scale_key!r} to hold one scale for each of {channels} channels, found one number, which may be "
            "the scale of the layer's output; name it weight_scale if it is the weight's"
        )
    if zero_point is None and weight.dtype == np.uint8:
        raise EchosError(
            f"{source}: expected a zero point beside the unsigned {key!r}, found none; de-quantise the checkpoint first"
        )
    parts = []
    for part in (scale, np.zeros(1) if zero_point is None else zero_point):
        if part.size not in (1, channels):
            raise EchosError(
                f"{source}: expected 1 or {channels} scales and zero points for {key!r}, found {part.size}; "
                "de-quantise the checkpoint first"
            )
        parts.append(part.astype(np.float64).reshape(-1, 1, 1, 1))
    return ((weight.astype(np.float64) - parts[1]) * parts[0]).astype(np.float32)
