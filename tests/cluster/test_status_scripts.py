"""The profiles' status scripts against what schedulers print: and they never say failed for want of an answer."""

import os
import subprocess
from pathlib import Path

import pytest

PROFILES = Path(__file__).resolve().parents[2] / "profiles"

# PBS: `qstat -x -f`, shortened
PBS_JOB = """Job Id: 1234.pbs01
    Job_Name = snakejob.train_0.3.sh
    Job_Owner = echos@login1
    resources_used.cpupercent = 98
    resources_used.walltime = 00:01:02
    job_state = {state}
    queue = workq
{more}    Hold_Types = n
"""
PBS = {
    "queued": (PBS_JOB.format(state="Q", more=""), "", 0, "running"),
    "runs": (PBS_JOB.format(state="R", more=""), "", 0, "running"),
    "exiting": (PBS_JOB.format(state="E", more="    Exit_status = 0\n"), "", 0, "running"),
    "done": (PBS_JOB.format(state="F", more="    Exit_status = 0\n"), "", 0, "success"),
    "exit code 1": (PBS_JOB.format(state="F", more="    Exit_status = 1\n"), "", 0, "failed"),
    "killed for memory": (PBS_JOB.format(state="F", more="    Exit_status = 137\n"), "", 0, "failed"),
    "out of time": (PBS_JOB.format(state="F", more="    Exit_status = -29\n"), "", 0, "failed"),
    "deleted before it ran": (PBS_JOB.format(state="F", more=""), "", 0, "failed"),
    "forgotten": ("", "qstat: Unknown Job Id 1234.pbs01\n", 153, "failed"),
    "no server": ("", "Connection refused\nqstat: cannot connect to server pbs01 (errno=15010)\n", 255, "running"),
    "no answer": ("", "Connection timed out\nqstat: cannot connect to server pbs01 (errno=15010)\n", 255, "running"),
    "no credential": ("", "pbs_iff: cannot connect to host\nqstat: Invalid credential 1234.pbs01\n", 1, "running"),
}

# Grid Engine 8.1.9: `qstat -u '*'` and `qacct -j`, written in the form that its commands print
QUEUE = """job-ID  prior   name       user         state submit/start at     queue                          slots ja-task-ID
-----------------------------------------------------------------------------------------------------------------
     12 0.55500 snakejob.t root         {state:<5} 11/28/2026 20:02:47 all.q@localhost                    2
"""
ACCOUNT = """==============================================================
qname        all.q
hostname     localhost
jobnumber    12
failed       {failed}
exit_status  {code}
ru_wallclock 11s
"""
NO_FILE = "no jobs running since startup\n"
GRID_ENGINE = {
    "waits": (QUEUE.format(state="qw"), 0, "", "running"),
    "runs": (QUEUE.format(state="r"), 0, "", "running"),
    "cannot be started": (QUEUE.format(state="Eqw"), 0, "", "failed"),
    "done": ("", 0, ACCOUNT.format(failed="0", code=0), "success"),
    "exit code 1": ("", 0, ACCOUNT.format(failed="0", code=1), "failed"),
    "out of time": (
        "",
        0,
        ACCOUNT.format(failed="37  : qmaster enforced h_rt, h_cpu, or h_vmem limit", code=137),
        "failed",
    ),
    "another job's queue": (
        QUEUE.format(state="r").replace(" 12 ", "112 "),
        0,
        ACCOUNT.format(failed="0", code=0),
        "success",
    ),
    "no accounting file": ("", 0, NO_FILE, "failed"),
    "no master": ("", 1, "", "running"),
}


@pytest.fixture
def say(tmp_path: Path):
    """Put commands into PATH that print what a scheduler printed."""

    def put(command: str, out: str, code: int = 0, err: str = "") -> dict[str, str]:
        for name, text in (("out", out), ("err", err)):
            (tmp_path / f"{command}.{name}").write_text(text)
        lines = ["#!/bin/sh", f"cat {tmp_path}/{command}.out", f"cat {tmp_path}/{command}.err >&2", f"exit {code}", ""]
        (tmp_path / command).write_text("\n".join(lines))
        (tmp_path / command).chmod(0o755)
        return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    return put


def status(profile: str, environment: dict[str, str], job: str) -> str:
    words = [PROFILES / profile / "status.sh", job]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("case", PBS)
def test_a_pbs_job(case: str, say) -> None:
    out, err, code, expected = PBS[case]
    assert status("cluster-generic", say("qstat", out, code, err), "1234.pbs01") == f"{expected}\n"


@pytest.mark.parametrize("case", GRID_ENGINE)
def test_a_grid_engine_job(case: str, say) -> None:
    queue, code, account, expected = GRID_ENGINE[case]
    say("sleep", "")
    say("qdel", "")
    say("qacct", account)
    assert status("grid-engine", say("qstat", queue, code), "12") == f"{expected}\n"
