"""The artifacts of patterns by autoencoder: shares with their controls, their thresholds, what was found, and where.

Paper: "Unveiling the Unseen" (arXiv 2401.14469). What it prints is an option, `published`; what could not be read says so.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from neural_echos import receptive_fields
from neural_echos.artifacts.base import Drawn, finished, own_style
from neural_echos.artifacts.mosaics import colour_bar, draw_kernels
from neural_echos.artifacts.style import canvas
from neural_echos.artifacts.summaries import UNREADABLE
from neural_echos.artifacts.words import percent
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import OTHER, PATTERNS
from neural_echos.tables import kernels_of

Tables = dict[str, Any]
_COLOURS = {  # Okabe and Ito's; a centre has the colour that it has elsewhere, its square a lighter one of the same kind
    "on-centre": "#D55E00",
    "off-centre": "#0072B2",
    "on-square": "#E69F00",
    "off-square": "#56B4E9",
    "off-centre cross": "#009E73",
    "first derivative": "#CC79A7",
    "second derivative": "#F0E442",
    OTHER: "#999999",
}
_BY = {"cluster": "by cluster", "kernel": "by kernel"}
_SHOWN = 9  # kernels of a cluster


def pattern_shares(tables: Tables, *, published: Sequence[Mapping[str, str]] = (), note: str = "") -> Drawn:
    """Share of every bank's kernels with a named pattern, beside shuffled taps and the untrained control of the same size.

    `published` are the paper's shares: {models: pattern of their names, share: text}.
    """
    shares = _whole_banks(tables["pattern_shares"])
    order = shares.assign(last=shares.role == "untrained").sort_values(["kind", "last", "kernel_size", "model"])
    rows = []
    for one in _records(order[~order.shuffled & (order.by == "cluster")]):
        row = {
            "bank": one.model,
            "trained on": one.trained_on,
            "kind": one.kind,
            "kernel": f"{one.kernel_size}×{one.kernel_size}",
            "kernels": str(one.kernels),
            "layers": str(one.layers),
        }
        same = order[(order.model == one.model) & (order.kind == one.kind) & (order.kernel_size == one.kernel_size)]
        for by, said in _BY.items():
            found, null = (
                _records(same[(same.by == by) & (same.shuffled == shuffled)])[0] for shuffled in (False, True)
            )
            row[f"{said} [95 %]"] = f"{percent(found.share)} [{percent(found.low)}, {percent(found.high)}]"
            if by == "cluster":
                row["by cluster: trainings"] = f"{percent(min(found.by_training))} to {percent(max(found.by_training))}"
            row[f"{said}: shuffled taps"] = percent(null.share)
            row[f"{said}: control"] = "–" if one.role == "untrained" else percent(_control(shares, one.kernel_size, by))
        theirs = [entry["share"] for entry in published if fnmatchcase(one.model, entry["models"])]
        row["published, by cluster"] = "–" if one.role == "untrained" else (theirs or [UNREADABLE])[0]
        rows.append(row)
    return Drawn(pd.DataFrame(rows), f"{_told(shares)} {note}".strip())


@own_style()
def pattern_threshold_curves(tables: Tables, *, note: str = "") -> Drawn:
    """Share with a named pattern against the threshold, per kernel size: every trained bank, shuffled taps, the control."""
    shares = tables["pattern_shares"]
    shares = shares[(shares.kind == "depthwise") & shares.layer.isna() & shares.role.isin(["trained", "untrained"])]
    sizes = sorted(shares[shares.role == "trained"].kernel_size.unique())
    if not sizes:
        raise EchosError("pattern_threshold_curves: expected trained banks with patterns, found none; choose others")
    models = sorted(shares[shares.role == "trained"].model.unique())
    colours = dict(zip(models, mpl.colormaps["viridis"](np.linspace(0, 0.9, len(models))), strict=True))
    figure, axes = canvas(2, len(sizes), (7.2, 4.6), sharex=True, sharey=True)
    for row, by in zip(axes, _BY, strict=True):
        for axis, size in zip(row, sizes, strict=True):
            _draw_curves(axis, shares[(shares.by == by) & (shares.kernel_size == size)], colours)
            axis.axvline(shares[shares.declared].threshold.iloc[0], color="black", linewidth=0.6)
            axis.set(xlim=(0, 1), ylim=(-0.02, 1.02))
        row[0].set_ylabel(f"share named,\n{_BY[by]}")
    for axis, size in zip(axes[0], sizes, strict=True):
        axis.set_title(f"{size}×{size}")
    for axis in axes[1]:
        axis.set_xlabel("least cosine with a template")
    named = {label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    labels = [*models, *(label for label in named if label not in models)]
    figure.legend([named[label] for label in labels], labels, loc="outside upper center", ncols=4, frameon=False)
    return finished(figure, f"The thin line marks the declared threshold. {_told(_whole_banks(shares))}", note)


@own_style()
def pattern_gallery(
    tables: Tables, *, models: Sequence[str], size: int | None = None, seed: int = 0, note: str = ""
) -> Drawn:
    """Templates; per model the first training's decoded centroids with name and share, and random kernels; by default the largest.

    Clusters stand in the order of their codes.
    """
    centroids = tables["pattern_centroids"]
    centroids = centroids[(centroids.kind == "depthwise") & centroids.model.isin(models)]
    size = size or int(centroids.kernel_height.max() if len(centroids) else 0)
    centroids = centroids[centroids.kernel_height == size]
    shown = [model for model in models if (centroids.model == model).any()]
    if not shown:
        raise EchosError(
            f"pattern_gallery: expected clusters of size {size or 3} in {', '.join(models)}, found none; choose other models"
        )
    columns = int(centroids.groupby("model").size().max())
    figure, _ = canvas(1, 1, (7.2, 1.35 + 1.75 * len(shown)))
    figure.clear()
    parts: Any = figure.subfigures(1 + len(shown), 1, height_ratios=[1.2, *[1.75] * len(shown)])
    image = _draw_templates(parts[0], size)
    told = []
    for part, model in zip(parts[1:], shown, strict=True):
        mine = centroids[centroids.model == model].sort_values("code")
        members = tables["patterns"]
        members = members[(members.model == model) & (members.kind == "depthwise") & (members.kernel_height == size)]
        _draw_clusters(part, mine, members, tables["bank"][model], columns, seed)
        part.suptitle(f"{model}, {size}×{size}: decoded centroids, and random kernels of each cluster", fontsize=8)
        counts = mine.groupby("pattern")["count"].sum().sort_values(ascending=False) / mine["count"].sum()
        told.append(f"{model}: {', '.join(f'{name} {percent(share)}' for name, share in counts.items())}")
    colour_bar(figure, image, parts[0].axes, length=0.9)
    return finished(figure, f"Share of kernels by the pattern of their cluster. {'; '.join(told)}.", note)


@own_style()
def pattern_shares_by_depth(tables: Tables, *, models: Sequence[str], note: str = "") -> Drawn:
    """Per layer, the first training's shares of patterns by cluster, stacked; by kernel (dots), with shuffled taps (crosses)."""
    patterns = tables["patterns"][tables["patterns"].kind == "depthwise"]
    present = [model for model in models if (patterns.model == model).any()]
    if not present:
        raise EchosError(
            f"pattern_shares_by_depth: expected patterns of {', '.join(models)}, found none; choose other models"
        )
    shares = tables["pattern_shares"]
    layers = shares[shares.layer.notna() & (shares.kind == "depthwise") & (shares.by == "kernel")]
    columns = min(3, len(present))
    rows = -(-len(present) // columns)
    figure, axes = canvas(rows, columns, (7.2, 1.8 * rows + 0.5), sharey=True)
    for axis in axes.flat[len(present) :]:
        axis.set_axis_off()
    for axis, model in zip(axes.flat, present, strict=False):
        _draw_layers(axis, patterns[patterns.model == model], layers[layers.model == model])
        axis.set_title(model)
    for axis in axes[:, 0]:
        axis.set_ylabel("share of kernels")
    for axis in axes.flat[max(0, len(present) - columns) : len(present)]:
        axis.set_xlabel("depthwise layer")
    marks, labels = axes[0, 0].get_legend_handles_labels()  # lines, then bars
    figure.legend(marks[2:] + marks[:2], labels[2:] + labels[:2], loc="outside upper center", ncols=5, frameon=False)
    own = layers[layers.model.isin(present) & ~layers.shuffled.astype(bool)]
    trained = own[own.role != "untrained"]
    told = trained if len(trained) else own
    least = told.loc[told.share.idxmin()]
    return finished(
        figure,
        f"By kernel, {percent(told.share.min())} to {percent(told.share.max())} (median {percent(told.share.median())}) of a "
        f"layer's kernels have a named pattern, over {len(told)} layers of {told.model.nunique()} "
        f"{'trained ' if len(trained) else ''}models; the least in layer {int(least.layer_index)} of {least.model}.",
        note,
    )


def _whole_banks(shares: pd.DataFrame) -> pd.DataFrame:
    """Rows of whole banks at the declared threshold."""
    return shares[shares.declared.astype(bool) & shares.layer.isna()].astype({"shuffled": bool})


def _records(rows: pd.DataFrame) -> list[Any]:
    return list(rows.itertuples())


def _control(shares: pd.DataFrame, size: int, by: str) -> float:
    """Largest share of an untrained bank of that size; NaN where there is none."""
    rows = shares[(shares.role == "untrained") & (shares.kernel_size == size) & (shares.by == by) & ~shares.shuffled]
    return float(rows.share.max())


def _told(shares: pd.DataFrame) -> str:
    """Least and greatest share over trained banks, by kernel size, with what shuffled taps and the control have."""
    parts = []
    shares = shares[shares.kind == "depthwise"]
    trained = shares[shares.role == "trained"]
    for size in sorted(trained.kernel_size.unique()):
        mine = trained[trained.kernel_size == size]
        for by, said in _BY.items():
            found, null = (mine[(mine.by == by) & (mine.shuffled == shuffled)].share for shuffled in (False, True))
            control = _control(shares, size, by)
            parts.append(
                f"{size}×{size} {said} {percent(found.min())} to {percent(found.max())} "
                f"(shuffled taps up to {percent(null.max())}, control {percent(control)})"
            )
    threshold = f"{shares[shares.declared].threshold.iloc[0]:g}" if len(shares) else "–"
    return f"Share with a named pattern at a least cosine of {threshold}, over trained banks: {'; '.join(parts) or 'none at hand'}."


def _draw_curves(axis: Axes, shares: pd.DataFrame, colours: Mapping[Any, Any]) -> None:
    for (model, role, shuffled), one in shares.groupby(["model", "role", "shuffled"]):
        line = one.sort_values("threshold")
        looks: dict[str, Any] = {"color": colours.get(model), "linewidth": 1.2, "label": model}
        if role == "untrained":
            looks = {"color": "black", "linestyle": "--", "linewidth": 1.2, "label": "random weights"}
        if shuffled:
            looks |= {"color": "#999999", "linestyle": ":", "linewidth": 0.9, "label": "shuffled taps, each bank"}
        axis.plot(line.threshold, line.share, **looks)


def _draw_templates(part: Any, size: int) -> Any:
    """Draw up to twelve templates of every pattern, evenly spaced among its own."""
    names, kernels = receptive_fields.templates(size)
    axes = part.subplots(1, len(PATTERNS))
    part.suptitle(f"templates, {size}×{size}", fontsize=8)
    for axis, name in zip(axes, PATTERNS, strict=True):
        mine = kernels[names == name]
        axis.set_axis_off()
        axis.set_anchor("N")
        if len(mine):
            chosen = np.unique(np.linspace(0, len(mine) - 1, 12).round().astype(int))
            image = draw_kernels(axis, mine[chosen], 4)
        axis.set_title(f"{name}\n({len(mine)})", fontsize=7)
    return image


def _draw_clusters(
    part: Any, centroids: pd.DataFrame, members: pd.DataFrame, bank: Any, columns: int, seed: int
) -> None:
    """Draw a column for each cluster: its decoded centroid, with name, share and cosine, above random kernels of it."""
    axes = part.subplots(2, columns, height_ratios=[1, 1.1])
    for axis in axes.flat:
        axis.set_axis_off()
    random = np.random.default_rng(seed)
    total = centroids["count"].sum()
    for (above, below), one in zip(axes.T, _records(centroids), strict=False):
        draw_kernels(above, np.asarray(one.taps).reshape(1, one.kernel_height, one.kernel_width), 1)
        name = one.pattern.replace(" ", "\n", 1) if " " in one.pattern else f"\n{one.pattern}"
        above.set_title(
            f"{name}\n{percent(one.count / total, 0)}, {one.cosine:.2f}",
            fontsize=5.5,
            color="black" if one.pattern != OTHER else "#777777",
        )
        rows = np.sort(members[members.cluster == one.cluster].row.to_numpy())
        rows = np.sort(random.choice(rows, min(_SHOWN, len(rows)), replace=False))
        draw_kernels(below, kernels_of(bank.take(rows), one.kernel_height, one.kernel_width)[1], 3)


def _draw_layers(axis: Axes, patterns: pd.DataFrame, layers: pd.DataFrame) -> None:
    counts = patterns.groupby(["layer_index", "cluster_pattern"]).size().unstack(fill_value=0)
    stacked = counts.div(counts.sum(axis=1), axis=0).reindex(columns=list(_COLOURS), fill_value=0.0)
    bottom = np.zeros(len(stacked))
    for name, colour in _COLOURS.items():
        axis.bar(stacked.index, stacked[name], 0.9, bottom=bottom, color=colour, edgecolor="white", lw=0.2, label=name)
        bottom += stacked[name].to_numpy()
    for shuffled, marker, label in ((False, "o", "any, by kernel"), (True, "x", "any, shuffled taps")):
        mine = layers[layers.shuffled == shuffled]
        axis.plot(mine.layer_index, mine.share, marker, color="black", markersize=3, label=label)
    axis.set_ylim(0, 1)
    axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
