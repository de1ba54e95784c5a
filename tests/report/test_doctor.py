"""Doctor: what it says of this machine, and of a checkout that lacks things."""

import json
import shutil
from pathlib import Path

import pytest

from neural_echos import commands
from neural_echos.errors import EchosError
from neural_echos.report import doctor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the doctor reads, far from any mirror folder."""
    root = tmp_path / "a checkout"
    for folder in ("config", "workflow/schemas", "envs"):
        shutil.copytree(ROOT / folder, root / folder)
    shutil.copy(ROOT / "workflow/Snakefile", root / "workflow/Snakefile")
    shutil.copytree(ROOT / "workflow/notebooks", root / "workflow/notebooks")
    return root


def states(findings: list[doctor.Finding]) -> dict[str, str]:
    return {one.what: one.state for one in findings}


def test_the_machine_of_the_tests_can_run_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["doctor", "--root", str(ROOT), "--json"]) == 0
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["the demo"]["state"] == "ok"
    assert found["packages"]["state"] == "ok"
    assert {f"preset {path.stem}" for path in (ROOT / "config/presets").glob("*.yaml")} <= set(found)
    assert commands.main(["doctor", "--root", str(ROOT)]) == 0
    assert "can run here" in capsys.readouterr().out


def test_what_is_missing_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECHOS_MIRRORS", raising=False)
    monkeypatch.setattr(doctor, "_memory_gb", lambda: 4.0)
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: {"timm": None, "numpy": "0.1"}.get(name, real(name)))
    findings = {one.what: one for one in doctor.examine(checkout)}
    assert findings["the demo"].found == "can run here"
    assert findings["memory"].state == "note"
    assert "in no mirror folder and not downloadable: cifar10_test_0" in findings["preset cifar10_cpu"].found
    assert "the folder ../imagenet does not exist" in findings["preset imagenet"].found
    assert "requires 64 GB of memory" in findings["preset imagenet"].found
    assert findings["packages"].found.startswith("1 at another version, 1 missing: numpy 0.1 (pinned: ")
    assert findings["packages"].advice == "run python3 envs/install.py to build the pinned environment"


def test_a_preset_that_cannot_be_read_is_told_beside_the_others(checkout: Path) -> None:
    with (checkout / "config/presets/tiny.yaml").open("a", encoding="utf-8") as preset:
        preset.write("\nfilters: master_key_filter\n")
    found = {one.what: one for one in doctor.examine(checkout)}
    assert found["preset tiny"].state == "note" and "did you mean 'master_key_filters_8'?" in found["preset tiny"].found
    assert found["the demo"].state == "ok" and "preset zoo" in found


def test_the_filters_that_a_preset_needs_count_as_inputs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECHOS_MIRRORS", raising=False)
    quest = {one.what: one for one in doctor.examine(checkout)}["preset quest"]
    assert "master_key_filters_8" in quest.found


def test_executor_plugins_are_listed_with_their_versions(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"snakemake-executor-plugin-slurm": "2.8.0", "snakemake-executor-plugin-lsf": "0.3.3"}
    monkeypatch.setattr(doctor, "_version", there.get)
    monkeypatch.setattr(
        doctor, "_presets", lambda _: iter(())
    )  # which take seconds to read, and are not looked at here
    found = {one.what: one for one in doctor.examine(checkout)}["executors"]
    assert (found.state, found.found) == ("note", "slurm 2.8.0, lsf 0.3.3")
    assert "envs/install.py --executors" in found.advice
    monkeypatch.setattr(doctor, "_version", lambda _: "1")
    assert {one.what: one for one in doctor.examine(checkout)}["executors"].state == "ok"


def test_a_full_disk_is_a_problem(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    monkeypatch.setattr(
        doctor, "_presets", lambda _: iter(())
    )  # which take seconds to read, and are not looked at here
    assert states(doctor.examine(checkout))["disk"] == "problem"
    assert commands.main(["doctor", "--root", str(checkout)]) == 1
    assert "this machine cannot run the demo because of disk; see above" in capsys.readouterr().err


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchosError, match=r"not a checkout of this project \(no workflow/Snakefile\)"):
        doctor.examine(tmp_path)
