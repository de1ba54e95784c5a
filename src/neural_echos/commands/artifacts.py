"""Commands that make figures and tables."""

from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from neural_echos.commands.arguments import Options, Root
from neural_echos.commands.parsing import json_object


def render(
    notebook: Annotated[Path, Argument(help="The artifact's notebook.")],
    *,
    output: Annotated[Path, Option(help="Path of the artifact without suffix.")],
    rendered: Annotated[Path, Option(help="Output file for the executed notebook.")],
    draft: Annotated[Path, Option(help="File for the notebook while it runs; keeps the traceback of a failed cell.")],
    inputs: Annotated[
        dict[str, Any],
        Option(parser=json_object, help="Object that maps table names to paths; JSON or @file."),
    ] = {},
    options: Options = {},
    style: Annotated[
        dict[str, Any],
        Option(parser=json_object, help="Figure style, as `figures` in the config; JSON or @file."),
    ] = {},
) -> None:
    """Execute an artifact's notebook, which writes the artifact's files, and save the executed notebook."""
    from neural_echos.artifacts.rendering import render_notebook

    given = {"inputs": inputs, "options": options, "style": style, "output": str(output)}
    render_notebook(notebook, rendered, draft, given)


def new_artifact(
    name: Annotated[str, Argument(help="Name of the artifact, such as figure_gammas.")],
    *,
    kind: Annotated[Literal["figure", "table"], Option(help="Kind of artifact.")] = "figure",
    reads: Annotated[list[str], Option(help="Tables that it reads (docs/tables.md).")] = ["runs"],
    root: Root = Path(),
) -> None:
    """Start a new figure or table: write a notebook that already renders, and print the entry that a preset needs."""
    from neural_echos.artifacts.new import new_notebook

    path = new_notebook(root, name, kind, reads)
    print(f"{path}\nAdd it to a preset, under artifacts:\n  - id: {name}")
