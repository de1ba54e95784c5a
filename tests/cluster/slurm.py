"""A real Slurm of two nodes on this machine, for the tests: `slurm.py start FOLDER [accounting]`, `slurm.py stop FOLDER`.

Installs Debian's packages where they are absent. With accounting, a MariaDB and a slurmdbd of its own run, too. Everything lies
in the folder, but for one link: Snakemake's job step forgets SLURM_CONF, so Slurm must find it at /etc/slurm/slurm.conf.
"""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from runs import Workflow

LINK = Path("/etc/slurm/slurm.conf")
TEMPLATE = Path(__file__).with_name("slurm.conf")
GPU = "AutoDetect=off\nNodeName=gpu1 Name=gpu Type=pretend File=/dev/null\n"
DAEMONS = {"slurmd-cpu1": "slurmd", "slurmd-gpu1": "slurmd", "slurmctld": "slurmctld"}
DAEMONS |= {"slurmdbd": "slurmdbd", "mariadbd": "mariadbd", "munged": "munged"}
PACKAGES = {"slurm-wlm": ("slurmctld", "slurmd", "sbatch"), "munge": ("munged",)}
ACCOUNTING_PACKAGES = {"slurmdbd": ("slurmdbd",), "mariadb-server": ("mariadbd", "mariadb-install-db")}
DATABASE_PORT, ACCOUNTING_PORT = 23306, 26819
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
ACCOUNTING = f"""AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ACCOUNTING_PORT}
AccountingStoragePass=$folder/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment"""
SLURMDBD = f"""AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ACCOUNTING_PORT}
SlurmUser=$user
LogFile=$folder/slurmdbd.log
PidFile=$folder/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={DATABASE_PORT}
StorageUser=slurm
StoragePass=slurm
StorageLoc=accounting
"""
SQL = (
    "create database accounting; create user slurm@localhost identified by 'slurm'; "
    "grant all on accounting.* to slurm@localhost"
)


def obstacle() -> str:
    """Say in one sentence what keeps a Slurm from being started here; "" where nothing does."""
    if os.geteuid() != 0:
        return "only root can install Slurm and link its configuration to /etc/slurm"
    if not shutil.which("slurmctld") and not shutil.which("apt-get"):
        return "there is no Slurm, and no apt-get to install Debian's"
    if LINK.exists() or LINK.is_symlink():
        return f"{LINK} exists: this machine has a Slurm of its own, or slurm.py stop was not called"
    return ""


def install(packages: Mapping[str, Iterable[str]] = PACKAGES) -> str:
    """Install Debian's packages where their commands are absent; returns what went wrong, else ""."""
    absent = [name for name, commands in packages.items() if not all(map(shutil.which, commands))]
    if not absent:
        return ""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *absent]):
        words = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *command]
        done = subprocess.run(words, env=quiet, capture_output=True, text=True)
        if done.returncode != 0:
            return f"apt-get cannot install {', '.join(absent)}: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
    return ""


def start(folder: Path, accounting: bool = False) -> None:
    """Start munged, slurmctld and two slurmd, and wait until both nodes are idle; what was started ends again if one fails."""
    try:
        _start(folder, accounting)
    except BaseException:
        stop(folder)
        raise


def _start(folder: Path, accounting: bool) -> None:
    for part in ("state", "spool-cpu1", "spool-gpu1"):
        (folder / part).mkdir(parents=True)
    folder.chmod(0o755)
    words = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "folder": str(folder)}
    words["accounting"] = Template(ACCOUNTING if accounting else NO_ACCOUNTING).substitute(words)
    (folder / "slurm.conf").write_text(Template(TEMPLATE.read_text()).substitute(words))
    (folder / "gres.conf").write_text(GPU)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    LINK.parent.mkdir(exist_ok=True)
    LINK.symlink_to(folder / "slurm.conf")
    named = {"key-file": "key", "socket": "socket", "log-file": "log", "seed-file": "seed"}
    files = [f"--{option}={folder}/munge.{suffix}" for option, suffix in named.items()]
    subprocess.run(["munged", "--force", f"--pid-file={folder}/munged.pid", *files], check=True)
    _wait(lambda: (folder / "munge.socket").exists(), "munged")
    if accounting:
        _start_accounting(folder, words)
    subprocess.run(["slurmctld", "-f", folder / "slurm.conf"], check=True)
    for node in ("cpu1", "gpu1"):
        subprocess.run(["slurmd", "-f", folder / "slurm.conf", "-N", node], check=True)
    _wait(lambda: _output("sinfo", "-hN", "-o", "%T").split() == ["idle"] * 3, "both nodes", seconds=60)


