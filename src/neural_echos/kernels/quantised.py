"""Quantised weights: (integers or 8-bit floats − zero point) · scale, with one scale per tensor, channel or block.

A ``weight_scale_inv``, as in DeepSeek's files, is the inverse of the factor that was applied to quantise the weights: the stored
values are multiplied by it, as by every scale here.
"""

from collections.abc import Callable

import numpy as np

INTEGERS = ("I8", "U8", "I16", "I32")
_BLOCK = 128  # side of a block in DeepSeek's files
_SCALES = (
    "weight_scale",
    "weight.scale",
    "weight_scale_inv",
    "weight.scale_inv",
    "weight_scales",
    "scale",
    "scales",
    "scale_inv",
)
_ZEROS = ("weight_zero_point", "weight.zero_point", "zero_point", "weight_zeros", "weight_zero")


class UnclearScaleError(Exception):
    """Why an integer or 8-bit weight cannot be de-quantised, as a clause."""


def is_quantised(dtype: str) -> bool:
    """Whether values of this type (in safetensors' naming) may have a scale beside them."""
    return dtype in INTEGERS or dtype.startswith("F8_")


def dequantise(weight: np.ndarray, dtype: str, parts: set[str], read: Callable[[str], np.ndarray]) -> np.ndarray:
    """Turn a quantised weight into float32.

    Parameters
    ----------
    weight : ndarray, shape (out, …)
        The stored values.
    dtype : str
        Their type in the file.
    parts : set of str
        The tensors stored beside the weight (`layouts.split_name`).
    read : callable
        Maps such a part to its values.

    Raises
    ------
    UnclearScaleError
        Integers have no scale, there are several scales, or the scale's shape does not fit.
    """
    scales = [part for part in _SCALES if part in parts]
    zeros = [part for part in _ZEROS if part in parts]
    if not scales and dtype.startswith("F8_"):
        return weight
    if not scales:
        raise UnclearScaleError(f"it is {dtype} without a scale beside it")
    if len(scales) > 1 and any(part.startswith("weight") for part in scales):
        scales = [part for part in scales if part.startswith("weight")]  # "scale" belongs to the layer's output
        zeros = [part for part in zeros if part.startswith("weight")]
    if len(scales) > 1 or any("scale_" in part and part[-1].isdigit() for part in parts):
        raise UnclearScaleError(f"it is {dtype} with several scales beside it ({', '.join(sorted(parts))})")
    scale = read(scales[0])
    if scale.size == 1 and scales[0] == "scale" and weight.shape[0] > 1:
        raise UnclearScaleError(
            f"it is {dtype}, and its 'scale' is one number, which may belong to the layer's output (torch uses that name); "
            "rename it to weight_scale if it is the weight's"
        )
    if not zeros and dtype.startswith("U"):
        raise UnclearScaleError(f"it is unsigned {dtype} without a zero point beside its scale")
    values = weight.astype(np.float64)
    if zeros:
        values = values - _spread(read(zeros[0]), weight.shape, zeros[0])
    return (values * _spread(scale, weight.shape, scales[0])).astype(np.float32)


def _spread(scale: np.ndarray, shape: tuple[int, ...], part: str) -> np.ndarray:
    """Spread scales or zero points over a weight, by channel or by blocks of its first axes."""
    scale = scale.astype(np.float64)
    if scale.size == 1:
        return scale.reshape(())
    if scale.shape[0] == scale.size == shape[0]:
        return scale.reshape(-1, *[1] * (len(shape) - 1))
    if scale.ndim != len(shape):
        raise UnclearScaleError(f"its {part} has shape {scale.shape}, which does not fit {shape}")
    for axis, (count, size) in enumerate(zip(scale.shape, shape, strict=True)):
        if count not in (1, size):
            block = _BLOCK if -(-size // _BLOCK) == count else size // count
            if -(-size // block) != count:
                raise UnclearScaleError(f"its {part} has shape {scale.shape}, which does not fit {shape}")
            scale = np.repeat(scale, block, axis=axis).take(np.arange(size), axis=axis)
    return scale
