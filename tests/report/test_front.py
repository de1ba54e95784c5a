"""What a report says first: its sentence, its claims, and what would decide those that its scale cannot."""

import json
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from neural_echos.design.load import load_preset
from neural_echos.design.preset import Preset
from neural_echos.report.front import _hours, claims, headline, merged, message
from neural_echos.tables import SCHEMAS, write_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("says", "heading", "rest"),
    [
        ("Size 9, γ = 0.5: r = 2.5 taps.", "Size 9, γ = 0.5: r = 2.5 taps.", ""),
        ("Half, .9 of it. Shown are 3.", "Half, .9 of it.", "Shown are 3."),
        (
            f"Shares: a 1 %; b {'x' * 100}; c {'y' * 90}; d. More.",
            f"Shares: a 1 %; b {'x' * 100}",
            f"c {'y' * 90}; d. More.",
        ),
        (f"A: {'x' * 90}; b (c; {'y' * 90}). More.", f"A: {'x' * 90}", f"b (c; {'y' * 90}). More."),
        ("no stop", "no stop", ""),
    ],
)
def test_a_message_is_the_first_sentence_or_a_part_of_a_long_one(says: str, heading: str, rest: str) -> None:
    assert message(says) == (heading, rest)


def structure(**shares: float) -> pd.DataFrame:
    roles = {"net": ("depthwise", "trained"), "other": ("regular", "trained"), "fresh": ("depthwise", "untrained")}
    rows = [
        {"model": name, "kind": roles[name][0], "role": roles[name][1], "share": share, "kernel_size": 3, "kernels": 9}
        for name, share in shares.items()
    ]
    return pd.DataFrame(rows).assign(trained_on="imagenet", low=0.0, high=1.0, layers=1)


def test_the_headline_sets_trained_kernels_beside_the_controls_at_hand() -> None:
    told = headline([structure(net=0.6, other=0.02, fresh=0.05)], "Other. More.")
    assert told == (
        "60.0 % of trained depthwise kernels resemble a Difference of Gaussians more than 95 % of shuffled kernels do, against "
        "2.0 % of trained regular kernels, 5.0 % of untrained ones and 5 % by chance (medians over networks and kernel sizes)."
    )
    assert "do, against 5 % by chance (" in headline([structure(net=0.6)], "")
    assert headline([structure(fresh=0.05)], "Other. More.") == headline([], "Other. More.") == "Other."


def table_of_verdicts(path: Path, statement: str = "", **verdicts: str) -> Path:
    row = dict.fromkeys(SCHEMAS["verdicts"].names, "x") | {"value": 0.1, "low": 0.0, "high": None, "artifact": "a"}
    rows = [row | {"claim": one, "statement": statement or one, "verdict": said} for one, said in verdicts.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, pa.Table.from_pylist(rows, schema=SCHEMAS["verdicts"]), "verdicts")
    return path


def test_an_inconclusive_claim_names_the_published_runs_that_decided_it(tmp_path: Path) -> None:
    own = table_of_verdicts(tmp_path / "verdicts.parquet", NE1="supported", NE2="inconclusive", NE4="inconclusive")
    for preset, verdicts in {
        "big": {"NE1": "supported", "NE2": "not supported"},
        "small": {"NE2": "inconclusive"},
    }.items():
        table_of_verdicts(tmp_path / "results/published" / preset / "verdicts.parquet", **verdicts)
    decided = {one["id"]: one["decided"] for one in claims(own, {}, tmp_path)["measured"]}
    assert {
        claim: [(run["preset"], run["verdict"], run["ours"]) for run in runs] for claim, runs in decided.items()
    } == {
        "NE1": [],
        "NE2": [("big", "not supported", "+10.0")],
        "NE4": [],
    }


def test_a_claim_that_was_not_run_names_only_published_runs_with_its_own_statement(tmp_path: Path) -> None:
    published = tmp_path / "results/published"
    table_of_verdicts(published / "same" / "verdicts.parquet", statement="no gain", NE5="supported")
    table_of_verdicts(published / "other" / "verdicts.parquet", statement="no gain on digits", NE5="supported")
    own = table_of_verdicts(tmp_path / "verdicts.parquet", statement="no gain", NE5="not run at this scale")
    (row,) = claims(own, {}, tmp_path)["open"]
    assert [(run["preset"], run["verdict"]) for run in row["decided"]] == [("same", "supported")]


