"""The workflow where jobs share nothing but a bucket: a real S3 server, and pods that cannot see the project."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bucket as s3
import pytest
from runs import FAULTS, LONG, ONE, RUN, SLICE, VERSIONS, Workflow, checksums, end_all, until

pytestmark = pytest.mark.cluster
ENGINE = "S3, nothing else shared"
# Rules of the slice that measure the structure of banks, and what is made of it.
AFTER_MEASURES = {"structure", "shares", "verdicts", "report", "all"}


@dataclass(frozen=True)
class Place:
    """A bucket, a clone of the project, and where pods lie."""

    bucket: s3.Bucket
    project: Path
    folder: Path

    def run(self, name: str, prefix: str, *words: str | Path, **more: object) -> Workflow:
        """Start a run whose files lie below a prefix of the bucket."""
        environment = self.bucket.environment(**s3.pods(self.folder / "pods", self.project))
        environment["POD_ENV"] = " ".join(f"{key}={value}" for key, value in self.bucket.environment().items())
        words = ("--default-storage-prefix", f"s3://bucket/{prefix}", *words)
        profile = s3.generic_profile(self.folder / "profile", self.bucket)
        more = {"environment": environment, "project": self.project, "gpu": 0} | more
        return Workflow(self.folder / name, profile, *words, **more)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if reason := s3.obstacle():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("bucket")
    server = s3.Bucket(tmp_path_factory.mktemp("seaweedfs"))
    if reason := server.start():
        server.stop()
        pytest.skip(reason)
    VERSIONS[ENGINE] = server.version
    yield Place(server, s3.clone(folder / "project"), folder)
    end_all()
    server.stop()


@pytest.fixture(scope="module")
def made(place: Place) -> Workflow:
    run = place.run("made", "made")
    assert run.wait() == 0, run.log.read_text()
    return run


def test_results_equal_those_of_a_local_run(place: Place, made: Workflow, local: Path) -> None:
    """the slice of the tiny preset from dataset to report, equal to a local run byte for byte"""
    there = place.bucket.fetch("made/results/tiny", place.folder / "fetched")
    assert checksums(there) == checksums(local)
    submitted = made.log.read_text().count("Submitted ")
    assert submitted >= 6
    assert not (place.project / "results/tiny").exists()


def test_records_and_report_read_like_those_of_a_local_run(place: Place, made: Workflow) -> None:
    """no path of Snakemake's storage in any record; steps, run times and costs in the report"""
    there = place.bucket.fetch("made/results/tiny", place.folder / "fetched")
    for path in (
        *there.rglob("*.json"),
        *there.rglob("*.html"),
        *there.rglob("*.ipynb"),
        *there.rglob("logs/**/*.log"),
    ):
        assert "snakemake/storage" not in path.read_text(), path
    page = (there / "report.html").read_text()
    assert "records of the steps (.snakemake/metadata) are not here" not in page
    assert "There are no benchmarks" not in page and re.search(r"h of jobs", page)
    run = json.loads((there / "runs" / RUN / "run.json").read_text())
    assert run["inputs"]
    assert run["commit"] is None and run["uncommitted_changes"] is None  # sources in a pod are no Git repository
    assert "commit unknown, unknown whether there were uncommitted changes" in page


def test_published_runs_travel_with_the_sources(place: Place, made: Workflow) -> None:
    """a run adopted in a pod from a table of published runs, in place of a training"""
    there = place.bucket.fetch("made/results/tiny", place.folder / "fetched")
    table = "results/published/tiny/training.parquet"
    echos = [Path(sys.executable).with_name("echos"), "publish", there / "runs" / RUN, "--output", table]
    for command in (echos, ["git", "add", table]):
        subprocess.run(list(map(str, command)), cwd=place.project, check=True)
    run = place.run("adopted", "adopted", targets=(f"runs/{RUN}/metrics.json",), adopt=table)
    assert run.wait() == 0, run.log.read_text()
    found = place.bucket.fetch("adopted/results/tiny", place.folder / "adopted/fetched") / "runs" / RUN
    assert json.loads((found / "metrics.json").read_text())["adopted"]
    assert json.loads((found / "run.json").read_text())["adopted"] == table
    assert (found / "history.parquet").read_bytes() == (there / "runs" / RUN / "history.parquet").read_bytes()
    plan = place.run("plan", "adopted", "--dry-run")  # nothing is adopted any more
    assert plan.wait() == 0 and f"{RUN}/weights.safetensors" in plan.log.read_text(), plan.log.read_text()


def test_a_change_of_a_module_reruns_its_jobs_and_no_others(place: Place, made: Workflow) -> None:
    """a changed module reruns exactly the jobs that use it, with the new code"""
    changed = place.project / "src/neural_echos/structure/measures.py"
    changed.write_text(f"{changed.read_text()}\n_CHANGED = True\n")
    run = place.run("changed", "made")
    assert run.wait() == 0, run.log.read_text()
    assert set(re.findall(r"^ *(?:local)?rule (\w+):$", run.log.read_text(), re.MULTILINE)) == AFTER_MEASURES


def test_a_killed_training_goes_on_from_the_bucket(place: Place, uninterrupted: Path) -> None:
    """a pod killed with SIGKILL; its retry goes on from the checkpoint in the bucket, to the bytes of an uninterrupted run"""
    checkpoint = f"results/tiny/runs/{RUN}/checkpoint.safetensors"
    more = {"configs": (SLICE, ONE, FAULTS), "targets": (f"runs/{RUN}/metrics.json",)}
    run = place.run("killed", "killed", **more, **LONG)
    until(lambda: checkpoint in place.bucket.names("killed"), "a checkpoint in the bucket")
    [pod] = s3.running(place.folder / "pods")
    os.kill(int((pod / "pid").read_text()), signal.SIGKILL)
    assert run.wait() == 0, run.log.read_text()
    there = place.bucket.fetch("killed/results/tiny", place.folder / "killed/fetched")
    told = (there / "logs/train" / Path(RUN).parent / "0.log").read_text()
    assert re.search(r"resuming after epoch [1-9]\d*", told), told
    assert checksums(there / "runs" / RUN) == checksums(uninterrupted)
    assert checkpoint not in place.bucket.names("killed")  # forgotten once the run is finished
