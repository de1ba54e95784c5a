"""Measures of banks: structure, explained variance, and shares of named patterns, each beside the same for shuffled taps.

Shares of patterns by cluster are means over the trainings of the autoencoder, each of which gives another.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtri

from neural_echos.errors import EchosError
from neural_echos.receptive_fields import MATCHED, check_threshold
from neural_echos.structure.intervals import TAILS, layer_interval, trainings_drawn, wilson_interval
from neural_echos.tables import SCHEMAS, kernel_sizes, read_table

_THRESHOLDS = np.arange(51) / 50
_COUNTED = {
    ("cluster", False): "cluster_cosines",
    ("cluster", True): "null_cluster_cosines",
    ("kernel", False): "cosine",
    ("kernel", True): "null_cosine",
}


def structure(models: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Measure how much receptive-field structure each bank has, in a table of schema "structure".

    The measure is the share of kernels whose best Difference of Gaussians (by cosine) beats the 95th percentile of the same
    kernels with their taps shuffled. A bank without structure has 5 %, whatever its scale and tap distribution.

    Parameters
    ----------
    models : sequence of mappings
        Each with `model`, `role`, `trained_on`, and the paths `fits` and `centroids`.
    """
    rows = []
    for entry in models:
        fits = read_table(entry["fits"], "fits")
        centroids = read_table(entry["centroids"], "centroids").to_pandas()
        kinds = fits["kind"].unique().to_pylist()
        for kind, (height, width) in itertools.product(sorted(kinds), kernel_sizes(fits)):
            chosen = fits.filter((pa.compute.field("kind") == kind) & (pa.compute.field("kernel_height") == height))
            if chosen.num_rows:
                measured = structured_share(chosen)
                shares = _cluster_shares(centroids, kind, height, width)
                names = {key: entry[key] for key in ("model", "role", "trained_on")}
                rows.append({**names, "kind": kind, "kernel_size": height, **measured, **shares})
    return pa.Table.from_pylist(rows, schema=SCHEMAS["structure"])


