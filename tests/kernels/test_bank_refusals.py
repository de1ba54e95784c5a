"""What no bank can be made of is refused in a sentence; layers as JSON."""

import logging
import pickle
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks_and_files import WAYS, as_pth, as_safetensors, complaint, fresh, on_meta, small

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_…)
from neural_echos.errors import EchosError
from neural_echos.kernels import (
    Layer,
    bank_from_checkpoint,
    layers_from_json,
    layers_of,
    layers_to_json,
)
from neural_echos.tables import kernels_of

# What must be refused


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small checkpoint as bytes in each format."""
    state, folder = small().state_dict(), tmp_path_factory.mktemp("whole")
    return {way: WAYS[way](state, folder).read_bytes() for way in ("safetensors", "pth", "old pth")}


@pytest.mark.parametrize("way", ["safetensors", "pth", "old pth"])
def test_a_checkpoint_cut_short_is_one_sentence(tmp_path, whole, way):
    raw = whole[way]
    path = tmp_path / ("x.safetensors" if way == "safetensors" else "x.pth")
    for length in {*range(0, len(raw), len(raw) // 30), 1, 7, 8, 9, len(raw) - 1}:
        path.write_bytes(raw[:length])
        assert complaint(path)


@settings(deadline=None, max_examples=40)
@given(raw=st.binary(max_size=300))
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_random_bytes_are_one_sentence(tmp_path_factory, suffix, raw):
    path = tmp_path_factory.getbasetemp() / f"random{suffix}"
    path.write_bytes(raw)
    with pytest.raises(EchosError):
        bank_from_checkpoint(path, "m")


@pytest.mark.parametrize("way", ["safetensors", "pth", "old pth"])
def test_a_damaged_checkpoint_is_read_or_refused_and_never_crashes(tmp_path, whole, way):
    rng = random.Random(0)
    path = tmp_path / ("x.safetensors" if way == "safetensors" else "x.pth")
    read = 0
    for _ in range(60):
        raw = bytearray(whole[way])
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        path.write_bytes(raw)
        try:
            read += bank_from_checkpoint(path, "m").num_rows > 0
        except EchosError as error:
            assert "\n" not in str(error)
    assert 0 < read < 60


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_a_checkpoint_that_holds_code_is_not_executed(tmp_path, how, wrapped):
    target, path = tmp_path / "boom", tmp_path / "x.pth"
    loaded = {"state_dict": small().state_dict(), "extra": Bomb(target)} if wrapped else Bomb(target)
    if how == "pickle":
        path.write_bytes(pickle.dumps(loaded, protocol=2))
    else:
        torch.save(loaded, path, _use_new_zipfile_serialization=how == "torch")
    assert complaint(path)
    assert not target.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert target.exists()  # the bomb was a live one


def test_a_whole_pickled_model_is_refused(tmp_path):
    assert "a whole pickled model" in complaint(as_pth(small(), tmp_path))


@pytest.mark.parametrize(
    "content", [[1, 2], torch.zeros(3, 1, 3, 3), {}, {"state_dict": {"a": torch.zeros(3, 3), "b": 5}}]
)
def test_what_is_no_state_dict_is_refused(tmp_path, content):
    assert complaint(as_pth(content, tmp_path))


@pytest.mark.parametrize(("way", "dtype"), [("safetensors", "I8"), ("pth", "I8")])
def test_integer_kernels_are_refused_by_name(tmp_path, way, dtype):
    path = WAYS[way]({"blocks.0.dw.weight": torch.ones(4, 1, 3, 3, dtype=torch.int8)}, tmp_path)
    said = complaint(path)
    assert said.startswith(
        f"the weight 'blocks.0.dw.weight' cannot be de-quantised: it is {dtype} without a scale beside it"
    )


@pytest.mark.parametrize("way", ["safetensors", "pth"])
@pytest.mark.parametrize(
    "names", [("weight_scale", "weight_zero_point"), ("weight.scale", "weight.zero_point"), ("scale", "zero_point")]
)
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
def test_integers_with_a_scale_for_each_channel_are_dequantised(tmp_path, way, names, dtype):
    weight = torch.arange(36).reshape(4, 1, 3, 3)
    scale, zero_point = torch.tensor([0.5, 0.25, 2.0, 1.0], dtype=torch.bfloat16), torch.tensor([0, 9, 18, 36])
    state = {"a.weight": weight.to(dtype), f"a.{names[0]}": scale, f"a.{names[1]}": zero_point.to(dtype)}
    bank = bank_from_checkpoint(WAYS[way](state, tmp_path), "m")
    expected = (weight[:, 0] - zero_point.reshape(4, 1, 1)) * scale.float().reshape(4, 1, 1)
    np.testing.assert_array_equal(kernels_of(bank, 3, 3)[1], expected.numpy())


@pytest.mark.parametrize("way", ["safetensors", "pth"])
def test_integers_with_one_scale_are_dequantised(tmp_path, way):
    state = {"a.weight": torch.arange(-9, 9, dtype=torch.int8).reshape(2, 1, 3, 3), "a.weight_scale": torch.tensor(0.5)}
    bank = bank_from_checkpoint(WAYS[way](state, tmp_path), "m")
    np.testing.assert_array_equal(kernels_of(bank, 3, 3)[1].ravel(), np.arange(-9, 9) / 2)


@pytest.mark.parametrize(
    ("dtype", "beside", "expected"),
    [
        (
            torch.int8,
            {"a.weight_scale": torch.ones(3)},
            "its weight_scale has shape (3,), which does not fit (4, 1, 3, 3)",
        ),
        (
            torch.int8,
            {"a.scale": torch.ones(())},
            "its 'scale' is one number",
        ),
        (
            torch.uint8,
            {"a.weight_scale": torch.ones(4)},
            "unsigned U8 without a zero point",
        ),
        (torch.int64, {"a.weight_scale": torch.ones(4)}, "it is I64"),
    ],
)
@pytest.mark.parametrize("way", ["safetensors", "pth"])
def test_integers_whose_scale_is_unclear_are_refused_by_name(tmp_path, way, dtype, beside, expected):
    path = WAYS[way]({"a.weight": torch.ones(4, 1, 3, 3, dtype=dtype), **beside}, tmp_path)
    said = complaint(path)
    assert said.startswith("the weight 'a.weight' cannot be de-quantised: ")
    assert expected in said


def test_quantised_tensors_of_torch_are_dequantised(tmp_path):
    weight = torch.arange(18, dtype=torch.float32).reshape(2, 1, 3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have torchao quantise
        stored = torch.quantize_per_channel(weight, torch.tensor([1.0, 0.5]), torch.tensor([0, 0]), 0, torch.qint8)
        bank = bank_from_checkpoint(as_pth({"a.weight": stored}, tmp_path), "m")
    np.testing.assert_array_equal(kernels_of(bank, 3, 3)[1], weight[:, 0].numpy())


@pytest.mark.parametrize("way", ["safetensors", "pth"])
def test_the_checkpoint_of_another_architecture_is_refused(tmp_path, way):
    convmixer = fresh("convmixer_small")
    path = WAYS[way](convmixer.state_dict(), tmp_path)
    said = complaint(path, layers_of(on_meta("convnext_atto")))
    assert "no weights for 15 of the model's 16 layers ('stages.0.blocks.0.conv_dw'" in said
    assert "there are weights for 'blocks.0.0.fn.0'" in said
    wider = timm.create_model("convmixer_small", kernel_size=7)
    assert "has depthwise 7×7 kernels, but its weight in the file has shape (64, 1, 9, 9)" in complaint(
        path, layers_of(wider)
    )


def test_regular_kernels_are_not_taken_for_depthwise_ones(tmp_path):
    path = as_safetensors(fresh("convmixer_regular").state_dict(), tmp_path)
    said = complaint(path, layers_of(on_meta("convmixer_small")))
    assert "has depthwise 9×9 kernels, but its weight in the file has shape (16, 16, 9, 9)" in said


def test_a_linear_weight_that_looks_like_a_kernel_is_refused(tmp_path):
    path = as_safetensors({"a.weight": torch.ones(3, 3)}, tmp_path)
    assert "no weights for 1 of the model's 1 layers ('a')" in complaint(path, [Layer("a", "depthwise", 0, 0.0, 3, 3)])


@pytest.mark.parametrize("way", ["safetensors", "pth"])
def test_kernels_that_are_not_finite_stay_and_are_counted_in_the_log(tmp_path, caplog, way):
    weight = torch.ones(5, 1, 3, 3)
    weight[1, 0, 0, 0], weight[3, 0, 2, 2] = float("nan"), float("inf")
    path = WAYS[way]({"a.weight": weight}, tmp_path)
    with caplog.at_level(logging.WARNING):
        bank = bank_from_checkpoint(path, "m")
    kernels = kernels_of(bank, 3, 3)[1]
    np.testing.assert_array_equal(kernels, weight[:, 0].numpy())
    assert f"{path}: 2 kernels are not finite" in caplog.text


# Layers as JSON


def test_layers_survive_json():
    layers = layers_of(small())
    assert layers_from_json(layers_to_json(layers), "x.json") == layers


@pytest.mark.parametrize("items", [None, 5, "text", [1], [{"name": "a"}], [{"colour": "red"}], {"layers": []}])
def test_what_is_no_list_of_layers_is_one_sentence(items):
    with pytest.raises(EchosError, match=r"^x\.json: this is not a list of layers"):
        layers_from_json(items, "x.json")
