"""The workflow on a real Slurm: submitted, one GPU shared, killed for memory, out of time, interrupted.

Slurm's own records say what happened: jobs that ended stay in squeue for a day. WHOLE=1 takes the whole tiny preset in place of the
slice in slice.yaml.
"""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import slurm
from runs import FAULTS, LUMPED, RUN, SLICE, VERSIONS, WHOLE, end_all, lend, until
from slurm import OnSlurm

METRICS = f"runs/{RUN}/metrics.json"
STALLED_AFTER = 5  # epochs
ENGINE = "Slurm without accounting"


@dataclass(frozen=True)
class Runs:
    """What the tests look at."""

    slurm: Path
    main: OnSlurm
    hungry: OnSlurm
    stalled: OnSlurm
    interrupted: OnSlurm


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm of two nodes, for as long as the tests last."""
    if reason := slurm.obstacle() or slurm.install():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    slurm.start(folder)
    VERSIONS[ENGINE] = slurm.version()
    yield folder
    end_all()
    slurm.stop(folder)


@pytest.fixture(scope="module")
def runs(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Four runs of the workflow, side by side: time passes while one of them waits for its time limit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, its children too
    folder = tmp_path_factory.mktemp("runs")
    main = OnSlurm(folder / "main", *([] if WHOLE else LUMPED), asked_after=3, configs=() if WHOLE else (SLICE,))
    until(lambda: prepared(main), "a dataset and initial weights")
    faults = {"asked_after": 1, "configs": (SLICE, FAULTS), "targets": (METRICS,)}
    stalled = OnSlurm(lend(main, folder / "stalled"), **faults)
    hungry = OnSlurm(lend(main, folder / "hungry"), **faults, memory_mb=700)
    stall(stalled)
    interrupted = interrupt(lend(main, folder / "interrupted"))
    for one in (hungry, stalled, main):
        assert one.wait() == 0, one.log.read_text()
    return Runs(cluster, main, hungry, stalled, interrupted)


def prepared(run: OnSlurm) -> bool:
    """Say whether the job is over that leaves what all trainings start from."""
    return any(job.what.endswith("initialise_photographs_convmixer") and job.state == "COMPLETED" for job in run.jobs())


def stall(run: OnSlurm) -> None:
    """Let a training stall once it is under way, as on a node that hangs, and end its time: Slurm wakes it to end it."""
    until(lambda: f"epoch {STALLED_AFTER}/" in run.training(), "a training under way")
    [job] = run.jobs()
    subprocess.run(["scancel", "--signal=STOP", job.number], check=True)
    subprocess.run(["scontrol", "update", f"JobId={job.number}", "EndTime=now+1"], check=True)


def interrupt(folder: Path) -> OnSlurm:
    """Press Ctrl-C once some jobs of a run are running and others wait for memory."""
    targets = tuple(f"runs/photographs/convmixer/{name}/seed0/metrics.json" for name in ("default", "dog"))
    more = {"memory_mb": 17000, "runtime_minutes": 30, "recipes": {"photographs": {"epochs": 9999}}}
    run = OnSlurm(folder, asked_after=20, configs=(SLICE, FAULTS), targets=targets, **more)
    until(lambda: {"RUNNING", "PENDING"} <= {job.state for job in run.jobs()}, "a running and a waiting job")
    until(lambda: "Submitted array job" in run.log.read_text(), "Snakemake to know of them")
    # Snakemake notes what it submitted a moment later, and Ctrl-C misses what it is asking Slurm about: first after 20 seconds.
    time.sleep(5)
    run.process.send_signal(signal.SIGINT)
    run.wait()
    return run


def test_what_was_asked_for_is_made_by_submitted_jobs(runs: Runs) -> None:
    """a slice of the tiny preset from dataset to report, by submitted jobs alone"""
    assert (runs.main.folder / "results/report.html").exists()
    assert (runs.main.folder / "results/figures/figure_05_clusters.pdf").stat().st_size > 0
    done = runs.main.jobs()
    assert {job.state for job in done} == {"COMPLETED"}
    told = runs.main.log.read_text()
    submitted = re.findall(r"submitted with SLURM jobid (\d+)", told)
    [array] = set(re.findall(r"and SLURM job ID (\d+)", told)) if not WHOLE else {""}
    assert WHOLE or sorted({job.number.partition("_")[0] for job in done}) == sorted([*submitted, array])
    local = re.findall(r"local(?:rule)? (\w+):", told)
    assert set(local) <= {"all"}


def test_runs_take_turns_on_the_gpu(runs: Runs) -> None:
    """two trainings, an array, that take turns on one GPU"""
    on_gpu = sorted((job for job in runs.main.jobs() if job.partition == "gpu"), key=lambda job: job.start)
    assert len(on_gpu) == (0 if WHOLE else 2)  # the whole preset asks for no GPU
    assert all(job.what.startswith("rule_train_0") for job in on_gpu)
    assert all(first.end <= second.start for first, second in pairwise(on_gpu))


def test_a_job_killed_for_memory_is_tried_again_with_more(runs: Runs) -> None:
    """a job killed for memory, tried again with twice as much"""
    first, second = runs.hungry.jobs()
    assert [(job.state, job.memory_mb) for job in (first, second)] == [("FAILED", 700), ("COMPLETED", 1400)]
    told = (runs.slurm / "slurmd-cpu1.log").read_text()
    assert re.search(rf"\[{first.number}\.\w+\] error: .*exceeded (job )?memory limit", told, re.IGNORECASE)


def test_a_training_out_of_time_resumes_to_the_same_bytes(runs: Runs) -> None:
    """a training past its time limit, resumed to the bytes of one that was not"""
    assert [job.state for job in runs.stalled.jobs()] == ["TIMEOUT", "COMPLETED"]
    told = runs.stalled.training()
    [epoch] = map(int, re.findall(r"resuming after epoch (\d+)", told))
    assert epoch >= STALLED_AFTER
    assert f"epoch {epoch}/" not in told  # what the attempt before had done is not done again
    # The other run's first attempt was killed before it had begun to train, so that its second trained from end to end.
    assert "epoch 1/" in runs.hungry.training() and "resuming" not in runs.hungry.training()
    for name in ("weights.safetensors", "history.parquet", "metrics.json"):
        one, other = ((run.folder / "results/runs" / RUN / name).read_bytes() for run in (runs.stalled, runs.hungry))
        assert one == other, name


def test_ctrl_c_cancels_what_was_submitted(runs: Runs) -> None:
    """Ctrl-C on running and waiting jobs"""
    assert runs.interrupted.process.returncode != 0
    left = runs.interrupted.jobs()  # tasks of the array that had not begun share one record
    assert len(left) >= 2
    assert {job.state for job in left} == {"CANCELLED"}
