"""Measures of banks: structure, explained variance, and shares of named patterns, each compared with shuffled taps.

Pattern shares by cluster are means over the trainings of the autoencoder, because each training gives a different share.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtri

from neural_echos.receptive_fields import MATCHED, check_threshold, has_dog
from neural_echos.receptive_fields.normalisation import usable
from neural_echos.structure.filter_quality import filter_quality
from neural_echos.structure.intervals import TAILS, layer_interval, trainings_drawn, wilson_interval
from neural_echos.structure.shares import structured_share
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of, read_table

_THRESHOLDS = np.arange(51) / 50
_COUNTED = {
    ("cluster", False): "cluster_cosines",
    ("cluster", True): "null_cluster_cosines",
    ("kernel", False): "cosine",
    ("kernel", True): "null_cosine",
}


def structure(models: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Measure how much receptive-field structure each bank has, in a table of schema "structure".

    Parameters
    ----------
    models : sequence of mappings
        Each has `model`, `role`, `trained_on`, and the paths `bank` and `clusters`.
    """
    rows = []
    for entry in models:
        bank = read_table(entry["bank"], "bank")
        kinds, layers = kinds_and_layers(bank)
        names = _cluster_names(read_table(entry["clusters"], "clusters", ["row", "clustering", "name"]), len(bank))
        named = {key: entry[key] for key in ("model", "role", "trained_on")}
        for kind, (height, width) in itertools.product(sorted(set(kinds)), kernel_sizes(bank)):
            found, kernels = kernels_of(bank, height, width)
            mine = (kinds[found] == kind) & has_dog(height, width)
            measured = _measured(kernels[mine], layers[found[mine]])
            if measured:
                shares = _cluster_shares(names[found[mine]])
                rows.append({**named, "kind": kind, "kernel_size": height, **measured, **shares})
    return pa.Table.from_pylist(rows, schema=SCHEMAS["structure"])


def _measured(kernels: np.ndarray, layer_of: np.ndarray) -> dict[str, Any] | None:
    """All measures of kernels of one kind and size, or None if none of the kernels is usable."""
    finite, varied = usable(kernels)
    kept = finite & varied
    if not kept.any():
        return None
    quality = filter_quality(kernels[finite], layer_of[finite])
    return {
        **vars(structured_share(kernels[kept], layer_of[kept])),
        "dropped": int((~kept).sum()),
        "almost_dead": int((quality.sparse & varied[finite]).sum()),
        "sparsity": quality.sparsity,
        "variance_entropy": quality.variance_entropy,
    }


def explained(models: Sequence[Mapping[str, Any]], *, samples: int = 2000, seed: int = 0) -> pa.Table:
    """Measure how much of the kernels' variance receptive-field models explain in each bank, in a table of schema "explained".

    Parameters
    ----------
    models : sequence of mappings
        Each has `model`, `role`, `trained_on`, and the path `matches`.
    samples : int
        Number of bootstrap samples over layers.
    seed : int
        Seed of the bootstrap.
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
        Each has `model`, `role`, `trained_on`, and the path `patterns`.
    threshold : float
        The declared threshold, in [0, 1]. Whole banks also have rows for thresholds in steps of .02; layers have this one only.
    samples : int
        Number of bootstrap samples.
    seed : int
        Seed of the bootstrap.

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
    """Rows of one kind and size of a bank: all layers together at every threshold, and each layer at the declared one."""
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
    """95 % interval, (m,) each, over layers and trainings of counts, (trainings, layers, m), among n kernels, (layers,)."""
    rng = np.random.default_rng(seed)
    layers = rng.multinomial(len(n), np.full(len(n), 1 / len(n)), size=samples)
    trainings = trainings_drawn(rng, len(named), samples)
    counted = sum(weight[:, None] * (layers @ one) for weight, one in zip(trainings.T, named, strict=True))
    low, high = np.quantile(counted / (layers @ n)[:, None], TAILS, axis=0)
    return low, high


def _lone_interval(share: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of the mean share, (trainings, m), combined in quadrature with the normal interval over trainings."""
    mean = share.mean(axis=0)
    low, high = wilson_interval(mean, n)
    if len(share) == 1:
        return low, high
    spread = ndtri(TAILS[1]) * share.std(axis=0, ddof=1) / np.sqrt(len(share))
    return np.maximum(mean - np.hypot(mean - low, spread), 0.0), np.minimum(mean + np.hypot(high - mean, spread), 1.0)


def _named(cosine: np.ndarray, layer_of: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Kernels of each layer whose cosine reaches each threshold: shape (layers, thresholds)."""
    reached = np.searchsorted(thresholds, cosine, side="right")  # number of thresholds reached
    counts = np.zeros((layer_of.max() + 1, len(thresholds) + 1))
    np.add.at(counts, (layer_of, reached), 1)
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]


def _counts(threshold: float, declared: float, kernels: int, layers: int) -> dict[str, Any]:
    return {"threshold": threshold, "declared": threshold == declared, "kernels": kernels, "layers": layers}


def kinds_and_layers(bank: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Each kernel's kind ("stem" for a regular layer that reads the image, with one or three channels) and layer number."""
    kernels = bank.select(["kind", "layer", "input_channel"]).to_pandas()
    layers = kernels.groupby(["kind", "layer"], sort=False)
    stem = (kernels.kind == "regular") & layers.input_channel.transform("max").isin([0, 2])
    return kernels.kind.mask(stem, "stem").to_numpy(str), layers.ngroup().to_numpy()


def _cluster_names(clusters: pa.Table, kernels: int) -> np.ndarray:
    """Name of each kernel's cluster in the clustering with the declared k; None if it has none."""
    declared = clusters.filter(pc.field("clustering") != "free")
    names = np.full(kernels, None, object)
    names[declared["row"].to_numpy()] = declared["name"].to_pylist()
    return names


def _cluster_shares(names: np.ndarray) -> dict[str, float | None]:
    """Share of clustered kernels in clusters of each name."""
    clustered = names[names != np.array(None)]
    return {
        f"{name}_share": float((clustered == name).mean()) if len(clustered) else None
        for name in ("excitatory", "inhibitory", "other")
    }
