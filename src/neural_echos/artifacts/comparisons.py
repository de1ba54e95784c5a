"""What the experiments say of initialisations: all of them compared, and the gain against the number of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from neural_echos.artifacts.base import Drawn, finished, looks, own_style
from neural_echos.artifacts.style import canvas
from neural_echos.artifacts.words import compared, mean_and_spread, points, seen
from neural_echos.errors import EchosError
from neural_echos.evaluation import mean_interval, paired

Tables = dict[str, Any]
_MEASURES = {"top1": "final top-1", "area": "area", "epochs_to_target": "epochs to target"}


def initialisations_compared(
    tables: Tables, *, dataset: str, architectures: Sequence[str], baseline: str, scale: str
) -> Drawn:
    """Every initialisation of a data set against one baseline: final top-1, area under the learning curve, epochs to a target."""
    runs, comparisons = tables["runs"], tables["comparisons"]
    runs = runs[(runs.dataset == dataset) & runs.architecture.isin(architectures)]
    comparisons = comparisons[
        (comparisons.dataset == dataset)
        & comparisons.architecture.isin(architectures)
        & (comparisons.baseline == baseline)
    ]
    rows = []
    for architecture in architectures:
        mine, against = (table[table.architecture == architecture] for table in (runs, comparisons))
        for name in [baseline, *sorted(set(mine.initialisation) - {baseline})]:
            cells = _row(mine[mine.initialisation == name], against, name, baseline)
            rows.append({"architecture": architecture, "initialisation": name, **cells, "measured at": scale})
    told = []
    for measure, title in _MEASURES.items():
        found = comparisons[comparisons.measure == measure]
        told.append(f"{int((found.p_holm < 0.05).sum())} of {int(found.p_holm.notna().sum())} in {title}")
    return Drawn(
        pd.DataFrame(rows),
        f"{dataset}: differences from {baseline} with p < .05 after Holm's correction: {', '.join(told)}. "
        f"{seen(comparisons)}".strip(),
    )


def _row(runs: pd.DataFrame, against: pd.DataFrame, name: str, baseline: str) -> dict[str, str]:
    """Cells of one architecture and initialisation; `against` holds the comparisons of that architecture with the baseline."""
    row = {"seeds": str(runs.seed.nunique())}
    mine = against[against.initialisation == name].set_index("measure")
    pairs = against[against.measure == "epochs_to_target"].sort_values("seeds", kind="stable")
    epochs, censored = "–", 0
    if name == baseline and len(pairs):  # from the comparison that has most of the baseline's seeds
        last = pairs.iloc[-1]
        epochs, censored = f"{last.baseline_value:.1f} (to {100 * last.target:.1f} %)", last.baseline_censored
    elif "epochs_to_target" in mine.index and mine.seeds["epochs_to_target"]:
        epochs, censored = f"{mine.value['epochs_to_target']:.1f}", mine.censored["epochs_to_target"]
    epochs += f", {censored} never" if censored else ""
    values = {"top1": mean_and_spread(runs.top1), "area": mean_and_spread(runs.area), "epochs_to_target": epochs}
    for measure, title in _MEASURES.items():
        unit, factor = ("epochs", 1) if measure == "epochs_to_target" else ("points", 100)
        row[title + (" %" if factor == 100 else "")] = values[measure]
        heading = f"{title} − {baseline}, {unit} [95 %]; Holm p; detectable"
        row[heading] = "–" if name == baseline else compared(mine[mine.index == measure], factor)
    return row


@own_style()
def data_efficiency(
    tables: Tables,
    *,
    datasets: Sequence[str],
    architectures: Sequence[str],
    initialisations: Sequence[str],
    baseline: str,
    note: str = "",
) -> Drawn:
    """Top-1 against the number of train images (top), and paired differences from the baseline with t intervals (bottom).

    `datasets` hold nested parts of the same images. The sentence gives each difference at the fewest and at the most images, and
    the difference of the two, seed by seed: above 0 where the initialisation helps more with few images.
    """
    runs = tables["runs"]
    runs = runs[runs.dataset.isin(datasets) & runs.architecture.isin(architectures)]
    if runs.train_images.nunique() < 2:
        raise EchosError(
            f"data_efficiency: expected runs on at least two numbers of images in {', '.join(datasets)}, found "
            f"{runs.train_images.nunique()}; add data sets with another train_share"
        )
    figure, axes = canvas(
        2, len(architectures), (max(4.2, 2.6 * len(architectures) + 0.6), 4.2), sharex=True, sharey="row"
    )
    others = [name for name in initialisations if name != baseline]
    styles = looks([baseline, *others])
    told = []
    for column, architecture in enumerate(architectures):
        mine = runs[runs.architecture == architecture]
        top, bottom = axes[:, column]
        for place, name in enumerate([baseline, *others]):
            _draw_accuracy(
                top, mine[mine.initialisation == name], name, styles[name], 1 + 0.06 * (place - len(others) / 2)
            )
        bottom.axhline(0, color="#bbbbbb", linewidth=0.8)
        for place, name in enumerate(others):
            pairs = paired(mine, name, baseline)
            _draw_differences(bottom, pairs, styles[name], 1 + 0.08 * (place - (len(others) - 1) / 2))
            told.append(f"{name} on {architecture} {_few_against_many(pairs)}")
        seeds = mine.seed.nunique()
        top.set_title(f"{architecture}, {seeds} seeds" if seeds > 1 else f"{architecture}, one seed: no interval")
        images = sorted(mine.train_images.unique())
        bottom.set(xscale="log", xlabel="train images", xlim=(images[0] / 1.35, images[-1] * 1.35))
        bottom.set_xticks(images, [f"{n:,}" for n in images])
        bottom.minorticks_off()
    axes[0, 0].set_ylabel("test top-1 (%)")
    axes[1, 0].set_ylabel(f"difference from {baseline}\n(points, 95 % interval)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return finished(figure, f"Difference from {baseline}, points: {'; '.join(told)}.", note)


def _draw_accuracy(axis: Axes, runs: pd.DataFrame, name: str, look: tuple[str, str], shift: float) -> None:
    """Draw every seed as an open marker, and the mean as a line; `shift` keeps initialisations apart on the log axis."""
    colour, marker = look
    mean = runs.groupby("train_images").top1.mean()
    axis.plot(
        runs.train_images * shift, 100 * runs.top1, marker, color=colour, markersize=3.5, fillstyle="none", alpha=0.6
    )
    axis.plot(mean.index * shift, 100 * mean, color=colour, marker=marker, markersize=4, linewidth=1, label=name)


def _draw_differences(axis: Axes, pairs: pd.DataFrame, look: tuple[str, str], shift: float) -> None:
    colour, marker = look
    cells = [(n, *mean_interval(cell.difference.to_numpy())) for n, cell in pairs.groupby("train_images")]
    if not cells:
        return
    images, mean, low, high = map(np.asarray, zip(*cells, strict=True))
    bars = 100 * np.vstack([mean - low, high - mean])
    axis.errorbar(images * shift, 100 * mean, bars, fmt=marker, color=colour, capsize=3, markersize=4, linewidth=1)


def _few_against_many(pairs: pd.DataFrame) -> str:
    """Say the difference at the fewest and at the most images, and by how much the first is larger, paired by seed."""
    if not len(pairs):
        return "has no pair"
    by_images = pairs.pivot_table(index="seed", columns="train_images", values="difference")
    few, many = by_images.columns[0], by_images.columns[-1]
    at = [f"{points(*mean_interval(by_images[n].dropna().to_numpy()))} with {n:,} images" for n in (few, many)]
    more = (by_images[few] - by_images[many]).dropna().to_numpy()
    return f"{at[0]}, {at[1]}, {points(*mean_interval(more))} more with few ({len(more)} seed{'s' * (len(more) != 1)})"
