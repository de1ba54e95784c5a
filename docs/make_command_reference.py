"""Write docs/commands.md from the command line's own parser: `python docs/make_command_reference.py`."""

import argparse
from pathlib import Path

from neural_echos.cli import make_parser

PAGE = Path(__file__).resolve().parent / "commands.md"
ROOMS = {
    "Inputs": ["fetch", "dataset"],
    "Kernels": ["extract", "survey", "show"],
    "Clusters and patterns": ["cluster", "patterns", "shares"],
    "Receptive fields": ["fit", "scales", "match", "explained", "structure"],
    "Initialisations": ["initialise", "signals"],
    "Training": ["train", "plan", "zero"],
    "Transfer": ["replace", "eliminate"],
    "Evaluation": ["evaluate", "verdicts"],
    "Artifacts and report": ["render", "report", "paper", "crate"],
    "Questions": ["explain", "doctor"],
}
HEAD = """# Commands

Every rule of the workflow is one command of `echos`, which can be typed by hand: `.venv/bin/echos COMMAND --help`. Each
writes the files that `--output` and the like name, says on standard error what it wrote and where, and writes nothing half: a
file with its final name is whole. `echos --log FILE COMMAND …` sends all that to a file and leaves only errors in the terminal.
Commands that answer a question (`plan`, `explain`, `doctor`) print it, with `--json` for machines; what the others leave are
tables and JSON files ([data.md](data.md)).

| exit code | means |
|---|---|
| 0 | done |
| 1 | an input cannot be used, or a file not written: one sentence on standard error says what was expected, found, and to do |
| 2 | the command was mistyped: its usage, and one sentence |
| 75 | a training was told to stop by SIGTERM or SIGUSR1: it wrote a checkpoint, and the same command goes on |
| 130 | interrupted (Ctrl-C) |

This page is written by `docs/make_command_reference.py` from the commands themselves.
"""


def render() -> str:
    """Return the page."""
    [commands] = [action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    listed = [name for names in ROOMS.values() for name in names]
    if sorted(listed) != sorted(commands.choices):
        raise SystemExit(f"commands: expected every command in one room, found {set(listed) ^ set(commands.choices)}")
    parts = [HEAD]
    for room, names in ROOMS.items():
        parts.append(f"\n## {room}\n")
        parts += [_command(name, commands.choices[name]) for name in names]
    return "".join(parts)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    rows = [
        f"| `{', '.join(one.option_strings) or one.dest}` | {_told(one)} |"
        for one in parser._actions
        if not isinstance(one, argparse._HelpAction)
    ]
    table = "\n".join(["| argument | what |", "|---|---|", *rows])
    return f"\n### {name}\n\n{parser.description}\n\n{table}\n"


def _told(one: argparse.Action) -> str:
    told = (one.help or "").replace("|", "\\|").replace("<", "&lt;")
    needed = one.required and one.option_strings
    default = one.default not in (None, False, "", [], {}, argparse.SUPPRESS) and not needed
    return "; ".join(
        part for part in (told, "required" if needed else "", f"default `{one.default}`" if default else "") if part
    )


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
