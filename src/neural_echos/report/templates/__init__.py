"""Templates of the report's pages: HTML with autoescaping, and LaTeX with delimiters that do not clash with LaTeX."""

import base64
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent
_LATEX = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


@lru_cache
def _environment(latex: bool) -> Environment:
    options: dict[str, Any] = _LATEX if latex else {}
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=not latex,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def render(name: str, **values: Any) -> str:
    """Render a template of this folder. Except in LaTeX, values are escaped unless they are `Markup`, and so is the result."""
    latex = name.endswith(".tex.j2")
    text = _environment(latex).get_template(name).render(values)
    return text if latex else Markup(text)


def embedded(picture: bytes, kind: str) -> str:
    """Return a picture as a data URL; `kind` is "png" or "svg+xml"."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
