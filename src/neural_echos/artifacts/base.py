"""What every artifact has: a look, the tables it is made from, the files it becomes, and a sentence that says what it shows."""

import html
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, provenance, write_json, write_text
from neural_echos.tables import SCHEMAS, read_table

FORMATS: dict[str, tuple[str, ...]] = {"figure": ("pdf", "png", "svg"), "table": ("csv", "md", "tex", "html")}

# Okabe and Ito's palette, which survives the common kinds of colour blindness; one colour a name, everywhere.
COLOURS = {
    "default": "#000000",
    "kaiming": "#E69F00",
    "dog": "#0072B2",
    "excitatory": "#D55E00",
    "inhibitory": "#0072B2",
    "other": "#999999",
    "trained": "#0072B2",
    "untrained": "#999999",
    "regular": "#E69F00",
}
MARKERS = {"default": "o", "kaiming": "s", "dog": "^"}
_SPARE = (("#009E73", "D"), ("#CC79A7", "v"), ("#56B4E9", "P"), ("#F0E442", "X"))  # for other initialisations
KERNEL_COLOURS = "RdBu_r"

_STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "neural-echos",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
_DIGITS = 9  # of places in a figure, whose sides are 1
_UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Artifact:
    """A figure, or a table of finished cells, with a sentence or two, computed from its numbers, that say what it shows."""

    content: Figure | pd.DataFrame
    says: str

    @property
    def kind(self) -> str:
        """Which of the two it is: "figure" or "table"."""
        return "figure" if isinstance(self.content, Figure) else "table"

    def save(self, stem: str | Path, inputs: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> None:
        """Write every format beside `stem`, and `stem.json`, which says what made them.

        Parameters
        ----------
        stem : path
            Without suffix.
        inputs : mapping
            As given to `read`.
        options : mapping
            The artifact's options, as the config declares them.
        """
        stem = Path(stem)
        for suffix in FORMATS[self.kind]:
            path = stem.with_name(f"{stem.name}.{suffix}")
            if isinstance(self.content, Figure):
                self.save_figure(path)
            else:
                write_text(path, _table_as(suffix, self.content, stem.name, self.says))
        files = {str(path): path for paths in inputs.values() for path in _listed(paths)}
        command = ["snakemake", f"{stem}.{FORMATS[self.kind][0]}"]
        facts = {"says": self.says, "command": command, "options": dict(options or {})}
        write_json(stem.with_name(f"{stem.name}.json"), provenance(files, **facts))

    def save_figure(self, path: Path) -> None:
        """Write a figure in the format of the path's suffix, without a date."""
        assert isinstance(self.content, Figure)
        suffix = path.suffix.lstrip(".")
        with own_style(), atomic_path(path) as temporary:
            self.content.savefig(temporary, format=suffix, metadata=_UNDATED[suffix])


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
_WRAPPED = 32  # characters of a cell, from which a column of a LaTeX table becomes a paragraph


def latex(text: str) -> str:
    """Write a text so that LaTeX prints it; letters with accents stay as they are, in UTF-8."""
    written = "".join(_LATEX.get(character, character) for character in text)
    return f"{{[}}{written[1:]}" if written.startswith("[") else written  # after a line break, "[" would be an option


def _table_as_latex(table: pd.DataFrame) -> str:
    """Write a table for booktabs, its columns of long texts as paragraphs."""
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
        From a schema's name to the path or paths of its tables.

    Returns
    -------
    dict
        "bank" as a mapping from model to pyarrow Table; every other table as one DataFrame, files in the given order.
    """
    tables: dict[str, Any] = {}
    for name, paths in inputs.items():
        if name not in SCHEMAS:
            raise EchosError(
                f"artifact inputs: expected tables among {sorted(SCHEMAS)}, found {name!r}; correct artifacts.yaml"
            )
        parts = [read_table(path, name) for path in _listed(paths)]
        if name == "bank":
            tables[name] = {part["model"][0].as_py(): part for part in parts}
        else:
            frames = [part.to_pandas() for part in parts]
            tables[name] = pd.concat(frames, ignore_index=True) if frames else SCHEMAS[name].empty_table().to_pandas()
    return tables


class _SteadyLayout(ConstrainedLayoutEngine):
    """Constrained layout, rounded: its solver adds up in the order in which its variables lie in memory, which differs by run."""

    def execute(self, fig: Figure) -> Any:
        made = super().execute(fig)
        for axes in fig.axes:
            taking_part = axes.get_in_layout()
            axes.set_position(np.round(axes.get_position(original=True).bounds, _DIGITS), which="original")
            axes.set_in_layout(taking_part)
        for part in fig.subfigs:
            part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), _DIGITS))
        return made


@contextmanager
def own_style() -> Iterator[None]:
    """Draw under Matplotlib's defaults and the one style of all figures; the caller's settings return at the end.

    Also a decorator, of every function that draws a figure: text and ticks take their settings when they are made.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def canvas(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """Make a figure of `size` inches and its axes, shape (rows, columns); call it, and draw, inside `own_style`."""
    figure = Figure(figsize=size, layout=_SteadyLayout())
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def looks(initialisations: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give each initialisation its colour and marker: its own where it has one, else the next spare ones."""
    others = [name for name in initialisations if name not in MARKERS]
    spare = {name: _SPARE[place % len(_SPARE)] for place, name in enumerate(others)}
    return {name: spare.get(name) or (COLOURS[name], MARKERS[name]) for name in initialisations}


def finished(figure: Figure, says: str, note: str) -> Artifact:
    """Make the artifact of a figure; `note`, what the numbers rest on, stands below it and after its sentence."""
    if note:
        figure.supxlabel(note, fontsize=7, color="#444444")
    return Artifact(figure, f"{says} {note}".strip())


def draw_kernels(axes: Axes, kernels: np.ndarray, columns: int) -> AxesImage:
    """Draw kernels as a mosaic, each scaled by its own largest |tap|, red positive, blue negative, white zero.

    Parameters
    ----------
    kernels : ndarray, shape (n, k, k)
    columns : int
        Kernels per row of the mosaic.
    """
    n, height, width = kernels.shape
    rows = -(-n // columns)
    mosaic = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    largest = np.abs(kernels).max(axis=(1, 2), keepdims=True)
    for index, kernel in enumerate(kernels / np.where(largest > 0, largest, 1.0)):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        mosaic[top : top + height, left : left + width] = kernel
    axes.set_axis_off()
    return axes.imshow(mosaic, cmap=KERNEL_COLOURS, vmin=-1.0, vmax=1.0, interpolation="nearest")


def colour_bar(figure: Figure, image: AxesImage, axes: Any, length: float | None = None) -> None:
    """Explain the kernels' colours once per figure, by a bar of `length` times the axes' height."""
    length = length or min(0.5, 1.2 / figure.get_figheight())  # about an inch, also in a tall figure
    bar = figure.colorbar(image, ax=axes, shrink=length, aspect=15, pad=0.01, panchor=False)
    bar.set_ticks([-1, 0, 1], labels=["−max", "0", "+max"])
    bar.outline.set_visible(False)


def percent(value: float, digits: int = 1) -> str:
    """Format a share as a percentage; "–" for a missing one."""
    return "–" if value is None or not np.isfinite(value) else f"{100 * value:.{digits}f} %".replace("-", "−")


def points(value: float, low: float, high: float) -> str:
    """Format a difference of shares as percentage points with its interval."""
    if not np.isfinite(value):
        return "–"
    interval = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if np.isfinite(low) and np.isfinite(high) else " [one seed]"
    return f"{100 * value:+.1f}{interval}".replace("-", "−")


def mean_and_spread(shares: pd.Series) -> str:
    """Format shares of runs as mean ± standard deviation in percent; a run that diverged (NaN) is left out and told."""
    if not len(shares):
        return "not run at this scale"
    found, lost = shares.dropna(), int(shares.isna().sum())
    spread = f" ± {100 * found.std(ddof=1):.1f}" if len(found) > 1 else ""
    told = [f"{100 * found.mean():.1f}{spread}"] * bool(len(found)) + [f"diverged ({lost} of {len(shares)})"] * bool(
        lost
    )
    return ", ".join(told)


def compared(comparison: pd.DataFrame, factor: float = 100) -> str:
    """Format one comparison: difference and t interval, Holm's p, smallest difference that the seeds could have seen.

    `comparison` has one row of schema "comparisons", or none; `factor` brings shares to points and leaves epochs (1).
    """
    if not len(comparison):
        return "–"
    row = comparison.iloc[0]
    if not row.seeds:
        return f"diverged ({row.diverged} of {row.diverged})"
    share = factor / 100
    told = points(row.difference * share, row.low * share, row.high * share)
    if row.low == row.high:  # no deviation, no interval
        told = f"{told.partition(' [')[0]} [all alike]"
    could = f"{factor * row.detectable:.1f}" if np.isfinite(row.detectable) else "–"
    return f"{told}; {probability(row.p_holm)}; {could}"


def probability(p: float) -> str:
    """Format a p with two digits and without its leading zero; "–" for a missing one."""
    if not np.isfinite(p):
        return "–"
    return "<.001" if p < 0.0005 else f"{p:.2g}".replace("0.", ".", 1)


def seen(comparisons: pd.DataFrame) -> str:
    """Say which differences in final top-1 the seeds of these comparisons could have seen; "" where they do not tell."""
    found = comparisons[(comparisons.measure == "top1") & comparisons.detectable.notna()]
    if not len(found):
        return ""
    seeds = f"{found.seeds.min()}" if found.seeds.nunique() == 1 else f"{found.seeds.min()} to {found.seeds.max()}"
    least, most = 100 * found.detectable.min(), 100 * found.detectable.max()
    smallest = f"{least:.1f} to {most:.1f}" if len(found) > 1 else f"{least:.1f}"
    return f"With {seeds} seeds a difference in final top-1 must be {smallest} points to be found with 80 % power."


def _listed(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)
