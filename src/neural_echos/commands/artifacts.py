"""Commands that make figures and tables."""

from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from neural_echos.commands.arguments import Options, Root
from neural_echos.commands.parsing import json_object


def render(
    notebook: Annotated[Path, Argument(help="The artifact's notebook.")],
    *,
    output: Annotated[Path, Option(help="Path of the artifact, without suffix.")],
    rendered: Annotated[Path, Option(help="Where the executed notebook goes.")],
    draft: Annotated[Path, Option(help="The notebook while it runs; keeps the traceback of a cell that fails.")],
    inputs: Annotated[
        dict[str, Any],
        Option(parser=json_object, help="Object of table name to paths; JSON or @file."),
    ] = {},
    options: Options = {},
    style: Annotated[
        dict[str, Any],
        Option(parser=json_object, help="Look of a figure, as `figures` in the config; JSON or @file."),
    ] = {},
) -> None:
    """Execute the notebook of an artifact, which writes the artifact's files, and keep it as rendered."""
    from neural_echos.artifacts.rendering import render_notebook

    given = {"inputs": inputs, "options": options, "style": style, "output": str(output)}
    render_notebook(notebook, rendered, draft, given)


def new_artifact(
    name: Annotated[str, Argument(help="Name of the artifact, such as figure_gammas.")],
    *,
    kind: Annotated[Literal["figure", "table"], Option(help="What it is.")] = "figure",
    reads: Annotated[list[str], Option(help="Tables that it reads (docs/tables.md).")] = ["runs"],
    root: Root = Path(),
) -> None:
    """Start a new figure or table: write its notebook, which renders as it is, and print the line that a preset needs."""
    from neural_echos.artifacts.new import new_notebook

    path = new_notebook(root, name, kind, reads)
    print(f"{path}\nAdd it to a preset, under artifacts:\n  - id: {name}")
