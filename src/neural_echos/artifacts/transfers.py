"""What frozen filters that travel are worth: from data set to data set, by depth, by size of the source, and layer by layer.

Paper: Babaiee, Kiasari, Rus, Grosu, "The Master Key Filters Hypothesis", AAAI 2025 (arXiv 2412.16751); none of its numbers could be
read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neural_echos.artifacts.base import Drawn, finished, looks, own_style
from neural_echos.artifacts.style import canvas
from neural_echos.artifacts.summaries import UNREADABLE
from neural_echos.artifacts.words import compared, mean_and_spread, points, seen
from neural_echos.errors import EchosError
from neural_echos.evaluation import mean_interval, paired

Tables = dict[str, Any]
Variants = Mapping[str, Mapping[str, Any]]
_TAKEN = {"kept": "transferred", "shuffled": "transferred, shuffled", "own": "random"}


def transfer_matrix(
    tables: Tables,
    *,
    datasets: Sequence[str],
    architectures: Sequence[str],
    baseline: str,
    variants: Variants,
    scale: str,
) -> Drawn:
    """Frozen kernels of data set and architecture A on data set and architecture B, against training from scratch.

    `variants` maps an initialisation's name to what the config declares of it and of its source (`trained_on`, `of`).
    """
    runs = tables["runs"]
    against = tables["comparisons"]
    against = against[(against.baseline == baseline) & (against.measure == "top1")]
    rows = []
    for place in [(dataset, architecture) for dataset in datasets for architecture in architectures]:
        mine, compare = (
            table[(table.dataset == place[0]) & (table.architecture == place[1])] for table in (runs, against)
        )
        for name in [name for name in variants if name in set(mine.initialisation)]:
            of = mine[mine.initialisation == name]
            rows.append(
                {
                    "to data set": place[0],
                    "architecture": place[1],
                    "initialisation": name,
                    "depthwise kernels": condition(variants[name]),
                    "from data set": variants[name].get("trained_on", "–"),
                    "from architecture": variants[name].get("of", "–"),
                    "seeds": str(of.seed.nunique()),
                    "top-1 %": mean_and_spread(of.top1),
                    f"− {baseline}, points [95 %]; Holm p; detectable": compared(
                        compare[compare.initialisation == name]
                    )
                    if name != baseline
                    else "–",
                    "published": UNREADABLE,
                    "measured at": scale,
                }
            )
    told = [
        _told_of(runs, [row for row in rows if row["depthwise kernels"] == kind], baseline, kind)
        for kind in _kinds(rows)
    ]
    return Drawn(
        pd.DataFrame(rows),
        f"Frozen kernels against training from scratch, points, mean over seeds: {'; '.join(told)}. {seen(against)}".strip(),
    )


def _kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [kind for kind in dict.fromkeys(row["depthwise kernels"] for row in rows) if kind != "trained"]


def _told_of(runs: pd.DataFrame, rows: Sequence[Mapping[str, Any]], baseline: str, kind: str) -> str:
    """Say the least and the greatest mean difference from the baseline; one's own data set counts apart."""
    own = [row for row in rows if row["from data set"] == row["to data set"]]
    told = []
    for some, of in ((own, "of the same data set"), ([row for row in rows if row not in own], "")):
        found = [
            paired(
                runs[(runs.dataset == row["to data set"]) & (runs.architecture == row["architecture"])],
                row["initialisation"],
                baseline,
            ).difference.mean()
            for row in some
        ]
        if found:
            spread = f"{100 * min(found):+.1f} to {100 * max(found):+.1f}".replace("-", "−")
            told.append(f"{kind}{f' {of}' if of else ''} {spread} ({len(found)})")
    return "; ".join(told)


def condition(declared: Mapping[str, Any]) -> str:
    """Name what an initialisation freezes: "trained" (nothing), "random", "transferred", "transferred, shuffled", or its scheme."""
    if declared["scheme"] == "default":
        return "random" if declared.get("frozen") else "trained"
    if declared["scheme"] == "transfer":
        return _TAKEN[declared.get("taps", "kept")]
    if declared["scheme"] == "pointwise":
        return _TAKEN[declared.get("rows", "kept")]
    return str(declared["scheme"]).replace("dog", "DoG")


