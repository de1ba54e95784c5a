"""Loading: which folders Snakemake can work in, and the base config where it runs elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from neural_echos.design.load import require_working_folder
from neural_echos.errors import EchosError

ROOT = Path(__file__).resolve().parents[2]


def test_braces_in_a_path_are_refused(tmp_path):
    folder = tmp_path / "run {x}"
    folder.mkdir()
    for pair in ((folder, tmp_path), (tmp_path, folder)):
        with pytest.raises(EchosError, match=r"run \{x\}: Snakemake takes braces in a path for wildcards"):
            require_working_folder(*pair)


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # as root, mode bits forbid nothing
    with pytest.raises(EchosError, match="this folder is read-only"):
        require_working_folder(tmp_path, ROOT)


@pytest.mark.parametrize("preset", [[], ["--configfile", str(ROOT / "config/presets/tiny.yaml")]], ids=["demo", "tiny"])
def test_the_base_config_is_found_from_another_folder(tmp_path, preset):
    command = [Path(sys.executable).parent / "snakemake", "-s", ROOT / "Snakefile", "--directory", tmp_path / "x"]
    done = subprocess.run([*command, *preset, "-n", "-q", "all"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Pydantic" not in done.stderr
