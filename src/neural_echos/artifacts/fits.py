"""Artifacts of the fits at scale: how much receptive-field models explain, and how their parameters are distributed."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from neural_echos.artifacts.base import COLOURS, Drawn, finished, own_style
from neural_echos.artifacts.style import canvas
from neural_echos.artifacts.words import percent
from neural_echos.errors import EchosError
from neural_echos.structure.intervals import wilson_interval

Tables = dict[str, Any]
_SIZES = {3: "#56B4E9", 5: "#009E73", 7: "#0072B2", 9: "#D55E00", 11: "#CC79A7"}
_BINS = 5  # of depth
_THIRDS = {"first third of the depth": "#56B4E9", "second": "#009E73", "last": "#D55E00"}


def explained_variance_table(tables: Tables, *, note: str = "") -> Drawn:
    """How much of its kernels' variance each receptive-field model explains, per bank, beside shuffled taps."""
    explained = tables["explained"].sort_values(["role", "kind", "model", "kernel_height", "kernel_width"])
    rows = [
        {
            "bank": row.model,
            "role": row.role,
            "kind": row.kind,
            "kernel": f"{row.kernel_height}×{row.kernel_width}",
            "kernels": f"{row.kernels:,}",
            "best of four [95 %]": f"{percent(row.explained)} [{percent(row.low)}, {percent(row.high)}]",
            "shuffled taps": percent(row.null_explained),
            "DoG": percent(row.dog),
            "shuffled, DoG": percent(row.null_dog),
            "Gaussian": percent(row.gaussian),
            "1st derivative": percent(row.gaussian_derivative_1),
            "2nd derivative": percent(row.gaussian_derivative_2),
            "best is DoG / G / 1st / 2nd": " / ".join(
                percent(share, 0)
                for share in (
                    row.best_dog,
                    row.best_gaussian,
                    row.best_gaussian_derivative_1,
                    row.best_gaussian_derivative_2,
                )
            ),
            "median offset, taps": f"{row.offset:.2f}" if np.isfinite(row.offset) else "–",
        }
        for row in explained.itertuples()
    ]
    large = explained[(explained.kind == "depthwise") & (explained.kernel_height >= 5)]
    gain = (large.explained - large.null_explained).dropna()  # a size may have no row that was shuffled
    trained, control = gain[large.role == "trained"], gain[large.role == "untrained"]
    return Drawn(
        pd.DataFrame(rows),
        "Explained variance above that of the same kernels with shuffled taps, depthwise kernels of 5×5 and more: trained banks "
        f"{_span(trained)}, untrained control {_span(control)} (percentage points). A Gaussian that may sit anywhere and take any "
        f"shape explains much of any small kernel, so the shares mean something only beside the shuffled ones. {note}".strip(),
    )


@own_style()
def fit_distributions(
    tables: Tables, *, models: Sequence[str], control: str, threshold: float = 0.7, note: str = ""
) -> Drawn:
    """How γ, the sign of centres, offsets and explained variance are distributed, over kernel size and depth.

    `models` are the banks shown; `control`, one of them, is the untrained one.
    """
    fits, matches = (
        table[table.model.isin(models) & (table.kind == "depthwise")] for table in (tables["fits"], tables["matches"])
    )
    figure, axes = canvas(2, 2, (7.2, 5.0))
    centres = fits[fits.cosine >= threshold]
    _gammas(axes[0, 0], centres[centres.model != control])
    _signs(axes[0, 1], centres[centres.model != control])
    _offsets(axes[1, 0], matches[matches.best != "dog"], control)
    _explained_by_depth(axes[1, 1], matches, control)
    trained, untrained = centres[centres.model != control], fits[fits.model == control]
    return finished(
        figure,
        f"{len(trained):,} of {len(fits) - len(untrained):,} trained depthwise kernels have a centre (cosine with the best DoG of "
        f"at least {threshold:g}); median γ {trained.gamma.median():.2f}, {percent((trained.sign > 0).mean())} of them excitatory; "
        f"of the control's {len(untrained):,} kernels {percent((untrained.cosine >= threshold).mean())} have one.",
        note,
    )


