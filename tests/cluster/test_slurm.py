"""The workflow on a real Slurm: submitted, one GPU shared, killed for memory, out of time, interrupted.

Slurm's own records say what happened: jobs that ended stay in squeue for a day. WHOLE=1 takes the whole tiny preset in place of the
slice in slice.yaml.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import slurm
import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
TINY, SLICE, FAULTS = ROOT / "config/presets/tiny.yaml", HERE / "slice.yaml", HERE / "faults.yaml"
WHOLE = bool(os.environ.get("WHOLE"))
PATIENCE = 3600 if WHOLE else 900  # seconds for all runs together, on a machine that does other things too
# The profile asks Slurm every 20 seconds, and more rarely while nothing ends; and each job of the cluster starts Snakemake once for
# itself and once for each rule. So short jobs are lumped together more than the profile does, and Slurm is asked sooner.
CORES = "4"  # what a node of this Slurm promises
LUMPS = {
    "prepare": ("dataset", "initialise_photographs_convmixer"),
    "kernels": ("extract_from_run", "cluster", "fit", "structure", "figure", "paper"),  # while others train
    "summary": ("evaluate", "verdicts", "report"),
}
RUN = "photographs/convmixer/default/seed0"
STALLED_AFTER = 5  # epochs


@dataclass(frozen=True)
class Job:
    """One line of squeue: a job that Slurm knows, ended or not."""

    number: str
    run: str
    state: str
    what: str
    partition: str
    memory_mb: int
    start: str
    end: str


def jobs() -> list[Job]:
    """Every job by Slurm's records, in the order of submission."""
    told = subprocess.run(
        ["squeue", "-h", "-r", "-t", "all", "-o", "%i|%j|%T|%k|%P|%m|%S|%e"], capture_output=True, text=True, check=True
    )
    found = []
    for line in told.stdout.splitlines():
        number, name, state, what, partition, memory, start, end = line.split("|")
        found.append(Job(number, name, state, what, partition, int(memory.rstrip("M")), start, end))
    return sorted(found, key=lambda job: [*map(int, job.number.split("_"))])


