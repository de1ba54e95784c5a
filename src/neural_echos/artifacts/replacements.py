"""A few filters for all kernels: what replacement costs, what it leaves over, what elimination keeps, how many are needed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from neural_echos.artifacts.base import Drawn, finished, own_style
from neural_echos.artifacts.mosaics import colour_bar, draw_kernels
from neural_echos.artifacts.style import canvas
from neural_echos.artifacts.summaries import UNREADABLE
from neural_echos.artifacts.words import mean_and_spread, percent, points
from neural_echos.errors import EchosError
from neural_echos.evaluation import mean_interval, paired

Tables = dict[str, Any]

STAGES = {"replaced": "right after", "batch_norm": "batch norm anew", "fine_tuned": "fine-tuned"}
_LOOKS = (
    *(("#000000", "o"), ("#0072B2", "^"), ("#D55E00", "s"), ("#009E73", "D")),
    *(("#CC79A7", "v"), ("#56B4E9", "P"), ("#E69F00", "X"), ("#999999", "*")),
)
_ACROSS = 8  # survivors in a row


def replacement_accuracy(
    tables: Tables,
    *,
    dataset: str,
    architectures: Sequence[str],
    control: str,
    published: Mapping[str, str],
    scale: str,
) -> Drawn:
    """Top-1 at every stage of a replacement, and its paired difference from the control, whose kernels were kept."""
    table = _of(tables["replacements"], dataset, architectures, "replacement_accuracy")
    rows, told = [], []
    for architecture in architectures:
        mine = table[table.architecture == architecture]
        names = [control, *(name for name in dict.fromkeys(mine.candidates) if name != control)]
        for name in names:
            one = mine[mine.candidates == name]
            row = {"architecture": architecture, "set": name, "filters": _count(one.filters)}
            row |= {"seeds": str(one.seed.nunique()), "trained, top-1 %": mean_and_spread(_at(one, "trained"))}
            for stage, title in STAGES.items():
                row[f"{title}, top-1 %"] = mean_and_spread(_at(one, stage))
                lost = _lost(mine, name, control, stage)
                row[f"{title} − {control}, points [95 %]"] = "–" if name == control else points(*mean_interval(lost))
            rows.append(row | {"published": published.get(name, UNREADABLE), "measured at": scale})
        tuned = {name: mean_interval(_lost(mine, name, control, "fine_tuned")) for name in names[1:]}
        best = max(tuned, key=lambda name: tuned[name][0], default="")
        told += [
            f"{architecture}: best after fine-tuning is {best}, {points(*tuned[best])} points from {control}"
        ] * bool(best)
    return Drawn(
        pd.DataFrame(rows),
        f"{dataset}. {'; '.join(told)} (95 % t interval, paired by seed). The control keeps its kernels and meets the same "
        "batch norm and the same fine-tuning, for a trained model gains by that too.",
    )


@own_style()
def replacement_error_by_layer(tables: Tables, *, dataset: str, architectures: Sequence[str], note: str = "") -> Drawn:
    """Share of each layer's centred kernels that the best a·x + b leaves over, by depth and set; mean over seeds."""
    table = _of(tables["replacement_errors"], dataset, architectures, "replacement_error_by_layer")
    figure, axes = canvas(1, len(architectures), (max(4.2, 2.9 * len(architectures)), 2.7), sharey=True)
    styles = dict(zip(dict.fromkeys(table.candidates), _LOOKS * 8, strict=False))
    told = []
    for axis, architecture in zip(axes[0], architectures, strict=True):
        mine = table[table.architecture == architecture]
        for name, (colour, marker) in styles.items():
            layers = mine[mine.candidates == name].groupby(["layer_index", "depth"]).error.agg(["mean", "min", "max"])
            depth = layers.index.get_level_values("depth")
            axis.fill_between(depth, 100 * layers["min"], 100 * layers["max"], color=colour, alpha=0.12, linewidth=0)
            axis.plot(depth, 100 * layers["mean"], marker=marker, color=colour, markersize=4, linewidth=1, label=name)
        axis.set(title=architecture, xlabel="depth", ylim=(0, 100))
        by_set = mine.groupby("candidates").error.mean().sort_values()
        told.append(f"{architecture}: {', '.join(f'{name} {percent(value)}' for name, value in by_set.items())}")
    axes[0, 0].set_ylabel("left over (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return finished(figure, f"Mean share of the centred kernels' squared norm left over: {'; '.join(told)}.", note)


@own_style()
def elimination_curve(tables: Tables, *, dataset: str, architectures: Sequence[str], note: str = "") -> Drawn:
    """Top-1 against the number of filters left (top; open: all test images), and what survives at the elbow (bottom)."""
    table = _of(tables["eliminations"], dataset, architectures, "elimination_curve")
    figure, axes = canvas(
        2,
        len(architectures),
        (max(4.2, 2.9 * len(architectures)), 3.9),
        gridspec_kw={"height_ratios": [2.4, 1]},
    )
    told = []
    for (top, bottom), architecture in zip(axes.T, architectures, strict=True):
        mine = table[table.architecture == architecture]
        seeds = sorted(mine.seed.unique())
        for (colour, _), seed in zip(_LOOKS * len(seeds), seeds, strict=False):
            _draw_curve(top, mine[mine.seed == seed], colour, f"seed {seed}")
        top.set(title=architecture, xlabel="filters left", ylim=(0, None))
        top.legend(frameon=False)
        kept = survivors(mine[mine.seed == seeds[0]])
        image = draw_kernels(bottom, kept, _ACROSS)
        bottom.set_title(f"the {len(kept)} that survive, seed {seeds[0]}")
        told.append(f"{architecture} {_told_of_curve(mine)}")
    axes[0, 0].set_ylabel("top-1 (%)")
    colour_bar(figure, image, axes[1])
    return finished(figure, f"{'; '.join(told)}.", note)


@own_style()
def accuracy_by_number_of_filters(
    tables: Tables,
    *,
    dataset: str,
    architectures: Sequence[str],
    baseline: str,
    series: Mapping[str, Sequence[Sequence[Any]]],
    published: Mapping[str, str],
    note: str = "",
) -> Drawn:
    """Top-1 of training around n frozen filters, of which a gain and a bias per kernel are learned, against n.

    `series` has for each line its [number, initialisation] pairs; `published` what papers print, by phrase.
    """
    runs = _of(tables["runs"], dataset, architectures, "accuracy_by_number_of_filters")
    figure, axes = canvas(1, len(architectures), (max(4.2, 2.9 * len(architectures)), 2.9), sharey=True)
    told = []
    for axis, architecture in zip(axes[0], architectures, strict=True):
        mine = runs[runs.architecture == architecture]
        whole = mine[mine.initialisation == baseline].top1
        axis.axhline(100 * whole.mean(), color="#bbbbbb", linewidth=1, label=f"{baseline}: every tap learned")
        for place, (name, cells) in enumerate(series.items()):
            colour, marker = _LOOKS[place % len(_LOOKS)]
            shift = 1.07 ** (place - (len(series) - 1) / 2)  # keeps intervals apart on the log axis
            found = [
                (n, *mean_interval(mine[mine.initialisation == cell].top1.dropna().to_numpy())) for n, cell in cells
            ]
            n, mean, low, high = map(np.asarray, zip(*found, strict=True))
            bars = np.nan_to_num(100 * np.vstack([mean - low, high - mean]))
            style = f"{marker}-" if len(cells) > 1 else marker
            axis.errorbar(
                n * shift, 100 * mean, bars, fmt=style, color=colour, capsize=2, markersize=4, linewidth=1, label=name
            )
        numbers = sorted({n for cells in series.values() for n, _ in cells})
        axis.set(title=architecture, xlabel="frozen filters", xscale="log")
        axis.set_xticks(numbers, [str(n) for n in numbers])
        axis.minorticks_off()
        told.append(f"{architecture}: {_against_baseline(mine, series, baseline)}")
    axes[0, 0].set_ylabel("test top-1 (%, 95 % interval)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    printed = "; ".join(f"{name} {value}" for name, value in published.items())
    says = f"Points from {baseline}, paired by seed: {'; '.join(told)}."
    return finished(figure, f"{says} Published: {printed or UNREADABLE}.", note)


def survivors(rows: pd.DataFrame) -> np.ndarray:
    """Filters that survive at the elbow of one run of a table "eliminations", after the exchanges; float, shape (n, k, k)."""
    elbow = int(rows[rows.elbow.astype(bool)].filters.iloc[0])
    later = rows[(rows.phase == "elimination") & (rows.filters < elbow)]
    kept = dict(zip(later.removed.astype(int), later.taps, strict=True))
    exchanged = rows[rows.phase == "exchange"]
    for added, removed, taps in zip(exchanged.added, exchanged.removed, exchanged.taps, strict=True):
        kept[int(added)] = taps
        del kept[int(removed)]
    taps = np.stack([kept[place] for place in sorted(kept)])
    side = round(taps.shape[1] ** 0.5)
    return taps.reshape(-1, side, side)


def _draw_curve(axis: Axes, rows: pd.DataFrame, colour: str, name: str) -> None:
    curve = rows[rows.phase == "elimination"]
    axis.plot(curve.filters, 100 * curve.top1, color=colour, linewidth=1, label=name)
    tested = rows[rows.phase.eq("elimination") & rows.test_top1.notna()]
    axis.plot(tested.filters, 100 * tested.test_top1, "o", color=colour, markersize=4, fillstyle="none")
    elbow = rows[rows.elbow.astype(bool)]
    axis.plot(elbow.filters, 100 * elbow.top1, "v", color=colour, markersize=6)
    last = rows[rows.phase.eq("exchange") & rows.test_top1.notna()]
    axis.plot(last.filters, 100 * last.test_top1, "*", color=colour, markersize=6)
    axis.axhline(100 * rows[rows.phase == "trained"].top1.iloc[0], color=colour, linewidth=0.6, linestyle=":")


def _told_of_curve(rows: pd.DataFrame) -> str:
    """Say where the elbows are, what the exchanges gained, and what the subset says otherwise than all test images."""
    elbows, gained, apart = [], [], []
    for _, one in rows.groupby("seed"):
        curve = one[one.phase == "elimination"]
        elbows.append(int(curve[curve.elbow.astype(bool)].filters.iloc[0]))
        tested = curve[curve.test_top1.notna()]
        apart += (
            ((tested.top1 - tested.top1.iloc[0]) - (tested.test_top1 - tested.test_top1.iloc[0])).abs().tolist()[1:]
        )
        after = one[one.phase.eq("exchange") & one.test_top1.notna()]
        if len(after):
            gained.append(float(after.test_top1.iloc[0] - curve[curve.elbow.astype(bool)].test_top1.iloc[0]))
    size = int(rows[rows.phase == "elimination"].filters.max())
    images, tests = int(rows.images.iloc[0]), int(rows.test_images.iloc[0])
    told = f"keeps {', '.join(map(str, elbows))} of {size} filters at the elbow"
    told += (
        f", exchanges change test top-1 by {_signed(float(np.mean(gained)))} points"
        if gained
        else ", no exchange helps"
    )
    if apart:
        told += (
            f"; a fall on the {images:,} train images differs from that on all {tests:,} test images by "
            f"{100 * np.mean(apart):.1f} points on average, {100 * np.max(apart):.1f} at most"
        )
    return told


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _against_baseline(runs: pd.DataFrame, series: Mapping[str, Sequence[Sequence[Any]]], baseline: str) -> str:
    told = []
    for name, cells in series.items():
        found = [
            f"{n}: {points(*mean_interval(paired(runs, cell, baseline).difference.to_numpy()))}" for n, cell in cells
        ]
        told.append(f"{name} {', '.join(found)}")
    return "; ".join(told)


def _lost(table: pd.DataFrame, name: str, control: str, stage: str) -> np.ndarray:
    """Differences in top-1 between a set and the control at one stage, seed by seed; a run that diverged is left out."""
    known = table[table.stage == stage].pivot_table(index="seed", columns="candidates", values="top1", dropna=False)
    if not {name, control} <= set(known):
        return np.empty(0)
    return np.asarray((known[name] - known[control]).dropna().to_numpy())


def _at(table: pd.DataFrame, stage: str) -> pd.Series:
    return table[table.stage == stage].top1


def _count(filters: pd.Series) -> str:
    return "–" if filters.isna().all() else str(int(filters.iloc[0]))


def _of(table: pd.DataFrame, dataset: str, architectures: Sequence[str], artifact: str) -> pd.DataFrame:
    mine = table[(table.dataset == dataset) & table.architecture.isin(architectures)]
    if set(mine.architecture) != set(architectures):
        found = ", ".join(sorted(set(mine.architecture))) or "none"
        raise EchosError(
            f"{artifact}: expected rows of {', '.join(architectures)} on {dataset}, found {found}; "
            "name these runs in the config"
        )
    return mine