@own_style()
def fit_distributions_by_family(
    tables: Tables, *, families: Mapping[str, str], threshold: float = 0.7, least: int = 20, note: str = ""
) -> Drawn:
    """How γ, the sign of centres and offsets are distributed, by family, kernel size and third of the depth.

    `families` gives each family's models by a pattern of their names, such as "mobilenet*"; `least` is the number of kernels
    below which nothing is shown of them.
    """
    fits, matches = (_with_families(tables[name], families) for name in ("fits", "matches"))
    if not len(fits):
        raise EchosError(
            f"fit_distributions_by_family: expected fits of {', '.join(families.values())}, found none; choose other families"
        )
    centres = fits[fits.cosine >= threshold]
    moved = matches[matches.best != "dog"]
    figure, axes = canvas(3, 1, (7.2, 6.4), sharex=True)
    shown = (
        (axes[0, 0], centres, centres.gamma, "centre-to-surround ratio γ"),
        (axes[1, 0], centres, (centres.sign > 0).astype(float), "share excitatory"),
        (axes[2, 0], moved, pd.Series(np.hypot(moved.offset_x, moved.offset_y)), "offset from the middle, taps"),
    )
    columns = fits.groupby(["place", "family", "kernel_height"]).size().index
    for axis, kernels, values, label in shown:
        _by_third(axis, kernels, values, columns, least)
        axis.set(ylabel=label)
    axes[1, 0].axhline(0.5, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes[1, 0].set_ylim(0, 1)
    axes[2, 0].set_xticks(
        range(len(columns)), [f"{family}\n{size}×{size}".replace(" ", "\n") for _, family, size in columns]
    )
    axes[2, 0].tick_params("x", labelsize=6.5)
    axes[2, 0].set_xlim(-0.6, len(columns) - 0.4)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    told = [
        f"{family} γ {mine.gamma.median():.2f}, {percent((mine.sign > 0).mean(), 0)} excitatory ({len(mine):,} centres)"
        for (_, family), mine in centres.groupby(["place", "family"])
        if len(mine) >= least
    ]
    return finished(figure, f"Medians over all sizes and depths: {'; '.join(told) or 'too few centres'}.", note)


def _with_families(table: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """Depthwise kernels of the families: adds `family`, its `place` in their order, and `third` of the depth, 0 to 2."""
    names = list(families)
    family = {
        model: next((name for name in names if fnmatchcase(model, families[name])), None)
        for model in table.model.unique()
    }
    mine = table[(table.kind == "depthwise") & table.model.map(family).notna()]
    third = (mine.depth * len(_THIRDS)).astype(int).clip(upper=len(_THIRDS) - 1)
    of = mine.model.map(family)
    return mine.assign(family=of, place=of.map(names.index), third=third)


def _by_third(axis: Axes, kernels: pd.DataFrame, values: pd.Series, columns: pd.Index, least: int) -> None:
    """Draw, for each family and size, the mean of a share, or median, quartiles and deciles, in each third of the depth."""
    share = values.isin([0.0, 1.0]).all()
    for third, (name, colour) in enumerate(_THIRDS.items()):
        grouped = values[kernels.third == third].groupby([kernels.place, kernels.family, kernels.kernel_height])
        quantiles = {level: grouped.quantile(level) for level in (0.1, 0.25, 0.5, 0.75, 0.9)}
        found = pd.DataFrame({"size": grouped.size(), "mean": grouped.mean()} | quantiles)
        found = found.reindex(columns)
        at = np.arange(len(columns)) + (third - 1) * 0.22
        seen = (found["size"] >= least).to_numpy()
        mine, at = found[seen], at[seen]
        if share:
            low, high = wilson_interval(mine["mean"].to_numpy(), mine["size"].to_numpy())
            axis.vlines(at, low, high, color=colour, linewidth=1)
        else:
            axis.vlines(at, mine[0.1], mine[0.9], color=colour, linewidth=1)
            axis.vlines(at, mine[0.25], mine[0.75], color=colour, linewidth=4, alpha=0.5)
        axis.plot(at, mine["mean" if share else 0.5], "o", color=colour, markersize=4, label=name)


def _gammas(axis: Axes, centres: pd.DataFrame) -> None:
    for size, mine in centres.groupby("kernel_height"):
        axis.hist(
            mine.gamma,
            bins=40,
            range=(0, 1),
            weights=np.full(len(mine), 1 / len(mine)),
            histtype="step",
            color=_colour(size),
            label=f"{size}×{size} ({len(mine):,})",
        )
    axis.set(xlabel="centre-to-surround ratio γ", ylabel="share of centres", title="γ of trained kernels with a centre")
    axis.legend(frameon=False)


def _signs(axis: Axes, centres: pd.DataFrame) -> None:
    depth = _depth_bins(centres.depth)
    for size, mine in centres.groupby("kernel_height"):
        share = (mine.sign > 0).groupby(depth[mine.index]).agg(["mean", "size"])
        share = share[share["size"] >= 20]
        axis.plot(share.index, share["mean"], "o-", color=_colour(size), label=f"{size}×{size}")
    axis.axhline(0.5, color="#bbbbbb", linewidth=0.8)
    axis.set(
        xlabel="depth in the network", ylabel="share excitatory", title="Sign of the centres", ylim=(0, 1), xlim=(0, 1)
    )


def _offsets(axis: Axes, derivatives: pd.DataFrame, control: str) -> None:
    offset = pd.Series(np.hypot(derivatives.offset_x, derivatives.offset_y), derivatives.index)
    for (size, untrained), mine in offset.groupby([derivatives.kernel_height, derivatives.model == control]):
        axis.plot(
            np.sort(mine),
            np.linspace(0, 1, len(mine)),
            color=_colour(size),
            linestyle="--" if untrained else "-",
            label=f"{size}×{size}{', untrained' if untrained else ''}",
        )
    axis.set(
        xlabel="offset from the middle, taps", ylabel="share of kernels", title="Offset of Gaussians and derivatives"
    )
    axis.legend(frameon=False, fontsize=6)


def _explained_by_depth(axis: Axes, matches: pd.DataFrame, control: str) -> None:
    large = matches[matches.kernel_height >= 5]
    groups = {
        "trained": (large[large.model != control], "cosine", "-", COLOURS["trained"]),
        "trained, taps shuffled": (large[large.model != control], "null_cosine", "--", COLOURS["trained"]),
        "untrained": (large[large.model == control], "cosine", "-", COLOURS["untrained"]),
        "untrained, taps shuffled": (large[large.model == control], "null_cosine", "--", COLOURS["untrained"]),
    }
    for label, (mine, column, line, colour) in groups.items():
        mean = (mine[column] ** 2).groupby(_depth_bins(mine.depth)).mean()
        axis.plot(mean.index, mean, line, marker="o", color=colour, label=label)
    axis.set(
        xlabel="depth in the network",
        ylabel="explained variance",
        title="Best of four models, 5×5 and larger",
        ylim=(0, 1),
        xlim=(0, 1),
    )
    axis.legend(frameon=False, fontsize=6)


def _colour(size: Any) -> str:
    return _SIZES.get(int(size), "black")


def _depth_bins(depth: pd.Series) -> pd.Series:
    """Middle of the fifth of the depth that each kernel lies in."""
    return ((depth * _BINS).astype(int).clip(upper=_BINS - 1) + 0.5) / _BINS


def _span(gain: pd.Series) -> str:
    if not len(gain):
        return "none at hand"
    low, high = (f"{100 * value:+.1f}".replace("-", "−") for value in (gain.min(), gain.max()))
    return f"{low} to {high}" if len(gain) > 1 else low
