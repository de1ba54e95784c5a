"""Runs by hand: dataset, initialise, signals, train, evaluate and verdicts."""

import json
import re

import pytest
from by_hand import NAMES, SMALL, echos

from neural_echos.files import read_json
from neural_echos.tables import read_table


def test_frozen_kernels_are_trained_around(trained, tmp_path):
    from safetensors.numpy import load_file

    files = ["--data", trained / "digits.safetensors", "--kwargs", json.dumps(SMALL), "--seeds", 0]
    draws = {
        "oocs": {"scheme": "oocs"},
        "lent": {"scheme": "transfer", "bank": str(tmp_path / "bank.parquet"), "frozen": True},
    }
    assert (
        echos("extract", trained / "dog" / "0.safetensors", "--model", "m", "--output", tmp_path / "bank.parquet") == 0
    )
    pattern = tmp_path / "{initialisation}-{seed}.safetensors"
    given = ["--initialisations", json.dumps(draws), "--output", pattern]
    assert echos("initialise", "convmixer_small", *files, *given) == 0
    made = read_json(tmp_path / "lent-0.json")
    assert [entry["frozen"] for entry in made["did"]] == [True, True]
    assert set(made["inputs"]) >= {"bank", "data"}
    for name in draws:
        initial, run = tmp_path / f"{name}-0.safetensors", tmp_path / name
        recipe = ["--recipe", '{"epochs": 1, "batch_size": 256, "weight_decay": 0.5}', "--device", "cpu"]
        assert echos("train", *files[:2], "--initial", initial, "--run", run, *recipe, *NAMES, name) == 0
        before, after = load_file(initial), load_file(run / "weights.safetensors")
        kept = {key for key in before if (before[key] == after[key]).all()}
        assert kept == {"blocks.0.0.fn.0.weight", "blocks.1.0.fn.0.weight"}


def test_signals_are_measured_before_training(trained, tmp_path):
    draws = {"default": {"scheme": "default"}, "small": {"scheme": "dog", "scale": 0.5}, "dog": {"scheme": "dog"}}
    given = ["--data", trained / "digits.safetensors", "--kwargs", json.dumps(SMALL), "--seeds", 0, 1, "--images", 32]
    names = ["--initialisations", json.dumps(draws), *NAMES[:4], "--output", tmp_path / "signals.parquet"]
    assert echos("signals", "convmixer_small", *given, *names) == 0
    table = read_table(tmp_path / "signals.parquet", "signals").to_pandas()
    assert len(table) == 3 * 2 * 2
    norms = table.groupby("initialisation").kernel_l2.mean()
    assert norms["small"] == pytest.approx(norms["dog"] / 2)
    assert (table[table.initialisation == "default"].replaced == 0).all()


def test_initial_weights_differ_in_depthwise_kernels_only(trained):
    from safetensors.numpy import load_file

    first, other = (load_file(trained / name / "0.safetensors") for name in ("kaiming", "dog"))
    differ = {key for key in first if not (first[key] == other[key]).all()}
    assert differ == {"blocks.0.0.fn.0.weight", "blocks.1.0.fn.0.weight"}
    made = read_json(trained / "dog" / "0.json")
    assert [(one["layer"], one["replaced"]) for one in made["did"]] == [("blocks.0.0.fn.0", 8), ("blocks.1.0.fn.0", 8)]
    assert (made["seed"], made["initialisation"]["share"], made["kwargs"]) == (0, 0.5, SMALL)


def test_images_in_folders_stay_there_and_give_initial_weights_and_signals(tmp_path):
    from PIL import Image

    for split, name, level in [
        (split, name, 40 * len(name)) for split in ("train", "val") for name in ("a", "bb", "c")
    ]:
        (tmp_path / split / name).mkdir(parents=True)
        for one in range(2):
            Image.new("RGB", (40 + one, 30), (level, 9, 100 * one)).save(tmp_path / split / name / f"{one}.png")
    data, table = tmp_path / "data.safetensors", tmp_path / "signals.parquet"
    assert echos("dataset", "folder", "--options", json.dumps({"root": str(tmp_path)}), "--output", data) == 0
    given = ["--kwargs", json.dumps(SMALL), "--initialisations", '{"dog": {"scheme": "dog"}}', "--seeds", 0]
    pattern = tmp_path / "{initialisation}-{seed}.safetensors"
    assert echos("initialise", "convmixer_small", "--data", data, *given, "--output", pattern) == 0
    named = ["--dataset", "d", "--architecture", "a", "--images", 4, "--output", table]
    assert echos("signals", "convmixer_small", "--data", data, *given, *named) == 0
    assert len(read_table(table, "signals")) == 2


def test_runs_walk_to_verdicts(trained, tmp_path, capsys):
    runs = sorted((trained / "runs").glob("*/*"))
    table, history, comparisons = (tmp_path / f"{name}.parquet" for name in ("runs", "history", "comparisons"))
    capsys.readouterr()
    assert echos("evaluate", *runs, "--histories", history, "--comparisons", comparisons, "--output", table) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("digits")]
    assert [re.split("  +", line)[:3] for line in shown] == [["digits", "convmixer", "dog − kaiming"]]
    rows = read_table(table, "runs").to_pylist()
    found = {
        (row["dataset"], row["architecture"], row["initialisation"], row["seed"], row["kernel_size"]) for row in rows
    }
    assert found == {("digits", "convmixer", name, seed, 5) for name in ("dog", "kaiming") for seed in (0, 1)}
    assert read_table(history, "history").num_rows == 4
    rows = read_table(comparisons, "comparisons").to_pylist()
    assert [(row["baseline"], row["measure"]) for row in rows] == [
        (name, measure) for name in ("kaiming", "dog") for measure in ("top1", "area", "epochs_to_target")
    ]
    compared = rows[0]
    assert (compared["initialisation"], compared["baseline"], compared["seeds"]) == ("dog", "kaiming", 2)

    options = {"dataset": "digits", "architectures": ["convmixer"], "initialisation": "dog", "baseline": "kaiming"}
    claim = {"id": "NE5", "paper": "p", "statement": "s", "rule": "gain", "needs": "digits", "artifact": "a"}
    claims = json.dumps([{**claim, "options": {**options, "expect": "none", "margin": 0.5}}])
    assert echos("verdicts", claims, "--runs", table, "--scale", "tests", "--output", tmp_path / "v.parquet") == 0
    (verdict,) = read_table(tmp_path / "v.parquet", "verdicts").to_pylist()
    assert verdict["value"] == pytest.approx(compared["difference"])
    assert verdict["verdict"] in ("supported", "not supported", "inconclusive")
    told = capsys.readouterr().out.splitlines()[1]
    assert (
        told.startswith("NE5") and told.rstrip().endswith(verdict["verdict"]) and re.search(r"[+−]\d+\.\d \[.*\]", told)
    )
