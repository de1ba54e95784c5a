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
    optional: Annotated[
        bool, Option("--optional", help="Where no place holds it, write a file without weights that says so.")
    ] = False,
) -> None:
    """Fetch a declared input from a mirror folder, its URL, the hub or a Python package, and check it."""
    from neural_echos.design.inputs import load_inputs
    from neural_echos.errors import EchosError, nearest
    from neural_echos.files import provenance, write_json
    from neural_echos.inputs import NotAtHandError, mirror_folders, write_absent
    from neural_echos.inputs import fetch as fetch_input

    inputs = load_inputs(declared)
    if id not in inputs:
        raise EchosError(f"{declared}: declares no input {id!r}{nearest(id, inputs)}")
    try:
        facts = fetch_input(inputs[id], output, mirror_folders(mirror))
    except NotAtHandError as error:
        if not optional:
            raise
        facts = write_absent(inputs[id], output, str(error))
        # the workflow goes on, so this is for the terminal, which shows errors alone
        _LOG.error("%s; going on without it (delete %s to try again)", error, output)
    write_json(f"{output}.json", provenance({}, **facts))
    _LOG.info("%s: from %s", output, facts["source"])
