"""A job through profiles/lsf and the real plugin, against a stand-in for LSF's commands."""

import importlib.util
import os
from pathlib import Path

import pytest
from runs import VERSIONS, Workflow, checksums, end_all

pytestmark = pytest.mark.cluster
ENGINE = "LSF, a stand-in for its commands"
COMMANDS = ("bsub", "bjobs", "lsclusters", "badmin")
DATA = "datasets/photographs.safetensors"


def test_a_killed_job_is_tried_again_with_more_memory(tmp_path: Path, local: Path) -> None:
    """a job that LSF killed, tried again with twice the memory; its result equal to a local run's byte for byte"""
    if not importlib.util.find_spec("snakemake_executor_plugin_lsf"):
        pytest.skip("there is no plugin for LSF: python3 envs/install.py --executors installs it")
    VERSIONS[ENGINE] = "commands of LSF 10.1"
    for folder in ("bin", "state", "state/conf/lsbatch/cluster1/configdir"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "state/conf/lsbatch/cluster1/configdir/lsb.params").write_text("DEFAULT_QUEUE = normal\n")
    for name in COMMANDS:
        (tmp_path / "bin" / name).symlink_to(Path(__file__).with_name("lsf.sh"))
    told = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "LSF": str(tmp_path / "state")}
    run = Workflow(tmp_path / "run", "profiles/lsf", targets=(DATA,), environment=told, gpu=0)
    assert run.wait() == 0, run.log.read_text()
    end_all()
    first, second = ((tmp_path / f"state/{number}.words").read_text().splitlines() for number in (1001, 1002))
    assert "LSF-job '1001' failed, LSF status is: 'EXIT'" in run.log.read_text()
    for words, memory in ((first, 4000), (second, 8000)):
        asked = dict(zip(words[::2], words[1::2], strict=False))
        assert asked["-q"] == "normal" and asked["-P"] == "default" and asked["-W"] == "60" and asked["-n"] == "1"
        assert any(word.startswith(f"rusage[mem={memory}") for word in words), words
    assert checksums(run.folder / "results")[DATA] == checksums(local)[DATA]
