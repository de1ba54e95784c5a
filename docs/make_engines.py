"""Write docs/engines.md from the last `make test-cluster`, and from the profiles: `python docs/make_engines.py`."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE, RECORD = ROOT / "docs" / "engines.md", ROOT / "tests" / "cluster" / "last_run.json"
COLUMNS = ("engine", "version", "tried", "result", "seconds", "date")
HEAD = """# Engines

The results of the last `make test-cluster`, which starts each engine on one machine. Results are compared
with a local run; seconds include waiting times.

This page is generated from `tests/cluster/last_run.json` and the profiles by `docs/make_engines.py`.

| engine | version | test | result | seconds | date |
|---|---|---|---|---|---|
"""
NEVER = """
## Never run

| profile | what is known |
|---|---|
"""


def never_run() -> dict[str, str]:
    """Why a profile was never run, from its first lines, by profile."""
    profiles = {
        path.parent.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("profiles/*/profile.yaml"))
    }
    found = {name: re.search(r"^# (Never run.*)$", text, re.MULTILINE) for name, text in profiles.items()}
    return {name: one[1] for name, one in found.items() if one}


def render() -> str:
    """Return the page."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    tried = "".join(f"| {' | '.join(str(one[key]) for key in COLUMNS)} |\n" for one in record)
    never = "".join(f"| `{name}` | {reason} |\n" for name, reason in never_run().items())
    return HEAD + tried + NEVER + never


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
