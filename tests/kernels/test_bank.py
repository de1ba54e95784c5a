"""Kernels: counts that the papers state, taps that are the model's own, and every checkpoint that must be refused."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks_and_files import WAYS, as_pth, as_safetensors, complaint, fresh, on_meta, small
from torch import nn

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_…)
from neural_echos.errors import EchosError
from neural_echos.kernels import (
    Layer,
    bank_from_checkpoint,
    bank_from_model,
    layers_of,
)
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"


needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="needs the data folder beside the checkout (../shared/data)"
)


pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's own remark on rubbish


MODELS = ("mobilenetv2_035", "convnext_atto", "convmixer_small", "hornet_small_images")


def counts(bank: pa.Table) -> Counter[tuple[str, int, int]]:
    return Counter(zip(*(bank[name].to_pylist() for name in ("kind", "kernel_height", "kernel_width")), strict=True))


# What is a kernel


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("convnext_tiny", 6_624, 7),
        ("convnext_small", 13_536, 7),
        ("convnext_base", 18_048, 7),
        ("convnext_large", 27_072, 7),
        ("convnext_xlarge", 36_096, 7),
        ("convnextv2_atto", 1_840, 7),
        ("convnextv2_femto", 2_208, 7),
        ("convnextv2_pico", 2_944, 7),
        ("convnextv2_nano", 4_320, 7),
        ("convnextv2_tiny", 6_624, 7),
        ("convmixer_768_32", 24_576, 7),
        ("convmixer_1536_20", 30_720, 9),
        ("mobilenetv2_035", 2_608, 3),
    ],
)
def test_published_networks_have_as_many_depthwise_kernels_as_the_papers_say(name, count, size):
    model = on_meta(name)
    depthwise = [layer for layer in layers_of(model) if layer.kind == "depthwise"]
    assert sum(model.get_submodule(layer.name).out_channels for layer in depthwise) == count
    assert {(layer.kernel_height, layer.kernel_width) for layer in depthwise} == {(size, size)}


@pytest.mark.parametrize("name", MODELS)
def test_a_bank_holds_what_the_modules_hold(name):
    model = fresh(name)
    bank = bank_from_model(model, name, regular_per_layer=10**9)
    expected = Counter()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            kind = "depthwise" if module.groups == module.in_channels > 1 else "regular"
            expected[kind, *module.kernel_size] += module.weight.shape[0] * module.weight.shape[1]
    assert counts(bank) == expected
    assert bank.schema == SCHEMAS["bank"]
    assert bank["model"].unique().to_pylist() == [name]


def test_every_sort_of_layer_is_told_apart():
    found = {layer.name: layer for layer in layers_of(small())}
    assert found == {
        "0": Layer("0", "regular", 0, 0.0, 3, 3, 2, 1),  # one input channel: nothing to be depthwise over
        "1": Layer("1", "depthwise", 0, 0.0, 5, 5, 1, 2),
        "3": Layer("3", "depthwise", 1, 1.0, 1, 7, 1, 1),
        "4": Layer("4", "regular", 1, 1.0, 3, 3, 1, 1),  # groups of several channels
    }


def test_rows_are_sorted_and_every_tap_is_the_models_own():
    model = small()
    bank = bank_from_model(model, "small")
    assert bank["layer"].to_pylist() == ["0"] * 4 + ["1"] * 4 + ["3"] * 12 + ["4"] * 24
    for row in bank.to_pylist():
        kernel = model.get_submodule(row["layer"]).weight[row["channel"], row["input_channel"]]
        assert row["taps"] == kernel.flatten().tolist()
        assert (row["kernel_height"], row["kernel_width"]) == kernel.shape
    assert bank.filter(pc.equal(bank["layer"], "3"))["channel"].to_pylist() == list(range(12))


def test_a_single_convolution_and_a_shared_weight_are_models_too():
    conv = nn.Conv2d(4, 4, 3, groups=4)
    assert bank_from_model(conv, "one").num_rows == 4
    twin = nn.Conv2d(4, 4, 3, groups=4)
    twin.weight = conv.weight
    bank = bank_from_model(nn.Sequential(conv, twin), "two")
    assert bank["layer"].to_pylist() == ["0"] * 4  # a tied weight is counted once


@pytest.mark.parametrize(
    "model", [nn.Sequential(), nn.Linear(3, 3), nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv1d(8, 8, 3))]
)
def test_a_model_without_spatial_convolutions_is_refused(model):
    with pytest.raises(EchosError, match=r"^x: there are no convolutions with kernels"):
        bank_from_model(model, "x")


@settings(deadline=None, max_examples=30)
@given(
    outputs=st.integers(1, 12),
    inputs=st.integers(1, 12),
    cap=st.integers(0, 160),
    size=st.sampled_from([(3, 3), (1, 2)]),
)
def test_regular_layers_are_thinned_evenly_and_depthwise_ones_never(outputs, inputs, cap, size):
    model = nn.Sequential(nn.Conv2d(inputs, outputs, size), nn.Conv2d(outputs + 1, outputs + 1, 3, groups=outputs + 1))
    bank = bank_from_model(model, "m", regular_per_layer=cap)
    regular = bank.filter(pc.equal(bank["layer"], "0")).to_pandas()
    pairs = regular.channel.to_numpy() * inputs + regular.input_channel.to_numpy()
    assert len(pairs) == min(cap, outputs * inputs)
    assert (np.diff(pairs) > 0).all()
    if len(pairs) > 1:
        assert (pairs[0], pairs[-1]) == (0, outputs * inputs - 1)
        assert np.diff(pairs).max() - np.diff(pairs).min() <= 1
    for row in regular.itertuples():
        expected = model[0].weight[row.channel, row.input_channel].flatten().tolist()
        assert list(row.taps) == expected
    assert bank.num_rows - len(pairs) == outputs + 1


def test_a_negative_number_of_regular_kernels_is_refused():
    with pytest.raises(EchosError, match="must be at least 0, not -1"):
        bank_from_model(small(), "m", regular_per_layer=-1)


# Checkpoints


@pytest.mark.parametrize("way", WAYS)
def test_the_checkpoint_gives_the_models_bank(tmp_path, way):
    model = fresh("convmixer_small")
    path = WAYS[way](model.state_dict(), tmp_path)
    expected = bank_from_model(model, "m")
    assert bank_from_checkpoint(path, "m", layers=layers_of(model)).equals(expected)
    bare = bank_from_checkpoint(path, "m")  # by the shapes alone: strides and dilations stay unknown
    known = [name for name in expected.column_names if name not in ("stride", "dilation", "layer_index", "depth")]
    order = [("layer", "ascending"), ("channel", "ascending"), ("input_channel", "ascending")]
    assert bare.select(known).sort_by(order).equals(expected.select(known).sort_by(order))
    assert bare["stride"].null_count == bare["dilation"].null_count == bare.num_rows


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_a_compiled_or_wrapped_model_gives_the_bank_of_the_model_itself(tmp_path, wrap):
    model = small()
    expected = bank_from_model(model, "m")
    assert bank_from_model(wrap(model), "m").equals(expected)
    for saved in (model, wrap(model)):
        path = as_safetensors(saved.state_dict(), tmp_path)
        assert bank_from_checkpoint(path, "m", layers=layers_of(wrap(model))).equals(expected)


@pytest.mark.parametrize("way", ["safetensors", "pth"])
def test_a_prefix_that_all_layers_share_is_taken_off(tmp_path, way):
    model = fresh("convmixer_small")
    others = {"teacher.blocks.0.0.fn.0.weight": torch.ones(64, 1, 9, 9), "head.weight": torch.ones(3, 3)}
    under = {
        name: {f"{name}.{key}": value.clone() for key, value in model.state_dict().items()} for name in ("a", "a.b")
    }
    path = WAYS[way](under["a.b"] | others, tmp_path)
    assert bank_from_checkpoint(path, "m", layers=layers_of(model)).equals(bank_from_model(model, "m"))
    both = WAYS[way](under["a"] | under["a.b"], tmp_path)
    assert "the same layers appear under several prefixes (a, a.b); choose one with --weights" in complaint(
        both, layers_of(model)
    )
    chosen = bank_from_checkpoint(both, "m", layers=layers_of(model), weights="a.b")
    assert chosen.equals(bank_from_model(model, "m"))


@pytest.mark.parametrize("way", ["safetensors", "pth"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read_exactly(tmp_path, way, dtype):
    model = fresh("convmixer_small").to(dtype)
    path = WAYS[way](model.state_dict(), tmp_path)
    assert bank_from_checkpoint(path, "m", layers=layers_of(model)).equals(bank_from_model(model, "m"))


def test_only_the_kernels_are_read_from_safetensors(tmp_path):
    model = small()
    others = {"huge": torch.zeros(1000, 1000, dtype=torch.int64), "table.weight": torch.zeros(5, 5, dtype=torch.int8)}
    path = as_safetensors({**model.state_dict(), **others}, tmp_path)
    raw = path.read_bytes()
    start = raw.index(b"\0" * 4_000_000)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 4_000_000)  # what is not a kernel may be rubbish
    assert bank_from_checkpoint(path, "m", layers=layers_of(model)).equals(bank_from_model(model, "m"))


def test_layers_without_a_model_are_sorted_as_people_count(tmp_path):
    names = ["blocks.10.dw", "blocks.9.dw", "blocks.9.a", "stem", "blocks.9b.dw", "1.x"]
    path = as_safetensors({f"{name}.weight": torch.ones(2, 1, 3, 3) for name in names}, tmp_path)
    bank = bank_from_checkpoint(path, "m")
    expected = ["1.x", "blocks.9.a", "blocks.9.dw", "blocks.9b.dw", "blocks.10.dw", "stem"]
    assert bank["layer"].unique().to_pylist() == expected
    assert bank["layer_index"].unique().to_pylist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(bank["depth"].unique().to_pylist(), np.arange(6) / 5)


def test_shapes_alone_decide_the_kind(tmp_path):
    shapes = {
        "depthwise.weight": (8, 1, 3, 3),
        "regular.weight": (8, 4, 3, 3),
        "lonely.weight": (1, 1, 5, 5),
        "pointwise.weight": (8, 8, 1, 1),
        "linear.weight": (7, 7),
        "volume.weight": (4, 1, 3, 3, 3),
        "bias": (8,),
    }
    path = as_safetensors({name: torch.randn(shape) for name, shape in shapes.items()}, tmp_path)
    bank = bank_from_checkpoint(path, "m")
    assert counts(bank) == {("depthwise", 3, 3): 8, ("regular", 3, 3): 32, ("regular", 5, 5): 1}


def test_a_separable_pair_is_two_layers_of_rectangular_kernels(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 6, (1, 11), groups=6), nn.Conv2d(6, 6, (11, 1), groups=6))
    bank = bank_from_checkpoint(as_safetensors(model.state_dict(), tmp_path), "m", layers=layers_of(model))
    assert counts(bank) == {("depthwise", 1, 11): 6, ("depthwise", 11, 1): 6}
    assert bank["layer_index"].unique().to_pylist() == [0, 1]
    assert kernels_of(bank, 11, 1)[1].tolist() == model[1].weight[:, 0].tolist()
    assert bank_from_checkpoint(as_safetensors(model.state_dict(), tmp_path), "m")["taps"].equals(bank["taps"])


def test_several_kernels_a_channel_and_dilation_are_kept(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 12, 3, groups=4), nn.Conv2d(12, 12, 5, groups=12, dilation=3, stride=2))
    bank = bank_from_checkpoint(as_pth(model.state_dict(), tmp_path), "m", layers=layers_of(model)).to_pandas()
    first, second = (bank[bank.layer == name] for name in "01")
    assert (list(first.channel), set(first.input_channel), set(first.kind)) == ([*range(12)], {0}, {"depthwise"})
    assert (set(second.dilation), set(second.stride), set(second.kernel_height)) == ({3}, {2}, {5})


@needs_weights
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mcunet_in3_imagenet.pth", {7: 1_544, 5: 744, 3: 1_128}),
        ("mcunet_in3_imagenet.safetensors", {7: 1_544, 5: 744, 3: 1_128}),
        ("mcunet_in4_imagenet.depthwise.safetensors", {7: 1_648, 5: 2_016, 3: 872}),
        ("mobilenet_edgetpu_imagenet.depthwise.safetensors", {5: 2_688, 3: 4_736}),
        ("mobilenet_v1_imagenet.depthwise.safetensors", {3: 4_960}),
        ("mobilenet_v2_imagenet.depthwise.safetensors", {3: 7_136}),
        ("mobilenet_v2_w035_imagenet.depthwise.safetensors", {3: 2_608}),
        ("random_weights_control.depthwise.safetensors", {7: 640, 5: 2_608, 3: 1_656}),
    ],
)
def test_real_weights_have_the_counts_of_their_readme(name, expected):
    bank = bank_from_checkpoint(WEIGHTS / name, "m")
    depthwise = bank.filter(pc.equal(bank["kind"], "depthwise"))
    assert {
        height: len(kernels_of(depthwise, height, width)[0]) for height, width in kernel_sizes(depthwise)
    } == expected
    assert all(np.isfinite(kernels_of(bank, *size)[1]).all() for size in kernel_sizes(bank))


@needs_weights
def test_both_formats_of_one_checkpoint_give_one_bank():
    first, second = (
        bank_from_checkpoint(WEIGHTS / f"mcunet_in3_imagenet.{suffix}", "m") for suffix in ("pth", "safetensors")
    )
    assert first.equals(second)
