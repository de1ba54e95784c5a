"""Tidy tables of patterns found by autoencoders: shares with their controls, thresholds, clusters, and shares by layer.

Paper: "Unveiling the Unseen" (arXiv 2401.14469). Its printed values are an option, `published`; unreadable ones are marked.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from math import isqrt

import numpy as np
import pandas as pd
import pyarrow as pa

from neural_echos.artifacts.structure import kernel_cells
from neural_echos.artifacts.words import UNREADABLE
from neural_echos.errors import EchosError
from neural_echos.receptive_fields.templates import PATTERNS, templates
from neural_echos.tables import kernels_of
from neural_echos.words import percent

_BY = ("cluster", "kernel")
_SIDE = 3  # side of the square of a cluster's kernels
_ACROSS = 4  # templates per row of a pattern
_BANK = ["model", "kind", "kernel_size"]


def pattern_shares_by_bank(shares: pd.DataFrame, published: Sequence[Mapping[str, str]] = ()) -> pd.DataFrame:
    """Compare each bank's share of kernels with a named pattern with its controls, at the declared threshold.

    Parameters
    ----------
    shares : DataFrame
        Schema "pattern_shares".
    published : sequence of mappings
        The paper's shares: {models: pattern of their names, share: text}.

    Returns
    -------
    DataFrame
        One row for each bank and kernel size, untrained ones last: `model`, `trained_on`, `role`, `kernel`, `kernels`, `layers`;
        for both ways of counting, by cluster and by kernel, the share (`cluster_share`, `kernel_share`, from 0 to 1), its
        interval (`…_low`, `…_high`), the share of shuffled taps (`…_shuffled`) and the largest share of an untrained bank of that
        size (`…_control`, NaN for untrained banks themselves);
        `least` and `most`, the range of the share by cluster over trainings; and `published`.
    """
    whole = _whole_banks(shares)
    order = whole.assign(last=whole.role == "untrained").sort_values(["kind", "last", "kernel_size", "model"])
    rows = order[~order.shuffled & (order.by == "cluster")].reset_index(drop=True)
    made = rows[["model", "trained_on", "role", "kernels", "layers"]].copy()
    made.insert(3, "kernel", kernel_cells(rows.kernel_size, rows.kernel_size, rows.kind))
    banks = pd.MultiIndex.from_frame(rows[_BANK])
    for by in _BY:
        mine = whole[whole.by == by].set_index([*_BANK, "shuffled"])
        own, null = (mine.xs(shuffled, level="shuffled").reindex(banks) for shuffled in (False, True))
        for name in ("share", "low", "high"):
            made[f"{by}_{name}"] = own[name].to_numpy()
        made[f"{by}_shuffled"] = null.share.to_numpy()
        controls = [_control(whole, size, by) for size in rows.kernel_size]
        made[f"{by}_control"] = np.where(rows.role == "untrained", np.nan, controls)
    made["least"], made["most"] = rows.by_training.map(min), rows.by_training.map(max)
    printed = [[one["share"] for one in published if fnmatchcase(model, one["models"])] for model in rows.model]
    made["published"] = [(theirs or [UNREADABLE])[0] for theirs in printed]
    made.loc[made.role == "untrained", "published"] = "–"
    return made


def ranges_of_shares(shares: pd.DataFrame) -> str:
    """Describe the range of shares over trained banks by kernel size, with shuffled taps and the control."""
    parts = []
    whole = _whole_banks(shares)
    whole = whole[whole.kind == "depthwise"]
    trained = whole[whole.role == "trained"]
    for size in sorted(trained.kernel_size.unique()):
        mine = trained[trained.kernel_size == size]
        for by in _BY:
            found, null = (mine[(mine.by == by) & (mine.shuffled == shuffled)].share for shuffled in (False, True))
            parts.append(
                f"{size}×{size} by {by} {percent(found.min())} to {percent(found.max())} "
                f"(shuffled taps up to {percent(null.max())}, control {percent(_control(whole, size, by))})"
            )
    threshold = f"{whole.threshold.iloc[0]:g}" if len(whole) else "–"
    return f"Share with a named pattern at a minimum cosine of {threshold}, over trained banks: {'; '.join(parts) or 'none'}."


def threshold_curves(shares: pd.DataFrame) -> pd.DataFrame:
    """Share of depthwise kernels with a named pattern as a function of the threshold.

    Parameters
    ----------
    shares : DataFrame
        Schema "pattern_shares".

    Returns
    -------
    DataFrame
        `model`, `kernel_size` (only sizes of trained banks), `by` ("cluster" or "kernel"), `group` ("trained", "untrained", or
        "shuffled" for the shuffled taps of either), `threshold` (a cosine), `declared` (whether it is the config's threshold) and
        `share` (0 to 1), sorted by kernel size, `by`, group, model and threshold.

    Raises
    ------
    EchosError
        There is no trained bank.
    """
    whole = shares[(shares.kind == "depthwise") & shares.layer.isna()]
    sizes = whole[whole.role == "trained"].kernel_size.unique()
    if not len(sizes):
        raise EchosError("pattern_threshold_curves: no trained bank has patterns; choose other models")
    whole = whole[whole.kernel_size.isin(sizes)]
    group = whole.role.where(~whole.shuffled.astype(bool), "shuffled")
    order = ["kernel_size", "by", "group", "model", "threshold"]
    return whole.assign(group=group).sort_values(order)[[*order, "declared", "share"]].reset_index(drop=True)


def pattern_clusters(centroids: pd.DataFrame, models: Sequence[str], size: int | None = None) -> pd.DataFrame:
    """Gather the decoded centroid of each cluster of codes.

    Parameters
    ----------
    centroids : DataFrame
        Schema "pattern_centroids".
    models : sequence of str
    size : int, optional
        Side of the kernels, taps; by default the largest available.

    Returns
    -------
    DataFrame
        One row for each cluster of depthwise kernels of that size, in the order of models and codes: `model`, `kernel_size`,
        `cluster`, `code`, `pattern`, `cosine` (with the best template), `count`, `share` (of the model's kernels) and `taps`.

    Raises
    ------
    EchosError
        No model has clusters of that size.
    """
    mine = centroids[(centroids.kind == "depthwise") & centroids.model.isin(models)]
    size = size or int(mine.kernel_height.max() if len(mine) else 0)
    mine = mine[mine.kernel_height == size].rename(columns={"kernel_height": "kernel_size"})
    if not len(mine):
        wanted = f" of {size}×{size} kernels" if size else ""
        raise EchosError(f"pattern_gallery: there are no clusters{wanted} in {', '.join(models)}; choose other models")
    share = mine["count"] / mine.groupby("model")["count"].transform("sum")
    mine = mine.assign(share=share, place=mine.model.map(list(models).index)).sort_values(["place", "code"])
    shown = ["model", "kernel_size", "cluster", "code", "pattern", "cosine", "count", "share", "taps"]
    return mine[shown].reset_index(drop=True)


def random_members(patterns: pd.DataFrame, bank: pa.Table, clusters: pd.DataFrame, seed: int) -> list[np.ndarray]:
    """Sample up to nine kernels of each cluster of one model, as many as fill a square.

    Parameters
    ----------
    patterns : DataFrame
        Schema "patterns".
    bank : pyarrow Table
        Schema "bank".
    clusters : DataFrame
        Rows of `pattern_clusters`, all for the bank's model.
    seed : int

    Returns
    -------
    list of ndarray, each of shape (n, k, k)
    """
    random = np.random.default_rng(seed)
    model, size = clusters.model.iloc[0], int(clusters.kernel_size.iloc[0])
    mine = patterns[(patterns.model == model) & (patterns.kind == "depthwise") & (patterns.kernel_height == size)]
    drawn = []
    for cluster in clusters.cluster:
        rows = np.sort(mine[mine.cluster == cluster].row.to_numpy())
        rows = np.sort(random.choice(rows, min(_SIDE, isqrt(len(rows))) ** 2, replace=False))
        drawn.append(kernels_of(bank.take(rows), size, size)[1])
    return drawn


def templates_shown(size: int) -> dict[str, tuple[int, np.ndarray]]:
    """Select up to twelve evenly spaced templates of every pattern, in full rows of four.

    Returns
    -------
    dict
        For each pattern with templates of that size: their number, and those shown, an ndarray of shape (n, size, size).
    """
    names, kernels = templates(size)
    shown = {}
    for name in PATTERNS:
        mine = kernels[names == name]
        most = min(12, len(mine))
        most -= most % _ACROSS if most > _ACROSS else 0
        if most:
            shown[name] = len(mine), mine[np.linspace(0, len(mine) - 1, most).round().astype(int)]
    return shown


def patterns_by_layer(patterns: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Share of each depthwise layer's kernels in clusters of each pattern, in the first training.

    Parameters
    ----------
    patterns : DataFrame
        Schema "patterns".
    models : sequence of str

    Returns
    -------
    DataFrame
        One row for each model (in the order given), layer and pattern, including "other": `model`, `layer_index`, `pattern`,
        `share` (0 to 1) and `kernels` (number in the layer).

    Raises
    ------
    EchosError
        No model has patterns.
    """
    mine = patterns[(patterns.kind == "depthwise") & patterns.model.isin(models)]
    if not len(mine):
        raise EchosError(f"pattern_shares_by_depth: there are no patterns of {', '.join(models)}; choose other models")
    names = [*PATTERNS, *sorted(set(mine.cluster_pattern) - set(PATTERNS))]
    counts = mine.groupby(["model", "layer_index", "cluster_pattern"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=names, fill_value=0)
    kernels = counts.sum(axis=1).reset_index(name="kernels")
    shares = counts.div(counts.sum(axis=1), axis=0).reset_index()
    long = shares.melt(["model", "layer_index"], var_name="pattern", value_name="share").merge(kernels)
    place = long.model.map(list(models).index)
    return (
        long.assign(place=place)
        .sort_values(["place", "layer_index"], kind="stable", ignore_index=True)
        .drop(columns="place")
    )


def named_by_layer(shares: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Share of each depthwise layer's kernels that have a named pattern themselves, and after their taps are shuffled.

    Parameters
    ----------
    shares : DataFrame
        Schema "pattern_shares".
    models : sequence of str

    Returns
    -------
    DataFrame
        `model`, `role`, `taps` ("as they are" or "shuffled"), `layer_index` and `share` (0 to 1), sorted by the first four.
    """
    layers = shares[shares.layer.notna() & (shares.kind == "depthwise") & (shares.by == "kernel")]
    layers = layers[layers.model.isin(models)]
    taps = np.where(layers.shuffled.astype(bool), "shuffled", "as they are")
    layers = layers.assign(taps=taps, layer_index=layers.layer_index.astype(int))
    order = ["model", "role", "taps", "layer_index"]
    return layers.sort_values(order, ignore_index=True)[[*order, "share"]]


def _whole_banks(shares: pd.DataFrame) -> pd.DataFrame:
    """Rows of whole banks at the declared threshold."""
    return shares[shares.declared.astype(bool) & shares.layer.isna()].astype({"shuffled": bool})


def _control(shares: pd.DataFrame, size: int, by: str) -> float:
    """Largest share of an untrained bank of that size; NaN if there is none."""
    rows = shares[(shares.role == "untrained") & (shares.kernel_size == size) & (shares.by == by) & ~shares.shuffled]
    return float(rows.share.max())
