"""Artifacts of the fits at scale: how much receptive-field models explain, and how their parameters are distributed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from neural_echos.artifacts.base import COLOURS, Artifact, canvas, finished, percent

Tables = dict[str, Any]
_SIZES = {3: "#56B4E9", 5: "#009E73", 7: "#0072B2", 9: "#D55E00", 11: "#CC79A7"}
_BINS = 5  # of depth


def explained_variance_table(tables: Tables, *, note: str = "") -> Artifact:
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
    gain = large.explained - large.null_explained
    trained, control = gain[large.role == "trained"], gain[large.role == "untrained"]
    return Artifact(
        pd.DataFrame(rows),
        "Explained variance above that of the same kernels with shuffled taps, depthwise kernels of 5×5 and more: trained banks "
        f"{_span(trained)}, untrained control {_span(control)} (percentage points). A Gaussian that may sit anywhere and take any "
        f"shape explains much of any small kernel, so the shares mean something only beside the shuffled ones. {note}".strip(),
    )


def fit_distributions(
    tables: Tables, *, models: Sequence[str], control: str, threshold: float = 0.7, note: str = ""
) -> Artifact:
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
