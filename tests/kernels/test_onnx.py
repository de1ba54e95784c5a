"""ONNX models: layers are exact, weights are what the convolutions use, whatever way they take to them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from neural_echos.errors import EchosError  # noqa: E402
from neural_echos.kernels import bank_from_checkpoint, bank_from_model  # noqa: E402
from neural_echos.kernels.formats import Checkpoint, Stored, open_checkpoint  # noqa: E402

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((4, 1, 3, 3)).astype(np.float32)
INTEGERS = RNG.integers(-128, 128, (4, 1, 3, 3), dtype=np.int8)
SCALES = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
ZEROS = np.array([0, 1, -2, 3], np.int8)
BY_CHANNEL = (INTEGERS.astype(np.float32) - ZEROS.reshape(4, 1, 1, 1)) * SCALES.reshape(4, 1, 1, 1)
ONE_SCALE = INTEGERS.astype(np.float32) * np.float32(0.05)


def conv(
    weight: str = "a.weight", output: str = "y", source: str = "x", op: str = "Conv", name: str = "", **given: object
):
    return helper.make_node(op, [source, weight], [output], name=name, **({"group": 4, "kernel_shape": [3, 3]} | given))


def model_of(
    nodes: list,
    values: dict[str, np.ndarray] | None = None,
    opset: int = 21,
    tensors: tuple = (),
    functions: tuple = (),
):
    """Build a model whose initialisers are `values` and `tensors`."""
    initialisers = [numpy_helper.from_array(value, name) for name, value in (values or {}).items()]
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])
    result = helper.make_empty_tensor_value_info(nodes[-1].output[0])
    graph = helper.make_graph(nodes, "net", [shape], [result], [*initialisers, *tensors])
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=domains, functions=functions)


def opened(tmp_path: Path, nodes: list, values: dict[str, np.ndarray] | None = None, **given: object) -> Checkpoint:
    (tmp_path / "m.bin").write_bytes(model_of(nodes, values, **given).SerializeToString())
    return open_checkpoint(tmp_path / "m.bin")  # the content decides


def refusal(tmp_path: Path, nodes: list, values: dict[str, np.ndarray] | None = None, **given: object) -> str:
    with pytest.raises(EchosError) as caught:
        found = opened(tmp_path, nodes, values, **given)
        for name in found.tensors:
            found.read(name)
    assert str(caught.value).startswith(f"{tmp_path}/") and "\n" not in str(caught.value)
    return str(caught.value)


def test_the_nodes_say_kind_stride_and_dilation(tmp_path):
    weights = {
        "grouped.weight": np.ones((4, 2, 3, 3), np.float32),
        "stem.weight": np.ones((4, 1, 3, 3), np.float32),
        "a.weight": WEIGHT,
        "pointwise.weight": np.ones((4, 4, 1, 1), np.float32),
        "up.weight": WEIGHT,
        "line.weight": np.ones((4, 1, 3), np.float32),
    }
    nodes = [
        conv("stem.weight", "s", group=1, strides=[2, 2]),
        conv("grouped.weight", "g", group=2),
        conv("a.weight", "d", strides=[2, 1], dilations=[3, 3]),
        conv("pointwise.weight", "p", group=1, kernel_shape=[1, 1]),
        conv("up.weight", "u", op="ConvTranspose"),
        conv("line.weight", "l", kernel_shape=[3]),
    ]
    found = opened(tmp_path, nodes, weights)
    assert [(one.name, one.kind, one.index, one.stride, one.dilation) for one in found.layers] == [
        ("stem", "regular", 0, 2, 1),
        ("grouped", "regular", 1, 1, 1),
        ("a", "depthwise", 0, 2, 3),
    ]
    assert found.metadata == {"format": "onnx"}
    assert list(found.tensors) == ["stem.weight", "grouped.weight", "a.weight", "pointwise.weight"]
    np.testing.assert_array_equal(found.read("a.weight"), WEIGHT)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_model_that_torch_exported(tmp_path):
    block = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, stride=2, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1))
    model = nn.Sequential(nn.Conv2d(3, 4, 5, dilation=2), nn.Sequential(block)).eval()
    torch.onnx.export(model, (torch.zeros(1, 3, 32, 32),), tmp_path / "m.onnx", dynamo=False)
    found = open_checkpoint(tmp_path / "m.onnx")
    assert [(one.name, one.kind, one.stride, one.dilation) for one in found.layers] == [
        ("0", "regular", 1, 2),
        ("1.0.0", "depthwise", 2, 1),  # its weight, folded with the batch norm, has no name of its own
    ]
    np.testing.assert_array_equal(found.read("0.weight"), model[0].weight.detach().numpy())
    scale = 1 / np.sqrt(1 + block[1].eps)
    np.testing.assert_allclose(found.read("1.0.0.weight"), block[0].weight.detach().numpy() * scale, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_bank_of_an_exported_model_is_the_models_own(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.Conv2d(4, 8, 3, groups=4, dilation=2)).eval()
    torch.onnx.export(model, (torch.zeros(1, 1, 32, 32),), tmp_path / "m.onnx", dynamo=False)
    assert bank_from_checkpoint(tmp_path / "m.onnx", "m").equals(bank_from_model(model, "m"))


@pytest.mark.parametrize("name", ["ema.a.weight", "a.parametrizations.weight.original0", "filt", "pos_embed"])
def test_names_do_not_matter_where_the_nodes_say_what_is_a_layer(tmp_path, name):
    nodes = [conv("a.weight", "b"), conv(name, "y", source="b")]
    opened(tmp_path, nodes, {"a.weight": WEIGHT, name: WEIGHT + 1})
    assert bank_from_checkpoint(tmp_path / "m.bin", "m").num_rows == 8


@pytest.mark.parametrize(
    ("initialiser", "node", "name"),
    [
        ("blocks.0.weight", "/blocks/blocks.0/Conv", "blocks.0"),
        ("onnx::Conv_123", "/stages/stages.0/blocks/blocks.1/conv_dw/Conv", "stages.0.blocks.1.conv_dw"),
        ("onnx::Conv_123", "Conv_7", "Conv_7"),
        ("onnx::Conv_123", "", "y"),
        ("123", "Conv_7", "Conv_7"),
        ("val_5", "node_conv2d", "node_conv2d"),
        ("a.weight_quantized", "", "a"),
        ("net/dw/depthwise_kernel:0", "", "net.dw.depthwise_kernel:0"),
        ("const_fold_opt__12", "net/dw/depthwise", "net.dw.depthwise"),
    ],
)
def test_names_come_from_initialisers_or_nodes(tmp_path, initialiser, node, name):
    found = opened(tmp_path, [conv(initialiser, name=node)], {initialiser: WEIGHT})
    assert [one.name for one in found.layers] == [name]
    assert list(found.tensors) == [f"{name}.weight"]


TYPES = {
    "F16": WEIGHT.astype(np.float16),
    "F64": WEIGHT.astype(np.float64),
    "BF16": torch.from_numpy(WEIGHT).bfloat16(),
}


@pytest.mark.parametrize("dtype", TYPES)
def test_floats_of_other_widths_are_read_exactly(tmp_path, dtype):
    value = TYPES[dtype]
    if dtype == "BF16":
        raw = value.view(torch.int16).numpy().tobytes()
        tensor = helper.make_tensor("a.weight", TensorProto.BFLOAT16, WEIGHT.shape, raw, raw=True)
        value = value.float().numpy()
    else:
        tensor = numpy_helper.from_array(value, "a.weight")
    found = opened(tmp_path, [conv()], tensors=(tensor,))
    assert found.tensors == {"a.weight": Stored((4, 1, 3, 3), dtype)}
    assert found.read("a.weight").dtype == (np.float64 if dtype == "F64" else np.float32)
    np.testing.assert_array_equal(found.read("a.weight"), value)


def node(op: str, inputs: list[str], output: str = "w", **given: object):
    return helper.make_node(op, inputs, [output], **given)


INTEGER = {"a.weight": INTEGERS, "s": SCALES, "z": ZEROS, "one": np.array(0.05, np.float32)}
WAYS = {
    "Identity": ([node("Identity", ["a.weight"])], {"a.weight": WEIGHT}, WEIGHT),
    "Constant": ([node("Constant", [], value=numpy_helper.from_array(WEIGHT))], {}, WEIGHT),
    "Transpose": (
        [node("Transpose", ["a.weight"], perm=[2, 3, 0, 1])],
        {"a.weight": WEIGHT},
        WEIGHT.transpose(2, 3, 0, 1),
    ),
    "Cast": ([node("Cast", ["a.weight"], to=TensorProto.FLOAT)], {"a.weight": TYPES["F16"]}, TYPES["F16"]),
    "Reshape": (
        [node("Reshape", ["a.weight", "size"])],
        {"a.weight": WEIGHT.reshape(4, 9), "size": np.array([4, 1, 3, 3])},
        WEIGHT,
    ),
    "Mul": (
        [node("Mul", ["s", "a.weight"])],
        {"a.weight": WEIGHT, "s": SCALES.reshape(4, 1, 1, 1)},
        WEIGHT * SCALES.reshape(4, 1, 1, 1),
    ),
    "scale for each channel": ([node("DequantizeLinear", ["a.weight", "s", "z"], axis=0)], INTEGER, BY_CHANNEL),
    "one scale": ([node("DequantizeLinear", ["a.weight", "one"])], INTEGER, ONE_SCALE),
    "Microsoft's operator": (
        [node("DequantizeLinear", ["a.weight", "one"], domain="com.microsoft")],
        INTEGER,
        ONE_SCALE,
    ),
    "simulated quantisation": (
        [node("QuantizeLinear", ["a.weight", "one", "zero"], "q"), node("DequantizeLinear", ["q", "one", "zero"])],
        {"a.weight": WEIGHT, "one": np.array(0.05, np.float32), "zero": np.array(0, np.int8)},
        np.clip(np.rint(WEIGHT / np.float32(0.05)), -128, 127) * np.float32(0.05),
    ),
}


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize("way", WAYS)
def test_a_weight_made_by_other_nodes_is_what_they_make(tmp_path, way, opset):
    nodes, values, wanted = WAYS[way]
    found = opened(tmp_path, [*nodes, conv("w", kernel_shape=list(wanted.shape[2:]))], values, opset=opset)
    (name,) = found.tensors
    np.testing.assert_array_equal(found.read(name), wanted)
    assert found.read(name).dtype == np.float32
    if way != "Constant":
        assert name == "a.weight"


def test_four_bit_weights_are_dequantised(tmp_path):
    quarter = (np.arange(36) % 16 - 8).astype(np.float32)
    tensor = helper.make_tensor("a.weight", TensorProto.INT4, WEIGHT.shape, quarter.astype(int).tolist())
    dequantise = node("DequantizeLinear", ["a.weight", "one"])
    found = opened(tmp_path, [dequantise, conv("w")], {"one": np.array(0.5, np.float32)}, tensors=(tensor,))
    np.testing.assert_array_equal(found.read("a.weight"), quarter.reshape(WEIGHT.shape) * 0.5)


@pytest.mark.parametrize("scale", ["FLOAT", "FLOAT16"])
def test_eight_bit_floats_are_dequantised(tmp_path, scale):
    eighth = torch.from_numpy(WEIGHT).to(torch.float8_e4m3fn)
    raw = eighth.view(torch.uint8).numpy().tobytes()
    tensor = helper.make_tensor("a.weight", TensorProto.FLOAT8E4M3FN, WEIGHT.shape, raw, raw=True)
    values = {"one": np.array(0.5, np.float32 if scale == "FLOAT" else np.float16)}
    found = opened(tmp_path, [node("DequantizeLinear", ["a.weight", "one"]), conv("w")], values, tensors=(tensor,))
    np.testing.assert_array_equal(found.read("a.weight"), eighth.float().numpy() * 0.5)


@pytest.mark.parametrize("by_channel", [False, True])
def test_qlinearconv_is_dequantised(tmp_path, by_channel):
    values = INTEGER | {"xs": np.array(1, np.float32), "xz": np.array(0, np.uint8), "zero": np.array(0, np.int8)}
    scale, zero = ("s", "z") if by_channel else ("one", "zero")
    inputs = ["x", "xs", "xz", "a.weight", scale, zero, "xs", "xz"]
    found = opened(tmp_path, [helper.make_node("QLinearConv", inputs, ["y"], group=4)], values)
    np.testing.assert_array_equal(found.read("a.weight"), BY_CHANNEL if by_channel else ONE_SCALE)
    assert found.layers[0].kind == "depthwise"


def dynamic(scale: str) -> list:
    """Nodes as ONNX Runtime's dynamic quantisation writes them."""
    return [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("ConvInteger", ["xq", "a.weight", "xz", "zero"], ["i"], group=4, kernel_shape=[3, 3]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", scale], ["product"]),
        helper.make_node("Mul", ["product", "f"], ["y"]),
    ]


def test_convinteger_takes_the_scale_from_the_nodes_after_it(tmp_path):
    found = opened(tmp_path, dynamic("one"), INTEGER | {"zero": np.array(3, np.int8)})
    np.testing.assert_array_equal(found.read("a.weight"), (INTEGERS.astype(np.float32) - 3) * np.float32(0.05))


def test_convinteger_may_be_multiplied_by_one_scale_after_the_other(tmp_path):
    nodes = [*dynamic("one")[:3], node("Mul", ["f", "one"], "g"), node("Mul", ["g", "xs"], "y")]
    found = opened(tmp_path, nodes, INTEGER | {"zero": np.array(0, np.int8)})
    np.testing.assert_array_equal(found.read("a.weight"), ONE_SCALE)


def test_convinteger_without_a_scale_is_refused(tmp_path):
    product = [*dynamic("one")[:3], node("Mul", ["f", "one"], "y")]  # the product of two scales, or one of them
    for nodes in (dynamic("one")[:2], product):
        said = refusal(tmp_path, nodes, INTEGER | {"zero": np.array(3, np.int8)})
        assert "ConvInteger" in said and "scale cannot be inferred" in said


def test_a_weight_of_two_nodes_is_counted_once(tmp_path):
    nodes = [conv(output="b", strides=[2, 2]), conv(output="y", source="b")]
    found = opened(tmp_path, nodes, {"a.weight": WEIGHT})
    assert [(one.name, one.stride, one.dilation) for one in found.layers] == [("a", None, None)]
    nodes = [node("Transpose", ["a.weight"], name, perm=[0, 1, 3, 2]) for name in ("v", "w")]
    found = opened(tmp_path, [*nodes, conv("v", "b"), conv("w", source="b")], {"a.weight": WEIGHT})
    assert [one.name for one in found.layers] == ["a"]


def test_two_weights_made_of_one_initialiser_are_two(tmp_path):
    nodes = [node("Transpose", ["a.weight"], perm=[0, 1, 3, 2]), conv(output="b"), conv("w", source="b", name="second")]
    found = opened(tmp_path, nodes, {"a.weight": WEIGHT})
    assert [one.name for one in found.layers] == ["a", "second"]
    np.testing.assert_array_equal(found.read("second.weight"), WEIGHT.transpose(0, 1, 3, 2))


def test_convolutions_in_branches_and_functions_are_found(tmp_path):
    branches = {}
    for branch in ("then", "else"):
        result = helper.make_empty_tensor_value_info(f"{branch}_y")
        own = numpy_helper.from_array(WEIGHT + 1, f"{branch}.weight")
        weight = "a.weight" if branch == "then" else "else.weight"
        branches[f"{branch}_branch"] = helper.make_graph([conv(weight, f"{branch}_y")], branch, [], [result], [own])
    nodes = [helper.make_node("If", ["condition"], ["y"], **branches)]
    found = opened(tmp_path, nodes, {"a.weight": WEIGHT, "condition": np.array(True)})
    assert sorted(one.name for one in found.layers) == ["a", "else"]
    function = helper.make_function("own", "Block", ["x", "w"], ["y"], [conv("w")], [helper.make_opsetid("", 21)])
    nodes = [helper.make_node("Block", ["x", "a.weight"], ["y"], domain="own")]
    found = opened(tmp_path, nodes, {"a.weight": WEIGHT}, functions=(function,))
    assert [one.name for one in found.layers] == ["a"]


REFUSED = {
    "input": ([conv("x", name="odd")], {}, ["'odd'", "an input of the model"]),
    "computed": ([node("Relu", ["x"]), conv("w", name="odd")], {}, ["'odd'", "a result of Relu"]),
    "mixed": ([node("Mul", ["a.weight", "x"]), conv("w", name="odd")], {"a.weight": WEIGHT}, ["'odd'", "an input of"]),
    "inflated": (
        [node("Mul", ["a", "b"]), conv("w")],
        {"a": np.ones((9999, 1, 1, 1), np.float32), "b": np.ones((1, 1, 99, 99), np.float32)},
        ["larger than its inputs"],
    ),
    "integers": ([conv()], {"a.weight": INTEGERS}, ["'a.weight'", "no scale"]),
    "layout of a runtime": (
        [conv(op="NhwcFusedConv", domain="com.microsoft")],
        {"a.weight": WEIGHT},
        ["NhwcFusedConv"],
    ),
    "scales that do not fit": (
        [node("DequantizeLinear", ["a.weight", "s"], axis=0), conv("w")],
        {"a.weight": INTEGERS, "s": SCALES[:3]},
        ["'w' cannot be evaluated"],
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_weight_that_is_not_stored_is_refused_by_name(tmp_path, kind):
    nodes, values, parts = REFUSED[kind]
    said = refusal(tmp_path, nodes, values)
    assert all(part in said for part in parts), said


# External data


def external(folder: Path, location: str = "m.onnx_data") -> Path:
    model = model_of([conv(), conv("b.weight", "z", source="y")], {"a.weight": WEIGHT, "b.weight": WEIGHT + 1})
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.onnx_data", size_threshold=0)
    if location != "m.onnx_data":
        model = onnx.load(folder / "m.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            tensor.external_data[0].value = location
        onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def test_external_data_are_read(tmp_path):
    found = open_checkpoint(external(tmp_path))
    np.testing.assert_array_equal(found.read("b.weight"), WEIGHT + 1)


@pytest.mark.parametrize("location", ["../m.onnx_data", "/etc/passwd", "a/../../x", "..\\x", "C:\\x"])
def test_external_data_outside_the_folder_are_refused(tmp_path, location):
    (tmp_path / "in").mkdir()
    found = open_checkpoint(external(tmp_path / "in", location))
    with pytest.raises(EchosError, match="outside the model's folder"):
        found.read("a.weight")


def test_external_data_that_are_missing_or_short_are_named(tmp_path):
    found = open_checkpoint(external(tmp_path))
    data = tmp_path / "m.onnx_data"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(EchosError, match=r"m\.onnx_data: .*incomplete; fetch it again"):
        found.read("b.weight")
    data.unlink()
    with pytest.raises(EchosError, match=r"'m\.onnx_data' is missing"):
        found.read("b.weight")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_model_cut_short_is_to_be_fetched_again(tmp_path, share):
    whole = model_of([conv()], {"a.weight": WEIGHT}).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(EchosError, match="incomplete"):
        open_checkpoint(tmp_path / "m.onnx")
