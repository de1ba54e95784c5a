"""The workflow on a real Slurm: submitted, one GPU shared, killed for memory, out of time, interrupted.

`make test-cluster` runs it; plain pytest does not collect it. Slurm's own records say what happened: jobs that ended stay
in squeue for a day. WHOLE=1 takes the whole tiny preset in place of the slice in slice.yaml.
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
from typing import ClassVar

import pytest
import slurm
import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
TINY, SLICE, FAULTS = ROOT / "config/presets/tiny.yaml", HERE / "slice.yaml", HERE / "faults.yaml"
WHOLE = bool(os.environ.get("WHOLE"))
PATIENCE = 1800 if WHOLE else 600  # seconds for one run of the workflow, on a machine that does other things too
# The profile asks Slurm every 20 seconds, and more rarely while nothing ends; and a level of the graph costs as much. So short jobs
# are lumped together more than the profile does, and Slurm is asked sooner.
CORES = "4"  # what a node of this Slurm promises
LUMPS = {
    "prepare": ("dataset", "initialise_photographs_convmixer"),
    "kernels": ("extract_from_run", "cluster", "fit"),
    "summary": ("evaluate", "structure", "verdicts", "figure", "table", "paper", "report"),
}
RUN = "photographs/convmixer/default/seed0"


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
    """A run of the workflow that goes on beside the test: here, or on the cluster through profiles/slurm-noacct."""

    started: ClassVar[list["Workflow"]] = []

    def __init__(self, folder: Path, *words: str, configs: tuple[Path, ...], targets: tuple[str, ...] = ()):
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "paths.yaml"
        places = {name: f"{folder}/{name}" for name in ("results", "logs", "benchmarks")}
        paths.write_text(yaml.safe_dump({"pathvars": places}))
        command = [Path(sys.executable).with_name("snakemake"), "--nolock", "--cores", CORES, *words]
        made = [f"{folder}/results/{target}" for target in targets]
        self.folder, self.log = folder, folder / "snakemake.log"
        self.process = subprocess.Popen(
            [*map(str, [*command, "--configfile", TINY, *configs, paths, "--", *made])],
            cwd=ROOT,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        self.started.append(self)

    def name(self) -> str:
        """What Slurm calls the jobs of this run; "not yet" before Snakemake has said so."""
        found = re.search(r"SLURM run ID: (\S+)", self.log.read_text())
        return found[1] if found else "not yet"

    def jobs(self) -> list[Job]:
        return [job for job in jobs() if job.run == self.name()]

    def wait(self) -> int:
        return self.process.wait(timeout=PATIENCE)


def on_the_cluster(seconds: int) -> list[str]:
    """Words for a run on the cluster that asks Slurm for the first time after so many seconds."""
    return ["--workflow-profile", "profiles/slurm-noacct", "--slurm-init-seconds-before-status-checks", str(seconds)]


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"expected {what} within {PATIENCE} s"
        time.sleep(0.5)


def copy_inputs(before: Workflow, folder: Path) -> Path:
    """Lend a run the data set and the initial weights that another one made."""
    for name in ("datasets", "initial"):
        shutil.copytree(before.folder / "results" / name, folder / "results" / name)
    return folder


@dataclass(frozen=True)
class Runs:
    """What the tests look at."""

    slurm: Path
    main: Workflow
    undisturbed: Workflow
    faulty: Workflow
    interrupted: Workflow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm of two nodes, for as long as the tests last."""
    if reason := slurm.obstacle():
        pytest.skip(reason)
    slurm.install()
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
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # else a shell's background job ignores it, its children too
    folder = tmp_path_factory.mktemp("runs")
    groups = [] if WHOLE else ["--groups", *(f"{rule}={name}" for name, rules in LUMPS.items() for rule in rules)]
    main = Workflow(folder / "main", *on_the_cluster(5), *groups, configs=() if WHOLE else (SLICE,))
    undisturbed = Workflow(folder / "local", configs=(SLICE, FAULTS), targets=(f"runs/{RUN}/metrics.json",))
    assert undisturbed.wait() == 0, undisturbed.log.read_text()
    faulty = Workflow(
        copy_inputs(undisturbed, folder / "faulty"),
        *on_the_cluster(1),
        configs=(SLICE, FAULTS),
        targets=(f"runs/{RUN}/metrics.json",),
    )
    stall(faulty)
    interrupted = interrupt(copy_inputs(undisturbed, folder / "interrupted"))
    for one in (main, faulty):
        assert one.wait() == 0, one.log.read_text()
    return Runs(cluster, main, undisturbed, faulty, interrupted)


def stall(run: Workflow) -> None:
    """Let a training stall once it is under way, as on a node that hangs, and give it one minute: Slurm wakes it to end it."""
    log = run.folder / "logs/train" / Path(RUN).parent / "0.log"
    until(lambda: log.exists() and "epoch 20/" in log.read_text(), "a training under way")
    number = run.jobs()[-1].number
    subprocess.run(["scancel", "--signal=STOP", number], check=True)
    subprocess.run(["scontrol", "update", f"JobId={number}", "TimeLimit=1"], check=True)


def interrupt(folder: Path) -> Workflow:
    """Press Ctrl-C once some jobs of a run are running and others wait for memory."""
    longer = folder / "longer.yaml"
    longer.write_text(
        yaml.safe_dump({"memory_mb": 6000, "runtime_minutes": 30, "recipes": {"photographs": {"epochs": 9999}}})
    )
    targets = tuple(f"runs/photographs/convmixer/{name}/seed0/metrics.json" for name in ("default", "kaiming", "dog"))
    run = Workflow(folder, *on_the_cluster(5), configs=(SLICE, FAULTS, longer), targets=targets)
    until(lambda: {"RUNNING", "PENDING"} <= {job.state for job in run.jobs()}, "a running and a waiting job")
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
    assert len(on_gpu) == (0 if WHOLE else 3)  # the whole preset asks for no GPU
    assert all(job.what.startswith("rule_train_0") for job in on_gpu)
    assert all(first.end <= second.start for first, second in pairwise(on_gpu))


def test_a_job_killed_for_memory_is_tried_again_with_more(runs: Runs) -> None:
    first, second = runs.faulty.jobs()[:2]
    assert (first.state, first.memory_mb, second.memory_mb) == ("FAILED", 700, 1400)
    told = (runs.slurm / "slurmd-cpu1.log").read_text()
    assert re.search(rf"\[{first.number}\.\w+\] error: .*exceeded (job )?memory limit", told, re.IGNORECASE)


def test_a_training_out_of_time_resumes_to_the_same_bytes(runs: Runs) -> None:
    states = [job.state for job in runs.faulty.jobs()]
    assert states[-2:] == ["TIMEOUT", "COMPLETED"]
    told = (runs.faulty.folder / "logs/train" / Path(RUN).parent / "0.log").read_text()
    [epoch] = map(int, re.findall(r"resuming after epoch (\d+)", told))
    assert epoch >= 20
    assert f"epoch {epoch}/" not in told  # what the attempt before had done is not done again
    for name in ("weights.safetensors", "history.parquet", "metrics.json"):
        one, other = (
            (run.folder / "results/runs" / RUN / name).read_bytes() for run in (runs.faulty, runs.undisturbed)
        )
        assert one == other, name


def test_ctrl_c_cancels_what_was_submitted(runs: Runs) -> None:
    assert runs.interrupted.process.returncode != 0
    left = runs.interrupted.jobs()  # tasks of the array that had not begun share one record
    assert len(left) >= 2
    assert {job.state for job in left} == {"CANCELLED"}
