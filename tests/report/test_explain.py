"""Explain: the way back from a result, from records as Snakemake writes them, and from the demo's own."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from neural_echos import commands
from neural_echos.code import Code
from neural_echos.datasets import make_digits, save_dataset
from neural_echos.errors import EchosError
from neural_echos.files import sha256
from neural_echos.report.explain import Records, explain, render_explanation

ROOT = Path(__file__).resolve().parents[2]
FIGURE = "results/figures/figure_05_clusters.pdf"


def record(root: Path, name: str, rule: str, inputs: list[str], ended: float, **changes: Any) -> None:
    """Write a record as Snakemake 9.27 does, and the file that it is about where there is none."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(name)
    sums = {one: f"sha256:{sha256(root / one)}" for one in inputs}
    found = {"rule": rule, "input": inputs, "shellcmd": f"echos {rule}", "starttime": ended - 2.5, "endtime": ended}
    encoded = base64.b64encode(name.encode()).decode()
    place = root / ".snakemake" / "metadata" / encoded
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found | {"input_checksums": sums, **changes}))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder in which a dataset, two banks and a figure were made."""
    data, facts = make_digits(size=8, seed=0)
    save_dataset(tmp_path / "results/datasets/digits.safetensors", data, facts)
    (tmp_path / "code.py").write_text("print()")
    record(tmp_path, "results/datasets/digits.safetensors", "dataset", [], 1000.0)
    record(tmp_path, "results/banks/a.parquet", "extract", ["results/datasets/digits.safetensors"], 2000.0)
    record(tmp_path, "results/banks/b.parquet", "extract", ["results/datasets/digits.safetensors"], 2000.0)
    run = "results/runs/digits/seed2/metrics.json"
    record(tmp_path, run, "train_0", [], 1500.0, shellcmd="echos train --seeds 0 1 --threads 1")
    banks = ["results/banks/a.parquet", "results/banks/b.parquet"]
    record(tmp_path, FIGURE, "figure", [*banks, run, "code.py"], 3000.0)
    facts = {"says": "much", "commit": "abc", "uncommitted_changes": True, "versions": {"numpy": "2"}}
    (tmp_path / FIGURE).with_suffix(".json").write_text(
        json.dumps(facts | {"machine": {"cores": 2}, "inputs": {"x": 1}})
    )
    return tmp_path


def test_the_way_back_is_walked_once(made: Path) -> None:
    found = explain(FIGURE, made)
    assert [step.rule for step in found.steps] == ["dataset", "train_0", "extract", "figure"]
    assert found.steps[2].made == ("results/banks/a.parquet", "results/banks/b.parquet")
    assert found.steps[0].seconds == 2.5
    assert found.steps[0].ended == "1970-01-01T00:16:40+00:00"
    assert not any(step.changed for step in found.steps)
    assert list(found.sources) == ["results/datasets/digits.safetensors"]
    assert "scikit-learn" in found.sources["results/datasets/digits.safetensors"]["licence"]
    assert found.rebuild == f".venv/bin/snakemake --force -- {FIGURE}"
    assert found.seeds == {"train": (0, 1, 2)}
    assert explain(made / FIGURE, made) == found
    text = render_explanation(found)
    assert "commit   abc, with uncommitted changes" in text
    assert "extract: results/banks/a.parquet and 1 more" in text


def test_what_has_changed_since_is_named(made: Path) -> None:
    (made / "code.py").write_text("print(1)")
    found = explain(FIGURE, made)
    assert found.steps[-1].changed == ("code.py",)
    assert "since then: code.py; the next snakemake run rebuilds it" in render_explanation(found)


def test_changed_code_is_named(made: Path) -> None:
    for now, changed in ((Code().fingerprint("fit"), ()), ("0" * 16, ("the code of echos fit",))):
        ran = {"shellcmd": "python -m neural_echos --log 'a b.log' fit x", "params": ["0.7", f"'{now}'"]}
        record(made, "results/fits/c.parquet", "fit", [], 2500.0, **ran)
        assert explain("results/fits/c.parquet", made).steps[0].changed == changed


def test_the_preset_is_part_of_the_command(made: Path) -> None:
    (made / "config/presets").mkdir(parents=True)
    (made / "config/presets/zoo.yaml").write_text("pathvars: {results: results/zoo}\n")
    record(made, "results/zoo/tables/t.csv", "table", [], 1.0)
    command = ".venv/bin/snakemake --configfile config/presets/zoo.yaml --force -- results/zoo/tables/t.csv"
    assert explain("results/zoo/tables/t.csv", made).rebuild == command


@pytest.mark.parametrize(
    ("name", "command", "again"),
    [
        (
            "zoo/figure_07_cluster_shares.png",
            None,
            "--configfile config/presets/zoo.yaml --force -- results/zoo/figures/f",
        ),
        ("demo/table_4_verdicts.md", None, "snakemake --force -- results/tables/table_4_verdicts.csv"),
        ("one/a.png", ["echos", "render", "a b.ipynb"], "echos render 'a b.ipynb'"),
    ],
)
def test_what_was_published_is_explained_by_the_json_beside_it(
    made: Path, name: str, command: list[str] | None, again: str
) -> None:
    published = ROOT / "results/published"
    root = ROOT
    if command:
        root, published = made, made / "results/published"
        (published / name).parent.mkdir(parents=True)
        (published / name).write_bytes(b"")
        (published / name).with_suffix(".json").write_text(json.dumps({"command": command, "says": "much"}))
    found = explain(published / name, root)
    assert not found.steps and again in found.rebuild and found.facts["says"]
    text = render_explanation(found)
    assert "steps    not recorded here" in text
    assert all(f"    {one['path']} sha256 {one['sha256']}" in text for one in found.facts.get("inputs", {}).values())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("results/figures/none.pdf", "there is no such file"),
        ("code.py", "has no record of how this file was made"),
        ("/etc/hostname", "has no record of how this file was made"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(made: Path, name: str, words: str) -> None:
    with pytest.raises(EchosError, match=words) as caught:
        explain(name, made)
    assert "\n" not in str(caught.value)


def test_a_record_that_is_cut_short_counts_as_none(made: Path) -> None:
    for path in (made / ".snakemake/metadata").iterdir():
        path.write_text(path.read_text()[:20])
    with pytest.raises(EchosError, match="has no record"):
        explain(FIGURE, made)


@pytest.mark.slow
def test_the_command_that_is_named_makes_the_artifact_again_and_nothing_else(tmp_path: Path) -> None:
    """In a copy of the workflow a figure is made and spoilt, and the command that it names is run."""
    for name in ("Snakefile", "config", "src", "workflow", "profiles", "envs"):
        (tmp_path / name).symlink_to(ROOT / name)
    figure = "results/figures/figure_02_dog_profile.pdf"

    def snakemake(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("snakemake")), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    snakemake("--", figure)
    before = (tmp_path / figure).read_bytes()
    (tmp_path / figure).write_bytes(b"spoilt")
    found = explain(figure, tmp_path)
    assert [step.rule for step in found.steps] == ["figure"] and found.facts["options"]["size"] == 9
    program, *arguments = found.rebuild.split()
    assert program == ".venv/bin/snakemake"
    assert "1 of 1 steps (100%) done" in snakemake(*arguments)
    assert (tmp_path / figure).read_bytes() == before


@pytest.mark.parametrize(
    ("figure", "rules", "source", "licence"),
    [
        (FIGURE, {"fetch", "extract_from_checkpoint", "cluster"}, "efficientnet_lite0", "Apache-2.0"),
        (
            "results/figures/figure_08_before_and_after_training.pdf",
            {"dataset", "extract_from_run", "train_photographs_convnext_0_0"},
            "results/datasets/photographs.safetensors",
            "astronaut: public domain",
        ),
    ],
)
def test_a_figure_of_the_demo_goes_back_to_packages_or_photographs(
    capsys: pytest.CaptureFixture[str], figure: str, rules: set[str], source: str, licence: str
) -> None:
    if not (ROOT / figure).exists():
        pytest.skip("the demo has not been run here")
    assert commands.main(["explain", str(ROOT / figure), "--root", str(ROOT), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    made_by = [step["rule"] for step in found["steps"]]
    assert made_by[-1] == "figure"
    assert rules <= set(made_by)
    assert len(found["facts"]["commit"]) == 40
    assert any(source in name and licence in one["licence"] for name, one in found["sources"].items())


def test_the_command_of_a_preset_on_top_of_another_names_both() -> None:
    found = Records(ROOT).preset_of("results/imagenet100/figures/figure_05_clusters.pdf")
    assert found == "--configfile config/presets/imagenet.yaml config/presets/imagenet100.yaml "
    assert Records(ROOT).preset_of(FIGURE) == ""


def test_a_preset_in_the_project_s_folder_is_found(tmp_path):
    (tmp_path / "compare_pets.yaml").write_text("pathvars: {results: results/compare_pets}\n")
    (tmp_path / "broken.yaml").write_text("{")
    (tmp_path / "other.yaml").write_text("pathvars: 3\n")
    found = Records(tmp_path)
    assert found.presets == {"results/compare_pets": tmp_path / "compare_pets.yaml"}
    assert found.preset_of("results/compare_pets/tables/a.csv") == "--configfile compare_pets.yaml "