def structured_share(fits: pa.Table, *, quantile: float = 0.95, samples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Share of kernels whose cosine with their best DoG is beyond that of shuffled taps.

    Kernels of one layer are not independent, so the interval is that of a bootstrap over layers, the threshold held
    fixed: its own sampling error is left out. With a single layer that is impossible; the bootstrap is then over kernels,
    and its interval too narrow.

    Parameters
    ----------
    fits : pyarrow.Table
        Of schema "fits", with kernels of one size.
    quantile : float
        Of the null cosines, that a structured kernel exceeds; a bank without structure has a share of 1 − quantile.
    samples : int
        Number of bootstrap samples.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `share` and its 95 % interval `low`, `high`; `threshold` (cosine); `mean_cosine`, `null_mean_cosine`; the counts
        `kernels` and `layers`.

    Raises
    ------
    EchosError
        There are no kernels, or kernels of several sizes.

    Notes
    -----
    At 3×3 the measure is conservative: a shuffle puts a dominating tap back on the centre in one of nine cases, which
    is more often than 1 − .95, so the threshold is high; there the means tell more. From 5×5 on (one of 25) it is not.
    """
    sizes = kernel_sizes(fits)
    if len(sizes) != 1:
        found = ", ".join(f"{height}×{width}" for height, width in sizes) or "no kernel"
        raise EchosError(f"structured_share: expected fits of one kernel size, found {found}; filter the table first")
    cosine, null = fits["cosine"].to_numpy(), fits["null_cosine"].to_numpy()
    threshold = float(np.quantile(null, quantile))
    structured = cosine > threshold
    layer_of = _layer_codes(fits)
    of_layer = np.bincount(layer_of)
    if len(of_layer) > 1:
        low, high = layer_interval(np.bincount(layer_of, weights=structured), of_layer, samples=samples, seed=seed)
    else:
        shares = np.random.default_rng(seed).binomial(len(cosine), structured.mean(), size=samples) / len(cosine)
        low, high = np.quantile(shares, TAILS)
    return {
        "share": float(structured.mean()),
        "low": float(low),
        "high": float(high),
        "threshold": threshold,
        "mean_cosine": float(cosine.mean()),
        "null_mean_cosine": float(null.mean()),
        "kernels": len(cosine),
        "layers": len(of_layer),
    }


def explained(models: Sequence[Mapping[str, Any]], *, samples: int = 2000, seed: int = 0) -> pa.Table:
    """Measure how much of its kernels' variance receptive-field models explain in each bank, in a table of schema "explained".

    Parameters
    ----------
    models : sequence of mappings
        Each with `model`, `role`, `trained_on`, and the path `matches`.
    samples : int
        Number of bootstrap samples over layers.
    seed : int
        Of the bootstrap.
    """
    rows = []
    for entry in models:
        matches = read_table(entry["matches"], "matches").to_pandas()
        for (kind, height, width), mine in matches.groupby(["kind", "kernel_height", "kernel_width"]):
            by_layer = (mine.cosine**2).groupby(mine.layer).agg(["sum", "size"])
            repeated = len(by_layer) > 1
            interval = (
                layer_interval(*by_layer.to_numpy().T, samples=samples, seed=seed) if repeated else (np.nan, np.nan)
            )
            rows.append(
                {
                    **{key: entry[key] for key in ("model", "role", "trained_on")},
                    "kind": kind,
                    "kernel_height": height,
                    "kernel_width": width,
                    "kernels": len(mine),
                    "layers": len(by_layer),
                    "explained": (mine.cosine**2).mean(),
                    "low": interval[0],
                    "high": interval[1],
                    "null_explained": (mine.null_cosine**2).mean(),
                    "null_dog": (mine.null_cosine_dog**2).mean(),
                    **{name: (mine[f"cosine_{name}"] ** 2).mean() for name in MATCHED},
                    **{f"best_{name}": (mine.best == name).mean() for name in MATCHED},
                    "offset": np.hypot(mine.offset_x, mine.offset_y).median(),
                }
            )
    frame = pd.DataFrame(rows, columns=SCHEMAS["explained"].names)
    return pa.Table.from_pandas(frame, schema=SCHEMAS["explained"], preserve_index=False)


def pattern_shares(
    models: Sequence[Mapping[str, Any]], *, threshold: float, samples: int = 2000, seed: int = 0
) -> pa.Table:
    """Count the kernels with a named pattern in a table of schema "pattern_shares".

    Parameters
    ----------
    models : sequence of mappings
        Each with `model`, `role`, `trained_on`, and the path `patterns`.
    threshold : float
        The declared one, in [0, 1]; banks have a row for each hundredth that is even, too, and layers for it alone.
    samples : int
        Number of bootstrap samples.
    seed : int
        Of the bootstrap.

    Raises
    ------
    EchosError
        The threshold is outside its range, or a table cannot be read.
    """
    check_threshold(threshold)
    parts = [SCHEMAS["pattern_shares"].empty_table().to_pandas()]
    for entry in models:
        where = ["kind", "kernel_height", "layer", "layer_index", "depth"]
        patterns = read_table(entry["patterns"], "patterns", [*where, *_COUNTED.values()])
        cosines = {counted: _by_training(patterns[column]) for counted, column in _COUNTED.items()}
        named = {key: entry[key] for key in ("model", "role", "trained_on")}
        kernels = patterns.select(where).to_pandas()
        for (kind, size), mine in kernels.groupby(["kind", "kernel_height"]):
            own = {counted: cosine[mine.index] for counted, cosine in cosines.items()}
            rows = pd.DataFrame(_rows(mine, own, threshold, samples, seed))
            parts.append(rows.assign(**named, kind=kind, kernel_size=size))
    frame = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    return pa.Table.from_pandas(frame, schema=SCHEMAS["pattern_shares"], preserve_index=False)


def _by_training(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers, or of lists of one length, as an array, (n, trainings)."""
    whole = column.combine_chunks()
    values = whole.flatten() if pa.types.is_list(whole.type) else whole
    return values.to_numpy(zero_copy_only=False).reshape(len(whole), -1 if len(whole) else 1)


def _rows(
    kernels: pd.DataFrame, cosines: Mapping[tuple[str, bool], np.ndarray], threshold: float, samples: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of one kind and size of a bank: all layers at every threshold, and each layer at the declared one."""
    thresholds = np.union1d(_THRESHOLDS, threshold)
    layers = kernels.groupby(["layer_index", "layer", "depth"], sort=True)
    layer_of, of_layer = layers.ngroup().to_numpy(), layers.size()
    n = of_layer.to_numpy()
    for (by, shuffled), cosine in cosines.items():
        named = np.stack([_named(one, layer_of, thresholds) for one in cosine.T])
        counted = {"by": by, "shuffled": shuffled}
        share = named.sum(axis=1) / n.sum()
        interval = _lone_interval(share, n.sum()) if len(n) == 1 else _interval(named, n, samples, seed)
        for at, one in enumerate(thresholds):
            yield counted | _shown(share, interval, at) | _counts(one, threshold, n.sum(), len(n))
        share = named[:, :, np.searchsorted(thresholds, threshold)] / n
        interval = _lone_interval(share, n)
        for at, (index, layer, depth) in enumerate(of_layer.index):
            where = {"layer": layer, "layer_index": index, "depth": depth}
            yield counted | where | _shown(share, interval, at) | _counts(threshold, threshold, n[at], 1)


def _shown(share: np.ndarray, interval: tuple[np.ndarray, np.ndarray], at: int) -> dict[str, Any]:
    low, high = interval
    return {"share": share[:, at].mean(), "low": low[at], "high": high[at], "by_training": share[:, at].tolist()}


def _interval(named: np.ndarray, n: np.ndarray, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval over layers and trainings of counts, (trainings, layers, m), of n kernels, (layers,); (m,) each."""
    rng = np.random.default_rng(seed)
    layers = rng.multinomial(len(n), np.full(len(n), 1 / len(n)), size=samples)
    trainings = trainings_drawn(rng, len(named), samples)
    counted = sum(weight[:, None] * (layers @ one) for weight, one in zip(trainings.T, named, strict=True))
    low, high = np.quantile(counted / (layers @ n)[:, None], TAILS, axis=0)
    return low, high


def _lone_interval(share: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of the mean of shares, (trainings, m), with their normal interval added in squares; (m,) each."""
    mean = share.mean(axis=0)
    low, high = wilson_interval(mean, n)
    if len(share) == 1:
        return low, high
    spread = ndtri(TAILS[1]) * share.std(axis=0, ddof=1) / np.sqrt(len(share))
    return np.maximum(mean - np.hypot(mean - low, spread), 0.0), np.minimum(mean + np.hypot(high - mean, spread), 1.0)


def _named(cosine: np.ndarray, layer_of: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Kernels of each layer whose cosine reaches each threshold: shape (layers, thresholds)."""
    reached = np.searchsorted(thresholds, cosine, side="right")  # so many thresholds are reached
    counts = np.zeros((layer_of.max() + 1, len(thresholds) + 1))
    np.add.at(counts, (layer_of, reached), 1)
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]


def _counts(threshold: float, declared: float, kernels: int, layers: int) -> dict[str, Any]:
    return {"threshold": threshold, "declared": threshold == declared, "kernels": kernels, "layers": layers}


def _cluster_shares(centroids: pd.DataFrame, kind: str, height: int, width: int) -> dict[str, float | None]:
    """Share of a bank's kernels in clusters of each name, for the clustering with the declared k."""
    mine = centroids[
        (centroids.kind == kind)
        & (centroids.kernel_height == height)
        & (centroids.kernel_width == width)
        & (centroids.clustering != "free")
    ]
    counts = mine.groupby("name")["count"].sum()
    names = ("excitatory", "inhibitory", "other")
    if not len(mine):
        return {f"{name}_share": None for name in names}
    return {f"{name}_share": float(counts.get(name, 0) / counts.sum()) for name in names}


def _layer_codes(fits: pa.Table) -> np.ndarray:
    """Number each kernel's layer (model, kind and module path), from 0: int64, shape (n,)."""
    keys = pc.binary_join_element_wise(fits["model"], fits["kind"], fits["layer"], "\x1f")
    return keys.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
