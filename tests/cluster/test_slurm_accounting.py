"""The workflow on a real Slurm with accounting, through profiles/slurm: states by sacct, memory, pre-emption."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm
from runs import FAULTS, LUMPED, ONE, RUN, SLICE, VERSIONS, checksums, end_all, lend, until
from slurm import OnSlurm

pytestmark = pytest.mark.cluster
ENGINE = "Slurm with accounting"
METRICS = f"runs/{RUN}/metrics.json"
PROFILE = {"profile": "profiles/slurm", "asked_after": 3}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm of two nodes with a database, for as long as the tests last."""
    if reason := slurm.obstacle() or slurm.install(slurm.PACKAGES | slurm.ACCOUNTING_PACKAGES):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("accounting")
    slurm.start(folder, accounting=True)
    VERSIONS[ENGINE] = slurm.version()
    yield folder
    end_all()
    slurm.stop(folder)


@pytest.fixture(scope="module")
def main(cluster: Path) -> OnSlurm:
    run = OnSlurm(cluster / "main", *LUMPED, **PROFILE)
    assert run.wait() == 0, run.log.read_text()
    return run


@pytest.fixture(scope="module")
def hungry(main: OnSlurm, cluster: Path) -> OnSlurm:
    """A training that asks for too little memory."""
    configs = (SLICE, ONE, FAULTS)
    run = OnSlurm(lend(main, cluster / "hungry"), **PROFILE, configs=configs, targets=(METRICS,), memory_mb=700)
    assert run.wait() == 0, run.log.read_text()
    return run


def test_results_equal_those_of_a_local_run(main: OnSlurm, local: Path) -> None:
    """the slice of the tiny preset through profiles/slurm, states by sacct, equal to a local run byte for byte"""
    assert checksums(main.folder / "results") == checksums(local)
    done = main.accounted()
    assert {state for _, state, *_ in done} == {"COMPLETED"} and len(done) >= 4
    assert all(account for *_, account in done)


def test_a_job_killed_for_memory_is_tried_again_with_more(hungry: OnSlurm) -> None:
    """a job killed for memory, tried again with twice as much"""
    assert [(state, memory) for _, state, memory, _ in hungry.accounted()] == [
        ("FAILED", "700M"),
        ("COMPLETED", "1400M"),
    ]


def test_a_preempted_training_is_requeued_and_resumes(main: OnSlurm, hungry: OnSlurm, cluster: Path) -> None:
    """a pre-empted training, requeued by Slurm under its own number, resumed to the same bytes"""
    configs = (SLICE, ONE, FAULTS)
    run = OnSlurm(lend(main, cluster / "preempted"), **PROFILE, configs=configs, targets=(METRICS,))
    until(lambda: "epoch 5/" in run.training(), "a training under way")
    [job] = run.jobs()
    urgent = ["sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 5"]
    subprocess.run(urgent, check=True, capture_output=True)
    until(lambda: [one.state for one in run.jobs()] == ["PENDING"], "the pre-emption")
    subprocess.run(
        ["scontrol", "update", f"JobId={job.number}", "StartTime=now"], check=True
    )  # Slurm waits for 2 minutes
    assert run.wait() == 0, run.log.read_text()
    assert [(number, state) for number, state, *_ in run.accounted()] == [
        (job.number, "PREEMPTED"),
        (job.number, "COMPLETED"),
    ]
    assert re.search(r"resuming after epoch [1-9]", run.training()), run.training()
    assert checksums(run.folder / "results/runs" / RUN) == checksums(hungry.folder / "results/runs" / RUN)
