"""A job through profiles/htcondor, the real plugin and HTCondor's real bindings, with a stand-in for the schedd."""

import importlib.metadata
import importlib.util
import json
from pathlib import Path

import pytest
from runs import VERSIONS, Workflow, checksums, end_all

pytestmark = pytest.mark.cluster
ENGINE = "HTCondor, a stand-in for its schedd"
DATA = "datasets/photographs.safetensors"


def test_a_held_job_is_tried_again_with_more_memory(tmp_path: Path, local: Path) -> None:
    """a job held for its memory, tried again with twice as much; its result equal to a local run's byte for byte"""
    if not importlib.util.find_spec("snakemake_executor_plugin_htcondor"):
        pytest.skip("there is no plugin for HTCondor: python3 envs/install.py --executors installs it")
    VERSIONS[ENGINE] = f"bindings {importlib.metadata.version('htcondor')}"
    told = {"PYTHONPATH": str(Path(__file__).with_name("pool")), "POOL": str(tmp_path)}
    words = (
        "--htcondor-jobdir",
        tmp_path / "jobs",
        "--htcondor-held-timeout",
        "0",
        "--seconds-between-status-checks",
        "2",
    )
    run = Workflow(tmp_path / "run", "profiles/htcondor", *words, targets=(DATA,), environment=told, gpu=0)
    assert run.wait() == 0, run.log.read_text()
    end_all()
    first, second = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (1, 2))
    assert "is held: Error from slot1_1@node: Job has gone over cgroup memory limit" in run.log.read_text()
    assert (first["request_memory"], second["request_memory"]) == ("4000MB", "8000MB")
    assert first["request_cpus"] == "1" and "should_transfer_files" not in first
    assert checksums(run.folder / "results")[DATA] == checksums(local)[DATA]
