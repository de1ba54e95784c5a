"""Opening checkpoints: the content decides, harmless objects pass, everything else is refused with its reason."""

import argparse
import collections
import datetime
import enum
import functools
import pathlib
import random
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from saved_files import CONV, STATE, WEIGHT, refusal, saved
from torch import nn

from neural_echos.kernels.formats import Stored, open_checkpoint

# Names and suffixes


SUFFIXES = ["c.pth", "c.pth.tar", "c.ckpt", "c.PTH", "c.pkl", "c.SafeTensors", "c.onnx", "c", "c.model", "c.h5"]


@pytest.mark.parametrize("name", SUFFIXES)
@pytest.mark.parametrize("how", ["new", "old", "safetensors"])
def test_the_content_decides_not_the_suffix(tmp_path, name, how):
    path = tmp_path / name
    if how == "safetensors":
        save_file(STATE, path)
    else:
        saved(STATE, path, old=how == "old")
    opened = open_checkpoint(path)
    assert opened.tensors == {"a.weight": Stored((4, 1, 3, 3), "F32"), "a.bias": Stored((4,), "F32")}
    np.testing.assert_array_equal(opened.read("a.weight"), WEIGHT.numpy())


def test_a_link_is_followed_and_a_broken_one_named(tmp_path):
    save_file(STATE, tmp_path / "blob")
    (tmp_path / "model.safetensors").symlink_to("blob")
    assert list(open_checkpoint(tmp_path / "model.safetensors").tensors) == ["a.bias", "a.weight"]
    (tmp_path / "blob").unlink()
    assert "points to blob, which does not exist" in refusal(tmp_path / "model.safetensors")


def test_a_missing_file_is_named(tmp_path):
    assert "no such checkpoint file" in refusal(tmp_path / "c.pth")


# PyTorch files


HARMLESS = {
    "NumPy score": np.float64(0.7),
    "NumPy array": np.arange(3),
    "array of objects": np.array([None, "a"], dtype=object),
    "array of structures": np.zeros(2, dtype=[("a", "f4")]),
    "random state of NumPy": np.random.get_state(),  # noqa: NPY002
    "RandomState": np.random.RandomState(0),
    "Generator": np.random.default_rng(0),
    "random state of Python": random.getstate(),
    "Random": random.Random(0),
    "dtype": np.dtype("f4"),
    "type": np.float32,
    "namespace": argparse.Namespace(lr=0.1, output=pathlib.PosixPath("x")),
    "path": pathlib.PurePosixPath("a/b"),
    "Windows path": pathlib.PureWindowsPath("a\\b"),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "deque": collections.deque([1, 2], maxlen=3),
    "Counter": collections.Counter("aab"),
    "time": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "duration": datetime.timedelta(seconds=1),
    "partial": functools.partial(int, 2),
    "size": torch.Size([1, 2]),
    "device": torch.device("cpu"),
    "torch dtype": torch.float16,
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "slice": slice(1, 2),
    "bytes": b"ab",
    "nothing": None,
    "large number": 2**70,
}


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("beside", HARMLESS)
def test_harmless_objects_beside_the_weights_pass(tmp_path, beside, old):
    opened = open_checkpoint(saved({"model": STATE, "beside": HARMLESS[beside]}, tmp_path / "c.pth", old))
    np.testing.assert_array_equal(opened.read("model/a.weight"), WEIGHT.numpy())


def renamed(path: Path, old: bytes, new: bytes) -> Path:
    """Spell a global of a saved file otherwise, as another version of a library did."""
    other = path.with_name("renamed.pth")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member).replace(old, new))
    return other


