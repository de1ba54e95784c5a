"""Dry runs of Snakemake: it is imported once, and each run is a forked child of that process.

Run as a script, this file answers one request a line: arguments and a folder, as JSON, by an exit code and what was printed.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def _server() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def dry_run(*arguments: str | Path, folder: Path = ROOT) -> tuple[int, str]:
    """Dry-run Snakemake in a folder, without its lock; returns its exit code and all that it printed."""
    stdin, stdout = _server().stdin, _server().stdout
    assert stdin and stdout
    print(json.dumps([["-n", "--nolock", *map(str, arguments)], str(folder)]), file=stdin, flush=True)
    code, told = json.loads(stdout.readline())
    return code, told


def _answer(arguments: list[str], folder: str) -> tuple[int, str]:
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if not child:
            os.chdir(folder)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(printed.fileno(), stream.fileno())
            sys.argv = ["snakemake", *arguments]
            os._exit(_run(arguments))
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        return os.waitstatus_to_exitcode(status), printed.read().decode()


def _run(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    import snakemake.report.html_reporter  # noqa: F401  what every run loads
    from snakemake.cli import main

    for line in sys.stdin:
        print(json.dumps(_answer(*json.loads(line))), flush=True)