class Workflow:
    """A run of the workflow on the cluster, through profiles/slurm-noacct, that goes on beside the test."""

    started: ClassVar[list["Workflow"]] = []

    def __init__(
        self,
        folder: Path,
        *words: str,
        asked_after: int,
        configs: tuple[Path, ...],
        runs: tuple[str, ...] = (),
        **more: Any,
    ):
        """Start it: Slurm is asked after so many seconds for the first time; the words and the config `more` come last."""
        folder.mkdir(parents=True, exist_ok=True)
        own = folder / "own.yaml"
        places = {name: f"{folder}/{name}" for name in ("results", "logs", "benchmarks")}
        own.write_text(yaml.safe_dump({"pathvars": places} | more))
        command = [Path(sys.executable).with_name("snakemake"), "--nolock", "--cores", CORES]
        command += ["--workflow-profile", "profiles/slurm-noacct"]
        command += ["--slurm-init-seconds-before-status-checks", asked_after, *words]
        command += ["--slurm-logdir", folder / "slurm"]  # where they share one, the first that ends tidies it up
        made = [f"{folder}/results/runs/{run}/metrics.json" for run in runs]
        self.folder, self.log = folder, folder / "snakemake.log"
        self.process = subprocess.Popen(
            [*map(str, [*command, "--configfile", TINY, *configs, own, "--", *made])],
            cwd=ROOT,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        self.since = time.monotonic()
        self.started.append(self)

    def name(self) -> str:
        """What Slurm calls the jobs of this run; "not yet" before Snakemake has said so."""
        found = re.search(r"SLURM run ID: (\S+)", self.log.read_text())
        return found[1] if found else "not yet"

    def jobs(self) -> list[Job]:
        return [job for job in jobs() if job.run == self.name()]

    def training(self) -> str:
        """What the last attempt of the run's training logged."""
        log = self.folder / "logs/train" / Path(RUN).parent / "0.log"
        return log.read_text() if log.exists() else ""

    def wait(self) -> int:
        return self.process.wait(timeout=seconds_left())


def seconds_left() -> float:
    return max(1, Workflow.started[0].since + PATIENCE - time.monotonic())


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + seconds_left()
    while not done():
        for run in Workflow.started:
            assert not run.process.poll(), run.log.read_text()
        assert time.monotonic() < deadline, f"expected {what} within {PATIENCE} s"
        time.sleep(0.1)


def lend(main: Workflow, folder: Path) -> Path:
    """Lend a run the data set and the initial weights that another one made."""
    for name in ("datasets", "initial"):
        shutil.copytree(main.folder / "results" / name, folder / "results" / name)
    return folder


@dataclass(frozen=True)
class Runs:
    """What the tests look at."""

    slurm: Path
    main: Workflow
    hungry: Workflow
    stalled: Workflow
    interrupted: Workflow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm of two nodes, for as long as the tests last."""
    if reason := slurm.obstacle() or slurm.install():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    slurm.start(folder)
    yield folder
    for one in Workflow.started:
        one.process.kill()  # does nothing where it has ended
        one.process.wait()
    slurm.stop(folder)


@pytest.fixture(scope="module")
def runs(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Four runs of the workflow, side by side: time passes while one of them waits for its time limit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, its children too
    folder = tmp_path_factory.mktemp("runs")
    groups = [] if WHOLE else ["--groups", *(f"{rule}={name}" for name, rules in LUMPS.items() for rule in rules)]
    main = Workflow(folder / "main", *groups, asked_after=3, configs=() if WHOLE else (SLICE,))
    until(lambda: prepared(main), "a data set and initial weights")
    faults = {"asked_after": 1, "configs": (SLICE, FAULTS), "runs": (RUN,)}
    stalled = Workflow(lend(main, folder / "stalled"), **faults)
    hungry = Workflow(lend(main, folder / "hungry"), **faults, memory_mb=700)
    stall(stalled)
    interrupted = interrupt(lend(main, folder / "interrupted"))
    for one in (hungry, stalled, main):
        assert one.wait() == 0, one.log.read_text()
    return Runs(cluster, main, hungry, stalled, interrupted)


def prepared(run: Workflow) -> bool:
    """Say whether the job is over that leaves what all trainings start from."""
    return any(job.what.endswith("initialise_photographs_convmixer") and job.state == "COMPLETED" for job in run.jobs())


def stall(run: Workflow) -> None:
    """Let a training stall once it is under way, as on a node that hangs, and end its time: Slurm wakes it to end it."""
    until(lambda: f"epoch {STALLED_AFTER}/" in run.training(), "a training under way")
    [job] = run.jobs()
    subprocess.run(["scancel", "--signal=STOP", job.number], check=True)
    subprocess.run(["scontrol", "update", f"JobId={job.number}", "EndTime=now+1"], check=True)


def interrupt(folder: Path) -> Workflow:
    """Press Ctrl-C once some jobs of a run are running and others wait for memory."""
    runs = tuple(f"photographs/convmixer/{name}/seed0" for name in ("default", "dog"))
    more = {"memory_mb": 17000, "runtime_minutes": 30, "recipes": {"photographs": {"epochs": 9999}}}
    run = Workflow(folder, asked_after=20, configs=(SLICE, FAULTS), runs=runs, **more)
    until(lambda: {"RUNNING", "PENDING"} <= {job.state for job in run.jobs()}, "a running and a waiting job")
    until(lambda: "Submitted array job" in run.log.read_text(), "Snakemake to know of them")
    # Snakemake notes what it submitted a moment later, and Ctrl-C misses what it is asking Slurm about: first after 20 seconds.
    time.sleep(5)
    run.process.send_signal(signal.SIGINT)
    run.wait()
    return run


def test_what_was_asked_for_is_made_by_submitted_jobs(runs: Runs) -> None:
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
    on_gpu = sorted((job for job in runs.main.jobs() if job.partition == "gpu"), key=lambda job: job.start)
    assert len(on_gpu) == (0 if WHOLE else 2)  # the whole preset asks for no GPU
    assert all(job.what.startswith("rule_train_0") for job in on_gpu)
    assert all(first.end <= second.start for first, second in pairwise(on_gpu))


def test_a_job_killed_for_memory_is_tried_again_with_more(runs: Runs) -> None:
    first, second = runs.hungry.jobs()
    assert [(job.state, job.memory_mb) for job in (first, second)] == [("FAILED", 700), ("COMPLETED", 1400)]
    told = (runs.slurm / "slurmd-cpu1.log").read_text()
    assert re.search(rf"\[{first.number}\.\w+\] error: .*exceeded (job )?memory limit", told, re.IGNORECASE)


def test_a_training_out_of_time_resumes_to_the_same_bytes(runs: Runs) -> None:
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
    assert runs.interrupted.process.returncode != 0
    left = runs.interrupted.jobs()  # tasks of the array that had not begun share one record
    assert len(left) >= 2
    assert {job.state for job in left} == {"CANCELLED"}
