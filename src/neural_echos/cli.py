"""The command line under the name that scripts import: `from neural_echos.cli import main`."""

from neural_echos.commands import main

__all__ = ["main"]
