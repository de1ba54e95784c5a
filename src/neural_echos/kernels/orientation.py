"""Orientation: find the order of a weight's axes in a file, and recognise the first layer of a network for grey images.

PyTorch and ONNX store (out, in, h, w). TensorFlow, Keras and Flax store (h, w, in, out), and (h, w, C, m) for depthwise layers. MLX
stores (out, h, w, in). The order is read from the metadata of a safetensors file ("format": "tf", "flax", "mlx"), or else
inferred from the shapes of all layers together: kernels are square or 1×n, channel counts rarely are.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.layouts import kind_of

Shape = tuple[int, ...]
TORCH, KERAS, MLX = "PyTorch", "TensorFlow, Keras or Flax", "MLX"
_FORMATS = {"tf": KERAS, "tensorflow": KERAS, "keras": KERAS, "flax": KERAS, "jax": KERAS, "mlx": MLX}
_DEPTHWISE = r"(?i)depthwise|(?<![a-z])(?:dw|conv_?dw|dw_?conv)(?![a-z])"
_STEM = (
    r"(?i)(?:^|[._/])(?:stem|conv_stem|patch_embed\w*|first_conv|conv_first|conv_?in|conv_?0|input_?conv|root|embeddings?"
    r"|downsample_layers\.0)(?:[._/]|$)"
)
_IMAGE_CHANNELS = (2, 3, 4)


def axes_of(path: Path, shapes: Mapping[str, Shape], metadata: Mapping[str, str]) -> str:
    """Return the order of axes in a file: PyTorch's, Keras's or MLX's.

    Parameters
    ----------
    path : path
        Names the file in errors.
    shapes : mapping
        Shape, as stored in the file, of every four-dimensional tensor that may be a convolution's weight.
    metadata : mapping
        The file's metadata.

    Raises
    ------
    EchosError
        The shapes fit several orders, or contradict the metadata.
    """
    spoken = _FORMATS.get(metadata.get("format", "").lower())
    score = {
        TORCH: sum(_evidence(*shape) for shape in shapes.values()),
        KERAS: sum(_evidence(out, into, height, width) for height, width, into, out in shapes.values()),
        MLX: sum(_evidence(out, into, height, width) for out, height, width, into in shapes.values()),
    }
    best = max(score, key=lambda order: score[order])
    if spoken:
        if score[best] and 2 * score[spoken] < score[best]:
            raise EchosError(
                f"{path}: the metadata says format {metadata['format']!r}, but the weights have shapes as in {best}; "
                "correct the metadata with safetensors, or convert the weights again"
            )
        return spoken
    if score[best] <= score[TORCH]:
        return TORCH
    rivals = [order for order in score if order != best and 2 * score[order] > score[best]]
    if rivals:
        raise EchosError(
            f"{path}: the shapes of the weights fit both {best} and {rivals[0]}, which order the axes differently; "
            'set the format in the metadata of the safetensors file ({"format": "tf"}, "flax", "mlx" or "pt")'
        )
    return best


def _evidence(out: int, into: int, height: int, width: int) -> int:
    """Score how much a shape looks like kernels: squares of side 2 to 31 most, then odd rectangles (1×n or depthwise)."""
    if out == into == 1 or height == width == 1:
        return 0
    if height == width:
        return 2 if height <= 31 else 0
    short, long = sorted((height, width))
    odd = short % 2 == 1 and long % 2 == 1 and long <= 63
    return 1 if odd and (short == 1 or (into == 1 and out > 1)) else -1


def depthwise_in_keras(path: Path, shapes: Mapping[str, Shape]) -> set[str]:
    """Name the depthwise weights (h, w, C, m) in a Keras file, where regular ones (h, w, in, out) look alike.

    They are recognised by name. If no name matches, two or more weights with m = 1 count as depthwise; a single one is refused.
    """
    spatial = {name: shape for name, shape in shapes.items() if shape[0] * shape[1] > 1 and shape[2] > 1}
    named = {name for name in spatial if re.search(_DEPTHWISE, name)}
    single = {name for name, shape in spatial.items() if shape[3] == 1}
    if named or len(single) != 1:
        return named or single
    name = single.pop()
    raise EchosError(
        f"{path}: {name!r} of shape {shapes[name]} is either a depthwise layer or a regular one with a single output; "
        "name the model (--timm, --layers), or put 'depthwise' into the tensor's name"
    )


def torch_shape(shape: Shape, order: str, depthwise: bool) -> Shape:
    """Shape of a weight after `to_torch`."""
    if order == KERAS:
        height, width, into, out = shape
        return (into * out, 1, height, width) if depthwise else (out, into, height, width)
    return (shape[0], shape[3], shape[1], shape[2]) if order == MLX else shape


def to_torch(weight: np.ndarray, order: str, depthwise: bool) -> np.ndarray:
    """Transpose a weight to PyTorch's order, (out, in / groups, h, w)."""
    if order == KERAS:
        axes = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        return np.ascontiguousarray(weight.transpose(axes)).reshape(torch_shape(weight.shape, order, depthwise))
    return np.ascontiguousarray(weight.transpose(0, 3, 1, 2)) if order == MLX else weight


def grey_stem(shapes: Mapping[str, Shape]) -> str | None:
    """Find the first layer of a network for grey images; its weight (C, 1, kh, kw) has the same form as a depthwise one.

    Parameters
    ----------
    shapes : mapping
        Name to shape (PyTorch's order) of all convolution weights, in the order of the network, including 1×1.

    Returns
    -------
    str or None
        If no other layer can read the image, one of these has to: the first whose name or position marks it as the stem.
        None for partial networks, and for networks with a layer for colour images.
    """
    candidates = [name for name, shape in shapes.items() if kind_of(shape) == "depthwise"]
    others = {name: shape for name, shape in shapes.items() if shape[1] > 1}
    made = {shape[0] for shape in shapes.values()}
    if not candidates or not others or any(shape[1] == 3 for shape in others.values()):
        return None
    order = list(shapes)
    if any(
        shape[1] in _IMAGE_CHANNELS and shape[1] not in made and order.index(name) == 0
        for name, shape in others.items()
    ):
        return None
    if any(re.search(_STEM, name) and shape[1] <= 16 and shape[1] not in made for name, shape in others.items()):
        return None
    for name in candidates:
        if re.search(_STEM, name) and not re.search(_DEPTHWISE, name):
            return name
    first = candidates[0]
    if order[0] != first or re.search(_DEPTHWISE, first) or len(order) < 2:
        return None
    spatial = [name for name in order if kind_of(shapes[name])]
    alone = len(candidates) == 1 and len(spatial) > 1
    shallow = _depth(first) < sorted(map(_depth, order))[len(order) // 2]
    return first if alone or shallow or kind_of(shapes[order[1]]) else None


def _depth(name: str) -> int:
    return len(re.split(r"[./]", name))
