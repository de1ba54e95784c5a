"""A stand-in for HTCondor's schedd before its real Python bindings, for the tests, which put this folder on PYTHONPATH.

Submit descriptions and event logs are read by the real bindings. Jobs run on this machine at once, as HTCondor starts them: the
executable with its arguments split at spaces, without the submitter's variables. The first one goes over its memory and is held.
What jobs ask for lies in $POOL. Events have the form of those in HTCondor's manual. It matches and limits nothing.
"""

import importlib.machinery
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

HERE, POOL = Path(__file__).parent, Path(os.environ["POOL"])
SUBMITTED = "000 ({id}) {now} Job submitted from host: <128.105.14.44:46062>\n...\n"
RUNS = "001 ({id}) {now} Job executing on host: <128.105.15.5:43051?PrivNet=cs.wisc.edu>\n...\n"
HELD = """012 ({id}) {now} Job was held.
\tError from slot1_1@node: Job has gone over cgroup memory limit of 4000 megabytes. Peak usage: 4001 megabytes.
\tCode 34 Subcode 102
...
"""
ENDED = """005 ({id}) {now} Job terminated.
\t(1) Normal termination (return value {code})
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Local Usage
\t23  -  Run Bytes Sent By Job
\t113  -  Run Bytes Received By Job
\t23  -  Total Bytes Sent By Job
\t113  -  Total Bytes Received By Job
...
"""

_spec = importlib.machinery.PathFinder.find_spec(__name__, [path for path in sys.path if Path(path) != HERE])
assert _spec and _spec.loader
_real = importlib.util.module_from_spec(_spec)
sys.modules[__name__] = _real
_spec.loader.exec_module(_real)
_numbers = itertools.count(1)


class _Submitted:
    def __init__(self, number: int) -> None:
        self.number = number

    def cluster(self) -> int:
        """Number of the job."""
        return self.number


class Schedd:
    """What the executor asks of a schedd."""

    def submit(self, description: Any) -> _Submitted:
        """Run a job, or hold the first one."""
        number, asked = next(_numbers), dict(description)
        (POOL / f"{number}.json").write_text(json.dumps(asked))
        threading.Thread(target=_run, args=(number, asked), daemon=True).start()
        return _Submitted(number)

    def act(self, *_: object) -> None:
        """Remove jobs: nothing is left to remove."""


def _run(number: int, asked: dict[str, str]) -> None:
    def tell(event: str, **more: object) -> None:
        told = event.format(id=f"{number:03}.000.000", now=f"{datetime.now():%Y-%m-%d %H:%M:%S}", **more)
        with Path(asked["log"]).open("a") as log:
            log.write(told)

    tell(SUBMITTED)
    tell(RUNS)
    if number == 1:
        return tell(HELD)
    with (POOL / f"{number}.out").open("w") as out:
        words = [asked["executable"], *asked["arguments"].split()]
        code = subprocess.run(words, env={"_CONDOR_SLOT": "slot1_1"}, stdout=out, stderr=out).returncode
    return tell(ENDED, code=code)


_real.Schedd = Schedd  # type: ignore[attr-defined]
