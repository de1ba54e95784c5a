"""Figures of trained accuracy: learning curves, the gain by kernel size, and accuracy on a second data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neural_echos.artifacts.base import COLOURS, MARKERS, Drawn, looks, own_style
from neural_echos.artifacts.style import canvas
from neural_echos.artifacts.words import percent, points
from neural_echos.errors import EchosError
from neural_echos.evaluation import mean_interval, paired

Tables = dict[str, Any]


@own_style()
def training_curves(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisations: Sequence[str]
) -> Drawn:
    """Test accuracy by epoch for each initialisation: mean over seeds, and the range of the seeds."""
    history = tables["history"]
    figure, axes = canvas(1, len(architectures), (7.2, 2.3 + 0.2 * -(-len(initialisations) // 4)), sharey=True)
    for axis, architecture in zip(axes[0], architectures, strict=True):
        for name, (colour, marker) in looks(initialisations).items():
            cell = history[
                (history.dataset == dataset) & (history.architecture == architecture) & (history.initialisation == name)
            ]
            by_epoch = cell.groupby("epoch").top1.agg(["mean", "min", "max"])
            axis.plot(
                by_epoch.index,
                100 * by_epoch["mean"],
                color=colour,
                marker=marker,
                markersize=3,
                label=name,
            )
            axis.fill_between(
                by_epoch.index, 100 * by_epoch["min"], 100 * by_epoch["max"], color=colour, alpha=0.15, lw=0
            )
        axis.set(title=architecture, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("test top-1 (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    seeds = history[history.dataset == dataset].seed.nunique()
    first = history[(history.dataset == dataset) & (history.epoch == 1) & history.architecture.isin(architectures)]
    early = first.groupby("initialisation").top1.mean()
    told = ", ".join(f"{name} {percent(early[name])}" for name in initialisations)
    return Drawn(
        figure, f"{dataset}, {seeds} seeds, bands from least to most. After one epoch, mean over architectures: {told}."
    )


@own_style()
def gain_by_kernel_size(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisation: str, baselines: Sequence[str]
) -> Drawn:
    """The paired gain of an initialisation over each baseline, against the kernel size of one architecture."""
    figure, axes = canvas(1, len(baselines), (3.4 * len(baselines), 2.5), sharey=True)
    told = []
    for axis, baseline in zip(axes[0], baselines, strict=True):
        pairs = paired(tables["runs"], initialisation, baseline)
        pairs = pairs[(pairs.dataset == dataset) & pairs.architecture.isin(architectures)]
        if not len(pairs):
            raise EchosError(
                f"figure 10: expected runs of {initialisation} and {baseline} with the same seeds, found none that did not "
                "diverge; choose others"
            )
        axis.axhline(0, color="#bbbbbb", linewidth=0.8)
        axis.plot(
            pairs.kernel_size, 100 * pairs.difference, "o", color=COLOURS["other"], markersize=4, label="one seed"
        )
        cells = [(size, *mean_interval(cell.difference.to_numpy())) for size, cell in pairs.groupby("kernel_size")]
        sizes, mean, low, high = map(np.asarray, zip(*cells, strict=True))
        bars = 100 * np.vstack([mean - low, high - mean])
        axis.errorbar(
            sizes, 100 * mean, bars, fmt=MARKERS["dog"], color=COLOURS["dog"], capsize=3, label="mean, 95 % interval"
        )
        axis.set(title=f"{initialisation} − {baseline}", xlabel="kernel size", xticks=sizes)
        slopes = [
            np.polyfit(one.kernel_size, 100 * one.difference, 1)[0]
            for _, one in pairs.groupby("seed")
            if one.kernel_size.nunique() > 1
        ]
        slope, low_slope, high_slope = mean_interval(slopes)
        told.append(f"over {baseline} {slope:+.2f} [{low_slope:+.2f}, {high_slope:+.2f}]".replace("-", "−"))
    axes[0, 0].set_ylabel("difference in top-1 (points)")
    axes[0, -1].legend(frameon=False)
    return Drawn(
        figure,
        f"Slope of the gain of {initialisation} with kernel size on {dataset}, points per tap of side: {'; '.join(told)}.",
    )


@own_style()
def accuracy_by_initialisation(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisations: Sequence[str]
) -> Drawn:
    """Final test accuracy on one data set: every seed, and the mean, per architecture and initialisation."""
    runs = tables["runs"]
    runs = runs[(runs.dataset == dataset) & runs.architecture.isin(architectures)]
    figure, axes = canvas(1, 1, (5.0, 2.6))
    axis = axes[0, 0]
    width = 0.8 / len(initialisations)
    for place, (name, (colour, marker)) in enumerate(looks(initialisations).items()):
        for position, architecture in enumerate(architectures):
            top1 = 100 * runs[(runs.architecture == architecture) & (runs.initialisation == name)].top1
            x = position + (place - (len(initialisations) - 1) / 2) * width
            axis.plot(np.full(len(top1), x), top1, marker, color=colour, markersize=4, fillstyle="none")
            axis.plot([x - width / 3, x + width / 3], [top1.mean()] * 2, color=colour, linewidth=2)
        axis.plot([], [], marker, color=colour, label=name, fillstyle="none")
    axis.set_xticks(range(len(architectures)), architectures)
    axis.set_ylabel(f"test top-1 on {dataset} (%)")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    pairs = paired(runs, initialisations[-1], initialisations[0])
    gains = mean_interval(pairs.groupby("seed").difference.mean().to_numpy())
    return Drawn(
        figure,
        f"{initialisations[-1]} − {initialisations[0]} on {dataset}, mean over {len(architectures)} architectures: "
        f"{points(*gains)} points (95 % interval over {pairs.seed.nunique()} seeds).",
    )
