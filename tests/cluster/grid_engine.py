"""A real Grid Engine of one host on this machine, for the tests; Debian's packages are installed where they are absent.

Everything lies in a folder, SGE_ROOT included, with links to the binaries; nothing in /etc is touched.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import slurm

PACKAGES = {
    "gridengine-master": ("sge_qmaster",),
    "gridengine-exec": ("sge_execd",),
    "gridengine-client": ("qsub", "qconf", "qacct"),
}
SHARED = Path("/usr/share/gridengine")
PORTS = {"SGE_QMASTER_PORT": "26444", "SGE_EXECD_PORT": "26445"}
SLOTS = 4
ENVIRONMENT_FOR_THREADS = """pe_name            smp
slots              999
user_lists         NONE
xuser_lists        NONE
start_proc_args    NONE
stop_proc_args     NONE
allocation_rule    $pe_slots
control_slaves     FALSE
job_is_first_task  TRUE
urgency_slots      min
accounting_summary FALSE
qsort_args         NONE
"""
# GPUs count per job, memory per slot.
CONSUMABLES = "gpu gpu INT <= YES JOB 0 0\nmem_req mem_req MEMORY <= YES YES 0 0\n"


def obstacle() -> str:
    """Say in one sentence what keeps a Grid Engine from being started here; "" where nothing does."""
    if os.geteuid() != 0:
        return "only root can install and start Grid Engine"
    return slurm.install(PACKAGES)


class GridEngine:
    """A cell in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        told = {"SGE_ROOT": str(self.root), "SGE_CELL": "default", "SGE_CLUSTER_NAME": "echos"}
        self.environment = told | PORTS

    def run(self, *command: str, **options: object) -> str:
        """Run one of its commands and return what it prints."""
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, **options)
        return done.stdout

    def start(self) -> None:
        """Start the master and the host's daemon, and make a queue with GPUs and memory that are used up."""
        host = socket.gethostname().split(".")[0]
        common = self.root / "default/common"
        for part in (common, *(self.folder / "spool" / name for name in ("qmaster/job_scripts", "db", "execd"))):
            part.mkdir(parents=True)
        for part in ("bin", "lib", "util", "utilbin"):
            (self.root / part).symlink_to(f"/var/lib/gridengine/{part}")
        bootstrap = (SHARED / "default-bootstrap").read_text()
        spool = self.folder / "spool"
        for key, value in (
            ("admin_user", "root"),
            ("spooling_params", spool / "db"),
            ("qmaster_spool_dir", spool / "qmaster"),
        ):
            bootstrap = re.sub(rf"^{key}.*", f"{key} {value}", bootstrap, flags=re.MULTILINE)
        (common / "bootstrap").write_text(bootstrap)
        (common / "act_qmaster").write_text(f"{host}\n")
        (common / "host_aliases").write_text(f"{host} localhost\n")  # 127.0.0.1 reads back as localhost
        self.run(f"{SHARED}/scripts/init_cluster", str(self.root), "default", str(spool / "db"), "root", check=True)
        self.run("/usr/sbin/sge_qmaster")
        _wait(lambda: self.run("qconf", "-sh"), "the master")
        self._configure(spool)
        self.run("/usr/sbin/sge_execd")
        _wait(lambda: self.run("qconf", "-sel"), "the host's daemon")
        self.run("qconf", "-rattr", "exechost", "complex_values", f"slots={SLOTS},mem_req=32G,gpu=1", "localhost")
        queue = {"qname": "all.q", "hostlist": "localhost", "slots": SLOTS, "pe_list": "smp", "shell": "/bin/bash"}
        self._change("-sq", "-Aq", queue | {"load_thresholds": "NONE"})
        _wait(lambda: re.search(r"all\.q@.*lx-amd64 *$", self.run("qstat", "-f"), re.MULTILINE), "the queue")

    def _configure(self, spool: Path) -> None:
        # Root's jobs are refused unless min_uid is 0; the accounting file must be fresh for qacct.
        settings = {"min_uid": 0, "min_gid": 0, "load_report_time": "00:00:05", "execd_spool_dir": spool / "execd"}
        settings |= {"mailer": "/bin/true"}
        self._change("-sconf", "-Mconf", settings, ("flush_time=00:00:15", "flush_time=00:00:01"), name="global")
        self.run("qconf", "-as", "localhost")
        self._change("-ssconf", "-Msconf", {"schedule_interval": "0:0:2", "flush_submit_sec": 1, "flush_finish_sec": 1})
        (self.folder / "smp").write_text(ENVIRONMENT_FOR_THREADS)
        self.run("qconf", "-Ap", str(self.folder / "smp"))
        (self.folder / "complex").write_text(self.run("qconf", "-sc") + CONSUMABLES)
        self.run("qconf", "-Mc", str(self.folder / "complex"))

    def _change(
        self, show: str, take: str, values: dict[str, object], swap: tuple[str, str] = ("", ""), name: str = "made"
    ) -> None:
        """Change values of what qconf shows, and let it take them."""
        text = self.run("qconf", show).replace(*swap) if swap[0] else self.run("qconf", show)
        for key, value in values.items():
            text = re.sub(rf"^{key}\s.*", f"{key} {value}", text, flags=re.MULTILINE)
        (self.folder / name).write_text(text)
        self.run("qconf", take, str(self.folder / name))

    def version(self) -> str:
        """Its name and version."""
        return (self.run("qstat", "-help").splitlines() or ["Grid Engine"])[0]

    def stop(self) -> None:
        """End all jobs, the host's daemon and the master, as its own commands do."""
        self.run("qdel", "-u", "*")
        self.run("qconf", "-ke", "all")
        time.sleep(1)
        self.run("qconf", "-km")
        _wait(lambda: not self.run("qconf", "-sh"), "the end of the master")


def _wait(done: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Grid Engine: waited {seconds} s for {what}; see the messages in its folder")
        time.sleep(0.5)
