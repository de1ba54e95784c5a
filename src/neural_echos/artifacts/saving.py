"""Input and output of an artifact's notebook: its tables and options, and the files that it writes."""

import html
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from neural_echos.artifacts.by_hand import find_parameters
from neural_echos.artifacts.names import bank_labels
from neural_echos.artifacts.style import Style, drawing, picture, save_figure, steady
from neural_echos.errors import EchosError
from neural_echos.files import provenance, write_json, write_text
from neural_echos.tables import SCHEMAS, read_table

FORMATS: dict[str, tuple[str, ...]] = {"figure": ("pdf", "png"), "table": ("csv", "md", "tex", "html")}


class Artifact:
    """A figure or table made by its notebook.

    Parameters
    ----------
    name : str
        Name of the notebook, without suffix.
    inputs : mapping of str to path or sequence of path
        Tables by name (docs/tables.md).
    options : mapping
        The artifact's options, with their defaults. When a notebook is run by hand, options and `output` are empty: options, and
        any tables and style not given, are then taken from the last time the artifact was made (`find_parameters`).
    output : str
        Path of the artifact's files, without suffix; empty to write none.
    style : mapping
        Settings of `Style`.

    Attributes
    ----------
    tables : dict
        See `read`.
    options : dict
    """

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        output: str = "",
        style: Mapping[str, Any] | None = None,
    ) -> None:
        if not (options or output):
            try:
                found, options, look = find_parameters(name)
            except EchosError:
                if not inputs:  # otherwise it may be an artifact without options
                    raise
            else:
                inputs, style = inputs or found, style or look
        self.name, self.inputs, self.options = name, dict(inputs or {}), dict(options or {})
        self.output, self._style = output, dict(style or {})

    @cached_property
    def tables(self) -> dict[str, Any]:
        """The artifact's tables, by name."""
        return read(self.inputs)

    @cached_property
    def style(self) -> Style:
        """Style of the figures."""
        return Style.read(self._style)

    @contextmanager
    def drawing(self) -> Iterator[Style]:
        """Draw a figure in the project's style; the caller's own settings are restored at the end."""
        with drawing(self.style) as style:
            yield style

    def save(self, content: "Figure | pd.DataFrame | Any", says: str) -> None:
        """Write an artifact in every format, with its provenance in `<output>.json`, and show it in a notebook.

        Parameters
        ----------
        content : Figure, seaborn grid or DataFrame
            A figure, or a table of formatted cells.
        says : str
            A sentence or two, computed from the numbers, about what it shows.
        """
        content, says = getattr(content, "figure", content), f"{says}{self._left_out()}"
        if isinstance(content, Figure):
            steady(content)
        if self.output:
            self._write(content, says)
        self._show(content, says)

    def _left_out(self) -> str:
        """Say which models' tables are empty because their optional input could not be fetched."""
        if "tables" not in vars(self):
            return ""
        banks = [str(path) for name in ("bank", "clusters", "patterns") for path in _listed(self.inputs.get(name, []))]
        empty = [Path(path).stem for path in banks if not pq.read_metadata(path).num_rows]
        return f" Left out because they hold no kernels: {', '.join(bank_labels(empty).values())}." if empty else ""

    def _write(self, content: "Figure | pd.DataFrame", says: str) -> None:
        stem = Path(self.output)
        if isinstance(content, Figure):
            suffixes = FORMATS["figure"]
            for suffix in (*suffixes, *self.style.formats):
                save_figure(content, stem.with_name(f"{stem.name}.{suffix}"), self.style)
        else:
            suffixes = FORMATS["table"]
            for suffix in suffixes:
                write_text(stem.with_name(f"{stem.name}.{suffix}"), _table_as(suffix, content, stem.name, says))
        files = {str(path): path for paths in self.inputs.values() for path in _listed(paths)}
        facts = {
            "says": says,
            "command": ["snakemake", f"{stem}.{suffixes[0]}"],
            "reads": {name: [str(path) for path in _listed(paths)] for name, paths in self.inputs.items()},
            "options": self.options,
        }
        facts |= {"style": self._style} if isinstance(content, Figure) else {}
        write_json(stem.with_name(f"{stem.name}.json"), provenance(files, **facts))

    def _show(self, content: "Figure | pd.DataFrame", says: str) -> None:
        """Show the artifact in a notebook, a figure as the image in its PNG file."""
        if "IPython" not in sys.modules:
            return
        from IPython import get_ipython
        from IPython.display import HTML, Image, Markdown, display

        if get_ipython() is None:
            return
        if isinstance(content, Figure):
            display(Image(self._picture(content), width=round(96 * content.get_figwidth())))
        else:
            display(HTML(content.to_html(index=False, border=0)))
        display(Markdown(says))

    def _picture(self, figure: Figure) -> bytes:
        """The figure as PNG: the file that was written, or else redrawn."""
        return Path(f"{self.output}.png").read_bytes() if self.output else picture(figure, self.style)


