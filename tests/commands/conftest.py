"""A tiny trained network, made by typed commands, and a folder with good files and bad ones."""

import json
from pathlib import Path

import pytest
from by_hand import NAMES, SMALL, echos

from neural_echos.files import read_json, write_json


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, two initialisations and two seeds of a tiny network, trained for one epoch, all by typed commands."""
    folder = tmp_path_factory.mktemp("trained")
    data = folder / "digits.safetensors"
    draws = {"kaiming": {"scheme": "kaiming"}, "dog": {"scheme": "dog", "gamma": {"uniform": [0.3, 0.7]}, "share": 0.5}}
    assert echos("dataset", "digits", "--options", '{"size": 8}', "--output", data) == 0
    pattern = folder / "{initialisation}/{seed}.safetensors"
    given = ["--kwargs", json.dumps(SMALL), "--initialisations", json.dumps(draws), "--seeds", 0, 1]
    assert echos("initialise", "convmixer_small", "--data", data, *given, "--output", pattern) == 0
    for name in draws:
        initial = [folder / name / f"{seed}.safetensors" for seed in (0, 1)]
        runs = [folder / "runs" / name / str(seed) for seed in (0, 1)]
        recipe = ["--recipe", '{"epochs": 1, "batch_size": 256}', "--device", "cpu"]
        files = ["--data", data, "--initial", *initial, "--run", *runs]
        assert echos("train", *files, *recipe, *NAMES, name) == 0
    return folder


@pytest.fixture
def desk(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with some good files and some bad ones."""
    (tmp_path / "digits.safetensors").symlink_to(trained / "digits.safetensors")
    (tmp_path / "good.safetensors").symlink_to(trained / "dog" / "0.safetensors")
    (tmp_path / "good.json").symlink_to(trained / "dog" / "0.json")
    (tmp_path / "cut.safetensors").write_bytes((trained / "dog" / "0.safetensors").read_bytes()[:-10])
    (tmp_path / "cut.json").symlink_to(trained / "dog" / "0.json")
    (tmp_path / "other.safetensors").symlink_to(trained / "dog" / "0.safetensors")
    write_json(tmp_path / "other.json", read_json(trained / "dog" / "0.json") | {"kwargs": {**SMALL, "dim": 8}})
    write_json(tmp_path / "list.json", [1])
    (tmp_path / "folder").mkdir()
    assert echos("extract", tmp_path / "good.safetensors", "--model", "m", "--output", tmp_path / "bank.parquet") == 0
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "bank.parquet").read_bytes()[:-10])
    write_json(tmp_path / "run" / "metrics.json", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path
