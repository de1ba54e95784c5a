"""Commands that make figures and tables."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from neural_echos.commands.arguments import Options
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