def _table_as(suffix: str, table: pd.DataFrame, title: str, says: str) -> str:
    if suffix == "csv":
        return table.to_csv(index=False, lineterminator="\n")
    if suffix == "md":
        return table.to_markdown(index=False, disable_numparse=True) + "\n"
    if suffix == "tex":
        return _table_as_latex(table)
    return _PAGE.format(title=title, table=table.to_html(index=False, border=0), says=html.escape(says))


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "…": r"\ldots{}"},
    **{"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\to$"},
    **{"γ": r"$\gamma$", "σ": r"$\sigma$", "²": "$^2$", "₇": "$_7$"},
}
_WRAPPED = 32  # a column of a LaTeX table with longer cells becomes a paragraph column


def latex(text: str) -> str:
    """Escape a text for LaTeX; letters with accents stay in UTF-8."""
    written = "".join(_LATEX.get(character, character) for character in text)
    return f"{{[}}{written[1:]}" if written.startswith("[") else written  # after a line break, "[" would be an option


def _table_as_latex(table: pd.DataFrame) -> str:
    """Write a table for booktabs, with columns of long texts as paragraphs."""
    longest = [max(map(len, [str(name), *table[name].astype(str)])) for name in table]
    columns = "".join(r"p{4.5cm}" if length > _WRAPPED else "l" for length in longest)
    escaped = table.map(lambda cell: latex(cell) if isinstance(cell, str) else cell).rename(columns=latex)
    return escaped.to_latex(index=False, escape=False, column_format=columns)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1rem; color: #111; background: #fff; }}
table {{ border-collapse: collapse; }} th, td {{ padding: .3rem .6rem; text-align: left; vertical-align: top; }}
thead th {{ border-bottom: 2px solid #111; }} tbody tr {{ border-bottom: 1px solid #ddd; }}
</style></head><body>
{table}
<p>{says}</p>
</body></html>
"""


def read(inputs: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """Read an artifact's input tables.

    Parameters
    ----------
    inputs : mapping
        Path or paths of the tables, by schema name.

    Returns
    -------
    dict
        "bank" as a mapping from model to pyarrow Table; every other table as one DataFrame, files in the given order.
    """
    tables: dict[str, Any] = {}
    for name, paths in inputs.items():
        if name not in SCHEMAS:
            raise EchosError(
                f"--inputs: there is no table {name!r} (there are {', '.join(sorted(SCHEMAS))}); correct it"
            )
        parts = [read_table(path, name) for path in _listed(paths)]
        if name == "bank":
            names = [Path(path).stem for path in _listed(paths)]  # an empty bank has no row with its name
            tables[name] = {
                part["model"][0].as_py() if len(part) else stem: part for stem, part in zip(names, parts, strict=True)
            }
        else:
            frames = [part.to_pandas() for part in parts]
            tables[name] = pd.concat(frames, ignore_index=True) if frames else SCHEMAS[name].empty_table().to_pandas()
    return tables


def _listed(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)