def frozen_by_depth(
    tables: Tables, *, dataset: str, architecture: str, baseline: str, variants: Variants, note: str = ""
) -> Drawn:
    """Top-1 against the relative depth up to which kernels are frozen, transferred or controls, and differences from scratch."""
    runs = _runs_of(tables, dataset, architecture)
    curves: dict[str, dict[float, str]] = {}
    for name, declared in variants.items():
        curves.setdefault(condition(declared), {})[float(declared.get("depths", [0, 1])[1])] = name
    figure, told = _curves(runs, curves, baseline)
    depths = sorted({depth for curve in curves.values() for depth in curve})
    axis = figure.axes[1]
    axis.set_xticks(depths, [f"{depth:.2g}" for depth in depths])
    axis.set_xlabel("frozen up to relative depth")
    sources = ", ".join(dict.fromkeys(str(d["trained_on"]) for d in variants.values() if "trained_on" in d))
    figure.axes[0].set_title(f"{architecture}, {sources} → {dataset}, {runs.seed.nunique()} seeds")
    says = f"{architecture}, {sources} → {dataset}, all layers frozen − {baseline}, points: {'; '.join(told)}."
    return finished(figure, says, note)


def source_size(
    tables: Tables,
    *,
    dataset: str,
    architecture: str,
    baseline: str,
    control: str,
    variants: Variants,
    note: str = "",
) -> Drawn:
    """Top-1 with frozen kernels of sources of several sizes, against their train images; `control` is drawn as a line."""
    runs = _runs_of(tables, dataset, architecture)
    sizes = tables["runs"].groupby("dataset").train_images.first()
    curve = {float(sizes[declared["trained_on"]]): name for name, declared in variants.items()}
    if len(curve) < 2:
        raise EchosError(
            f"source_size: expected sources of at least two sizes, found {len(curve)}; add sources with fewer images"
        )
    figure, told = _curves(runs, {"transferred": curve}, baseline, control)
    top, bottom = figure.axes
    bottom.set(xscale="log", xlabel="train images of the source", xlim=(min(curve) / 1.35, max(curve) * 1.35))
    bottom.set_xticks(sorted(curve), [f"{images:,.0f}" for images in sorted(curve)])
    bottom.minorticks_off()
    top.set_title(f"{architecture} on {dataset}, {runs.seed.nunique()} seeds")
    few, many = (paired(runs, curve[size], baseline).set_index("seed").difference for size in (min(curve), max(curve)))
    more = points(*mean_interval((many - few).dropna().to_numpy()))
    return finished(
        figure,
        f"{architecture} on {dataset}, kernels of the largest source − {baseline}, points: {'; '.join(told)}; the largest "
        f"source is {more} points better than the smallest.",
        note,
    )


@own_style()
def pointwise_against_depthwise(
    tables: Tables, *, dataset: str, architecture: str, baseline: str, variants: Variants, note: str = ""
) -> Drawn:
    """Differences from scratch with frozen depthwise kernels and with frozen pointwise weights, side by side."""
    runs = _runs_of(tables, dataset, architecture)
    parts = {"depthwise kernels frozen": False, "pointwise weights frozen": True}
    conditions = list(dict.fromkeys(condition(declared) for declared in variants.values()))
    figure, axes = canvas(1, 1, (4.6, 2.8))
    axis = axes[0, 0]
    axis.axhline(0, color="#bbbbbb", linewidth=0.8)
    told = []
    for place, (part, pointwise) in enumerate(parts.items()):
        mine = {condition(d): name for name, d in variants.items() if (d["scheme"] == "pointwise") == pointwise}
        pairs = {conditions.index(kind): paired(runs, name, baseline) for kind, name in mine.items()}
        _draw_pairs(axis, {x + 0.16 * (place - 0.5): one for x, one in pairs.items()}, looks(list(parts))[part], part)
        told += [
            f"{part}, {conditions[x]}: {points(*mean_interval(one.difference.to_numpy()))}" for x, one in pairs.items()
        ]
    axis.set_xticks(range(len(conditions)), conditions)
    axis.set(xlim=(-0.5, len(conditions) - 0.5), ylabel=f"top-1 − {baseline}\n(points, 95 % interval)")
    axis.set_title(f"{architecture} on {dataset}, {runs.seed.nunique()} seeds")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return finished(figure, f"{architecture} on {dataset}, top-1 − {baseline}, points: {'; '.join(told)}.", note)


