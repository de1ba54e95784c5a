"""Commands that declare and fetch inputs."""

import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from neural_echos.commands.arguments import Output

_LOG = logging.getLogger("neural_echos")


def fetch(
    id: Annotated[str, Argument(help="Id of an input declared in config/inputs.yaml.")],
    *,
    output: Output,
    declared: Annotated[Path, Option(help="File of declarations.")] = Path("config/inputs.yaml"),
    mirror: Annotated[list[Path], Option(help="Folders to search before the network (also ECHOS_MIRRORS).")] = [],
    optional: Annotated[
        bool, Option("--optional", help="If the input is not available, write a file without weights that says so.")
    ] = False,
) -> None:
    """Fetch a declared input from a mirror folder, its URL, the Hub or a Python package, and check it."""
    from neural_echos.design.inputs import load_inputs
    from neural_echos.errors import EchosError, nearest
    from neural_echos.files import provenance, write_json
    from neural_echos.inputs import NotAtHandError, mirror_folders, write_absent
    from neural_echos.inputs import fetch as fetch_input

    inputs = load_inputs(declared)
    if id not in inputs:
        raise EchosError(f"{declared}: no input {id!r} is declared here{nearest(id, inputs)}")
    try:
        facts = fetch_input(inputs[id], output, mirror_folders(mirror))
    except NotAtHandError as error:
        if not optional:
            raise
        facts = write_absent(inputs[id], output, str(error))
        # the workflow continues, so this is an error only to reach the terminal
        _LOG.error("%s; continuing without it (delete %s to try again)", error, output)
    write_json(f"{output}.json", provenance({}, **facts))
    _LOG.info("%s: from %s", output, facts["source"])


def declare(
    file: Annotated[Path, Argument(help="A checkpoint, dataset or other file for a preset to read.")],
    *,
    declared: Annotated[Path, Option(help="File of declarations.")] = Path("config/inputs.yaml"),
) -> None:
    """Print the entry for a file in config/inputs.yaml: its size, checksum and content, with blanks for you to fill in."""
    from neural_echos.design.inputs import load_inputs
    from neural_echos.files import sha256
    from neural_echos.inputs.declaration import declaration

    print(declaration(file, _inside), end="")
    same = [one.id for one in load_inputs(declared).values() if one.sha256 == sha256(file)] if declared.exists() else []
    if same:
        _LOG.warning("%s: already declared as %s in %s", file, same[0], declared)


def _inside(file: Path) -> str:
    """Describe the content of a file in one sentence."""
    import tarfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    from neural_echos.errors import EchosError
    from neural_echos.kernels.sources import bank_of

    try:
        if file.suffix == ".parquet":
            held = pq.ParquetFile(file)
            return f"A table of {held.metadata.num_rows:,} rows: {', '.join(held.schema_arrow.names)}."
        if tarfile.is_tarfile(file):
            with tarfile.open(file) as archive:
                names = [one.name for one in archive if one.isfile()]
            return f"An archive of {len(names):,} files: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
        return f"{bank_of(file)[1]}."
    except (EchosError, pa.ArrowInvalid) as error:
        _LOG.info("not read as weights, a table or an archive: %s", error)
        return "FILL IN: what it contains."
