"""Shares: how many kernels have a named pattern, at every threshold, beside what the same procedure finds in shuffled taps.

Shares by cluster are means over the trainings of the autoencoder, each of which gives another. Kernels of one layer are not
independent, so intervals are bootstrapped over layers and trainings, and those over several models over models first, then over
the layers and trainings of each (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import ndtri

from neural_echos.receptive_fields.banks import TAILS, check_threshold
from neural_echos.tables import SCHEMAS, read_table

_THRESHOLDS = np.arange(51) / 50
_COUNTED = {
    ("cluster", False): "cluster_cosines",
    ("cluster", True): "null_cluster_cosines",
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


def pooled_interval(
    values: Sequence[np.ndarray], weights: Sequence[np.ndarray], *, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over models of each one's weighted mean over layers, with a 95 % interval over models, then layers.

    Parameters
    ----------
    values : sequence of ndarray of float, shape (layers,) or (layers, trainings)
        One array per model; of several trainings the mean counts, and the interval is over them, too.
    weights : sequence of ndarray of float, shape (layers,)
        A layer weighs as many kernels as it has.
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
    values = [value.reshape(len(value), -1) for value in values]
    mean = float(
        np.mean([np.average(value, axis=0, weights=of).mean() for value, of in zip(values, weights, strict=True)])
    )
    if sum(map(len, values)) < 2:
        return mean, float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(count, size=(count, samples))
    total = np.zeros(samples)
    for place in chosen:
        for model, (value, weight) in enumerate(zip(values, weights, strict=True)):
            here = place == model
            drawn = rng.multinomial(len(value), np.full(len(value), 1 / len(value)), size=int(here.sum()))
            by_training = drawn @ (value * weight[:, None]) / (drawn @ weight)[:, None]
            total[here] += (by_training * _trainings_drawn(rng, value.shape[1], len(drawn))).sum(axis=1)
    low, high = np.quantile(total / count, TAILS)
    return mean, float(low), float(high)


def wilson_interval(share: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share of `n` independent trials (J. Am. Stat. Assoc. 22, 1927)."""
    z = ndtri(TAILS[1])
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return middle - half, middle + half


def _trainings_drawn(rng: np.random.Generator, trainings: int, samples: int) -> np.ndarray:
    """Weights of trainings in bootstrap samples, (samples, trainings)."""
    if trainings == 1:
        return np.ones((samples, 1))
    return rng.multinomial(trainings, np.full(trainings, 1 / trainings), size=samples) / trainings


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
    trainings = _trainings_drawn(rng, len(named), samples)
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
