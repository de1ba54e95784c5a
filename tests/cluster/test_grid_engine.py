"""The workflow on a real Grid Engine, through profiles/grid-engine: results, GPUs in turn, time limits, Ctrl-C."""

import importlib.util
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from grid_engine import GridEngine, obstacle
from runs import FAULTS, LUMPED, ONE, ROOT, SLICE, VERSIONS, Workflow, checksums, end_all, lend, until

pytestmark = pytest.mark.cluster
ENGINE = "Grid Engine"
PROFILE = "profiles/grid-engine"


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridEngine]:
    if not importlib.util.find_spec("snakemake_executor_plugin_cluster_generic"):
        pytest.skip("there is no generic executor plugin: python3 envs/install.py --executors installs it")
    if reason := obstacle():
        pytest.skip(reason)
    cell = GridEngine(tmp_path_factory.mktemp("grid_engine"))
    cell.start()
    VERSIONS[ENGINE] = cell.version()
    yield cell
    end_all()
    cell.stop()


@pytest.fixture(scope="module")
def main(cell: GridEngine) -> Workflow:
    run = Workflow(cell.folder / "main", PROFILE, *LUMPED, environment=cell.environment)
    assert run.wait() == 0, run.log.read_text()
    return run


def account(cell: GridEngine, name: str) -> list[dict[str, str]]:
    """What the accounting file says of the jobs whose name begins so."""
    blocks = cell.run("qacct", "-j", f"{name}*").split("=" * 62)
    return [
        dict(line.split(maxsplit=1) for line in block.strip().splitlines() if " " in line)
        for block in blocks
        if "jobnumber" in block
    ]


def test_results_equal_those_of_a_local_run(main: Workflow, local: Path) -> None:
    """the slice of the tiny preset, equal to a local run byte for byte"""
    assert checksums(main.folder / "results") == checksums(local)
    assert main.log.read_text().count("Submitted ") >= 4


def test_trainings_take_turns_on_the_gpu(cell: GridEngine, main: Workflow) -> None:
    """two trainings that take turns on one GPU"""
    trained = sorted(account(cell, "snakejob.train_0"), key=lambda one: int(one["jobnumber"]))
    assert len(trained) == 2 and all(one["exit_status"].strip() == "0" for one in trained)
    first, second = sorted(trained, key=lambda one: one["start_time"])
    assert first["end_time"] <= second["start_time"]


def test_a_job_past_its_time_limit_has_failed(cell: GridEngine) -> None:
    """a job past its time limit: the status script says failed"""
    number = cell.run(
        "qsub", "-terse", "-b", "y", "-o", "/dev/null", "-e", "/dev/null", "-l", "h_rt=3", "sleep", "60"
    ).strip()
    said = [""]

    def ended() -> bool:
        said[0] = cell.run(str(ROOT / PROFILE / "status.sh"), number).strip()
        return said[0] != "running"

    until(ended, "the end of a job past its limit")
    assert said[0] == "failed"


def test_ctrl_c_takes_jobs_out_of_the_queue(cell: GridEngine, main: Workflow) -> None:
    """Ctrl-C on a running and a waiting job"""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    targets = tuple(f"runs/photographs/convmixer/{name}/seed0/metrics.json" for name in ("default", "dog"))
    more = {"gpu": 1, "recipes": {"photographs": {"epochs": 9999}}, "configs": (SLICE, ONE, FAULTS)}
    run = Workflow(
        lend(main, cell.folder / "interrupted"), PROFILE, targets=targets, environment=cell.environment, **more
    )
    until(lambda: re.search(r" r .*(.|\n)* qw ", cell.run("qstat", "-u", "*")), "a running and a waiting job")
    until(lambda: run.log.read_text().count("Submitted ") == 2, "Snakemake to know of them")
    run.process.send_signal(signal.SIGINT)
    assert run.wait() != 0
    Workflow.started.remove(run)
    until(lambda: not cell.run("qstat", "-u", "*"), "an empty queue")
