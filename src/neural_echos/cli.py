"""The command line under its import name for scripts: `from neural_echos.cli import main`."""

from neural_echos.commands import main

__all__ = ["main"]
