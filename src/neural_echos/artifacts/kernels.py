"""Kernels for figures, one row per kernel: random samples, kernels closest to a model, and kernels before and after training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from neural_echos.artifacts.mosaics import whole_rows
from neural_echos.artifacts.names import bank_labels
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import dog
from neural_echos.tables import kernel_sizes, kernels_of

Banks = Mapping[str, pa.Table]


def random_kernels(banks: Banks, models: Sequence[str], *, seed: int, kernels: int, columns: int) -> pd.DataFrame:
    """Sample kernels from every network and every odd, square size of its depthwise kernels.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
        Tables of schema "bank" by model.
    models : sequence of str
    seed : int
        Seed of the samples, the same for each network and size.
    kernels : int
        Maximum number of each; whole rows only.
    columns : int
        Kernels per row.

    Returns
    -------
    DataFrame
        One row per kernel: `network` (its label), `model`, `kernel_size` (taps), `kernels` (number of kernels of that
        network and size), `row` (in the bank), `layer` and `taps` (ndarray, shape (k, k)).

    Raises
    ------
    EchosError
        No network has depthwise kernels.
    """
    parts = []
    for network, model, size in sized(banks, models):
        rows, taps = kernels_of(banks[model], size, size, "depthwise")
        chosen = sample(len(rows), seed=seed, kernels=kernels, columns=columns)
        of = {"network": network, "model": model, "kernel_size": size, "kernels": len(rows)}
        parts.append(_rows(banks[model], rows[chosen], taps[chosen], of))
    if not parts:
        raise EchosError(f"there are no depthwise kernels of an odd, square size in {', '.join(models)}; choose others")
    return pd.concat(parts, ignore_index=True)


def random_regular_kernels(banks: Banks, model: str | None, *, seed: int, kernels: int) -> pd.DataFrame:
    """Sample regular kernels of one network, from its most frequent odd, square size.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
    model : str, optional
    seed : int
        Seed of the sample.
    kernels : int
        Maximum number.

    Returns
    -------
    DataFrame
        One row per kernel with the columns of `random_kernels`; no rows without a model, or if its bank is missing or has none.
    """
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    if model is not None and model in banks:
        sides = kernel_sizes(banks[model].filter(pc.equal(banks[model]["kind"], "regular")))
        squares = [height for height, width in sides if height == width and height % 2]
        found = {size: kernels_of(banks[model], size, size, "regular") for size in squares}
    if not found or model is None:
        return pd.DataFrame(columns=["network", "model", "kernel_size", "kernels", "row", "layer", "taps"])
    size, (rows, taps) = max(found.items(), key=lambda one: len(one[1][0]))
    chosen = sample(len(rows), seed=seed, kernels=kernels, columns=1)
    of = {"network": bank_labels([model])[model], "model": model, "kernel_size": size, "kernels": len(rows)}
    return _rows(banks[model], rows[chosen], taps[chosen], of)


def sized(banks: Banks, models: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Yield label, model and each odd, square depthwise kernel size, in the order of the name table and by increasing size."""
    for model, network in bank_labels(models).items():
        depthwise = banks[model].filter(pc.equal(banks[model]["kind"], "depthwise"))
        for height, width in kernel_sizes(depthwise):
            if height == width and height % 2:
                yield network, model, height


def sample(available: int, *, seed: int, kernels: int, columns: int) -> np.ndarray:
    """Choose kernels at random, in whole rows, and return their indices in order."""
    shown, _ = whole_rows(available, kernels, columns)
    chosen = np.random.default_rng(seed).choice(available, min(kernels, available), replace=False)
    return np.sort(chosen[:shown])


