"""Declarations that `echos declare` prints: what the file tells is filled in, and what it cannot tell must be."""

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from neural_echos import commands
from neural_echos.design.inputs import load_inputs
from neural_echos.errors import EchosError

KNOWN = {"origin": "a page", "licence": "MIT", "citation": "us"}


def declared(path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What `echos declare` prints, as it lies in a file of declarations, and what it logs."""
    assert commands.main(["declare", str(path), "--declared", str(folder / "inputs.yaml")]) == 0
    return capsys.readouterr()


def test_a_checkpoint_is_declared_with_its_content_and_checked_once_the_blanks_are_filled(tmp_path, capsys):
    path = tmp_path / "net-1.depthwise.safetensors"
    save_file({"conv.weight": np.random.default_rng(0).normal(size=(8, 1, 5, 5)).astype(np.float32)}, path)
    out, _ = declared(path, tmp_path, capsys)
    inputs = tmp_path / "inputs.yaml"
    inputs.write_text(out)
    with pytest.raises(EchosError, match=r"inputs.yaml.*origin"):
        load_inputs(inputs)
    [(name, entry)] = yaml.safe_load(out).items()
    blank = [key for key, value in entry.items() if value is None]
    assert blank == ["url", "origin", "licence", "citation", "trained_on"]
    assert [line.partition(":")[0].strip() for line in out.splitlines() if "FILL IN" in line] == blank
    inputs.write_text(yaml.safe_dump({name: entry | KNOWN}))
    found = load_inputs(inputs)["net-1.depthwise"]
    assert (found.file, found.bytes) == (path.name, path.stat().st_size)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.note == "1 depthwise layer (8 5×5 kernels)."
    assert "already declared as net-1.depthwise" in declared(path, tmp_path, capsys).err


def test_archives_tables_and_unknown_files_say_what_they_hold(tmp_path, capsys):
    import pandas as pd

    pd.DataFrame({"image": [b"x"], "label": [1]}).to_parquet(tmp_path / "images.parquet")
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "images.parquet", "a/images.parquet")
    (tmp_path / "notes.txt").write_text("hello")
    for name, key, note in (
        ("images.parquet", "images", "A table of 1 rows: image, label."),
        ("set.tar.gz", "set", "An archive of 1 files: a/images.parquet."),
        ("notes.txt", "notes", "FILL IN: what it contains."),
    ):
        out, _ = declared(tmp_path / name, tmp_path, capsys)
        assert yaml.safe_load(out)[key]["note"] == note


@pytest.mark.parametrize(("name", "words"), [("none.pth", "there is no such file"), ("a b.pth", "rename it")])
def test_what_cannot_be_declared_is_one_sentence(tmp_path, capsys, name, words):
    (tmp_path / "a b.pth").write_bytes(b"x")
    assert commands.main(["declare", str(tmp_path / name)]) == 1
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and not out
