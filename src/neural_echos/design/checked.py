"""Check documents against their models, and read what notebooks declare; does not import the config's own models."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from neural_echos.design.messages import sentence
from neural_echos.design.yaml import Layer
from neural_echos.errors import EchosError

M = TypeVar("M", bound=BaseModel)


def load_artifacts(root: Path) -> dict[str, dict[str, Any]]:
    """Read and check what the notebooks in workflow/notebooks declare: a completed `DeclaredArtifact` per artifact id."""
    from neural_echos.design.artifacts import DeclaredArtifact

    found = {}
    for path in sorted((root / "workflow/notebooks").glob("*.ipynb")):
        found[path.stem] = check(declaration(path), DeclaredArtifact, [path]).model_dump()
    return found


def declaration(path: Path) -> dict[str, Any]:
    """Read what a notebook declares: its metadata `neural_echos`, and the title and caption in its first cell.

    Raises
    ------
    EchosError
        It is not a notebook, or its first cell is not a heading with a paragraph below it.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        first, said = notebook["cells"][0], dict(notebook["metadata"]["neural_echos"])
        text = "".join(first["source"]) if first["cell_type"] == "markdown" else ""
    except (OSError, ValueError, LookupError, TypeError):
        raise EchosError(f"{path}: not an artifact's notebook; create one with echos new-artifact") from None
    title, _, caption = text.partition("\n")
    if not title.startswith("# ") or not caption.strip():
        raise EchosError(f"{path}: the first cell must contain a heading (# …) with the caption below it")
    return said | {"title": title[2:].strip(), "caption": " ".join(caption.split())}


def check(document: Mapping[str, Any], model: type[M], layers: Sequence[Layer] = ()) -> M:
    """Check a document against a model.

    Parameters
    ----------
    document : mapping
        The merged layers. It is not modified.
    model : type
    layers : sequence of path or CommandLine
        What `document` was read from, to report the line of a mistake; the last layer with a key wins.

    Raises
    ------
    EchosError
        The first mistake; unknown keys come before wrong values.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise EchosError(sentence(error, document, model, layers)) from None
