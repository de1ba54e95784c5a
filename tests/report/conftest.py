"""Results that a small workflow made, for the tests of the page, the manuscript and the crate."""

import shutil
from pathlib import Path

import pytest
from small_results import make


@pytest.fixture
def made(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with what `once` made."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neural_echos.commands.app.log_to", lambda path: None)
    return tmp_path


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a workflow made a dataset, a run, a bank, a figure, a table, and verdicts."""
    tmp_path = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        make(tmp_path)
    return tmp_path
