"""The workflow on a real OpenPBS, through profiles/cluster-generic: results, GPUs in turn, and what the status script says."""

import importlib.util
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import LUMPED, ROOT, VERSIONS, Workflow, checksums, end_all, until

pytestmark = pytest.mark.cluster
ENGINE = "PBS"
PROFILE = "profiles/cluster-generic"
INSTALLED = Path(os.environ.get("PBS_EXEC", "/opt/pbs"))


class Pbs:
    """An OpenPBS of one host, in namespaces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        up = folder / "up"
        with (folder / "log").open("w") as log:
            command = [Path(__file__).with_name("pbs.sh"), "sh", "-c", f"touch {up}; exec sleep infinity"]
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not up.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise TimeoutError(f"OpenPBS did not start; see {folder}/log")
            time.sleep(0.5)
        [first] = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        spaces = [f"--{name}" for name in ("mount", "net", "uts", "pid")]
        self.within = ["nsenter", f"--target={first}", *spaces, f"--wdns={ROOT}"]
        path = f"{INSTALLED}/bin:{os.environ['PATH']}"
        self.environment = {"PBS_CONF_FILE": "/var/spool/pbs.conf", "PATH": path}

    def run(self, *command: str, given: str = "") -> str:
        """Run one of its commands and return what it prints."""
        words, environment = [*self.within, *command], os.environ | self.environment
        return subprocess.run(words, env=environment, input=given, capture_output=True, text=True).stdout

    def stop(self) -> None:
        """End it: all that runs in its namespaces ends with their first process."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def pbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pbs]:
    if not importlib.util.find_spec("snakemake_executor_plugin_cluster_generic"):
        pytest.skip("there is no generic executor plugin: python3 envs/install.py --executors installs it")
    if os.geteuid() != 0 or not (INSTALLED / "sbin/pbs_server").exists():
        pytest.skip(f"there is no OpenPBS in {INSTALLED}, or no root to start it; Debian has no package of it")
    pbs = Pbs(tmp_path_factory.mktemp("pbs"))
    VERSIONS[ENGINE] = f"OpenPBS {pbs.run('qstat', '--version').split()[-1]}"
    yield pbs
    end_all()
    pbs.stop()


@pytest.fixture(scope="module")
def main(pbs: Pbs) -> Workflow:
    run = Workflow(pbs.folder / "main", PROFILE, *LUMPED, environment=pbs.environment, within=pbs.within)
    assert run.wait() == 0, run.log.read_text()
    return run


def test_results_equal_those_of_a_local_run(main: Workflow, local: Path) -> None:
    """the slice of the tiny preset, equal to a local run byte for byte"""
    assert checksums(main.folder / "results") == checksums(local)
    assert main.log.read_text().count("Submitted ") >= 4


def test_trainings_take_turns_on_the_gpu(pbs: Pbs, main: Workflow) -> None:
    """two trainings that take turns on one GPU"""
    jobs = [dict(re.findall(r"^ +(\w+(?:\.\w+)?) = (.*)$", one, re.M)) for one in pbs.run("qstat", "-xf").split("\n\n")]
    trained = [one for one in jobs if one.get("Job_Name", "").startswith("snakejob.train_0")]
    assert [one["Resource_List.ngpus"] for one in trained] == ["1", "1"]
    first, second = sorted(trained, key=lambda one: one["stime"])
    assert first["obittime"] <= second["stime"]


def test_the_status_script_knows_ends_from_silence(pbs: Pbs) -> None:
    """jobs that end well, fail, are deleted or run past their limit; and a server that does not answer"""
    qsub = ("qsub", "-j", "oe", "-o", "/dev/null")
    jobs = {
        "success": pbs.run(*qsub, "-l", "walltime=60", given="true"),
        "failed": pbs.run(*qsub, "-l", "walltime=60", given="exit 3"),
        "late": pbs.run(*qsub, "-l", "walltime=1", given="sleep 60"),
        "deleted": pbs.run(*qsub, "-h", given="true"),
    }
    pbs.run("qdel", jobs["deleted"].strip())
    script = str(ROOT / PROFILE / "status.sh")

    def said() -> dict[str, str]:
        return {name: pbs.run(script, number.strip()).strip() for name, number in jobs.items()}

    until(lambda: "running" not in said().values(), "the end of four jobs")
    assert said() == {"success": "success", "failed": "failed", "late": "failed", "deleted": "failed"}
    assert pbs.run(script, "9999.pbs") == "failed\n"
    pbs.run("qterm", "-t", "quick")
    assert pbs.run(script, jobs["success"].strip()) == "running\n"
