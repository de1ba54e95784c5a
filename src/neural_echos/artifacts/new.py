"""Create a starter notebook for a new artifact."""

import json
import re
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import write_text
from neural_echos.tables import SCHEMAS

_PARAMETERS = """# The workflow fills these in. If you run the notebook yourself, leave them empty to read the newest results.
name = "{name}"
inputs = {{}}
options = {{}}
output = ""
style = {{}}"""
_TABLES = """from neural_echos.artifacts.saving import Artifact

artifact = Artifact(name, inputs, options, output, style)
{table} = artifact.tables["{table}"]
counts = {table}.groupby("{column}", sort=False).size().rename("rows").reset_index()
counts"""
_BANKS = """import pandas as pd

from neural_echos.artifacts.saving import Artifact

artifact = Artifact(name, inputs, options, output, style)
banks = artifact.tables["bank"]
counts = pd.DataFrame([{"model": model, "rows": bank.num_rows} for model, bank in banks.items()])
counts"""
_DRAW = """import seaborn as sns

from neural_echos.artifacts.style import canvas

with artifact.drawing() as look:
    figure, axes = canvas(1, 1, (look.column, 2.2))
    sns.barplot(counts, x="rows", y="{column}", color="#8c8c8c", errorbar=None, ax=axes[0, 0])
    axes[0, 0].set(ylabel="")"""
_SAVE = """artifact.save({content}, f"{{counts['rows'].sum():,}} rows in {{len(counts)}} groups.")"""


def new_notebook(root: Path, name: str, kind: str, reads: list[str]) -> Path:
    """Write the notebook of a new artifact, which counts the rows of its first table.

    Parameters
    ----------
    root : Path
        Folder that contains workflow/notebooks.
    name : str
        Lower case letters, digits and underscores.
    kind : {"figure", "table"}
    reads : list of str
        Names of tables.

    Raises
    ------
    EchosError
        The name is taken or unusable, a table is unknown, or `root` is not the folder of the workflow.
    """
    path = root / "workflow/notebooks" / f"{name}.ipynb"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise EchosError(f"{name!r}: a name has lower case letters, digits and underscores; choose another")
    if path.exists():
        raise EchosError(f"{path}: an artifact with this name exists already; choose another name")
    if not path.parent.is_dir():
        raise EchosError(
            f"{path.parent}: this folder is missing; run in the folder of the workflow, or name it with --root"
        )
    for table in reads:
        if table not in SCHEMAS:
            raise EchosError(
                f"--reads: there is no table {table!r} (there are {', '.join(sorted(SCHEMAS))}); correct it"
            )
    write_text(path, json.dumps(_notebook(name, kind, reads), indent=1, ensure_ascii=False) + "\n")
    return path


def _notebook(name: str, kind: str, reads: list[str]) -> dict[str, Any]:
    table = reads[0]
    column = "model" if "model" in SCHEMAS[table].names else SCHEMAS[table].names[0]
    title = name.replace("_", " ").capitalize()
    tidy = _BANKS if table == "bank" else _TABLES.format(table=table, column=column)
    sources = [_PARAMETERS.format(name=name), tidy]
    sources += [_DRAW.format(column=column)] if kind == "figure" else []
    sources += [_SAVE.format(content="figure" if kind == "figure" else "counts")]
    cells = [_cell("markdown", 0, f"# {title}\n\nWhat is drawn. Not a {kind} of the paper.")]
    cells += [_cell("code", place, source) for place, source in enumerate(sources, 1)]
    cells[1]["metadata"]["tags"] = ["parameters"]
    declared = {"kind": kind, "group": f"{kind.capitalize()}s", "reads": reads, "options": {}}
    python = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    metadata = {**python, "language_info": {"name": "python"}, "neural_echos": declared}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _cell(kind: str, place: int, source: str) -> dict[str, Any]:
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {
        "cell_type": kind,
        "id": f"cell-{place}",
        "metadata": {},
        **code,
        "source": source.splitlines(keepends=True),
    }
