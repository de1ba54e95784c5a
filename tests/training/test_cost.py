"""Plan: what a preset's trainings cost, counted by hand, and calibrated for a moment."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from neural_echos import commands
from neural_echos.design.checked import check
from neural_echos.design.load import load_preset
from neural_echos.design.preset import Preset
from neural_echos.design.schema import Config
from neural_echos.errors import EchosError
from neural_echos.tables import SCHEMAS, write_table
from neural_echos.training.cost import Cost, estimate, list_work, plan, render_plan, summarise

ROOT = Path(__file__).resolve().parents[2]
SHAPE = {"train": 1000, "test": 100, "classes": 10, "channels": 3, "size": 16}
CONFIG = {
    "scale": "none",
    "seeds": [0, 1, 2],
    "datasets": {"small": {"kind": "digits", "recipe": "short", "shape": SHAPE}},
    "recipes": {"short": {"epochs": 3, "batch_size": 64}},
    "architectures": {
        "mixer": {"model": "convmixer_small", "kwargs": {"dim": 8, "depth": 1, "kernel_size": 3, "patch_size": 4}},
        "next": {"model": "convnext_small_images", "recipe": {"epochs": 7}},
    },
    "initialisations": {name: {"scheme": name} for name in ("default", "dog", "kaiming")},
    "experiments": [
        {"name": "a", "datasets": ["small"], "architectures": ["mixer"], "initialisations": ["default", "dog"]},
        {"name": "b", "datasets": ["small"], "architectures": ["mixer", "next"], "initialisations": ["dog", "kaiming"]},
    ],
}


def preset(**changes: Any) -> Preset:
    return Preset(check(CONFIG | changes, Config))


def test_every_run_is_counted_once() -> None:
    work = list_work(preset())
    assert [(one.architecture, one.runs, one.recipe.epochs) for one in work] == [("mixer", 9, 3), ("next", 6, 7)]
    made = list_work(preset(), {"small": SHAPE | {"train": 500}})
    assert made[0].shape["train"] == 500


def test_runs_that_only_replacement_needs_are_counted() -> None:
    replaced = {"dataset": "small", "architectures": ["next"], "initialisation": "default", "candidates": ["kept"]}
    work = list_work(preset(replacement={"candidates": {"kept": {"set": "kept"}}, "replaced": [replaced]}))
    assert [(one.architecture, one.runs) for one in work] == [("mixer", 9), ("next", 9)]


def test_a_data_set_without_a_shape_is_refused() -> None:
    with pytest.raises(EchosError, match=r"datasets\.small\.shape lacks train, test, .*; declare"):
        list_work(preset(datasets={"small": {"kind": "digits", "recipe": "short"}}))


def test_costs_follow_from_the_speeds_that_were_measured() -> None:
    cost = next(iter(estimate(list_work(preset())[:1], seconds=0.1, device="cpu", progress=lambda _: None)))
    images = 1000 // 64 * 64
    seconds = 3 * (images / cost.images_per_second + 100 / cost.evaluated_per_second)
    assert cost.hours_per_run == pytest.approx(seconds / 3600)
    assert cost.hours == pytest.approx(9 * cost.hours_per_run)
    assert cost.gigabytes == pytest.approx(9 * (8 * cost.parameters + 20_000) / 1e9)
    assert cost.batch == 64
    assert cost.extrapolated == ("decoding and augmentation of images",)


def test_published_runs_are_counted_but_cost_nothing_unless_their_weights_are_needed(tmp_path: Path) -> None:
    published = [("small", "mixer", "default", seed) for seed in (0, 1, 2)] + [
        ("small", "next", "dog", 1),
        ("small", "next", "dog", 7),
    ]
    names = ("dataset", "architecture", "initialisation", "seed")
    rows = [dict.fromkeys(SCHEMAS["published_runs"].names) | dict(zip(names, one, strict=True)) for one in published]
    write_table(tmp_path / "runs.parquet", pa.Table.from_pylist(rows, SCHEMAS["published_runs"]), "published_runs")

    def planned(**changes: Any) -> tuple[list[Cost], dict[str, Any], str]:
        config = check(CONFIG | {"adopt": ["runs.parquet", "missing.parquet"]} | changes, Config)
        return plan(config, tmp_path, seconds=0.1, device="cpu", threads=1)

    costs, total, device = planned()
    assert [(one.runs, one.published) for one in costs] == [(9, 3), (6, 1)]
    assert [one.hours for one in costs] == pytest.approx([6 * costs[0].hours_per_run, 5 * costs[1].hours_per_run])
    assert total["published"] == 4
    text = render_plan(costs, total, device)
    assert "15 runs, of which 4 are published and adopted, " in text
    assert "6 of 9" in text
    replaced = {"dataset": "small", "architectures": ["mixer"], "initialisation": "default", "candidates": ["kept"]}
    costs, _, _ = planned(replacement={"candidates": {"kept": {"set": "kept"}}, "replaced": [replaced]})
    assert [one.published for one in costs] == [0, 1]


def test_totals_and_what_is_extrapolated() -> None:
    given = {"epochs": 3, "parameters": 10, "evaluated_per_second": 1.0, "gigabytes": 1.5}
    rest = "decoding and augmentation of images"
    slow = {"batch": 2, "images_per_second": 5.0, "extrapolated": ("batches of 8 from 2", rest)}
    fast = {"batch": 8, "images_per_second": 9.0, "extrapolated": (rest,)}
    costs = [
        Cost("a", "x", 4, hours_per_run=3.0, hours=12.0, **slow, **given),
        Cost("a", "y", 2, hours_per_run=60.0, hours=120.0, **fast, **given),
    ]
    total = summarise(costs, devices=4, watts=500)
    assert total["runs"] == 6
    assert total["device_hours"] == 132
    assert total["days"] == 60 / 24  # no run is shared between devices: the longest decides
    assert summarise(costs, devices=2)["days"] == 66 / 24
    assert summarise(costs)["kilowatt_hours"] is None
    assert total["kilowatt_hours"] == 66
    text = render_plan(costs, total, "one GPU")
    assert "* Extrapolated to batches of 8 from 2: x on a." in text
    assert "5*" in text
    assert "9*" not in text
    assert "Energy: 66.0 kWh" in text


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "config/presets").glob("*.yaml")))
def test_every_network_of_every_preset_can_be_built_and_counted(name: str) -> None:
    import torch

    from neural_echos import architectures

    found = Preset(load_preset(ROOT, name))
    for architecture in {one.architecture for one in found.conditions}:
        built = found.config.architectures[architecture]
        with torch.device("meta"):
            architectures.create(built.model, num_classes=10, in_chans=3, kwargs=built.kwargs)
    assert sum(one.runs for one in list_work(found)) == len(found.run_folders(found.conditions))


def test_a_preset_that_names_what_is_not_there_is_one_sentence(tmp_path, capsys) -> None:
    for folder in ("config", "workflow/schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    with (tmp_path / "config/presets/tiny.yaml").open("a", encoding="utf-8") as preset:
        preset.write("\nfilters: master_key_filter\n")
    assert commands.main(["plan", "--root", str(tmp_path), "--preset", "tiny"]) == 1
    told = capsys.readouterr()
    assert "tiny.yaml:" in told.err and "did you mean 'master_key_filters_8'?" in told.err and told.err.count("\n") == 1
    assert not told.out


def test_an_unknown_preset_is_one_sentence(tmp_path, capsys) -> None:
    assert commands.main(["plan", "--root", str(ROOT), "--preset", "zooo"]) == 1
    assert "there is no preset 'zooo' (did you mean 'zoo'?); choose from cifar10, " in capsys.readouterr().err
    assert commands.main(["plan", "--root", str(tmp_path), "--preset", "zoo"]) == 1
    assert "there are no presets here; run in the workflow's folder, or set --root" in capsys.readouterr().err
    assert commands.main(["plan", "--root", str(ROOT), "--preset", str(tmp_path / "absent.yaml")]) == 1
    assert "absent.yaml: there is no such file; check the path" in capsys.readouterr().err


def test_a_preset_without_trainings_says_so() -> None:
    assert render_plan([], summarise([]), "cpu").startswith("This preset trains nothing")


def test_the_command_prints_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--root", str(ROOT), "--preset", "tiny", "--seconds", "0.1", "--device", "cpu", "--threads", "1"]
    assert commands.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"]["runs"] == sum(cost["runs"] for cost in found["costs"]) > 0
    assert commands.main(words) == 0
    assert "Energy: unknown; give --watts." in capsys.readouterr().out
