"""Forests of paired differences: a row of axes that several figures share, and the sentence that it bears out."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from neural_echos.artifacts.accuracy import MEAN_ROW, t_interval
from neural_echos.artifacts.names import label, looks
from neural_echos.artifacts.style import FAINT, GREY
from neural_echos.words import estimate, span


def draw_forest(axis: Axes, seeds: pd.DataFrame, summary: pd.DataFrame, initialisations: Sequence[str]) -> None:
    """Draw the gain of the last initialisation over each of the others: seeds, mean with its t interval, what could be seen.

    Parameters
    ----------
    axis : Axes
        Its figure gets the legend, above everything.
    seeds, summary : DataFrame
        What `accuracy.gain_forest` returns.
    initialisations : sequence of str
        The baselines, then the one that is compared with them.
    """
    *baselines, last = initialisations
    shown = looks("initialisation", baselines)
    rows = list(summary.row.unique())
    gap = 0.6 / len(baselines)  # between the baselines of a row
    axis.use_sticky_edges = False
    cells: list[Any] = list(summary.itertuples())
    for one in cells:
        y = rows.index(one.row) + (baselines.index(one.baseline) - (len(baselines) - 1) / 2) * gap
        axis.barh(y, 2 * one.detectable, gap * 0.9, -one.detectable, color=FAINT, alpha=0.5)
    axis.axvline(0, color=GREY, linewidth=0.8)
    both = {"x": "difference", "y": "row", "hue": "baseline", "order": rows, "hue_order": baselines, "ax": axis}
    both |= {"palette": {one: look.colour for one, look in shown.items()}, "legend": False}
    sns.stripplot(seeds, **both, dodge=True, jitter=False, size=3, alpha=0.5)
    means = {"dodge": 0.6 - gap, "linestyle": "none", "capsize": 0, "markersize": 4, "err_kws": {"linewidth": 1.2}}
    markers = [look.marker for look in shown.values()]
    sns.pointplot(seeds, **both, **means, errorbar=t_interval, markers=markers)
    if rows[-1] == MEAN_ROW and len(rows) > 1:
        axis.axhline(len(rows) - 1.5, color=GREY, linewidth=0.8, linestyle=":")
    for text, side in (("← worse  ", "right"), ("  better →", "left")):
        axis.text(0, 1, text, transform=axis.get_xaxis_transform(), ha=side, va="bottom")
    what = f"top-1 of {label('initialisation', last)} minus that of another initialisation"
    axis.set(ylabel="", xlabel=f"{what} (points, n = {span(summary.seeds)} seeds)")
    keys: list[Any] = [
        axis.plot([], [], color=one.colour, marker=one.marker, label=f"minus {one.label}")[0] for one in shown.values()
    ]
    keys.append(Patch(color=FAINT, alpha=0.5, label="below the minimum detectable effect"))
    axis.figure.legend(handles=keys, loc="outside upper center", ncols=len(keys))


def told_of_forest(summary: pd.DataFrame, dataset: str, initialisation: str) -> str:
    """Say the gain in the last row of a forest, and which differences its seeds could have found."""
    last = summary.row.iloc[-1]
    cells: list[Any] = list(summary[summary.row == last].itertuples())
    told = "; ".join(
        f"{estimate(one.difference, one.low, one.high)} over {label('initialisation', one.baseline)}" for one in cells
    )
    says = f"Gain of {label('initialisation', initialisation)} on {label('dataset', dataset)}, {last}: {told} points"
    says += f" (95 % t interval, n = {span(summary.seeds)} seeds)."
    if summary.detectable.notna().any():
        says += f" With 80 % power they find differences of {span(summary.detectable, 1)} points."
    return says