def _start_accounting(folder: Path, words: Mapping[str, str]) -> None:
    """Start a database and slurmdbd, and give the user an account."""
    database = folder / "database"
    made = ["mariadb-install-db", "--no-defaults", f"--user={words['user']}", f"--datadir={database}"]
    subprocess.run([*made, "--auth-root-authentication-method=socket"], check=True, capture_output=True)
    served = [f"--user={words['user']}", f"--datadir={database}", f"--socket={folder}/mariadb.socket"]
    served += ["--bind-address=127.0.0.1", f"--port={DATABASE_PORT}", f"--pid-file={folder}/mariadbd.pid"]
    with (folder / "mariadbd.log").open("w") as log:
        subprocess.Popen(["mariadbd", "--no-defaults", *served], stdout=log, stderr=log, start_new_session=True)
    asked = ["mariadb", "--no-defaults", f"--socket={folder}/mariadb.socket", "--execute"]
    _wait(lambda: not subprocess.run([*asked, "select 1"], capture_output=True).returncode, "the database", seconds=60)
    subprocess.run([*asked, SQL], check=True)
    settings = folder / "slurmdbd.conf"
    settings.write_text(Template(SLURMDBD).substitute(words))
    settings.chmod(0o600)
    subprocess.run(["slurmdbd"], env=os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}, check=True)
    _wait(lambda: not subprocess.run(["sacctmgr", "-n", "list", "cluster"], capture_output=True).returncode, "slurmdbd")
    for added in (["cluster", "echos"], ["account", "tests", "cluster=echos"]):
        subprocess.run(["sacctmgr", "-i", "add", *added], check=True, capture_output=True)
    user = ["user", words["user"], "account=tests", "cluster=echos"]
    subprocess.run(["sacctmgr", "-i", "add", *user], capture_output=True)  # Slurm has made root's already


def stop(folder: Path) -> None:
    """Cancel every job of this Slurm and end its daemons, each by its recorded pid, and what its jobs left."""
    if LINK.is_symlink() and LINK.readlink() == folder / "slurm.conf":
        for state in ("PENDING", "RUNNING", "SUSPENDED"):
            subprocess.run(["scancel", "--state", state, "--user", getpass.getuser()], check=False)
        with suppress(TimeoutError):  # what does not end by itself is ended below
            _wait(lambda: not _output("squeue", "-h", "-t", "R,CG,S"), "the last job", seconds=30)
    daemons = [_Daemon(folder / f"{name}.pid", command) for name, command in DAEMONS.items()]
    for daemon in daemons:
        daemon.signal(signal.SIGTERM)
    for daemon in daemons:
        daemon.end()
    _end_orphans()
    if LINK.is_symlink() and LINK.readlink() == folder / "slurm.conf":
        LINK.unlink()


class _Daemon:
    """The process that a pid file names, as long as it is still that command's."""

    def __init__(self, file: Path, command: str):
        self.pid, self.command = int(file.read_text()) if file.exists() else 0, command

    def gone(self) -> bool:
        """Say whether it has ended; one that has, but was not waited for, is gone, too."""
        try:
            name, state = re.fullmatch(
                r"\d+ \((.*)\) (.).*", Path(f"/proc/{self.pid}/stat").read_text(), re.DOTALL
            ).groups()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return name != self.command or state == "Z"

    def signal(self, number: int) -> None:
        if not self.gone():
            os.kill(self.pid, number)

    def end(self) -> None:
        try:
            _wait(self.gone, f"the end of {self.command}")
        except TimeoutError:
            self.signal(signal.SIGKILL)


def _end_orphans() -> None:
    """End what a job left: without cgroups, Slurm loses a process whose parent ended first."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"SLURM_CLUSTER_NAME=echos\0" in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended by itself, or is not ours


def version() -> str:
    """Its name and version."""
    return _output("slurmctld", "-V")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _wait(done: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Slurm: expected {what} within {seconds} s, found nothing; see the logs in its folder")
        time.sleep(0.1)


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


class OnSlurm(Workflow):
    """A run on this Slurm."""

    def __init__(
        self, folder: Path, *words: str | Path, asked_after: int, profile: str = "profiles/slurm-noacct", **more: Any
    ) -> None:
        """Start it: Slurm is asked after so many seconds for the first time."""
        words = ("--slurm-init-seconds-before-status-checks", str(asked_after), *words)
        # where they share a folder of logs, the first that ends tidies it up
        super().__init__(folder, profile, *words, "--slurm-logdir", folder / "slurm", **more)

    def name(self) -> str:
        """What Slurm calls the jobs of this run; "not yet" before Snakemake has said so."""
        found = re.search(r"SLURM run ID: (\S+)", self.log.read_text())
        return found[1] if found else "not yet"

    def jobs(self) -> list[Job]:
        """Those of this run."""
        return [job for job in jobs() if job.run == self.name()]

    def accounted(self) -> list[tuple[str, ...]]:
        """Number, state, memory and account of each of its jobs in the database, with every run of one that was requeued."""
        words = ["--duplicates", "--allocations", "--noheader", "--parsable2", "--starttime=now-1days"]
        told = _output("sacct", *words, "--format=jobid,state,reqmem,account", f"--name={self.name()}")
        return [tuple(line.split("|")) for line in told.splitlines()]


if __name__ == "__main__":
    action, place = sys.argv[1], Path(sys.argv[2]).absolute()
    if action == "start":
        if reason := obstacle() or install(PACKAGES | ACCOUNTING_PACKAGES if sys.argv[3:] else PACKAGES):
            raise SystemExit(f"Slurm: expected a machine to start it on, found none: {reason}")
        start(place, accounting=sys.argv[3:] == ["accounting"])
    else:
        stop(place)
