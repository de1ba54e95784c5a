"""The profiles' status scripts against what schedulers print: and they never say failed for want of an answer."""

import os
import subprocess
from pathlib import Path

import pytest

PROFILES = Path(__file__).resolve().parents[2] / "profiles"

# `qstat -x -f` of OpenPBS 23.06.06, recorded on the server of pbs.sh; lines on times, places and variables are left out
PBS_JOB = """Job Id: {number}.pbs
    Job_Name = {name}
    Job_Owner = root@pbs
{used}    job_state = {state}
    queue = workq
    server = pbs
    Hold_Types = {hold}
    Rerunable = True
    Resource_List.walltime = 00:01:00
    comment = {comment}
{code}    Submit_arguments = -N {name} -l walltime=60
    project = _pbs_project_default
    Submit_Host = pbs
"""
USED = "    resources_used.cpupercent = 0\n    resources_used.walltime = 00:00:02\n"
ON_NODE = "Job run at Sun Nov 29 at 08:04 on (pbs:ncpus=1)"


def pbs(number: int, name: str, state: str, comment: str, code: int | None = None, hold: str = "n") -> str:
    end = "" if code is None else f"    run_count = 1\n    Stageout_status = 1\n    Exit_status = {code}\n"
    used = "" if code is None else USED
    return PBS_JOB.format(number=number, name=name, state=state, comment=comment, code=end, hold=hold, used=used)


REFUSED = "Connection refused\nqstat: cannot connect to server pbs (errno=15010)\n"
PBS = {
    "waits": (pbs(4, "killed", "Q", "Not Running: Not enough free nodes available"), "", 0, "running"),
    "runs": (pbs(1, "bad", "R", ON_NODE), "", 0, "running"),
    "held": (pbs(3, "held", "H", "", hold="u"), "", 0, "running"),
    "done": (pbs(0, "ok", "F", f"{ON_NODE} and finished", 0), "", 0, "success"),
    "exit code 3": (pbs(1, "bad", "F", f"{ON_NODE} and failed", 3), "", 0, "failed"),
    "killed": (pbs(4, "killed", "F", f"{ON_NODE} and failed", 137), "", 0, "failed"),
    "out of time": (pbs(2, "late", "F", f"{ON_NODE} and exceeded \n\tresource walltime", -29), "", 0, "failed"),
    "deleted before it ran": (pbs(3, "held", "F", "", hold="u"), "", 0, "failed"),
    "unknown": ("", "qstat: Unknown Job Id 99.pbs\n", 153, "failed"),
    "no server": ("", REFUSED, 255, "running"),
    # not recorded, but written after the texts of OpenPBS's sources
    "no answer": ("", REFUSED.replace("refused", "timed out"), 255, "running"),
    "no credential": ("", "qstat: Invalid credential\n", 1, "running"),
}

# `qstat -u "*"` and `qacct -j` of Grid Engine 8.1.9, recorded on the cell of grid_engine.py; some lines on use are left out
HEAD = """job-ID  prior   name       user         state submit/start at     queue                          slots ja-task-ID
-----------------------------------------------------------------------------------------------------------------
"""
RUNS = (
    "      1 0.75000 late       root         r     11/29/2026 08:21:35 all.q@vm                           1        \n"
)
WAITS = (
    "      5 0.25000 late       root         qw    11/29/2026 08:21:39                                    1        \n"
)
DEAD = (
    "      5 0.35000 dead       root         Eqw   11/29/2026 08:20:40                                    1        \n"
)
HELD = (
    "      4 0.00000 held       root         hqw   11/29/2026 08:20:39                                    1        \n"
)
ACCOUNT = """==============================================================
qname        all.q
hostname     vm
owner        root
jobname      {name}
jobnumber    {number}
start_time   Sun Nov 29 08:20:37 2026
end_time     Sun Nov 29 08:20:42 2026
slots        1
failed       {failed}
exit_status  {code}
ru_wallclock 5s
maxvmem      6.613MB
category     NONE
"""


def ended(number: int, name: str, failed: str, code: str) -> str:
    return ACCOUNT.format(number=number, name=name, failed=failed, code=code)


KILLED = "137                  (Killed)"
OVER_TIME = "37  : qmaster enforced h_rt, h_cpu, or h_vmem limit"
# job, what qstat prints, its code, what qacct prints, what the script says
GRID_ENGINE = {
    "waits": ("5", HEAD + RUNS + WAITS, 0, "", "running"),
    "runs": ("1", HEAD + RUNS + WAITS, 0, "", "running"),
    "held": ("4", HEAD + DEAD + HELD, 0, "", "running"),
    "cannot be started": ("5", HEAD + DEAD + HELD, 0, "", "failed"),
    "done": ("1", "", 0, ended(1, "ok", "0    ", "0                   "), "success"),
    "exit code 3": ("2", "", 0, ended(2, "bad", "0    ", "3                   "), "failed"),
    "out of time": ("3", "", 0, ended(3, "late", OVER_TIME, KILLED), "failed"),
    "killed": ("6", "", 0, ended(6, "killed", "100 : assumedly after job", KILLED), "failed"),
    "could not be started": ("5", "", 0, ended(5, "dead", "26  : opening input/output file", "0"), "failed"),
    "done while 11 runs": ("1", HEAD + RUNS.replace("  1 ", " 11 ", 1), 0, ended(1, "ok", "0", "0"), "success"),
    "no accounting file": ("1", "", 0, "no jobs running since startup\n", "failed"),
    "no master": ("1", "", 1, "", "running"),
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
    assert status("cluster-generic", say("qstat", out, code, err), "0.pbs") == f"{expected}\n"


def test_a_pbs_server_without_history_ends_the_run(say) -> None:
    found = say(
        "qstat", "", 0, "qstat: PBS is not configured to maintain job history 2.pbs\n"
    )  # recorded as the others
    words = [PROFILES / "cluster-generic/status.sh", "2.pbs"]
    done = subprocess.run(words, env=found, capture_output=True, text=True)
    assert done.returncode == 1 and "job_history_enable=True" in done.stderr


@pytest.mark.parametrize("case", GRID_ENGINE)
def test_a_grid_engine_job(case: str, say) -> None:
    job, queue, code, account, expected = GRID_ENGINE[case]
    say("sleep", "")
    say("qdel", "")
    say("qacct", account, 0 if "exit_status" in account else 1)
    assert status("grid-engine", say("qstat", queue, code), job) == f"{expected}\n"
