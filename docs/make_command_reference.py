"""Write docs/commands.md from the command line's own parser: `python docs/make_command_reference.py`."""

import argparse
from pathlib import Path

from neural_echos.cli import EXIT_CODES, ROOMS, make_parser

PAGE = Path(__file__).resolve().parent / "commands.md"
HEAD = """# Commands

Every rule of the workflow is one command of `echos`, which can be typed by hand: `.venv/bin/echos COMMAND --help`. Each
writes the files that `--output` and the like name, says on standard error what it wrote and where, and writes nothing half: a
file with its final name is whole. `echos --log FILE COMMAND …` sends all that to a file and leaves only errors in the terminal.
Commands that answer a question (`plan`, `explain`, `doctor`) print it, with `--json` for machines; what the others leave are
tables and JSON files ([data.md](data.md)).

| exit code | means |
|---|---|
{codes}

This page is written by `docs/make_command_reference.py` from the commands themselves.
"""


def render() -> str:
    """Return the page."""
    [commands] = [action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    parts = [HEAD.replace("{codes}", "\n".join(f"| {code} | {means} |" for code, means in EXIT_CODES.items()))]
    for room, functions in ROOMS.items():
        parts.append(f"\n## {room}\n")
        parts += [_command(one.__name__, commands.choices[one.__name__]) for one in functions]
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
    nothing = (
        one.default is None or one.default is False or one.default in ("", [], {}, argparse.SUPPRESS)
    )  # 0 is something
    default = not nothing and not needed
    return "; ".join(
        part for part in (told, "required" if needed else "", f"default `{one.default}`" if default else "") if part
    )


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
