"""The declaration of a file in config/inputs.yaml, with everything the file itself reveals; the rest is left to fill in."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

from neural_echos.errors import EchosError
from neural_echos.files import sha256

_ENTRY = """{id}:
  kind: file
  file: {file}
  url: null  # FILL IN: direct download; null if there is none
  origin:  # FILL IN: page, repository or file that it comes from
  sha256: {sha256}
  bytes: {bytes}
  licence:  # FILL IN: SPDX identifier, or a description
  citation:  # FILL IN: what to cite when using it
  trained_on: null  # FILL IN for weights: the dataset that they were trained on
  note: >-
{note}
"""


def declaration(path: Path, inside: Callable[[Path], str]) -> str:
    """Return the entry of a file as YAML; what only its user knows is left blank, which the check of the declarations refuses.

    Parameters
    ----------
    path : Path
    inside : callable
        Describes the file's content in one sentence.

    Raises
    ------
    EchosError
        There is no such file, or its name cannot be declared.
    """
    if not path.is_file():
        raise EchosError(f"{path}: there is no such file, or it is a folder; give the file to declare")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", path.name):
        raise EchosError(
            f"{path}: the name of a declared file may contain only letters, digits, '.', '_' and '-'; rename it (its checksum "
            "does not change)"
        )
    return _ENTRY.format(
        id=re.sub(r"\.(tar\.\w+|\w+)$", "", path.name),
        file=path.name,
        sha256=sha256(path),
        bytes=path.stat().st_size,
        note=textwrap.indent(textwrap.fill(inside(path), 116), "    "),
    )
