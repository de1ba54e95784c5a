"""Commands that fetch declared inputs."""

import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from neural_echos.commands.arguments import Output

_LOG = logging.getLogger("neural_echos")


def fetch(
    id: Annotated[str, Argument(help="Id of an input that is declared in config/inputs.yaml.")],
    *,
    output: Output,
    declared: Annotated[Path, Option(help="File of declarations.")] = Path("config/inputs.yaml"),
    mirror: Annotated[list[Path], Option(help="Folders to look in before the network (also ECHOS_MIRRORS).")] = [],
) -> None:
    """Fetch a declared input from a mirror folder or its URL, and check it."""
    from neural_echos.errors import EchosError, nearest
    from neural_echos.files import provenance, write_json
    from neural_echos.inputs import fetch as fetch_input
    from neural_echos.inputs import load_inputs, mirror_folders

    inputs = load_inputs(declared)
    if id not in inputs:
        raise EchosError(f"{declared}: declares no input {id!r}{nearest(id, inputs)}")
    facts = fetch_input(inputs[id], output, mirror_folders(mirror))
    write_json(f"{output}.json", provenance({}, **facts))
    _LOG.info("%s: from %s", output, facts["source"])
