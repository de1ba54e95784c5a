"""Shares: how many kernels have a named pattern, at every threshold, beside what the same procedure finds in shuffled taps.

Kernels of one layer are not independent, so intervals are bootstrapped over layers, and those over several models over models
first, then over the layers of each (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import ndtri

from neural_echos.receptive_fields.banks import TAILS, check_threshold, layer_interval
from neural_echos.tables import SCHEMAS, read_table

_THRESHOLDS = np.arange(51) / 50
_COUNTED = {
    ("cluster", False): "cluster_cosine",
    ("cluster", True): "null_cluster_cosine",
    ("kernel", False): "cosine",
    ("kernel", True): "null_cosine",
}


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
        wanted = ["kind", "kernel_height", "layer", "layer_index", "depth", *_COUNTED.values()]
        patterns = read_table(entry["patterns"], "patterns", wanted).to_pandas()
        named = {key: entry[key] for key in ("model", "role", "trained_on")}
        for (kind, size), mine in patterns.groupby(["kind", "kernel_height"]):
            rows = pd.DataFrame(_rows(mine, threshold, samples, seed))
            parts.append(rows.assign(**named, kind=kind, kernel_size=size))
    frame = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    return pa.Table.from_pandas(frame, schema=SCHEMAS["pattern_shares"], preserve_index=False)


def pooled_interval(
    values: Sequence[np.ndarray], weights: Sequence[np.ndarray], *, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over models of each one's weighted mean over layers, with a 95 % interval over models, then layers.

    Parameters
    ----------
    values, weights : sequence of ndarray of float, shape (layers,)
        One array per model; a layer weighs as many kernels as it has.
    samples : int
        Number of bootstrap samples.
    seed : int
        Of the bootstrap.

    Returns
    -------
    mean, low, high : float
        The interval is (NaN, NaN) where there is one layer in all: nothing was repeated.
    """
    count = len(values)
    mean = float(np.mean([np.average(value, weights=weight) for value, weight in zip(values, weights, strict=True)]))
    if sum(map(len, values)) < 2:
        return mean, float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(count, size=(count, samples))
    total = np.zeros(samples)
    for place in chosen:
        for model, (value, weight) in enumerate(zip(values, weights, strict=True)):
            here = place == model
            drawn = rng.multinomial(len(value), np.full(len(value), 1 / len(value)), size=int(here.sum()))
            total[here] += drawn @ (value * weight) / (drawn @ weight)
    low, high = np.quantile(total / count, TAILS)
    return mean, float(low), float(high)


def wilson_interval(share: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share of `n` independent trials (J. Am. Stat. Assoc. 22, 1927)."""
    z = ndtri(TAILS[1])
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return middle - half, middle + half


def _rows(kernels: pd.DataFrame, threshold: float, samples: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of one kind and size of a bank: all layers at every threshold, and each layer at the declared one."""
    thresholds = np.union1d(_THRESHOLDS, threshold)
    layers = kernels.groupby(["layer_index", "layer", "depth"], sort=True)
    layer_of, of_layer = layers.ngroup().to_numpy(), layers.size()
    n = of_layer.to_numpy()
    for (by, shuffled), column in _COUNTED.items():
        named = _named(kernels[column].to_numpy(), layer_of, thresholds)
        counted = {"by": by, "shuffled": shuffled}
        share = named.sum(axis=0) / n.sum()
        low, high = (
            wilson_interval(share, n.sum()) if len(n) == 1 else layer_interval(named, n, samples=samples, seed=seed)
        )
        for at, one in enumerate(thresholds):
            found = {"share": share[at], "low": low[at], "high": high[at]}
            yield counted | found | _counts(one, threshold, n.sum(), len(n))
        share = named[:, np.searchsorted(thresholds, threshold)] / n
        low, high = wilson_interval(share, n)
        for at, (index, layer, depth) in enumerate(of_layer.index):
            where = {"layer": layer, "layer_index": index, "depth": depth}
            found = {"share": share[at], "low": low[at], "high": high[at]}
            yield counted | where | found | _counts(threshold, threshold, n[at], 1)


def _named(cosine: np.ndarray, layer_of: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Kernels of each layer whose cosine reaches each threshold: shape (layers, thresholds)."""
    reached = np.searchsorted(thresholds, cosine, side="right")  # so many thresholds are reached
    counts = np.zeros((layer_of.max() + 1, len(thresholds) + 1))
    np.add.at(counts, (layer_of, reached), 1)
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]


def _counts(threshold: float, declared: float, kernels: int, layers: int) -> dict[str, Any]:
    return {"threshold": threshold, "declared": threshold == declared, "kernels": kernels, "layers": layers}