def test_claims_that_were_not_run_name_the_preset_that_decides_them(tmp_path: Path) -> None:
    not_run, statement = "not run at this scale", "On CIFAR-10 there is no gain."
    own = table_of_verdicts(tmp_path / "verdicts.parquet", statement, NE1="supported", NE5=not_run, XX1=not_run)
    found = claims(own, {"a": "Table A"}, ROOT)
    assert [(one["claim"], one["sign"], one["title"]) for one in found["measured"]] == [("NE1 (x)", "✓", "Table A")]
    cifar, unknown = (one["elsewhere"] for one in found["open"])
    assert re.fullmatch(
        r"cifar10_cpu: \d+ trainings of \d+ to \d+ epochs, \d+ million images in all(; .* published.*)?", cifar
    )
    assert unknown == "no preset here"
    assert found["says"] == "3 claims: 2 not run at this scale, 1 supported."


def test_a_preset_that_decides_another_statement_is_not_named(tmp_path: Path) -> None:
    for statement, preset in (
        ("The gain is larger for larger kernels.", "imagenet"),
        ("On CIFAR-10, what DoG kernels gain over Kaiming's initialisation grows with kernel size.", "cifar10_sizes"),
        ("On the moon, the gain is larger for larger kernels.", "no preset here"),
    ):
        own = table_of_verdicts(tmp_path / "verdicts.parquet", statement, NE4="not run at this scale")
        (row,) = claims(own, {}, ROOT)["open"]
        assert row["elsewhere"].startswith(preset)


def test_hours_are_those_of_published_runs_on_one_device_and_none_are_guessed(tmp_path: Path) -> None:
    preset = Preset(load_preset(ROOT, "cifar10_cpu"))
    networks = sorted({one.architecture for one in preset.conditions})
    images = sum(preset.runs_of("cifar10", one) * preset.recipe("cifar10", one)["epochs"] * 50_000 for one in networks)

    def told(networks: list[str], device: str = "cpu") -> str:
        made = {"seconds": 720.0, "device": "cpu", "devices": 1, "machine": {"processor": "Xeon"}}
        row = dict.fromkeys(SCHEMAS["published_runs"].names) | {
            "dataset": "cifar10",
            "epochs": 4,
            "train_images": 50_000,
        }
        rows = [row | {"architecture": one, "diverged": False, "provenance": json.dumps(made)} for one in networks]
        rows[0]["provenance"] = json.dumps(made | {"device": device})
        path = tmp_path / str(preset.config.adopt)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, pa.Table.from_pylist(rows, SCHEMAS["published_runs"]), "published_runs")
        return _hours(preset, tmp_path)

    assert _hours(preset, tmp_path) == ""
    hours = images * 720 / 200_000 / 3600
    assert told(networks) == f"; {hours:,.1f} h on one CPU (Xeon), at the speed of {len(networks)} published runs"
    assert told(networks[1:]) == told(networks, "cuda") == ""


def test_published_runs_are_not_counted_among_the_hours(tmp_path: Path) -> None:
    preset = Preset(load_preset(ROOT, "cifar10_cpu"))
    made = {"seconds": 7200.0, "device": "cpu", "devices": 1, "machine": {"processor": "Xeon"}}
    row = {"epochs": 12, "train_images": 50_000, "diverged": False, "provenance": json.dumps(made)}
    rows = [
        dict.fromkeys(SCHEMAS["published_runs"].names) | row | one._asdict() | {"seed": seed}
        for one in preset.conditions
        for seed in preset.config.seeds
    ]
    path = tmp_path / str(preset.config.adopt)
    path.parent.mkdir(parents=True)

    def told(published: int) -> str:
        write_table(path, pa.Table.from_pylist(rows[:published], SCHEMAS["published_runs"]), "published_runs")
        return _hours(preset, tmp_path)

    assert preset.recipe("cifar10", rows[-1]["architecture"])["epochs"] == 12
    assert told(len(rows) - 1) == (
        f"; {len(rows) - 1} of them are published, the others take 2.0 h on one CPU (Xeon), at the speed of "
        f"{len(rows) - 1} published runs"
    )
    assert told(len(rows)) == "; all of them are published, and none has to be repeated"


def test_artifacts_of_one_group_stand_together_where_it_first_appears() -> None:
    listed = [{"id": str(place), "group": group} for place, group in enumerate(["b", "a", "", "b"])]
    assert {name: [one["id"] for one in members] for name, members in merged(listed).items()} == {
        "b": ["0", "3"],
        "a": ["1"],
        "Artifacts": ["2"],
    }