@own_style()
def zeroed_layers(
    tables: Tables, *, dataset: str, architecture: str, initialisations: Sequence[str], note: str = ""
) -> Drawn:
    """Top-1 lost when the kernels of one depthwise layer are set to 0, against the layer's depth."""
    table = tables["ablated"]
    table = table[(table.dataset == dataset) & (table.architecture == architecture)]
    figure, axes = canvas(1, 1, (4.6, 2.8))
    axis = axes[0, 0]
    styles, told = looks(list(initialisations)), []
    gap = 0.3 / max(table.layer.nunique(), 1) / max(len(initialisations), 1)
    for place, name in enumerate(initialisations):
        mine = table[table.initialisation == name]
        lost = mine.assign(difference=mine.intact_top1 - mine.top1)
        if not len(lost):
            continue
        shift = gap * (place - (len(initialisations) - 1) / 2)
        _draw_pairs(
            axis,
            {depth + shift: lost[lost.depth == depth] for depth in lost.depth.unique()},
            styles[name],
            name,
            line=True,
        )
        means = lost.groupby("layer", sort=False).difference.mean()
        told.append(
            f"{name} most in {means.idxmax()} ({100 * means.max():.1f}), least in {means.idxmin()} ({100 * means.min():.1f})"
        )
    axis.axhline(0, color="#bbbbbb", linewidth=0.8)
    axis.set(xlabel="relative depth of the zeroed layer", ylabel="top-1 lost (points, 95 % interval)")
    axis.set_title(f"{architecture} on {dataset}, {table.seed.nunique()} seeds")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return finished(
        figure,
        f"Points of top-1 lost with one layer zeroed, mean over seeds: {'; '.join(told)}.".replace("(-", "(−"),
        note,
    )


def _runs_of(tables: Tables, dataset: str, architecture: str) -> pd.DataFrame:
    runs = tables["runs"]
    return runs[(runs.dataset == dataset) & (runs.architecture == architecture)]


@own_style()
def _curves(
    runs: pd.DataFrame, curves: Mapping[str, Mapping[float, str]], baseline: str, control: str = ""
) -> tuple[Figure, list[str]]:
    """Draw accuracy (top) and differences from the baseline (bottom) of initialisations placed on an axis; and the last of each."""
    figure, axes = canvas(2, 1, (4.6, 4.4), sharex=True)
    top, bottom = axes[:, 0]
    for name, style in ((baseline, "-"), (control, "--")):
        found = runs[runs.initialisation == name].top1.dropna()
        if len(found):
            top.axhline(100 * found.mean(), color="#000000", linestyle=style, linewidth=0.9, label=f"{name} (mean)")
            if style == "-":
                top.axhspan(100 * found.min(), 100 * found.max(), color="#000000", alpha=0.08, linewidth=0)
    bottom.axhline(0, color="#bbbbbb", linewidth=0.8)
    styles, told = looks(list(curves)), []
    places = sorted({x for curve in curves.values() for x in curve})
    gap = 0.07 * min(np.diff(places)) if len(places) > 1 else 0.0
    for number, (label, curve) in enumerate(curves.items()):
        shift = gap * (number - (len(curves) - 1) / 2)
        of = {x: runs[runs.initialisation == name] for x, name in sorted(curve.items())}
        colour, marker = styles[label]
        for x, one in of.items():
            top.plot(
                [x + shift] * len(one),
                100 * one.top1,
                marker,
                color=colour,
                markersize=3.5,
                fillstyle="none",
                alpha=0.6,
            )
        means = [100 * one.top1.mean() for one in of.values()]
        top.plot([x + shift for x in of], means, color=colour, marker=marker, markersize=4, linewidth=1, label=label)
        pairs = {x: paired(runs, name, baseline) for x, name in sorted(curve.items())}
        _draw_pairs(bottom, {x + shift: one for x, one in pairs.items()}, styles[label], "", seeds=False)
        told.append(f"{label} {points(*mean_interval(pairs[max(pairs)].difference.to_numpy()))}")
    top.set_ylabel("test top-1 (%)")
    bottom.set_ylabel(f"difference from {baseline}\n(points, 95 % interval)")
    figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure, told


def _draw_pairs(
    axis: Axes,
    pairs: Mapping[float, pd.DataFrame],
    look: tuple[str, str],
    label: str,
    *,
    seeds: bool = True,
    line: bool = False,
) -> None:
    """Draw the mean difference and its t interval at each place, and every seed as an open marker, in points."""
    colour, marker = look
    cells = [(x, *mean_interval(one.difference.to_numpy())) for x, one in pairs.items() if len(one)]
    if not cells:
        return
    x, mean, low, high = map(np.asarray, zip(*cells, strict=True))
    bars = 100 * np.vstack([mean - low, high - mean])
    kind = f"{marker}-" if line else marker
    axis.errorbar(
        x, 100 * mean, bars, fmt=kind, color=colour, capsize=3, markersize=4, linewidth=1, label=label or None
    )
    for place, one in pairs.items() if seeds else ():
        axis.plot(
            [place] * len(one), 100 * one.difference, marker, color=colour, markersize=3.5, fillstyle="none", alpha=0.6
        )
