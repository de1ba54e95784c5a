"""Documents checked against their models, and the two that declare inputs and artifacts; without the config's own models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from neural_echos.design.inputs import DeclaredInputs
from neural_echos.design.messages import sentence
from neural_echos.design.yaml import Layer, read_yaml
from neural_echos.errors import EchosError

M = TypeVar("M", bound=BaseModel)


def load_artifacts(root: Path) -> dict[str, dict[str, Any]]:
    """Read and check config/artifacts.yaml: what is declared of every artifact, by id."""
    from neural_echos.design.artifacts import DeclaredArtifacts

    path = root / "config/artifacts.yaml"
    return check(read_yaml(path), DeclaredArtifacts, [path]).model_dump()


def load_inputs(path: Path) -> dict[str, dict[str, Any]]:
    """Read and check config/inputs.yaml, or a file like it: what is declared of every input, by id."""
    return check(read_yaml(path), DeclaredInputs, [path]).model_dump()


def check(document: Mapping[str, Any], model: type[M], layers: Sequence[Layer] = ()) -> M:
    """Check a document against a model.

    Parameters
    ----------
    document : mapping
        What the layers say together. It is not changed.
    model : type
    layers : sequence of path or CommandLine
        What `document` was read from, to name the line of a mistake; the last one that holds a key wins.

    Raises
    ------
    EchosError
        The first thing that is wrong; an unknown key comes before a wrong value.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise EchosError(sentence(error, document, model, layers)) from None
