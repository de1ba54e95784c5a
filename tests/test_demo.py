"""What `make reproduce` left in results/: complete, finite, honest; `make test` runs it first."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dry_runs import dry_run
from neural_echos.design.artifact_files import paper_name
from neural_echos.design.checked import load_artifacts

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
DECLARED = load_artifacts(ROOT)

pytestmark = pytest.mark.skipif(
    not (RESULTS / "report.html").exists(), reason="the demo has not been run here: `make reproduce` makes results/"
)


def test_every_artifact_of_the_paper_is_there() -> None:
    ids = [entry["id"] for entry in CONFIG["artifacts"]]
    assert [name for name in ids if name.startswith("figure")] == sorted(f for f in DECLARED if f.startswith("figure_"))
    assert len([name for name in ids if name.startswith("figure")]) == 11
    for name in ids:
        folder = RESULTS / f"{DECLARED[name]['kind']}s"
        made = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert made["says"]
        assert "nan" not in made["says"].lower().split()


def test_every_rendered_notebook_shows_its_figure_or_table() -> None:
    for entry in CONFIG["artifacts"]:
        notebook = json.loads((RESULTS / f"notebooks/{entry['id']}.ipynb").read_text(encoding="utf-8"))
        shown = {kind for cell in notebook["cells"] for one in cell.get("outputs", []) for kind in one.get("data", {})}
        assert ("image/png" if DECLARED[entry["id"]]["kind"] == "figure" else "text/html") in shown, entry["id"]
        assert "text/markdown" in shown, entry["id"]


def test_the_report_and_the_manuscript_hold_every_artifact() -> None:
    page = (RESULTS / "report.html").read_text(encoding="utf-8")
    manuscript = (RESULTS / "paper/paper.tex").read_text(encoding="utf-8")
    for entry in CONFIG["artifacts"]:
        assert f'id="{entry["id"]}"' in page
        assert paper_name(entry["id"], DECLARED[entry["id"]]["kind"]) in manuscript
    assert "kinds of rule" in page and "core-hours" in page  # Snakemake's records and benchmarks were found


def test_figures_carry_no_date() -> None:
    for path in (RESULTS / "figures").glob("*.pdf"):
        assert b"CreationDate" not in path.read_bytes()
    for path in (RESULTS / "figures").glob("*.svg"):
        assert "<dc:date>" not in path.read_text(encoding="utf-8")


def test_table_1_is_complete_and_learned_something() -> None:
    table = pd.read_csv(RESULTS / "tables/table_1_accuracy.csv")
    assert set(table.architecture) == {"MobileNetV2", "ConvNeXt", "HorNet", "ConvMixer"}
    assert not table.isna().any(axis=None)
    runs = pd.read_parquet(RESULTS / "evaluation/runs.parquet")
    assert runs.groupby(["dataset", "architecture", "initialisation"]).seed.nunique().min() >= 3
    chance = {"photographs": 1 / 16, "digits": 1 / 10}
    assert (
        runs.groupby(["dataset", "architecture"]).top1.mean()
        > 2 * runs.groupby(["dataset", "architecture"]).dataset.first().map(chance)
    ).all()


def test_claims_about_trained_kernels_are_decided_and_those_about_trainings_are_not() -> None:
    verdicts = pd.read_parquet(RESULTS / "verdicts.parquet").set_index("claim")
    assert list(verdicts.index) == ["NE1", "NE2", "NE3", "NE4", "NE5", "NE6", "UU2"]
    assert verdicts.value.notna().all()
    kernels, trainings = ["NE1", "NE2", "UU2"], ["NE3", "NE4", "NE5", "NE6"]
    assert (verdicts.verdict[trainings] == "not run at this scale").all()
    assert verdicts.reason[trainings].str.contains("the same rule gives").all()
    assert verdicts.verdict[kernels].isin(["supported", "inconclusive"]).all()
    assert verdicts.reason[kernels].str.contains("depthwise networks trained on cifar10 are not counted").all()
    assert "the controls include regular networks trained on faces" in verdicts.reason["NE1"]


def test_trained_networks_came_from_their_packages_and_stand_in_the_figures() -> None:
    trained = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
    for name in (*trained, "mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"):
        (facts,) = [json.loads(path.read_text()) for path in (RESULTS / "inputs" / name).glob("*.json")]
        assert facts.get("absent") is None and facts["licence"] in ("Apache-2.0", "MIT")
    for path in (RESULTS / "figures").glob("*.json"):
        assert "Left out" not in json.loads(path.read_text(encoding="utf-8"))["says"]
    structure = pd.read_parquet(RESULTS / "evaluation/structure.parquet").set_index(["model", "kind", "kernel_size"])
    for size in (3, 5):
        untrained = structure.loc[("efficientnet_lite0-untrained", "depthwise", size)]
        assert all(structure.loc[(name, "depthwise", size)].low > untrained.high for name in trained)


def test_untrained_kernels_have_no_structure_and_drawn_dogs_do() -> None:
    structure = pd.read_parquet(RESULTS / "evaluation/structure.parquet")
    untrained = structure[(structure.role == "untrained") & (structure.kind == "depthwise")]
    assert untrained.share.median() < 0.1  # one bank of some 80 kernels can lie far off: its own threshold is noisy
    assert structure[(structure.role == "drawn") & (structure.kind == "depthwise")].share.min() > 0.9


def test_second_reproduce_finds_nothing_to_do() -> None:
    code, told = dry_run()
    assert code == 0, told
    assert "Nothing to be done" in told
