"""Constant values in an ONNX graph: initialisers, stored inside or outside the file, and what nodes compute from them.

A weight is often de-quantised, cast or transposed on the way to its convolution. Such nodes are evaluated with the onnx package's
reference implementation, so the result is what the standard defines. Only operators whose result is no larger than their
largest input are evaluated, so that a small file cannot exhaust the memory.
"""

from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.kernels.formats.folders import leaves_its_folder

_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"}
_EVALUATED = _ELEMENTWISE | {
    *(
        "Identity",
        "Transpose",
        "DequantizeLinear",
        "QuantizeLinear",
        "Cast",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
    ),
    *("Slice", "Neg", "Abs", "Sqrt", "Reciprocal", "Exp", "Clip", "ReduceL2", "ReduceSum", "ReduceMean", "ReduceMax"),
}
_STANDARD = {"", "ai.onnx", "com.microsoft"}
_QUANTISED_SINCE = 21  # first opset that de-quantises all types, with the same results as earlier ones


class NotConstant(Exception):
    """A value is computed while the model runs; the text says from what."""


class Constants:
    """The constant values of a graph, and of the graphs inside its nodes (branches and loops).

    Parameters
    ----------
    path : Path
        The model's file; external data are beside it.
    graph : GraphProto
        The graph.
    opset : int
        The operator-set version of the model.
    outer : Constants, optional
        Constants of the enclosing graph, which are visible here.
    """

    def __init__(self, path: Path, graph: Any, opset: int, outer: "Constants | None" = None):
        self.path, self.opset = path, opset
        self.tensors: ChainMap[str, Any] = outer.tensors.new_child() if outer else ChainMap()
        self.makers: ChainMap[str, Any] = outer.makers.new_child() if outer else ChainMap()
        self.users: dict[str, list[Any]] = {}
        self._known: dict[str, np.ndarray] = {}
        self.tensors |= {tensor.name: tensor for tensor in graph.initializer}
        self.makers |= {one.values.name: one for one in graph.sparse_initializer}
        for node in graph.node:
            value = next((one for one in node.attribute if node.op_type == "Constant" and one.name == "value"), None)
            if value is not None:
                self.tensors[node.output[0]] = value.t
            else:
                self.makers |= dict.fromkeys(node.output, node)
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def origin(self, name: str) -> str:
        """Name of the initialiser that a constant is computed from; the largest if there are several."""
        while name not in self.tensors:
            name = max((one for one in self.makers[name].input if one), key=lambda one: self.value(one).size)
        return name

    def value(self, name: str) -> np.ndarray:
        """Evaluate a constant.

        Raises
        ------
        NotConstant
            The value depends on the model's inputs, or on an operator that is not evaluated.
        EchosError
            The bytes are missing or damaged.
        """
        if name not in self._known:
            self._known[name] = array_of(self.path, self.tensors[name]) if name in self.tensors else self._made(name)
        return self._known[name]

    def _made(self, name: str) -> np.ndarray:
        node = self.makers.get(name)
        kind = getattr(node, "op_type", None)
        if node is None or kind is None:
            raise NotConstant(f"{name!r}, which is sparse" if node is not None else f"{name!r}, an input of the model")
        if kind not in _EVALUATED or node.domain not in _STANDARD or len(node.output) != 1:
            raise NotConstant(f"{name!r}, a result of {kind}")
        try:
            given = {one: self.value(one) for one in node.input if one}
        except RecursionError:
            raise NotConstant(f"{name!r}, a result of too many nodes") from None
        if kind in _ELEMENTWISE:
            shapes = [one.shape for one in given.values()]
            if np.prod(np.broadcast_shapes(*shapes), dtype=np.float64) > max(one.size for one in given.values()):
                raise NotConstant(f"{name!r}, a result of {kind} that is larger than its inputs")
        return self.evaluate(node, given)

    def dequantised(self, weight: str, scale: str, zero_point: str, axis: int) -> np.ndarray:
        """(weight − zero point) · scale, with one scale or one per entry along `axis`."""
        from onnx import helper

        names = [weight, scale, *([zero_point] if zero_point else [])]
        given = {f"x{number}": self.value(name) for number, name in enumerate(names)}
        given["x1"] = given["x1"].reshape(-1) if given["x1"].size > 1 else given["x1"].reshape(())
        if zero_point:
            given["x2"] = np.broadcast_to(given["x2"].reshape(-1), given["x1"].shape or (1,)).reshape(given["x1"].shape)
        return self.evaluate(helper.make_node("DequantizeLinear", list(given), ["y"], axis=axis), given)

    def evaluate(self, node: Any, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """Evaluate one node with the reference implementation."""
        from onnx import AttributeProto, GraphProto, NodeProto, helper
        from onnx.reference import ReferenceEvaluator

        own = NodeProto()
        own.CopyFrom(node)
        own.domain = ""
        opset = max(self.opset, _QUANTISED_SINCE) if node.op_type.endswith("Linear") else self.opset
        if any(one.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for one in own.attribute):
            raise NotConstant(f"{node.output[0]!r}, a result of {node.op_type}")
        graph = GraphProto(name="one", node=[own])
        graph.input.extend(helper.make_empty_tensor_value_info(name) for name in given)
        graph.output.append(helper.make_empty_tensor_value_info(own.output[0]))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        try:
            results: Any = ReferenceEvaluator(model).run(None, dict(given))
            return results[0]
        except Exception as error:  # the reference implementation raises almost anything on bad input
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise EchosError(
                f"{self.path}: the constant {node.output[0]!r} cannot be evaluated ({reason}); export it again"
            ) from None


def array_of(path: Path, tensor: Any) -> np.ndarray:
    """Values of one initialiser, from the model's file or a file beside it.

    Raises
    ------
    EchosError
        The file with the values is missing, too short, or outside the model's folder; or the values do not fit the shape.
    """
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL:
        own = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        own.raw_data = _external(path, tensor)
        tensor = own
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise EchosError(
            f"{path}: the initialiser {tensor.name!r} is damaged ({error}); export the model again"
        ) from None


def _external(path: Path, tensor: Any) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if not location or leaves_its_folder(location):
        raise EchosError(
            f"{path}: the values of {tensor.name!r} are in {location!r}, outside the model's folder, which is not read; "
            "save the model with its external data beside it"
        )
    file = path.parent / location
    if not file.is_file():
        raise EchosError(f"{path}: the external data {location!r} is missing; fetch it into the same folder")
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", file.stat().st_size - offset))
    except ValueError:
        raise EchosError(
            f"{path}: the external data of {tensor.name!r} has no valid offset or length; export the model again"
        ) from None
    if offset < 0 or length < 0 or offset + length > file.stat().st_size:
        raise EchosError(f"{file}: this external data of {path.name} is incomplete; fetch it again")
    with file.open("rb") as source:
        source.seek(offset)
        return source.read(length)
