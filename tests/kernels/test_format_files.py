"""Files of other formats, damaged ones, shards and folders."""

import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from saved_files import CONV, STATE, WEIGHT, refusal, saved

from neural_echos.kernels.formats import open_checkpoint

# Bytes of other formats


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 346137416\n"
TAR = b"c.pth".ljust(257, b"\0") + b"ustar\x0000" + b"\0" * 300
OTHERS = {
    "LFS pointer": (LFS, "Git LFS pointer"),
    "web page": (b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "web page"),
    "web page after blanks": (b"\n\n  <HTML>", "web page"),
    "empty": (b"", "empty"),
    "GGUF": (b"GGUF\x03\0\0\0", "GGUF"),
    "HDF5": (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
    "gzip": (b"\x1f\x8b\x08\0", "gzip"),
    "tar": (TAR, "tar archive"),
    "array": (b"\x93NUMPY\x01\0", ".npy"),
    "plain pickle": (pickle.dumps({"a": np.ones(3)}), "Python pickle"),
    "old plain pickle": (pickle.dumps({"a": 1}, protocol=0), "Python pickle"),
    "configuration": (b'{"hidden": 3}', "weight_map"),
    "broken JSON": (b'{"hidden"', "neither a checkpoint"),
    "text": (b"404: Not Found", "begins with '404: Not Found'"),
    "rubbish": (bytes(range(1, 200)), "not a checkpoint of a known format"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_told_by_their_bytes(tmp_path, kind, suffix):
    content, reason = OTHERS[kind]
    path = tmp_path / f"c{suffix}"
    path.write_bytes(content)
    said = refusal(path)
    assert reason in said or (kind == "rubbish" and suffix == ".safetensors" and "header is damaged" in said)
    assert ("again" in said) == (kind == "empty")


ARCHIVES = {
    "TorchScript": (["m/data.pkl", "m/constants.pkl"], "TorchScript"),
    "exported program": (["m/archive_format", "m/models/model.json"], "torch.export"),
    "NumPy": (["a.npy", "b.npy"], ".npz"),
    "Keras": (["config.json", "model.weights.h5"], "Keras"),
    "other": (["readme.txt"], "zip archive without"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_told_by_their_members(tmp_path, kind):
    names, reason = ARCHIVES[kind]
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    said = refusal(tmp_path / "c.pt")
    assert reason in said and "again" not in said


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_real_torchscript_and_exported_programs_are_named(tmp_path):
    torch.jit.script(CONV).save(str(tmp_path / "c.pt"))
    assert "TorchScript" in refusal(tmp_path / "c.pt")
    torch.export.save(torch.export.export(CONV.eval(), (torch.ones(1, 4, 8, 8),)), tmp_path / "c.pt2")
    assert "torch.export" in refusal(tmp_path / "c.pt2")
    np.savez(tmp_path / "c.npz", a=np.ones(3))
    assert ".npz" in refusal(tmp_path / "c.npz")


# Incomplete and damaged files


@pytest.mark.parametrize("how", ["new", "old", "safetensors"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_to_be_fetched_again(tmp_path, how, share):
    path, state = tmp_path / "c", {"a.weight": torch.ones(64, 1, 7, 7)}
    save_file(state, path) if how == "safetensors" else saved(state, path, how == "old")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    said = refusal(path)
    assert "incomplete" in said and "fetch it again" in said


def test_a_safetensors_file_with_other_bytes_than_its_header_says(tmp_path):
    path = tmp_path / "c.safetensors"
    save_file(STATE, path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more")
    assert "header is damaged" in refusal(path)
    path.write_bytes(struct.pack("<Q", 11) + whole[8:])
    assert "header is damaged" in refusal(path)
    path.write_bytes(struct.pack("<Q", 2**40) + whole[8:])
    assert "header is damaged" in refusal(path)


# Shards and folders


def shards(folder: Path, suffix: str = "safetensors") -> Path:
    """Write a checkpoint of two shards with its index, as the Hub does."""
    parts = {"00001": {"a.weight": WEIGHT}, "00002": {"b.weight": WEIGHT + 1}}
    names = {}
    for number, state in parts.items():
        name = f"model-{number}-of-00002.{suffix}"
        save_file(state, folder / name) if suffix == "safetensors" else saved(state, folder / name)
        names |= dict.fromkeys(state, name)
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 288}, "weight_map": names}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_an_index_and_its_shards_are_one_checkpoint(tmp_path, suffix):
    index = shards(tmp_path, suffix)
    for path in (index, tmp_path):
        opened = open_checkpoint(path)
        assert list(opened.tensors) == ["a.weight", "b.weight"]
        np.testing.assert_array_equal(opened.read("b.weight"), WEIGHT.numpy() + 1)


def test_a_part_of_a_tensorflow_checkpoint_is_named(tmp_path):
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(b"x")
    assert "TensorFlow checkpoint" in refusal(tmp_path / "model.ckpt.data-00000-of-00001")


def test_one_shard_alone_names_its_index(tmp_path):
    index = shards(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    assert "shard 2 of 2" in (said := refusal(shard)) and f"name {index.name} instead" in said
    index.unlink()
    assert "model.safetensors.index.json" in refusal(shard)
    assert "not its index" in refusal(tmp_path)


def test_the_only_shard_of_one_is_the_whole_checkpoint(tmp_path):
    save_file(STATE, tmp_path / "model-00001-of-00001.safetensors")
    assert len(open_checkpoint(tmp_path / "model-00001-of-00001.safetensors").tensors) == 2


def test_a_missing_shard_is_named(tmp_path):
    index = shards(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert "'model-00002-of-00002.safetensors' of 2 is missing" in refusal(index)


@pytest.mark.parametrize("where", ["../model-00001-of-00002.safetensors", "/etc/passwd", "C:\\x", "a\\..\\..\\x"])
def test_a_shard_outside_the_folder_is_refused(tmp_path, where):
    index = shards(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a.weight": where}}))
    assert "outside its folder" in refusal(index)


def test_a_tensor_that_is_not_in_its_shard_is_named(tmp_path):
    index = shards(tmp_path)
    index.write_text(index.read_text().replace("b.weight", "c.weight"))
    assert "'c.weight'" in refusal(index)


def test_a_folder_with_one_checkpoint_stands_for_it(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert "no checkpoint" in refusal(tmp_path)
    saved(STATE, tmp_path / "pytorch_model.bin")
    assert open_checkpoint(tmp_path).path.name == "pytorch_model.bin"
    save_file(STATE, tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).path.name == "model.safetensors"


def test_a_folder_with_several_checkpoints_is_refused(tmp_path):
    for name in ("a.safetensors", "b.safetensors"):
        save_file(STATE, tmp_path / name)
    assert "a.safetensors, b.safetensors" in refusal(tmp_path)


@pytest.mark.parametrize(("name", "reason"), [("saved_model.pb", "SavedModel"), ("__0_0.distcp", "dcp_to_torch")])
def test_folders_of_other_formats_are_named(tmp_path, name, reason):
    (tmp_path / name).write_bytes(b"x")
    assert reason in refusal(tmp_path)
