"""Runs of the workflow through a profile, beside a test, on an engine that the test started."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
TINY, SLICE, ONE, FAULTS = (
    ROOT / "config/presets/tiny.yaml",
    *(HERE / f"{name}.yaml" for name in ("slice", "one", "faults")),
)
WHOLE = bool(os.environ.get("WHOLE"))
PATIENCE = 1800  # seconds for all runs of an engine together, on a machine that does other things too
CORES = "4"  # what a node of an engine promises
VERSIONS: dict[str, str] = {}  # of the engines that tests started, by name
RUN = "photographs/convmixer/default/seed0"
LONG = {"recipes": {"photographs": {"epochs": 2000}}}  # over FAULTS: some checkpoints reach a bucket before it ends
# Each job of a cluster starts Snakemake once for itself and once for each rule, so short jobs are lumped together more than the
# profiles do.
LUMPS = {
    "prepare": ("dataset", "initialise_photographs_convmixer"),
    "kernels": ("extract_from_run", "cluster", "fit", "structure", "figure", "paper"),  # while others train
    "summary": ("evaluate", "verdicts", "report"),
}
LUMPED = ["--groups", *(f"{rule}={name}" for name, rules in LUMPS.items() for rule in rules)]
# What must not depend on when or where it was made; reports, provenance and rendered notebooks tell times.
SAME = ("*.parquet", "*.safetensors", "metrics.json", "figures/*.pdf", "figures/*.png", "tables/*.csv", "paper/*")


class Workflow:
    """A run through a profile that goes on beside the test."""

    started: ClassVar[list["Workflow"]] = []

    def __init__(
        self,
        folder: Path,
        profile: str | Path,
        *words: str | Path,
        configs: tuple[Path, ...] = (SLICE, ONE),
        targets: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        project: Path = ROOT,
        within: Sequence[str] = (),
        **more: Any,
    ) -> None:
        """Start it; the words and the config `more` come last. Targets are files below the run's results.

        `within` are words before the command, such as those that enter a namespace. In a project of its own, a clone, results lie
        where the preset puts them: below the prefix of a bucket.
        """
        folder.mkdir(parents=True, exist_ok=True)
        own = (folder if project == ROOT else project) / "own.yaml"
        places = {name: f"{folder}/{name}" for name in ("results", "logs", "benchmarks")}
        own.write_text(yaml.safe_dump(({"pathvars": places} if project == ROOT else {}) | more))
        results = f"{folder}/results" if project == ROOT else "results/tiny"
        command = [Path(sys.executable).with_name("snakemake"), "--nolock", "--cores", CORES]
        command += ["--workflow-profile", profile, *words]
        command += ["--configfile", *(path.relative_to(ROOT) for path in (TINY, *configs)), own]
        command += ["--", *(f"{results}/{target}" for target in targets)]
        self.folder, self.log = folder, folder / "snakemake.log"
        self.process = subprocess.Popen(
            [*within, *map(str, command)],
            cwd=project,
            env=os.environ | dict(environment or {}),
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        self.since = time.monotonic()
        self.started.append(self)

    def training(self) -> str:
        """What the last attempt of the run's training logged."""
        log = self.folder / "logs/train" / Path(RUN).parent / "0.log"
        return log.read_text() if log.exists() else ""

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        return self.process.wait(timeout=seconds_left())


def seconds_left() -> float:
    """Seconds until the runs that go on have taken too long."""
    since = min((run.since for run in Workflow.started if run.process.poll() is None), default=time.monotonic())
    return max(1, since + PATIENCE - time.monotonic())


def until(done: Callable[[], object], what: str) -> None:
    """Wait for something to happen while no run fails."""
    while not done():
        for run in Workflow.started:
            assert not run.process.poll(), run.log.read_text()
        assert seconds_left() > 1, f"no {what} within {PATIENCE} s"
        time.sleep(0.1)


def end_all() -> None:
    """End what still runs."""
    for one in Workflow.started:
        one.process.kill()  # does nothing where it has ended
        one.process.wait()
    Workflow.started.clear()


def lend(main: Workflow, folder: Path) -> Path:
    """Lend a run the dataset and the initial weights that another one made."""
    for name in ("datasets", "initial"):
        shutil.copytree(main.folder / "results" / name, folder / "results" / name)
    return folder


def checksums(results: Path) -> dict[str, str]:
    """SHA-256 of every result that must not depend on when or where it was made, by name."""
    files = sorted({path for kind in SAME for path in results.rglob(kind)})
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
