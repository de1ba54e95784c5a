"""The look of all figures: one theme, applied in a context, so that no settings leak in or out."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path

GREY = "#8c8c8c"  # for elements shown only for comparison
FAINT = "#cccccc"  # for zero lines and chance levels
_SIZES = {  # points
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.titlesize": 8,
    "figure.labelsize": 8,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}
_THEME: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "neural-echos",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
_DIGITS = 9  # decimals of positions in figure coordinates
_UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Style:
    """User settings for the look of figures (`figures` in the config).

    Attributes
    ----------
    font_scale : float
        Factor of all text sizes.
    palette : str or sequence of str, optional
        A seaborn palette, or a list of colours, instead of the project's own.
    colour_map : str
        Matplotlib's diverging colour map for kernels.
    width, column : float
        Width of a figure over two journal columns and over one, in inches.
    dpi : int
        Resolution of PNG files.
    formats : sequence of str
        Formats to write besides PDF and PNG.
    """

    font_scale: float = 1.0
    palette: str | tuple[str, ...] | None = None
    colour_map: str = "RdBu_r"
    width: float = 7.2
    column: float = 3.5
    dpi: int = 200
    formats: tuple[str, ...] = ("svg",)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "Style":
        """Make a style from the settings of a config or a command line.

        Raises
        ------
        EchosError
            A setting, colour map or palette is unknown.
        """
        unknown = sorted(set(given) - {field.name for field in fields(cls)})
        if unknown:
            known = ", ".join(field.name for field in fields(cls))
            raise EchosError(f"figures: there is no setting {unknown[0]!r} (there are {known}); correct or remove it")
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in given.items()
        }
        made = cls(**settings)
        if made.colour_map not in mpl.colormaps:
            raise EchosError(f"figures: Matplotlib has no colour map {made.colour_map!r}; choose another")
        made.colours(1)
        return made

    def colours(self, n: int) -> list[tuple[float, float, float]] | None:
        """The first n colours of the user's palette; None if the project's own colours are used."""
        import seaborn as sns

        if self.palette is None:
            return None
        try:
            return list(sns.color_palette(self.palette, n))
        except ValueError:
            raise EchosError(
                f"figures: {self.palette!r} is neither a seaborn palette nor a list of colours; choose another"
            ) from None


_current = Style()


def current() -> Style:
    """The current style of figures."""
    return _current


@contextmanager
def drawing(style: Style | None = None) -> Iterator[Style]:
    """Draw with Matplotlib's defaults and the project's theme; the caller's settings are restored at the end.

    Text and ticks take their settings on creation, so draw the whole figure inside. Figures that pyplot (and thus seaborn) opened
    inside are closed in pyplot at the end, so that they are not shown twice; they can still be saved.
    """
    global _current
    before, open_before = _current, set(plt.get_fignums())
    _current = style or before
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_THEME | {name: size * _current.font_scale for name, size in _SIZES.items()})
        try:
            yield _current
        finally:
            _current = before
            for number in set(plt.get_fignums()) - open_before:
                plt.close(number)


class SteadyLayout(ConstrainedLayoutEngine):
    """Constrained layout, rounded: its solver sums in the order of its variables in memory, which differs between runs."""

    def execute(self, fig: Figure) -> Any:  # noqa: D102 (as inherited)
        made = super().execute(fig)
        for axes in fig.axes:
            taking_part = axes.get_in_layout()
            axes.set_position(np.round(axes.get_position(original=True).bounds, _DIGITS), which="original")
            axes.set_in_layout(taking_part)
        for part in fig.subfigs:
            part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), _DIGITS))
        return made


def canvas(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """Make a figure of `size` inches and its axes, shape (rows, columns); call it and draw inside `drawing`."""
    figure = Figure(figsize=size, layout=SteadyLayout())
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def steady(figure: Figure) -> Figure:
    """Give a figure made by seaborn the layout of all figures, in which no text is cut off and all runs are identical."""
    if not isinstance(figure.get_layout_engine(), SteadyLayout):
        figure.set_layout_engine(SteadyLayout())
    return figure


def save_figure(figure: Figure, path: Path, style: Style | None = None) -> None:
    """Write a figure in the format of the path's suffix, without a date."""
    suffix = path.suffix.lstrip(".")
    with drawing(style) as now, atomic_path(path) as temporary:
        options: dict[str, Any] = {"metadata": _UNDATED[suffix]} if suffix in _UNDATED else {}
        before, os.environ["SOURCE_DATE_EPOCH"] = (
            os.environ.get("SOURCE_DATE_EPOCH"),
            "0",
        )  # the only way for PostScript
        try:
            figure.savefig(temporary, format=suffix, dpi=now.dpi, **options)
        finally:
            del os.environ["SOURCE_DATE_EPOCH"]
            if before is not None:
                os.environ["SOURCE_DATE_EPOCH"] = before


def picture(figure: Figure, style: Style | None = None) -> bytes:
    """Draw a figure as PNG, with the bytes that `save_figure` writes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        save_figure(figure, path, style)
        return path.read_bytes()
