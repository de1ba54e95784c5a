"""The `echos` command line: one module per room, one function per command.

Every rule of the workflow runs one of these commands, and each can be run by hand. A command reads files, calls the library and
writes files; its arguments come from its signature and its help from its docstring. Library modules are imported inside the
functions, so that `echos` starts quickly and a job loads only what it needs.
"""

from neural_echos.commands.app import main

__all__ = ["main"]
