"""Commands as a person types them, run in this process."""

from pathlib import Path

from neural_echos.commands import main

SMALL = {"dim": 16, "depth": 2, "kernel_size": 5, "patch_size": 2}
NAMES = ["--dataset", "digits", "--architecture", "convmixer", "--initialisation"]


def echos(*arguments: object) -> int:
    """Run a command in this process, and return its exit code however it ends."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def under(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