def closest_to_dogs(
    banks: Banks, fits: pd.DataFrame, models: Sequence[str], *, size: int | None, gammas: Sequence[float], kernels: int
) -> pd.DataFrame:
    """Find the trained depthwise kernels closest to a Difference of Gaussians, for each sign and ratio.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
    fits : DataFrame
        Table of schema "fits".
    models : sequence of str
    size : int, optional
        Side of the kernels, taps; by default the largest that was fitted.
    gammas : sequence of float
        Ratios; a kernel belongs to the ratio nearest to its best Difference of Gaussians.
    kernels : int
        Maximum number of each sign, divided equally among the ratios, at least one for each.

    Returns
    -------
    DataFrame
        One row per kernel, by sign, ratio and cosine: the columns of `random_kernels` (`kernels`: number with this size), `sign`
        (+1 excitatory, −1 inhibitory centre), `nearest` (of `gammas`), `place` (0 for the closest of its ratio), `gamma`, `cosine`
        (with that Difference of Gaussians) and `close` (share of all kernels of this size with a cosine above .9).

    Raises
    ------
    EchosError
        No depthwise kernel of that size was fitted.
    """
    fits = fits[fits.model.isin(models) & (fits.kind == "depthwise")]
    size = size or int(fits.kernel_height.max() if len(fits) else 0)
    fits = fits[fits.kernel_height == size]
    if not len(fits):
        what = f"{size}×{size} depthwise kernels" if size else "fitted depthwise kernels"
        raise EchosError(f"there are no {what} in {', '.join(models)}; choose another size or other models")
    wanted = np.asarray(gammas)
    nearest = wanted[np.abs(fits.gamma.to_numpy()[:, None] - wanted).argmin(axis=1)]
    ordered = fits.assign(nearest=nearest).sort_values(["sign", "nearest", "cosine"], ascending=[True, True, False])
    ordered["place"] = ordered.groupby(["sign", "nearest"]).cumcount()
    best = _with_taps(banks, ordered[ordered.place < max(1, kernels // len(wanted))])
    return best.assign(kernels=len(fits), close=(fits.cosine > 0.9).mean()).reset_index(drop=True)


def beside_fits(banks: Banks, fits: pd.DataFrame, models: Sequence[str], *, kernels: int) -> pd.DataFrame:
    """Pair depthwise kernels with their own best Difference of Gaussians, from the closest to the least close.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
    fits : DataFrame
        Table of schema "fits".
    models : sequence of str
    kernels : int
        Number per network, at evenly spaced ranks of the cosine among its kernels of the largest size.

    Returns
    -------
    DataFrame
        One row per kernel: the columns of `random_kernels`, `sign`, `gamma`, `cosine`, `share` (of the network's kernels of this
        size with a cosine at least as high) and `fit` (ndarray, shape (k, k), the Difference of Gaussians).
    """
    fits = fits[fits.model.isin(models) & (fits.kind == "depthwise")]
    parts = []
    for _, mine in fits.groupby("model", sort=False):
        largest = mine[mine.kernel_height == mine.kernel_height.max()].sort_values(["cosine", "row"], ascending=False)
        places = np.unique(np.linspace(0, len(largest) - 1, min(kernels, len(largest))).round().astype(int))
        share = (places + 1) / len(largest)
        parts.append(largest.iloc[places].assign(kernels=len(largest), share=share))
    if not parts:
        raise EchosError(f"there are no fitted depthwise kernels in {', '.join(models)}; choose other models")
    chosen = _with_taps(banks, pd.concat(parts))
    parameters = zip(chosen.kernel_size, chosen.gamma, chosen.sign, strict=True)
    return chosen.assign(fit=_objects((dog(*one) for one in parameters), chosen.index))


def before_and_after(
    banks: Banks, pairs: Sequence[Mapping[str, str]], *, kernels: int, columns: int, seed: int
) -> pd.DataFrame:
    """Pair the depthwise kernels of the largest size before training with the same kernels after training.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
    pairs : sequence of mapping
        `label`, and the models `before` and `after`.
    kernels, columns : int
        Maximum number to be drawn, in whole rows of `columns`.
    seed : int
        Seed of the sample to be drawn.

    Returns
    -------
    DataFrame
        One row per kernel, the least changed first: `pair` (its label), `kernel_size` (taps), `row` (among the kernels of
        that size), `cosine` (between the raw kernels before and after), `drawn` (whether it is in the sample), `before` and `after`
        (ndarrays, shape (k, k)).

    Raises
    ------
    EchosError
        The banks of a pair do not have the same kernels.
    """
    parts = []
    for pair in pairs:
        before, after = banks[pair["before"]], banks[pair["after"]]
        size = max((size for _, _, size in sized(banks, [pair["before"]])), default=0)
        first, last = (kernels_of(bank, size, size, "depthwise")[1] for bank in (before, after))
        if not len(first) or first.shape != last.shape:
            raise EchosError(
                f"{pair['label']}: {pair['before']} has {len(first)} depthwise {size}×{size} kernels and {pair['after']} "
                f"has {len(last)}; name the same network before and after training"
            )
        mine = pd.DataFrame({"pair": pair["label"], "kernel_size": size, "row": np.arange(len(first))})
        mine = mine.assign(cosine=_cosines(first, last), drawn=False, before=list(first), after=list(last))
        mine.loc[sample(len(mine), seed=seed, kernels=kernels, columns=columns), "drawn"] = True
        parts.append(mine.sort_values(["cosine", "row"], ascending=[False, True]))
    return pd.concat(parts, ignore_index=True)


def first_clustered(clusters: pd.DataFrame, models: Sequence[str]) -> list[str]:
    """Return the first model with clustered depthwise kernels; the others are fallbacks if it could not be fetched."""
    there = set(clusters[clusters.kind == "depthwise"].model)
    return [model for model in models if model in there][:1] or list(models[:1])


def typical_by_layer(banks: Banks, clusters: pd.DataFrame, models: Sequence[str], *, kernels: int) -> pd.DataFrame:
    """List the depthwise kernels of one network by layer, those nearest to their cluster's average first.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
    clusters : DataFrame
        Table of schema "clusters".
    models : sequence of one str
    kernels : int
        Maximum number per layer.

    Returns
    -------
    DataFrame
        One row per kernel: `layer`, `layer_index`, `depth` (0 to 1), `kernel_size` (taps), `kernels` (number of clustered kernels
        in the layer), `row` (in the bank), `name` (of its cluster: `excitatory`, `inhibitory` or `other`), `distance` (to the
        cluster's average; both have L2 norm at most 1) and `taps` (ndarray, shape (h, w)).

    Raises
    ------
    EchosError
        There is not exactly one model, or none of its depthwise kernels were clustered.
    """
    if len(models) != 1:
        raise EchosError(f"a layer sheet shows one network, not {len(models)}; name one model")
    mine = clusters[(clusters.model == models[0]) & (clusters.clustering != "free") & (clusters.kind == "depthwise")]
    if not len(mine):
        raise EchosError(f"{models[0]}: none of its depthwise kernels were clustered; choose another model")
    mine = mine.assign(kernels=mine.groupby("layer").row.transform("size"))
    ordered = mine.sort_values(["layer_index", "distance", "row"])
    shown = ordered.groupby("layer_index").head(kernels)
    columns = ["layer", "layer_index", "depth", "kernel_size", "kernels", "row", "name", "distance", "taps"]
    return _with_taps(banks, shown)[columns].reset_index(drop=True)


def _with_taps(banks: Banks, found: pd.DataFrame) -> pd.DataFrame:
    """Add a network's name, size and taps to rows of a table of kernels."""
    network = found.model.map(bank_labels(found.model))
    where = zip(
        found.model.tolist(),
        found.row.tolist(),
        found.kernel_height.tolist(),
        found.kernel_width.tolist(),
        strict=True,
    )
    taps = [
        np.asarray(banks[model]["taps"][row].as_py(), np.float32).reshape(height, width)
        for model, row, height, width in where
    ]
    return found.assign(network=network, kernel_size=found.kernel_height, taps=_objects(taps, found.index))


def _objects(arrays: Iterable[np.ndarray], index: pd.Index) -> pd.Series:
    return pd.Series(list(arrays), index=index, dtype=object)


def _rows(bank: pa.Table, rows: np.ndarray, taps: np.ndarray, of: Mapping[str, Any]) -> pd.DataFrame:
    layers = bank["layer"].take(pa.array(rows)).to_pylist()
    return pd.DataFrame({"row": rows, "layer": layers, "taps": list(taps)}).assign(**of)[[*of, "row", "layer", "taps"]]


def _cosines(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Cosine of every kernel with its partner, 0 if one of them is zero; shape (n,)."""
    flat, other = (kernels.reshape(len(kernels), -1).astype(np.float64) for kernels in (first, last))
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(other, axis=1)
    return (flat * other).sum(axis=1) / np.where(norms > 0, norms, 1.0)
