"""Forest plots of paired differences: the axes that several figures share, and a sentence about the result."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from neural_echos.artifacts.accuracy import MEAN_ROW
from neural_echos.artifacts.names import label, looks
from neural_echos.artifacts.style import FAINT, GREY
from neural_echos.words import estimate, span

APART = 0.6  # share of a row's height over which its baselines are spread


def forest_ground(axis: Axes, summary: pd.DataFrame, initialisations: Sequence[str]) -> list[Artist]:
    """Prepare an axis for a forest plot: minimum detectable effects, the zero line, names and a legend.

    Parameters
    ----------
    axis : Axes
    summary : DataFrame
        From `accuracy.gain_forest`.
    initialisations : sequence of str
        The baselines, then the initialisation that is compared with them.

    Returns
    -------
    list of Artist
        Legend entries: each baseline, and the band of differences below the minimum detectable effect.
    """
    *baselines, last = initialisations
    rows = list(summary.row.unique())
    gap = APART / len(baselines)
    axis.use_sticky_edges = False
    cells: list[Any] = list(summary.itertuples())
    for one in cells:
        y = rows.index(one.row) + (baselines.index(one.baseline) - (len(baselines) - 1) / 2) * gap
        axis.barh(y, 2 * one.detectable, gap * 0.9, -one.detectable, color=FAINT, alpha=0.5)
    axis.axvline(0, color=GREY, linewidth=0.8)
    if rows[-1] == MEAN_ROW and len(rows) > 1:
        axis.axhline(len(rows) - 1.5, color=GREY, linewidth=0.8, linestyle=":")
    for text, side in (("← worse  ", "right"), ("  better →", "left")):
        axis.text(0, 1, text, transform=axis.get_xaxis_transform(), ha=side, va="bottom")
    what = f"top-1 of {label('initialisation', last)} minus that of another initialisation"
    axis.set(xlabel=f"{what} (points, n = {span(summary.seeds)} seeds)")
    keys: list[Artist] = [
        axis.plot([], [], color=one.colour, marker=one.marker, label=f"minus {one.label}")[0]
        for one in looks("initialisation", baselines).values()
    ]
    return [*keys, Patch(color=FAINT, alpha=0.5, label="below the minimum detectable effect")]


def told_of_forest(summary: pd.DataFrame, dataset: str, initialisation: str) -> str:
    """Describe the gain in the last row of a forest plot, and the differences that its seeds can detect."""
    last = summary.row.iloc[-1]
    cells: list[Any] = list(summary[summary.row == last].itertuples())
    told = "; ".join(
        f"{estimate(one.difference, one.low, one.high)} over {label('initialisation', one.baseline)}" for one in cells
    )
    says = f"Gain of {label('initialisation', initialisation)} on {label('dataset', dataset)} in points, {last}: {told}"
    says += f" (95 % t interval, n = {span(summary.seeds)} seeds)."
    if summary.detectable.notna().any():
        says += f" With 80 % power, they find differences of {span(summary.detectable, 1)} points."
    return says