@pytest.mark.parametrize("core", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_of_numpy_1_and_2_are_read(tmp_path, core):
    state = {name: value.numpy() for name, value in STATE.items()} | {"best": np.float64(1)}
    opened = open_checkpoint(renamed(saved(state, tmp_path / "c.pth"), b"numpy._core.multiarray", core))
    np.testing.assert_array_equal(opened.read("a.weight"), WEIGHT.numpy())


ARRAYS = {
    "big-endian": np.arange(6, dtype=">f4").reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "half": np.arange(6, dtype=np.float16).reshape(2, 3),
    "without dimensions": np.array(3.0),
    "integers": np.arange(6, dtype=np.int8),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_pickled_arrays_keep_their_values(tmp_path, kind):
    read = open_checkpoint(saved({"a": ARRAYS[kind]}, tmp_path / "c.pth")).read("a")
    np.testing.assert_array_equal(read, ARRAYS[kind])
    assert read.dtype.isnative and read.dtype != np.float16


def saved_with(value_of, name: str, bases: tuple, body: dict, path: Path) -> Path:
    """Save an object of a class of a library that is not installed, and forget the library again."""
    module, _, title = name.rpartition(".")
    fake = type(title, bases, {"__module__": module, **body})
    parents = [module[:end] for end, sign in enumerate(module) if sign == "."]
    with pytest.MonkeyPatch.context() as patch:
        for parent in (*parents, module):
            patch.setitem(sys.modules, parent, types.ModuleType(parent))
        setattr(sys.modules[module], title, fake)
        return saved(value_of(fake), path)


@pytest.mark.parametrize(
    "name",
    [
        "lightning.fabric.utilities.data.AttributeDict",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "mmengine.config.config.ConfigDict",
        "yacs.config.CfgNode",
    ],
)
def test_dictionaries_of_libraries_that_are_not_installed_keep_their_weights(tmp_path, name):
    def content(fake):
        (settings := fake(lr=0.1)).frozen = True
        return {"hyper_parameters": settings, "nets": fake(STATE)}

    path = saved_with(content, name, (dict,), {}, tmp_path / "c.ckpt")
    np.testing.assert_array_equal(open_checkpoint(path).read("nets/a.weight"), WEIGHT.numpy())


def least(buffer):
    """Smallest value of a history, one of the methods that MMEngine stores with it."""


def test_the_history_of_mmengine_passes(tmp_path):
    least.__qualname__, least.__module__ = "HistoryBuffer.least", "mmengine.logging.history_buffer"

    def content(fake):
        (history := fake()).__dict__ = {"values": np.arange(3.0), "statistics_methods": {"min": least}}
        return {"state_dict": STATE, "message_hub": {"loss": history}}

    name = "mmengine.logging.history_buffer.HistoryBuffer"
    path = saved_with(content, name, (), {"least": staticmethod(least)}, tmp_path / "epoch_1.pth")
    assert b"getattr" in path.read_bytes()
    np.testing.assert_array_equal(open_checkpoint(path).read("state_dict/a.weight"), WEIGHT.numpy())


def test_an_omegaconf_configuration_is_named(tmp_path):
    name = "omegaconf.dictconfig.DictConfig"
    path = saved_with(lambda fake: {"state_dict": STATE, "cfg": fake()}, name, (), {}, tmp_path / "c.ckpt")
    assert name in refusal(path)


WAYS = {
    "parameters": (dict(CONV.named_parameters()), "weight", CONV.weight),
    "keep_vars": (CONV.state_dict(keep_vars=True), "weight", CONV.weight),
    "list of pairs": (list(STATE.items()), "a.weight", WEIGHT),
    "nested": ({"ckpt": {"net": STATE}}, "ckpt/net/a.weight", WEIGHT),
    "in a list": ({"nets": [STATE, {}]}, "nets/0/a.weight", WEIGHT),
    "view": ({"a": torch.cat([WEIGHT.flatten()] * 2)[:36].view(4, 1, 3, 3)}, "a", WEIGHT),
    "expanded": ({"a": torch.ones(1, 1, 3, 3).expand(4, 1, 3, 3)}, "a", torch.ones(4, 1, 3, 3)),
    "transposed": ({"a": WEIGHT.permute(0, 1, 3, 2)}, "a", WEIGHT.permute(0, 1, 3, 2)),
    "channels last": (
        {"a": WEIGHT.expand(4, 2, 3, 3).contiguous(memory_format=torch.channels_last)},
        "a",
        WEIGHT.expand(4, 2, 3, 3),
    ),
    "with nothing": ({**STATE, "x": None}, "a.weight", WEIGHT),
    "numbered": ({0: WEIGHT}, "0", WEIGHT),
}


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("way", WAYS)
def test_tensors_are_read_however_they_were_saved(tmp_path, way, old):
    state, name, wanted = WAYS[way]
    np.testing.assert_array_equal(
        open_checkpoint(saved(state, tmp_path / "c.pth", old)).read(name), wanted.detach().numpy()
    )


TYPES = {
    torch.float64: ("F64", np.float64),
    torch.float32: ("F32", np.float32),
    torch.float16: ("F16", np.float32),
    torch.bfloat16: ("BF16", np.float32),
    torch.float8_e4m3fn: ("F8_E4M3", np.float32),
    torch.float8_e5m2: ("F8_E5M2", np.float32),
    torch.int8: ("I8", np.int8),
    torch.uint8: ("U8", np.uint8),
    torch.int16: ("I16", np.int16),
    torch.int64: ("I64", np.int64),
    torch.bool: ("BOOL", np.bool_),
    torch.complex64: ("C64", np.complex64),
}


@pytest.mark.parametrize("how", ["safetensors", "torch"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_type_is_named_and_read_exactly(tmp_path, dtype, how):
    value, path = (WEIGHT * 3).to(dtype), tmp_path / "c"
    save_file({"a": value}, path) if how == "safetensors" else saved({"a": value}, path)
    opened = open_checkpoint(path)
    name, wanted = TYPES[dtype]
    assert opened.tensors == {"a": Stored((4, 1, 3, 3), name)}
    assert opened.read("a").dtype == wanted
    exact = value.to(torch.complex128) if dtype.is_complex else value.double()
    np.testing.assert_array_equal(opened.read("a"), exact.numpy())


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_tensors_of_torch_are_dequantised(tmp_path):
    scales, zeros = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 1, 2, 3])
    signed = torch.quantize_per_channel(WEIGHT, scales, zeros, 0, torch.qint8)
    unsigned = torch.quantize_per_tensor(WEIGHT, 0.05, 7, torch.quint8)
    opened = open_checkpoint(saved({"a": signed, "b": unsigned}, tmp_path / "c.pth"))
    assert [one.dtype for one in opened.tensors.values()] == ["QI8", "QU8"]
    np.testing.assert_array_equal(opened.read("a"), signed.dequantize().numpy())
    np.testing.assert_array_equal(opened.read("b"), unsigned.dequantize().numpy())


class Foreign:
    """Harmless here, but nothing in a file can prove that."""


class Shade(enum.Enum):
    DARK = 1


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("value", [Foreign(), Shade.DARK, Foreign], ids=["object", "enum", "class"])
def test_foreign_objects_are_named_and_refused(tmp_path, value, old):
    said = refusal(saved({"model": STATE, "x": value}, tmp_path / "c.pth", old))
    assert f"{__name__}." in said and "not opened" in said and "safetensors" in said and "fetch" not in said


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_nothing_is_executed(tmp_path, old):
    path = saved({"model": STATE, "x": Bomb(tmp_path / "boom")}, tmp_path / "c.pth", old)
    assert "calls Python functions" in refusal(path)
    assert not (tmp_path / "boom").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "boom").exists()  # the trap works


def test_a_stand_in_for_getattr_calls_nothing(tmp_path):
    """`getattr` is inert here, so a name that it would have found cannot be called either."""
    code = b"\x80\x02cbuiltins\ngetattr\n(cpathlib\nPosixPath\nX\x05\x00\x00\x00touchtR(X\x04\x00\x00\x00boomtR."
    path = saved(STATE, tmp_path / "c.pth")
    with zipfile.ZipFile(path) as source:
        members = {one.filename: source.read(one) for one in source.infolist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(name, code if name.endswith("data.pkl") else data)
    assert "calls Python functions" in refusal(path)
    assert not Path("boom").exists()


PLACEHOLDERS = {
    "all": {"module": {name: torch.empty(0) for name in STATE}, "ds_version": "0.14"},
    "one": {"a.weight": torch.empty(0, 1, 3, 3), "b.weight": WEIGHT},
}


@pytest.mark.parametrize("which", PLACEHOLDERS)
def test_placeholders_of_sharded_training_are_named(tmp_path, which):
    said = refusal(saved(PLACEHOLDERS[which], tmp_path / "mp_rank_00_model_states.pt"))
    assert "a.weight" in said and "zero_to_fp32" in said


REFUSED = {
    "whole model": (CONV, "a whole pickled model (torch.nn.modules.conv.Conv2d)"),
    "lazy layers": (nn.LazyConv2d(4, 3).state_dict(), "lazy"),
    "one tensor": (WEIGHT, "one tensor without a name"),
    "no tensors": ({"epoch": 1}, "no tensors"),
    "two of a name": ({"a/b": WEIGHT, "a": {"b": WEIGHT}}, "two tensors in this file have the name 'a/b'"),
    "byte array": ({**STATE, "x": bytearray(b"ab")}, "byte arrays"),
    "expanded": ({"a": torch.ones(1, 1, 1, 1).expand(9999, 1, 99, 99)}, "claim 392,000,796 bytes"),
    "sparse": ({"a": WEIGHT.to_sparse()}, "'a' is sparse"),
    "meta": ({"a": torch.empty(4, 1, 3, 3, device="meta")}, "'a' is sparse or has no values"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path, kind):
    value, reason = REFUSED[kind]
    assert reason in refusal(saved(value, tmp_path / "c.pth"))


def test_a_later_pickle_protocol_is_named(tmp_path):
    torch.save(STATE, tmp_path / "c.pth", pickle_protocol=4)
    assert "pickle protocol 4" in refusal(tmp_path / "c.pth")


def test_dtensors_are_refused(tmp_path):
    path = saved({"x": argparse.Namespace()}, tmp_path / "c.pth")
    assert "gather them" in refusal(renamed(path, b"cargparse\nNamespace", b"ctorch.distributed.tensor\nDTensor"))
