"""The `echos` program: its commands, log and exit codes.

Only the module of the called command is imported.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from neural_echos.commands.parsing import Command, Group
from neural_echos.errors import EchosError, missing_package
from neural_echos.storage import enter, kept_checkpoints, store

_LOG = logging.getLogger("neural_echos")

# Rooms in the order of the data flow, as grouped in `echos --help` and docs/commands.md: commands and their modules.
ROOMS: dict[str, dict[str, str]] = {
    "Inputs and datasets": {"fetch": "inputs", "declare": "inputs", "dataset": "datasets"},
    "Kernels": dict.fromkeys(("extract", "survey", "show", "inspect"), "kernels"),
    "Structure": dict.fromkeys(("cluster", "patterns", "shares", "structure"), "structure"),
    "Receptive fields": dict.fromkeys(("fit", "match", "explained", "scales"), "receptive_fields"),
    "Initialisations": {"initialise": "initialisations", "signals": "initialisations"},
    "Training": {"train": "training", "publish": "training"},
    "Transfer": dict.fromkeys(("replace", "eliminate", "zero"), "transfer"),
    "Evaluation and verdicts": {"compare": "comparison", "evaluate": "evaluation", "verdicts": "verdicts"},
    "Artifacts and report": {
        **dict.fromkeys(("render", "new-artifact"), "artifacts"),
        **dict.fromkeys(("paper", "report", "atlas", "crate"), "report"),
    },
    "Questions": dict.fromkeys(("plan", "explain", "doctor"), "machine"),
}
MODULES = {name: module for commands in ROOMS.values() for name, module in commands.items()}

# Folders in which a command keeps checkpoints, given its parameters.
_CHECKPOINTS: dict[str, Callable[[dict[str, Any]], list[Path]]] = {
    "train": lambda given: given["run"],
    "replace": lambda given: [given["output"].parent / f".{given['name']}"],
}
# Files that a command writes beside its outputs and that the report reads.
_BESIDE: dict[str, Callable[[dict[str, Any]], list[Path]]] = {"fetch": lambda given: [Path(f"{given['output']}.json")]}

EXIT_CODES = {
    0: "done",
    1: "an input cannot be used or a file cannot be written; one sentence on standard error says which, why, and what to do",
    2: "the command line is wrong; usage and one sentence are printed",
    75: "a training was stopped by SIGTERM or SIGUSR1 and wrote a checkpoint; run the same command to resume",
    130: "interrupted (Ctrl-C); run the same command to resume",
}


def function_of(name: str) -> Callable[..., None]:
    """Return the function of a command, importing its module."""
    function: Callable[..., None] = getattr(
        import_module(f"neural_echos.commands.{MODULES[name]}"), name.replace("-", "_")
    )
    return function


class _Checked(Command):
    """A command that never writes its output over an input, and whose failures become exit codes."""

    def invoke(self, ctx: Any) -> int:
        """Run the command and return its exit code."""
        return guarded(lambda: self._run(ctx), str(self.name))

    def _run(self, ctx: Any) -> None:
        output = ctx.params.get("output")
        if isinstance(output, Path):
            for name, value in ctx.params.items():
                paths = value if isinstance(value, list) else [value]
                if name != "output" and any(
                    isinstance(one, Path) and one.resolve() == output.resolve() for one in paths
                ):
                    raise EchosError(f"{output}: --output is the same file as {name}; choose another output")
        kept, beside = (named.get(str(self.name), lambda given: [])(ctx.params) for named in (_CHECKPOINTS, _BESIDE))
        with kept_checkpoints(kept):
            super().invoke(ctx)
        store(beside)


class _Lazy(Group):
    """The program: it knows its commands by name and imports a command's module when needed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes | {"commands": dict.fromkeys(MODULES)})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if there is none with this name."""
        if cmd_name in MODULES and self.commands[cmd_name] is None:
            room = next(title for title, commands in ROOMS.items() if cmd_name in commands)
            app = typer.Typer(add_completion=False)
            app.command(cmd_name, cls=_Checked, rich_help_panel=room)(function_of(cmd_name))
            self.commands[cmd_name] = get_command(app)
        return self.commands.get(cmd_name)


_APP = typer.Typer(
    cls=_Lazy,
    help="Every rule of the workflow is one of these commands; each can be run by hand.",
    epilog="\n\n".join(["Exit codes:", *(f"{code:>5}  {meaning}" for code, meaning in EXIT_CODES.items())]),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"echos {version('neural-echos')}")
        raise typer.Exit


@_APP.callback()
def _program(
    log: Annotated[
        Path | None, typer.Option(help="Write the log to this file; only errors then reach the terminal.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    log_to(log)


def program() -> Any:
    """Return the whole program as a typer group whose commands are not imported yet."""
    return get_command(_APP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `echos` command and return its exit code."""
    # Idle OpenMP threads must sleep: if they spin, two jobs on two cores run up to 15 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    # Figures have their own style: the user's matplotlibrc and backend are not read.
    os.environ["MATPLOTLIBRC"] = os.devnull
    os.environ.pop("MPLBACKEND", None)
    log_to(None)
    if arguments is None:
        arguments = sys.argv[1:] = enter(sys.argv[1:])
    return guarded(lambda: _answer(arguments), "echos")


def _answer(arguments: Sequence[str]) -> int:
    try:
        return int(program().main(list(arguments), prog_name="echos", standalone_mode=False) or 0)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        if context is not None:
            print(f"{context.get_usage()}\nTry `{context.command_path} --help`.\n", file=sys.stderr)
        _LOG.error("%s", error.format_message())
        return error.exit_code


def guarded(work: Callable[[], int | None], command: str) -> int:
    """Do some work and return its exit code; an error becomes one sentence in the log."""
    try:
        return work() or 0
    except (typer.TyperException, typer.Exit):  # a wrong command line, or an early exit such as --help
        raise
    except EchosError as error:
        _LOG.error("%s", error)
        return error.code
    except OSError as error:
        where, reason = error.filename2 or error.filename or command, error.strerror or error
        _LOG.error(
            "%s: cannot be read or written: %s; check the path, its permissions and the free space", where, reason
        )
        return 1
    except KeyboardInterrupt:
        _LOG.error("interrupted; run the same command to resume")
        return 130
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (told := missing_package(error, f"echos {command}")):
            _LOG.error("%s", told)
            return told.code
        _LOG.exception("%s failed: this is a bug in echos, not a problem with your input; please report it", command)
        return 1


def log_to(path: Path | None) -> None:
    """Send records and warnings to standard error, or all of them to a file and only errors to standard error.

    If several processes train together, the first writes the file.
    """
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("echos: %(message)s"))
    handlers: list[logging.Handler] = [terminal]
    if path:
        terminal.setLevel(logging.ERROR)
    if path and not int(os.environ.get("RANK", "0")):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, mode="w", encoding="utf-8", errors="surrogateescape")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)  # other libraries' chatter stays out
    _LOG.setLevel(logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it would report where its cache is
    logging.raiseExceptions = False  # a log on a full disk must not hide the sentence about it
    logging.captureWarnings(True)
