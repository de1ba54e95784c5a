"""Published runs: gathered without their weights, adopted where the key is the same, and trained where it is not."""

import json
import logging
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from neural_echos import architectures
from neural_echos.commands.app import main, program
from neural_echos.datasets import make_digits, save_dataset
from neural_echos.errors import EchosError
from neural_echos.evaluation import gather_histories, gather_runs
from neural_echos.files import read_json, write_json, write_tensors
from neural_echos.tables import read_table, write_table
from neural_echos.training import Recipe, publish, published, runs, train

torch.set_num_threads(1)

MIXER = {"dim": 8, "depth": 1, "kernel_size": 5, "patch_size": 2}
NAMES = {"dataset": "digits", "architecture": "mixer", "initialisation": "default"}
RECIPE = Recipe(epochs=2, batch_size=256)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A dataset file with its images, and initial weights of two seeds."""
    folder = tmp_path_factory.mktemp("start")
    data, facts = make_digits(size=8, test_share=0.25, seed=0)
    save_dataset(folder / "data.safetensors", data, facts)
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = architectures.create("convmixer_small", num_classes=10, in_chans=1, kwargs=MIXER)
        write_tensors(folder / f"{seed}.safetensors", model.state_dict())
        layer = {"kind": "depthwise", "kernel_height": 5}
        made = {"model": "convmixer_small", "kwargs": MIXER, "seed": seed, "layers": [layer], "did": []}
        write_json(folder / f"{seed}.json", made)
    return folder, data


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    """A finished run, and the table that publishes it."""
    folder = tmp_path_factory.mktemp("trained")
    do_run(start, folder / "run")
    write_table(folder / "published.parquet", publish([folder / "run"]), "published_runs")
    return folder


def do_run(start, folder, recipe=RECIPE, seed=0, labels=NAMES, **options):
    held, data = start
    runs.train_run(
        held / f"{seed}.safetensors",
        folder,
        data,
        recipe,
        data_file=held / "data.safetensors",
        labels=labels,
        **options,
    )


def test_a_published_run_is_adopted_and_not_trained(start, trained, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(runs, "train", lambda *_, **__: pytest.fail("it was trained"))
    table = trained / "published.parquet"
    with caplog.at_level(logging.INFO):
        do_run(start, tmp_path / "run", adopted=[table])
    assert f"{tmp_path / 'run'}: adopted from {table}, not trained" in caplog.text
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["history.parquet", "metrics.json", "run.json"]
    first, second = trained / "run", tmp_path / "run"
    assert (first / "history.parquet").read_bytes() == (second / "history.parquet").read_bytes()
    assert read_json(first / "metrics.json") | {"adopted": True} == read_json(second / "metrics.json")
    assert read_json(first / "run.json") | {"adopted": str(table)} == read_json(second / "run.json")


def test_kernels_are_the_weights_of_spatial_convolutions_alone(trained):
    weights, kernels = (load_file(trained / "run" / f"{name}.safetensors") for name in ("weights", "kernels"))
    assert kernels.keys() == {"stem.0.weight", "blocks.0.0.fn.0.weight"}
    assert all(torch.equal(kernel, weights[name]) for name, kernel in kernels.items())


def test_kernels_are_published_and_adopted_where_they_are_asked_for(start, trained, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(runs, "train", lambda *_, **__: pytest.fail("it was trained"))
    bare, full = trained / "published.parquet", tmp_path / "full.parquet"
    write_table(full, publish([trained / "run"], kernels=True), "published_runs")
    do_run(start, tmp_path / "run", adopted=[bare, full], kernels=True)
    assert read_json(tmp_path / "run/run.json")["adopted"] == str(full)
    first, second = (folder / "run" / "kernels.safetensors" for folder in (trained, tmp_path))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(pytest.fail.Exception), caplog.at_level(logging.INFO):
        do_run(start, tmp_path / "other", adopted=[bare], kernels=True)
    assert f"not among the published runs with kernels in {bare}, training it" in caplog.text


def test_the_command_publishes_finished_runs_and_writes_no_empty_table(trained, tmp_path, capsys):
    begun, table = tmp_path / "begun", tmp_path / "training.parquet"
    begun.mkdir()
    assert main(["publish", str(begun), "--output", str(table)]) == 1
    assert "there is no finished run in these folders" in capsys.readouterr().err and not table.exists()
    assert main(["publish", str(begun), str(trained / "run"), "--kernels", "--output", str(table)]) == 0
    [row] = read_table(table, "published_runs").to_pylist()
    assert row["kernels"] == (trained / "run/kernels.safetensors").read_bytes()


def test_a_run_without_kernels_cannot_be_published_with_them(start, trained, tmp_path):
    do_run(start, tmp_path / "run", adopted=[trained / "published.parquet"])
    with pytest.raises(
        EchosError, match=r"run: this run has no kernels\.safetensors, because it was adopted without them; train"
    ):
        publish([tmp_path / "run"], kernels=True)


def test_tables_mark_adopted_runs(start, trained, tmp_path):
    do_run(start, tmp_path / "run", adopted=[trained / "published.parquet"])
    (ours,), (theirs,) = (gather_runs([folder / "run"]).to_pylist() for folder in (trained, tmp_path))
    assert (ours.pop("adopted"), theirs.pop("adopted")) == (False, True)
    assert ours == theirs
    assert gather_histories([trained / "run"]).equals(gather_histories([tmp_path / "run"]))


@pytest.mark.parametrize("change", [{"recipe": replace(RECIPE, lr=0.01)}, {"seed": 1}])
def test_another_recipe_or_seed_is_trained(start, trained, tmp_path, change):
    do_run(start, tmp_path / "run", adopted=[trained / "published.parquet"], **change)
    assert (tmp_path / "run/weights.safetensors").is_file()
    assert "adopted" not in read_json(tmp_path / "run/metrics.json")


def test_the_key_holds_what_decides_a_run_and_nothing_else(start, tmp_path, monkeypatch):
    held, _ = start
    data, initial, made = held / "data.safetensors", held / "0.safetensors", read_json(held / "0.json")

    def key(made=made, frozen=(), recipe=RECIPE, data=data, initial=initial):
        return runs.run_key(runs.run_identity(made, frozen, recipe, data, initial))

    known = key()
    other = tmp_path / "other"
    other.write_bytes(b"other")
    changed = {
        "network": {"made": made | {"kwargs": MIXER | {"dim": 16}}},
        "seed": {"made": made | {"seed": 1}},
        "learned": {"made": made | {"universal": {"learn": "bias"}}},
        "frozen": {"frozen": ["blocks.0.0.fn.0"]},
        "recipe": {"recipe": replace(RECIPE, fast_layers=False)},
        "data": {"data": other},
        "initial": {"initial": other},
    }
    assert len({known, *(key(**change) for change in changed.values())}) == 1 + len(changed)
    assert key(made=made | {"layers": [], "command": "another"}) == known
    copy = tmp_path / "copy"
    copy.write_bytes(data.read_bytes())
    assert key(data=copy) == known
    monkeypatch.setattr(runs, "TRAINING", 99)
    assert key() != known


def test_recipe_keys_that_stay_at_their_default_do_not_count(start):
    held, _ = start
    made = read_json(held / "0.json")
    found = runs.run_identity(made, [], Recipe(epochs=7), held / "data.safetensors", held / "0.safetensors")
    assert found["recipe"] == {"epochs": 7}


def test_an_adopted_run_has_the_names_of_its_new_place(start, trained, tmp_path):
    names = {"dataset": "numbers", "architecture": "ours", "initialisation": "plain"}
    do_run(start, tmp_path / "run", labels=names, adopted=[trained / "published.parquet"])
    history = read_table(tmp_path / "run/history.parquet", "history").to_pylist()
    assert [{name: row[name] for name in names} for row in history] == [names] * 2
    assert names.items() <= read_json(tmp_path / "run/run.json").items()


def test_nothing_of_an_earlier_training_stays_beside_an_adopted_run(start, trained, tmp_path):
    for name in ("weights.safetensors", "kernels.safetensors", "checkpoint.safetensors"):
        (tmp_path / name).write_bytes(b"old")
    do_run(start, tmp_path, adopted=[trained / "published.parquet"])
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_diverged_run_is_published_as_such(start, trained, tmp_path):
    run = tmp_path / "run"
    history = read_table(trained / "run/history.parquet", "history").to_pandas()
    history.loc[1, ["train_loss", "loss", "top1", "top5"]] = math.nan
    run.mkdir()
    write_table(run / "history.parquet", pa.Table.from_pandas(history, preserve_index=False), "history")
    metrics = read_json(trained / "run/metrics.json")
    write_json(run / "metrics.json", metrics | {"diverged": True} | dict.fromkeys(("loss", "top1", "top5")))
    write_json(run / "run.json", read_json(trained / "run/run.json"))
    write_table(tmp_path / "published.parquet", publish([run]), "published_runs")
    do_run(start, tmp_path / "again", adopted=[tmp_path / "published.parquet"])
    first, second = (gather_runs([folder]).to_pandas() for folder in (run, tmp_path / "again"))
    assert second.diverged.all() and second.top1.isna().all()
    assert first.drop(columns="adopted").equals(second.drop(columns="adopted"))
    assert gather_histories([run]).to_pandas().equals(gather_histories([tmp_path / "again"]).to_pandas())


def test_a_table_grows_by_the_runs_that_are_finished(start, trained, tmp_path, caplog):
    earlier = read_table(trained / "published.parquet", "published_runs")
    do_run(start, tmp_path / "second", seed=1)
    (tmp_path / "begun").mkdir()
    with caplog.at_level(logging.INFO):
        table = publish([tmp_path / "second", tmp_path / "begun"], earlier)
    assert table["seed"].to_pylist() == [0, 1]
    assert f"{tmp_path / 'begun'}: not finished, skipped" in caplog.text
    assert publish([trained / "run"], table).equals(table)
    assert np.isfinite(table["history_top1"].to_pylist()).all()


def test_a_table_without_a_run_is_not_published(tmp_path):
    with pytest.raises(EchosError, match="there is no finished run in these folders"):
        publish([tmp_path])


def test_an_adopted_run_is_published_as_it_was(start, trained, tmp_path):
    do_run(start, tmp_path / "run", adopted=[trained / "published.parquet"])
    assert publish([tmp_path / "run"]).equals(read_table(trained / "published.parquet", "published_runs"))


def test_a_run_without_a_key_cannot_be_published(trained, tmp_path):
    for name in ("history.parquet", "metrics.json"):
        (tmp_path / name).write_bytes((trained / "run" / name).read_bytes())
    made = read_json(trained / "run/run.json")
    write_json(tmp_path / "run.json", {name: value for name, value in made.items() if name != "key"})
    with pytest.raises(EchosError, match="cannot be published, because it lacks key; train it again"):
        publish([tmp_path])


@pytest.mark.parametrize("content", [None, b"broken"])
def test_a_table_that_cannot_be_read_is_told(start, tmp_path, content):
    if content:
        (tmp_path / "published.parquet").write_bytes(content)
    with pytest.raises(
        EchosError, match=r"published\.parquet: (there is no such|cannot be read as a) published_runs table"
    ):
        do_run(start, tmp_path / "run", adopted=[tmp_path / "published.parquet"])
    assert not (tmp_path / "run").exists()


# Training and test losses of a small training, by version. Where they change beyond rounding, raise TRAINING and put the new ones
# here; what was published under an earlier version is then no longer adopted.
MEASURED = {1: [2.287598, 2.274761, 2.122835, 2.045639, 2.040300, 1.928527]}


def test_the_same_version_of_training_gives_the_same_numbers(start, tmp_path):
    _, data = start
    recipe = Recipe(
        epochs=3,
        batch_size=64,
        device_batch=32,
        label_smoothing=0.1,
        mixup=0.2,
        cutmix=1.0,
        random_erasing=0.25,
        flip=True,
        shift=1,
        clip_grad=1.0,
        ema_decay=0.9,
    )
    generator = torch.Generator().manual_seed(0)
    model = architectures.create("convmixer_small", num_classes=10, in_chans=1, kwargs=MIXER)
    with torch.no_grad():
        for (
            name,
            parameter,
        ) in model.named_parameters():  # not as timm draws them: that is none of the training's business
            if parameter.dim() > 1:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
            elif name.endswith("bias"):
                parameter.zero_()
    result = train(model, data, recipe, seed=3, folder=tmp_path, key="", device="cpu")
    found = [row[name] for row in result.history for name in ("train_loss", "loss")]
    assert found == pytest.approx(MEASURED[published.TRAINING], rel=1e-4), json.dumps(found)


@pytest.mark.parametrize(
    ("told", "given", "tables"),
    [
        ("", [], []),
        ("/a b/c.parquet", [], [Path("/a b/c.parquet")]),
        (os.pathsep.join(["/a b.parquet", "/c.parquet"]), [], [Path("/a b.parquet"), Path("/c.parquet")]),
        ("/a.parquet", ["--adopt", "b"], [Path("b")]),
    ],
)
def test_the_workflow_tells_the_command_where_published_runs_are(monkeypatch, told, given, tables):
    monkeypatch.setenv("ECHOS_ADOPT", told)
    words = [
        "--data",
        "d",
        "--initial",
        "i",
        "--run",
        "r",
        "--dataset",
        "d",
        "--architecture",
        "a",
        "--initialisation",
        "x",
    ]
    assert program().get_command(None, "train").make_context("train", [*words, *given]).params["adopt"] == tables
