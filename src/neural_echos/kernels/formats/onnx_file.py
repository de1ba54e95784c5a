"""ONNX models: the Conv nodes give group, stride and dilation, so their layers are known exactly."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.kernels.formats.onnx_weights import Constants, NotConstant, array_of
from neural_echos.kernels.formats.opened import Checkpoint, Stored
from neural_echos.kernels.layers import Layer, numbered

_WEIGHT = {"Conv": 1, "FusedConv": 1, "QLinearConv": 3, "ConvInteger": 1}  # index of the weight among the inputs
_OTHER_LAYOUTS = {"NhwcConv", "NhwcFusedConv"}
_ANONYMOUS = re.compile(r"(?:.*::.*|_?\d+|(?:_?v|val|const\w*|initializer)_+\d+)(?:_quantized)?")
_TYPES = {1: "F32", 10: "F16", 11: "F64", 16: "BF16"}  # TensorProto.DataType of unquantised weights


@dataclass(frozen=True)
class _Convolution:
    """The weight, group, stride and dilation of one Conv node."""

    name: str  # of its weight
    node: str
    stored: Stored
    group: int
    stride: int | None
    dilation: int | None
    source: Any  # an initialiser, read on request, or an array computed from one by other nodes

    def read(self, path: Path) -> np.ndarray:
        return self.source if isinstance(self.source, np.ndarray) else _widened(array_of(path, self.source))


def open_onnx(path: Path) -> Checkpoint:
    """Open an ONNX model; its tensors are the weights of its two-dimensional convolutions.

    A weight that several nodes use is counted once. It is named after its initialiser, or after its node if the initialiser's
    name is generated ("onnx::Conv_123"). Transposed convolutions are not included.

    Raises
    ------
    EchosError
        The onnx package is missing, the model is incomplete or damaged, its external data are not in its folder, or a
        convolution's weight is computed while the model runs.
    """
    found: dict[str, _Convolution] = {}
    for convolution in _convolutions(path, _load(path)):
        name = next((one for one in (convolution.name, convolution.node) if _free(one, convolution, found)), None)
        if name is None:
            raise EchosError(
                f"{path}: two different weights have the name {convolution.node!r}; give the model's nodes names"
            )
        same = found.get(name)
        if same and (same.stride, same.dilation) != (convolution.stride, convolution.dilation):
            convolution = replace(same, stride=None, dilation=None)
        found[name] = convolution
    tensors = {name: one.stored for name, one in found.items()}
    spatial = {name: one for name, one in found.items() if one.stored.shape[2] * one.stored.shape[3] > 1}
    layers = numbered([_layer(name, one) for name, one in spatial.items()])
    return Checkpoint(path, tensors, lambda name: found[name].read(path), {"format": "onnx"}, layers)


def _free(name: str, convolution: "_Convolution", found: Mapping[str, "_Convolution"]) -> bool:
    """Whether a name is not taken by another weight; the same weight may occur several times."""
    other = found.get(name)
    if other is None:
        return True
    arrays = isinstance(other.source, np.ndarray) and isinstance(convolution.source, np.ndarray)
    return other.source is convolution.source or (
        arrays and np.array_equal(other.source, convolution.source, equal_nan=True)
    )


def _load(path: Path) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise EchosError(
            f"{path}: reading ONNX models needs the onnx package; install it with `pip install neural-echos[onnx]`"
        ) from None
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError):
        raise EchosError(f"{path}: the ONNX model is incomplete or damaged; fetch it again") from None
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    return model


def _convolutions(path: Path, model: Any) -> Iterator[_Convolution]:
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 13)
    for node, constants in _nodes(path, model.graph, opset):
        if node.op_type in _OTHER_LAYOUTS or (node.op_type in _WEIGHT and node.domain == "com.microsoft.nchwc"):
            raise EchosError(
                f"{path}: the node {_title(node)!r} ({node.op_type}) has weights in the layout of one runtime; "
                "name the model as it was before ONNX Runtime optimised it"
            )
        if node.op_type in _WEIGHT:
            try:
                convolution = _convolution(node, constants)
            except NotConstant as reason:
                raise EchosError(
                    f"{path}: the weight of the node {_title(node)!r} ({node.op_type}) is not stored but computed while the "
                    f"model runs, from {reason}; export the model with constant weights"
                ) from None
            if convolution is not None:
                yield convolution


def _nodes(path: Path, graph: Any, opset: int, outer: Constants | None = None) -> Iterator[tuple[Any, Constants]]:
    """Yield the nodes of a graph, and of the graphs inside them, in order."""
    constants = Constants(path, graph, opset, outer)
    for node in graph.node:
        yield node, constants
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(path, inner, opset, constants)


def _convolution(node: Any, constants: Constants) -> _Convolution | None:
    """Describe one convolution; None if it is not two-dimensional, or is 1×1 with a computed weight."""
    lists = {one.name: list(one.ints) for one in node.attribute}
    group = next((one.i for one in node.attribute if one.name == "group"), 1)
    size = lists.get("kernel_shape")
    if size and len(size) != 2:
        return None
    weight = node.input[_WEIGHT[node.op_type]]
    source = constants.tensors.get(weight) if node.op_type in ("Conv", "FusedConv") else None
    try:
        source = _quantised(node, constants, weight) if source is None else source
    except NotConstant:
        if size == [1, 1]:
            return None
        raise
    stored = _stored(source)
    if len(stored.shape) != 4:
        return None
    if not stored.dtype:
        raise EchosError(
            f"{constants.path}: the weight {weight!r} is not floating-point and has no scale; export the model again"
        )
    step, spread = (lists.get(name) or [1, 1] for name in ("strides", "dilations"))
    name, title = _names(node, constants.origin(weight))
    return _Convolution(name, title, stored, group, step[0], spread[0], source)


def _stored(source: Any) -> Stored:
    if isinstance(source, np.ndarray):
        return Stored(source.shape, "F64" if source.dtype == np.float64 else "F32")
    return Stored(tuple(source.dims), _TYPES.get(source.data_type, ""))


def _quantised(node: Any, constants: Constants, weight: str) -> np.ndarray:
    """Float weight of a convolution whose weight is quantised or computed by other nodes."""
    if node.op_type == "QLinearConv":
        return constants.dequantised(weight, node.input[4], node.input[5], axis=0)
    if node.op_type == "ConvInteger":
        zero_point = node.input[3] if len(node.input) > 3 else ""
        return constants.dequantised(weight, _scale_of(node, constants), zero_point, axis=0)
    return _widened(constants.value(weight))


def _scale_of(node: Any, constants: Constants) -> str:
    """Find the scale of a ConvInteger's weight among the factors that its result is multiplied by.

    The result is cast to float, then multiplied by two scales: the input's, which is computed from the input, and the weight's,
    which is stored. Their product may be computed first.
    """
    result, factors = node.output[0], list[str]()
    for _ in range(3):
        users = constants.users.get(result, [])
        if len(users) != 1 or users[0].op_type not in ("Cast", "Mul"):
            break
        factors += [one for one in users[0].input if one != result]
        result = users[0].output[0]
    for factor in list(factors):
        product = constants.makers.get(factor)
        if product is not None and getattr(product, "op_type", "") == "Mul":
            factors.remove(factor)
            factors += product.input
    stored = [one for one in factors if one in constants.tensors]
    if len(stored) == 1 and len(factors) == 2:
        return stored[0]
    raise NotConstant(f"{node.output[0]!r}, whose scale cannot be inferred from the nodes after it")


def _widened(values: np.ndarray) -> np.ndarray:
    """Convert floats to float32, unless they are float64."""
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


def _layer(name: str, one: _Convolution) -> Layer:
    shape = one.stored.shape
    kind = "depthwise" if one.group > 1 and shape[1] == 1 else "regular"
    return Layer(name.removesuffix(".weight"), kind, 0, 0.0, shape[2], shape[3], one.stride, one.dilation)


def _title(node: Any) -> str:
    return node.name or node.output[0]


def _names(node: Any, initialiser: str) -> tuple[str, str]:
    """Two names for a convolution's weight: from its initialiser, and from the module that the node represents.

    PyTorch names nodes by module path: "/stages/stages.0/blocks/blocks.1/conv_dw/Conv" is "stages.0.blocks.1.conv_dw".
    """
    title = _title(node)
    parts = [part for part in title.split("/") if part]
    if title.startswith("/") and len(parts) > 1:
        modules: list[str] = []
        for part in parts[:-1]:
            if modules and part.startswith(f"{modules[-1]}."):
                modules.pop()
            modules.append(part)
        title = ".".join(modules)
    title = f"{title.replace('/', '.')}.weight"
    if _ANONYMOUS.fullmatch(initialiser):
        return title, title
    name = initialiser.removesuffix("_quantized").removesuffix(".weight").replace("/", ".")
    return f"{name}.weight", title
