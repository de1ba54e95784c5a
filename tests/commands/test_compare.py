"""`echos compare`: a preset of one's own images, its cost, the workflow on it, and the paired table."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from by_hand import echos, under
from PIL import Image

from dry_runs import dry_run
from neural_echos.design.load import load_preset

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--model", "convnext_atto", "--kwargs", '{"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 16]}']
QUICK = ["--seconds", "0.1", "--cores", "2", "--root", ROOT]

# Takes the place of the workflow: it reads the preset and leaves the table as the workflow does, unless box is compared.
WORKFLOW = """
configfile: "config/config.yaml"
assert "box" not in config["experiments"][0]["initialisations"]
rule all:
    output: multiext(config["pathvars"]["results"] + "/tables/initialisations_compared", ".csv", ".json")
    shell: "cp table.csv {output[0]:q} && cp table.json {output[1]:q}"
"""
TABLE = """measure,architecture,initialisation,value,difference,95 % interval,p,detectable,seeds
"final top-1, %",convnext atto,default,49.5 ± 2.0,–,–,–,–,2
"final top-1, %",convnext atto,DoG,51.0 ± 2.0,+1.5,−0.9 to +3.9,.35,3.1,2
"area, %",convnext atto,DoG,44.0 ± 2.0,+0.0,all alike,1,–,2
"""
SHOWN = """
measure          initialisation  value       difference [95 %]  p    detects
final top-1, %   default         49.5 ± 2.0  –                     –    –
                 DoG             51.0 ± 2.0  +1.5 [−0.9, +3.9]     .35  3.1
area, %          DoG             44.0 ± 2.0  +0.0 [all alike]      1    –
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of six images that are not square, without a split."""
    for name, seed in (("cats", 0), ("dogs", 1)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for one in range(6):
            pixels = np.random.default_rng([seed, one]).integers(0, 256, (40 + one, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{one}.jpg")
    return tmp_path / "pets"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone whose workflow is a short one."""
    root = tmp_path / "clone"
    root.mkdir()
    for part in ("config", "workflow"):
        (root / part).symlink_to(ROOT / part)
    (root / "Snakefile").write_text(WORKFLOW)
    (root / "table.csv").write_text(TABLE, encoding="utf-8")
    (root / "table.json").write_text('{"says": "No difference is significant."}')
    return root


def test_a_preset_is_written_and_the_workflow_takes_it(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--initialisations", "default,dog", "dog_frozen", "--seeds", 3, "--epochs", 2, "--write-only"]
    assert echos("compare", "--data", pictures, *SMALL, *QUICK, *given) == 0
    told = capsys.readouterr()
    assert "2 classes, 10 images for training and 2 for testing: cats 5 + 1, dogs 5 + 1." in told.err
    assert "The folder has no split: 20 % of each class is drawn for testing." in told.err
    assert "100 % are not square" in told.err
    assert "9 runs of " in told.out and " each, 2 at a time: " in told.out
    preset = tmp_path / "compare_pets.yaml"
    assert told.out.splitlines()[-1].endswith(f"-m snakemake --cores 2 --configfile {shlex.quote(str(preset))}")
    config = load_preset(ROOT, preset)
    assert config.experiments[0].initialisations == ["default", "dog", "dog_frozen"]
    assert config.datasets["pets"].options.model_dump()["size"] == 32
    code, planned = dry_run("--configfile", preset)
    assert code == 0, planned
    jobs = dict(line.split() for line in planned.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit())
    assert {jobs["dataset"], jobs["initialise_pets_convnext_atto"], jobs["evaluate"], jobs["report"]} == {"1"}


def test_the_workflow_is_run_and_the_table_shown(
    pictures: Path, project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "--data", pictures, *SMALL, *QUICK[:4], "--root", project, "--seeds", 2, "--epochs", 1]
    assert echos(*words, "--output", tmp_path / "mine.yaml") == 0
    told = capfd.readouterr().out
    assert [line.split() for line in SHOWN.splitlines() if line] == [
        line.split() for line in told[told.index("measure") :].splitlines()[:4]
    ]
    assert "No difference is significant." in told
    assert f"{project}/results/mine/figures/figure_09_training_curves.png" in told
    other = [
        *words,
        "--initialisations",
        "default,box",
        "--output",
        tmp_path / "other.yaml",
        "--results",
        tmp_path / "r",
    ]
    assert echos(*other) == 1
    assert "the workflow did not finish, for the reason above" in capfd.readouterr().err
    assert str(tmp_path / "r/logs") in (tmp_path / "other.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--model convnext_ato", "did you mean 'convnext_atto'?"),
        ("--initialisations default,dgo", "unknown initialisation 'dgo' (did you mean 'dog'?)"),
        ("--initialisations dog", "at least two initialisations"),
        ("--data nowhere", "nowhere: no such folder"),
        ("--data pets/cats", "its 6 images are all in one folder"),
        ("--root pets", "pets: the workflow is not here; run this command in a clone of the project"),
        ("--checkpoint absent.pth", "absent.pth: there is no such checkpoint file"),
        ("--output mine.yml", "mine.yml: a preset is a .yaml file"),
        (
            "--output taken.yaml",
            "taken.yaml: this file already exists with other content and is not overwritten",
        ),
        ("--test-share 1", "test_share must be above 0 and below 1, not 1.0"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    monkeypatch.chdir(pictures.parent)
    Path("taken.yaml").write_text("scale: mine\n")
    before = under(Path())
    given = ["compare", "--data", "pets", *SMALL, *QUICK, "--output", "mine.yaml", "--write-only", *words.split()]
    assert echos(*given) == 1
    assert told in capsys.readouterr().err
    assert under(Path()) == before
