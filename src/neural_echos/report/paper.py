"""Figures as PDF and tables as LaTeX, with file names for a manuscript, and a manuscript that includes them all."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from neural_echos.artifacts.saving import latex
from neural_echos.design.artifact_files import IN_PAPER, paper_name
from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, read_json, write_text
from neural_echos.report.templates import render


def write_paper(folder: Path, artifacts: Sequence[Mapping[str, str]], title: str) -> None:
    """Copy every artifact into `folder` and write `paper.tex`, which includes them with their captions.

    Parameters
    ----------
    folder : Path
        Created if missing; other files in it are kept.
    artifacts : sequence of mappings
        Each with id, kind ("figure" or "table"), title, caption and stem (path without suffix).
    title : str

    Raises
    ------
    EchosError
        An artifact's file is missing.
    """
    shown = []
    for one in artifacts:
        source = Path(f"{one['stem']}.{IN_PAPER[one['kind']]}")
        if not source.is_file():
            raise EchosError(f"{source}: the artifact {one['id']} has not been made; run snakemake first")
        name = paper_name(one["id"], one["kind"])
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(source, temporary)
        says = read_json(f"{one['stem']}.json")["says"]
        caption = latex(f"{_numberless(one['title'])}. {one['caption']} {says}")
        shown.append({"kind": one["kind"], "file": name, "caption": caption, "label": name.partition(".")[0]})
    write_text(folder / "paper.tex", render("paper.tex.j2", title=latex(title), artifacts=shown))


def _numberless(title: str) -> str:
    """A title without its number, because LaTeX numbers it."""
    return re.sub(r"^(Figure|Table) \d+\b[. ]*", "", title).rstrip(".")
