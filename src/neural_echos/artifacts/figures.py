"""The figures of Neural Echos, in the paper's order; captions stand in config/artifacts.yaml.

Every function takes the tables that `read` returns and declared options, and returns an `Drawn`. Kernels are drawn raw,
each scaled by its own largest tap, so that a channel's scale cannot hide its shape.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes

from neural_echos import receptive_fields
from neural_echos.artifacts.base import COLOURS, Drawn, finished, own_style
from neural_echos.artifacts.mosaics import colour_bar, draw_kernels
from neural_echos.artifacts.style import canvas
from neural_echos.artifacts.words import percent
from neural_echos.errors import EchosError
from neural_echos.tables import kernel_sizes, kernels_of

Tables = dict[str, Any]
_CENTRES = ("other", "inhibitory", "excitatory")
_GROUPS = {"trained": "o", "regular": "s", "untrained": "x"}


@own_style()
def kernels_beside_dogs(
    tables: Tables,
    *,
    models: Sequence[str],
    gammas: Sequence[float],
    size: int | None = None,
    kernels: int = 24,
    note: str = "",
) -> Drawn:
    """Figure 1: trained kernels that look most like a Difference of Gaussians, beside that family; by default the largest."""
    fits = tables["fits"]
    fits = fits[fits.model.isin(models) & (fits.kind == "depthwise")]
    size = size or int(fits.kernel_height.max() if len(fits) else 0)
    fits = fits[fits.kernel_height == size]
    if not len(fits):
        raise EchosError(
            f"figure 1: expected depthwise kernels of size {size or 3} in {', '.join(models)}, found none; choose other models"
        )
    columns = 6, 6, *[max(2, -(-len(gammas) // 4))] * 2
    figure, axes = canvas(1, 4, (7.2, 0.8 + 25 / sum(columns)), width_ratios=columns)
    for axis, sign, name in zip(axes[0], (-1, 1), ("inhibitory", "excitatory"), strict=False):
        best = fits[fits.sign == sign].nlargest(kernels, "cosine")
        shown = [_taps(tables["bank"][model], rows.row) for model, rows in best.groupby("model", sort=False)]
        image = draw_kernels(axis, np.concatenate(shown or [np.zeros((1, size, size))]), columns[0])
        axis.set_title(f"(a) trained,\n{name}")
    for axis, sign, name in zip(axes[0][2:], (-1, 1), ("inhibitory", "excitatory"), strict=True):
        draw_kernels(axis, receptive_fields.dog(size, np.asarray(gammas), sign), columns[2])
        axis.set_title(f"(b) DoG,\n{name}")
    colour_bar(figure, image, axes)
    close = percent((fits.cosine > 0.9).mean())
    return finished(
        figure,
        f"Of {len(fits)} depthwise {size}×{size} kernels, {close} have a cosine above .9 with their best Difference of Gaussians; "
        f"the {kernels} best of each sign are shown beside the family at γ = {', '.join(f'{g:g}' for g in gammas)}.",
        note,
    )


@own_style()
def dog_profile(tables: Tables, *, size: int, gamma: float) -> Drawn:
    """Figure 2: the Difference of Gaussians as a narrow Gaussian minus a wide one, along a line through the centre."""
    figure, axes = canvas(1, 2, (7.2, 2.4), sharey=True)
    profile = receptive_fields.gaussian_pair_profile(size, gamma)
    for axis, sign, name in zip(axes[0], (1, -1), ("excitatory", "inhibitory"), strict=True):
        centre, surround = sign * profile.centre, sign * profile.surround
        axis.axhline(0, color="#bbbbbb", linewidth=0.8)
        axis.plot(profile.distance, centre, "--", color=COLOURS["excitatory"], label="centre Gaussian")
        axis.plot(profile.distance, surround, ":", color=COLOURS["inhibitory"], label="surround Gaussian")
        axis.plot(profile.distance, centre + surround, color="black", label="their sum, the DoG")
        axis.set(title=f"{name} centre", xlabel="distance from the centre (taps)")
    axes[0][0].set_ylabel("weight")
    axes[0][1].legend(frameon=False)
    parameters = receptive_fields.dog_parameters(size, gamma)
    return Drawn(
        figure,
        f"Size {size}, γ = {gamma:g}: r = {float(parameters.r):.3f} taps, σ = {float(parameters.sigma):.3f} taps, "
        f"A_c = {float(parameters.a_centre):.4f}, A_s = {float(parameters.a_surround):.4f}.",
    )


@own_style()
def dog_kernels_by_ratio(tables: Tables, *, size: int, gammas: Sequence[float]) -> Drawn:
    """Figure 3: Difference-of-Gaussians kernels of one size over ratios, inhibitory above excitatory."""
    figure, axes = canvas(2, len(gammas), (7.2, 2.2))
    for row, sign in zip(axes, (-1, 1), strict=True):
        for axis, gamma in zip(row, gammas, strict=True):
            image = draw_kernels(axis, receptive_fields.dog(size, gamma, sign)[None], 1)
    for axis, gamma in zip(axes[0], gammas, strict=True):
        axis.set_title(f"γ = {gamma:g}")
    for axis, name in zip(axes[:, 0], ("inhibitory", "excitatory"), strict=True):
        axis.text(-0.15, 0.5, name, rotation=90, ha="center", va="center", transform=axis.transAxes)
    colour_bar(figure, image, axes)
    return Drawn(figure, f"Size {size}: the centre widens with γ, from a single tap at γ = {gammas[0]:g}.")


@own_style()
def kernel_samples(
    tables: Tables,
    *,
    models: Sequence[str],
    seed: int,
    kernels: int = 40,
    note: str = "",
) -> Drawn:
    """Figure 4: random depthwise kernels of several models and sizes."""
    panels = _panels(tables["bank"], models, "figure 4")
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = canvas(rows, columns, (7.2, 1.25 * rows + 0.3))
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (model, size) in zip(axes.flat, panels, strict=False):
        drawn = _sample(_depthwise(tables["bank"][model], size), kernels, seed)
        image = draw_kernels(axis, drawn, 8)
        axis.set_title(f"{model}, {size}×{size}")
    colour_bar(figure, image, axes)
    total = sum(len(_depthwise(tables["bank"][model], size)) for model, size in panels)
    return finished(
        figure,
        f"{kernels} kernels drawn at random (seed {seed}) from each of {len(panels)} sets, out of {total:,} kernels.",
        note,
    )


@own_style()
def clusters_with_averages(
    tables: Tables,
    *,
    models: Sequence[str],
    seed: int,
    kernels: int = 25,
    note: str = "",
) -> Drawn:
    """Figure 5: random kernels of each k-means cluster (top) and the cluster's average (bottom), for each model's largest size.

    Each kernel is shown as clustered, with its mean subtracted. Columns are sorted as in the paper: the rest on the left,
    inhibitory in the middle, excitatory on the right. The kernels have unit norm, so an average's norm tells how alike they are.
    """
    panels = _panels(tables["bank"], models, "figure 5")
    panels = [panel for panel in panels if len(_clusters(tables, *panel))]
    if not panels:
        raise EchosError(
            "figure 5: expected at least one clustered bank, found none; add models that have more depthwise kernels"
        )
    shown = list(dict(panels).items())  # sizes rise, so each model's largest is left
    most = max(len(_clusters(tables, *panel)) for panel in shown)
    beside = min(2, len(shown))
    below = -(-len(shown) // beside)
    gap = [1.0] * most + [0.15]
    figure, axes = canvas(
        2 * below,
        beside * (most + 1),
        (3.5 * beside + 0.7, 1.95 * below + 0.2),
        width_ratios=gap * beside,
        height_ratios=[2, 1] * below,
    )
    rng = np.random.default_rng(seed)
    for axis in axes.flat:
        axis.set_axis_off()
    for index, (model, size) in enumerate(shown):
        row, first = 2 * (index // beside), (index % beside) * (most + 1)
        centroids = _clusters(tables, model, size)
        members = _members(tables, model, size)
        for column, centroid in enumerate(centroids.itertuples(), start=first):
            rows = members[members.cluster == centroid.cluster].row
            chosen = rng.choice(rows.to_numpy(), min(kernels, len(rows)), replace=False)
            taps = _taps(tables["bank"][model], np.sort(chosen))
            top, bottom = axes[row, column], axes[row + 1, column]
            image = draw_kernels(top, taps - taps.mean(axis=(1, 2), keepdims=True), 5)
            top.set_title(f"{centroid.name}, {percent(len(rows) / len(members), 0)}")
            average = np.asarray(centroid.taps).reshape(1, size, size)
            draw_kernels(bottom, average, 1)
            bottom.set_title(f"norm {np.linalg.norm(average):.2f}")
        axes[row, first].text(
            -0.2,
            0.5,
            f"{model}\n{size}×{size}",
            rotation=90,
            ha="center",
            va="center",
            transform=axes[row, first].transAxes,
        )
    colour_bar(figure, image, axes)
    shares = _shares_by_name(tables, panels)
    return finished(
        figure,
        f"Over {len(panels)} banks and sizes, on average {percent(shares['excitatory'])} of the kernels are in clusters whose "
        f"average is an excitatory centre, {percent(shares['inhibitory'])} an inhibitory one, {percent(shares['other'])} neither. "
        "The norm of an average is 1 where a cluster's kernels are all alike, and near 0 where they cancel.",
        note,
    )


@own_style()
def regular_kernels_as_control(
    tables: Tables, *, seed: int, quantile: float = 0.95, kernels: int = 24, note: str = ""
) -> Drawn:
    """Trained depthwise kernels against untrained ones and regular ones: samples, and the share that is structured."""
    structure = _labelled(tables["structure"][tables["structure"].role.isin(["trained", "untrained"])])
    groups = [name for name in _GROUPS if (structure.group == name).any()]
    height = max(1.8 + 0.24 * len(structure), 1.3 * len(groups) + 0.3)
    figure, axes = canvas(len(groups), 2, (7.2, height), width_ratios=[1, 1.3])
    for axis, group in zip(axes[:, 0], groups, strict=True):
        bank = structure[structure.group == group].nlargest(1, "kernel_size").iloc[0]
        shown = _of_kind(tables["bank"][bank.model], bank.kernel_size, bank.kind)
        image = draw_kernels(axis, _sample(shown, kernels, seed), 8)
        axis.set_title(f"{group}:\n{bank.model}, {bank.kernel_size}×{bank.kernel_size}")
    colour_bar(figure, image, list(axes[:, 0]))
    for axis in axes[:, 1]:
        axis.remove()
    _draw_shares(figure.add_subplot(axes[0, 1].get_gridspec()[:, 1]), structure, 1 - quantile, height)
    shares = structure.groupby("group").share.median()
    told = ", ".join(f"{name} {percent(shares[name])}" for name in groups)
    return finished(
        figure, f"Median structured share: {told}; kernels without structure have {percent(1 - quantile, 0)}.", note
    )


def _draw_shares(axis: Axes, structure: pd.DataFrame, chance: float, height: float) -> None:
    """Draw the structured share of every bank with its interval, and the share that noise has; `height` inches of figure."""
    ordered = structure.sort_values(["kernel_size", "group", "model"], ascending=[True, True, False], ignore_index=True)
    for group, marker in _GROUPS.items():
        rows = ordered[ordered.group == group]
        errors = np.abs(np.vstack([rows.share - rows.low, rows.high - rows.share]))
        axis.errorbar(rows.share, rows.index, xerr=errors, fmt=marker, color=COLOURS[group], markersize=4, label=group)
    axis.axvline(chance, color="black", linestyle=":", linewidth=1, label="no structure")
    labels = [
        f"{row.model} {row.kernel_size}×{row.kernel_size}{' (one layer)' if row.layers == 1 else ''}"
        for row in ordered.itertuples()
    ]
    axis.set_yticks(ordered.index, labels)
    axis.set(xlim=(0, 1), xlabel="structured share, with its 95 % interval over layers")
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.5 / (height - 0.8)), ncols=4)


@own_style()
def cluster_shares_by_depth(tables: Tables, *, models: Sequence[str], note: str = "") -> Drawn:
    """Share of excitatory, inhibitory and other clusters in each layer, by depth and model."""
    clusters = tables["clusters"]
    clusters = clusters[(clusters.clustering != "free") & (clusters.kind == "depthwise")]
    present = [model for model in models if (clusters.model == model).any()]
    if not present:
        raise EchosError(
            f"figure 7: expected depthwise kernels in {', '.join(models)}, found none; choose other models"
        )
    clusters = clusters[clusters.model.isin(present)]
    columns = min(4, len(present))
    rows = -(-len(present) // columns)
    figure, axes = canvas(rows, columns, (7.2, 1.9 * rows + 0.3), sharey=True)
    for axis in axes.flat[len(present) :]:
        axis.set_axis_off()
    for axis, model in zip(axes.flat, present, strict=False):
        counts = clusters[clusters.model == model].groupby(["layer_index", "name"]).size().unstack(fill_value=0)
        shares = counts.div(counts.sum(axis=1), axis=0)
        bottom = np.zeros(len(shares))
        for name, hatch in (("excitatory", ""), ("inhibitory", "//"), ("other", "")):
            heights = shares[name].to_numpy() if name in shares else np.zeros(len(shares))
            axis.bar(
                shares.index,
                heights,
                0.9,
                bottom=bottom,
                color=COLOURS[name],
                hatch=hatch,
                edgecolor="white",
                label=name,
            )
            bottom += heights
        axis.set(title=model, xlabel="depthwise layer", ylim=(0, 1))
        axis.xaxis.get_major_locator().set_params(integer=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("share of kernels")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    centred = clusters.assign(centred=clusters.name != "other").groupby(["model", "layer_index"]).centred.mean()
    return finished(
        figure,
        f"Per layer, the share of kernels in centre clusters runs from {percent(centred.min())} to {percent(centred.max())} "
        f"(median {percent(centred.median())}) over {len(centred)} layers of {len(present)} models.",
        note,
    )


@own_style()
def kernels_before_and_after(
    tables: Tables, *, pairs: Sequence[dict[str, str]], kernels: int = 32, seed: int = 0
) -> Drawn:
    """The same kernels before and after training; `pairs` name the banks: {label, before, after}."""
    figure, axes = canvas(2, len(pairs), (1.8 * len(pairs) + 0.6, 3.0))
    moved = []
    for column, pair in enumerate(pairs):
        before, after = tables["bank"][pair["before"]], tables["bank"][pair["after"]]
        depthwise = before.filter(pc.equal(before["kind"], "depthwise"))  # a regular stem may have larger kernels
        size = max(height for height, _ in kernel_sizes(depthwise))
        first, last = _depthwise(before, size), _depthwise(after, size)
        chosen = np.sort(np.random.default_rng(seed).choice(len(first), min(kernels, len(first)), replace=False))
        image = draw_kernels(axes[0, column], first[chosen], 6)
        draw_kernels(axes[1, column], last[chosen], 6)
        axes[0, column].set_title(pair["label"])
        moved.append(f"{pair['label']} {_mean_cosine(first, last):.2f}")
    for axis, name in zip(axes[:, 0], ("before", "after"), strict=True):
        axis.text(-0.1, 0.5, name, rotation=90, ha="center", va="center", transform=axis.transAxes)
    colour_bar(figure, image, axes)
    return Drawn(figure, f"Mean cosine of a kernel with itself, before against after training: {'; '.join(moved)}.")


@own_style()
def _panels(banks: dict[str, pa.Table], models: Sequence[str], figure: str) -> list[tuple[str, int]]:
    """List the (model, size) pairs that have depthwise kernels of a drawable, odd and square size; sizes rise."""
    found = []
    for model in models:
        depthwise = banks[model].filter(pc.equal(banks[model]["kind"], "depthwise"))
        found += [(model, height) for height, width in kernel_sizes(depthwise) if height == width and height % 2]
    if not found:
        raise EchosError(f"{figure}: expected models with depthwise kernels, found none; choose other models")
    return found


def _depthwise(bank: pa.Table, size: int) -> np.ndarray:
    return _of_kind(bank, size, "depthwise")


def _of_kind(bank: pa.Table, size: int, kind: str) -> np.ndarray:
    return kernels_of(bank.filter(pc.equal(bank["kind"], kind)), size, size)[1]


def _taps(bank: pa.Table, rows: "pd.Series | np.ndarray") -> np.ndarray:
    """Take kernels of one size by their row numbers, in that order; shape (n, k, k)."""
    part = bank.take(pa.array(np.asarray(rows)))
    return kernels_of(part, part["kernel_height"][0].as_py(), part["kernel_width"][0].as_py())[1]


def _sample(kernels: np.ndarray, n: int, seed: int) -> np.ndarray:
    chosen = np.random.default_rng(seed).choice(len(kernels), min(n, len(kernels)), replace=False)
    return kernels[np.sort(chosen)]


def _clusters(tables: Tables, model: str, size: int) -> pd.DataFrame:
    """Centroids of one bank and size for the declared k, sorted as Figure 5 shows them."""
    table = tables["centroids"]
    mine = table[
        (table.model == model)
        & (table.kind == "depthwise")
        & (table.kernel_height == size)
        & (table.clustering != "free")
    ]
    order = mine.name.map(_CENTRES.index)
    return mine.assign(order=order).sort_values(["order", "cluster"])


def _members(tables: Tables, model: str, size: int) -> pd.DataFrame:
    """Depthwise kernels of one bank and size, with their clusters for the declared k."""
    table = tables["clusters"]
    return table[
        (table.model == model)
        & (table.kind == "depthwise")
        & (table.kernel_height == size)
        & (table.clustering != "free")
    ]


def _shares_by_name(tables: Tables, panels: Sequence[tuple[str, int]]) -> dict[str, float]:
    shares = []
    for panel in panels:
        counts = _clusters(tables, *panel).groupby("name")["count"].sum()
        shares.append((counts / counts.sum()).reindex(_CENTRES, fill_value=0.0))
    means = pd.concat(shares, axis=1).mean(axis=1)
    return {name: float(means[name]) for name in _CENTRES}


def _labelled(structure: pd.DataFrame) -> pd.DataFrame:
    """Group banks: trained depthwise, untrained (of either kind), trained regular; layers that read the image are left out."""
    structure = structure[structure.kind != "stem"]
    group = np.where(
        structure.role == "untrained", "untrained", np.where(structure.kind == "regular", "regular", "trained")
    )
    return structure.assign(group=group)


def _mean_cosine(first: np.ndarray, last: np.ndarray) -> float:
    flat, other = (kernels.reshape(len(kernels), -1).astype(np.float64) for kernels in (first, last))
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(other, axis=1)
    return float(((flat * other).sum(axis=1) / np.where(norms > 0, norms, 1.0)).mean())
