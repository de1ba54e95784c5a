"""Clusters: k-means on normalised kernels; each cluster is named after its centroid.

Papers: Babaiee, Kiasari, Rus, Grosu, "Neural Echos", WACV 2024 (arXiv 2401.10178), Figure 5: excitatory centres,
inhibitory centres and the rest (k = 3 is inferred from its caption). Kernels are normalised by
`receptive_fields.center_norm`; k-means is scikit-learn's (Lloyd, k-means++). Besides the declared number of clusters there is
a free one: the number with the best mean silhouette (Rousseeuw, J. Comput. Appl. Math. 20, 1987), the smallest in a tie. The
agreement of the restarts, by the adjusted Rand index (Hubert and Arabie, J. Classification 2, 1985), is reported only.
Clusters are never identified by index: their names come from the fit of a Difference of Gaussians to the centroid.

With more than 50,000 kernels of one size, all restarts run on a sample of 50,000, and the best few solutions continue on all
kernels. `benchmarks/kmeans.py` compares this with restarts on all kernels.
"""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from neural_echos.errors import EchosError
from neural_echos.receptive_fields import center_norm, check_threshold, fit_dog, has_dog
from neural_echos.receptive_fields.normalisation import flattened
from neural_echos.structure.quality import mean_silhouettes, stability
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of

_log = logging.getLogger(__name__)

_FITTED = 50_000  # with more kernels than this, restarts run on a sample of this size
_STARTS, _PASSES = 3, 10  # number of the sample's solutions that continue, and their passes over all kernels
_KERNELS_PER_CLUSTER = 4  # with fewer than this, kernels are not clustered
_CHUNK = 65_536  # kernels converted to float64 at a time
_COMPARED = 1024  # kernels compared at a time in the search for distinct ones
_SAME = 1e-6  # normalised kernels that differ by no more than this in any tap are equal up to float32 rounding


@dataclass(frozen=True)
class Clustering:
    """One k-means clustering of n kernels; its c clusters are sorted by count, the largest first.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        Cluster of each kernel, from 0.
    distance : ndarray of float64, shape (n,)
        Euclidean distance of each kernel to its centroid.
    centroids : ndarray of float64, shape (c, h, w)
        Mean of each cluster's kernels.
    counts : ndarray of int64, shape (c,)
        Number of kernels in each cluster.
    """

    labels: np.ndarray
    distance: np.ndarray
    centroids: np.ndarray
    counts: np.ndarray

    @property
    def inertia(self) -> float:
        """Sum of the squared distances, in float64."""
        return float((self.distance**2).sum())


def cluster_bank(
    bank: pa.Table,
    *,
    k: int,
    restarts: int,
    seed: int,
    threshold: float,
    free_range: tuple[int, int] = (2, 8),
    sample: int = 20_000,
) -> tuple[pa.Table, pa.Table, pa.Table, dict[str, dict[str, Any]]]:
    """Cluster a bank kind by kind and size by size, with the declared and with a free number of clusters.

    Parameters
    ----------
    bank : pyarrow.Table
        Schema "bank".
    k : int
        Declared number of clusters, at least 2; this clustering is called f"k={k}", the other "free".
    restarts : int
        Number of k-means++ starts; the best is kept.
    seed : int
        Seed of every random choice, from 0 to 2³² − 1.
    threshold : float
        Minimum cosine, in [0, 1], between a centroid and its best DoG for a cluster to be "excitatory" or "inhibitory",
        by the sign of its centre; below it, or if the size has no DoG, the cluster is "other".
    free_range : tuple of int
        Smallest and largest free number of clusters, both included.
    sample : int
        Maximum number of kernels on which numbers of clusters are compared.

    Returns
    -------
    clusters : pyarrow.Table
        Schema "clusters": one row per clustering and kernel, sorted by `clustering` and `row`, the kernel's row number in
        `bank`.
    centroids : pyarrow.Table
        Schema "centroids". `similarity` and `gamma` (of the best DoG) are null if the size has none. For a bank of
        several models, `model` is their names joined by "+".
    choices : pyarrow.Table
        Schema "choices": results of the declared number and each number in `free_range` on (a sample of) each kind and size.
        Numbers larger than the number of distinct kernels are replaced by the latter.
    report : dict
        Number of kernels per kind and size ("depthwise 7x7"): "clustered", "dropped" (non-finite, zero or constant)
        and "left_out" (fewer than four kernels per cluster of the largest clustering). If kernels were clustered, also the
        number chosen, "free_k"; and if there are fewer distinct kernels than requested clusters, their number, "distinct".

    Raises
    ------
    EchosError
        A parameter is outside its range.
    """
    _check(k, restarts, threshold, free_range, sample)
    models = "+".join(sorted(bank["model"].unique().to_pylist()))
    clusters = {clustering: [SCHEMAS["clusters"].empty_table()] for clustering in ("free", f"k={k}")}
    centroids, choices, report = [SCHEMAS["centroids"].empty_table()], [], {}
    for kind, height, width, rows, kernels in groups(bank):
        normalised, kept = center_norm(kernels, np.float64 if len(kernels) <= _FITTED else np.float32)
        del kernels  # frees the memory of a large bank
        counts: dict[str, Any] = {"clustered": 0, "dropped": int((~kept).sum()), "left_out": 0}
        report[f"{kind} {height}x{width}"] = counts
        if len(normalised) < _KERNELS_PER_CLUSTER * max(k, free_range[1]):
            counts["left_out"] = len(normalised)
            continue
        most = max(k, free_range[1])
        distinct = count_distinct(normalised, most)
        if distinct < most:
            counts["distinct"] = distinct
            _log.warning(
                "%s %d×%d: %d kernels, only %d of them distinct; k-means cannot find more clusters than that",
                *(kind, height, width, len(normalised), distinct),
            )
        tried = _compare_numbers(normalised, k, free_range, restarts=restarts, seed=seed, sample=sample)
        size = {"model": models, "kind": kind, "kernel_height": height, "kernel_width": width}
        choices += [size | one for one in tried]
        free_k = next(one["clusters"] for one in tried if one["chosen"])
        counts |= {"clustered": len(normalised), "free_k": free_k}
        for clustering, number in ((f"k={k}", k), ("free", free_k)):
            found = cluster_kernels(normalised, number, restarts=restarts, seed=seed)
            named = _centroids_table(found, threshold, models, kind, clustering)
            centroids.append(named)
            names = named["name"].to_numpy()
            clusters[clustering].append(_clusters_table(bank, rows[kept], found, names, clustering))
    assigned = pa.concat_tables([pa.concat_tables(parts).sort_by("row") for parts in clusters.values()])
    compared = pa.Table.from_pylist(choices, schema=SCHEMAS["choices"])
    return assigned, pa.concat_tables(centroids).combine_chunks(), compared, report


@threadpool_limits.wrap(limits=1)  # the last bits of scikit-learn's sums depend on its threads
def cluster_kernels(kernels: np.ndarray, k: int, *, restarts: int, seed: int) -> Clustering:
    """Cluster kernels of one size with k-means; with more than 50,000, the best solutions on a sample continue on all.

    Parameters
    ----------
    kernels : ndarray of float32 or float64, shape (n, h, w)
        Normalised, n at least `k`. In float32 the call needs about as much memory again.
    k : int
        Number of clusters; fewer are returned if fewer kernels are distinct.
    restarts : int
        Number of k-means++ starts; the best is kept.
    seed : int
        Seed of the starts and the sample.
    """
    points = flattened(kernels)
    if len(points) <= _FITTED:
        return _clustering(kernels, _restarts(points, k, restarts, seed)[0].labels_)
    starts = _restarts(_draw(points, _FITTED, seed), k, restarts, seed)[:_STARTS]
    # no tolerance: scikit-learn scales it by the variances, which would need another copy of the points
    polished = (
        KMeans(len(start.cluster_centers_), init=start.cluster_centers_, n_init=1, max_iter=_PASSES, tol=0)
        .fit(points)
        .labels_
        for start in starts
    )
    # compare by our own inertia: scikit-learn sums millions of float32 distances in float32
    return min((_clustering(kernels, labels) for labels in polished), key=lambda found: found.inertia)


def count_distinct(kernels: np.ndarray, most: int) -> int:
    """Count distinct kernels, up to `most` of them; usually the first few hundred kernels are enough.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, h, w)
        Normalised; kernels are distinct if a tap differs by more than 1e-6.
    most : int
        At least 1.
    """
    points = flattened(kernels)
    found: list[np.ndarray] = []
    for start in range(0, len(points), _COMPARED):
        rest = points[start : start + _COMPARED]
        for one in found:
            rest = rest[np.abs(rest - one).max(axis=1) > _SAME]
        while len(rest):
            found.append(rest[0])
            if len(found) == most:
                return most
            rest = rest[np.abs(rest - rest[0]).max(axis=1) > _SAME]
    return len(found)


def name_centroids(centroids: np.ndarray, threshold: float) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Name clusters by the Difference of Gaussians that fits their centroids best.

    Parameters
    ----------
    centroids : ndarray of float64, shape (c, k, k)
        k odd and at least 3.
    threshold : float
        Minimum cosine of an excitatory or inhibitory centroid.

    Returns
    -------
    names : list of str
        "excitatory", "inhibitory" or "other".
    similarity, gamma : ndarray of float64, shape (c,)
        Cosine with the best DoG, and its γ.
    """
    fit = fit_dog(centroids)
    centre = np.where(fit.sign > 0, "excitatory", "inhibitory")
    return np.where(fit.cosine >= threshold, centre, "other").tolist(), fit.cosine, fit.gamma


@threadpool_limits.wrap(limits=1)
def _compare_numbers(
    kernels: np.ndarray, k: int, free_range: tuple[int, int], *, restarts: int, seed: int, sample: int
) -> list[dict[str, Any]]:
    """Compare `k` and each number in `free_range` on at most `sample` kernels: rows of a table of schema "choices"."""
    drawn = _draw(kernels, sample, seed).astype(np.float64, copy=False)
    points = flattened(drawn)
    distinct = count_distinct(drawn, max(k, free_range[1]))
    free = sorted({min(number, distinct) for number in range(free_range[0], free_range[1] + 1)})
    k = min(k, distinct)
    numbers = sorted({k, *free})
    fits = [_restarts(points, number, restarts, seed) for number in numbers]
    best = [_clustering(drawn, of_number[0].labels_) for of_number in fits]
    silhouettes = dict(zip(numbers, mean_silhouettes(points, [one.labels for one in best]), strict=True))
    chosen = max(free, key=lambda number: silhouettes[number])
    return [
        {
            "kernels": len(drawn),
            "clusters": number,
            "inertia": found.inertia,
            "silhouette": silhouettes[number],
            "stability": stability([fit.labels_ for fit in of_number]),
            "chosen": number == chosen,
            "declared": number == k,
        }
        for number, of_number, found in zip(numbers, fits, best, strict=True)
    ]


def _restarts(points: np.ndarray, k: int, restarts: int, seed: int) -> list[KMeans]:
    """Run k-means from several k-means++ starts on points (n, d); the fits are sorted by inertia, best first."""
    random = np.random.RandomState(seed)
    k = min(k, count_distinct(points[:, :, None], k))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # fewer than k clusters are handled
        fits = [KMeans(k, n_init=1, random_state=random).fit(points) for _ in range(restarts)]
    return sorted(fits, key=lambda fit: fit.inertia_)


def _clustering(kernels: np.ndarray, labels: np.ndarray) -> Clustering:
    """Sort clusters by count, largest first, and compute means and distances in float64 chunks."""
    points = flattened(kernels)
    parts = [slice(start, start + _CHUNK) for start in range(0, len(points), _CHUNK)]
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    centroids = np.zeros((len(counts), points.shape[1]))
    for part in parts:
        for cluster in range(len(counts)):
            centroids[cluster] += points[part][labels[part] == cluster].sum(axis=0, dtype=np.float64)
    centroids /= counts[:, None]
    order = np.lexsort((*centroids.T[::-1], -counts))
    labels, centroids = np.argsort(order)[labels], centroids[order]
    distance = np.concatenate([np.linalg.norm(points[part] - centroids[labels[part]], axis=1) for part in parts])
    return Clustering(labels, distance, centroids.reshape(-1, *kernels.shape[1:]), counts[order])


def _draw(values: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Draw at most `n` rows of `values`, without replacement and in order."""
    if len(values) <= n:
        return values
    return values[np.sort(np.random.default_rng(seed).choice(len(values), n, replace=False))]


def groups(bank: pa.Table) -> Iterator[tuple[str, int, int, np.ndarray, np.ndarray]]:
    """Yield each kind and size of a bank: kind, height, width, row numbers (n,) and kernels (n, height, width)."""
    for kind in sorted(bank["kind"].unique().to_pylist()):
        of_kind = bank.select(["kernel_height", "kernel_width"]).filter(pc.equal(bank["kind"], kind))
        for height, width in kernel_sizes(of_kind):
            yield kind, height, width, *kernels_of(bank, height, width, kind)


def _clusters_table(
    bank: pa.Table, rows: np.ndarray, found: Clustering, names: np.ndarray, clustering: str
) -> pa.Table:
    columns = {name: bank[name].take(pa.array(rows)) for name in SCHEMAS["clusters"].names if name in bank.column_names}
    columns |= {
        "row": rows,
        "clustering": np.full(len(rows), clustering),
        "cluster": found.labels,
        "name": names[found.labels],
        "distance": found.distance,
    }
    return pa.table({name: columns[name] for name in SCHEMAS["clusters"].names}).cast(SCHEMAS["clusters"])


def _centroids_table(found: Clustering, threshold: float, models: str, kind: str, clustering: str) -> pa.Table:
    n, height, width = found.centroids.shape
    names, similarity, gamma = ["other"] * n, pa.nulls(n, pa.float64()), pa.nulls(n, pa.float64())
    if has_dog(height, width):
        names, *fitted = name_centroids(found.centroids, threshold)
        similarity, gamma = (pa.array(column, from_pandas=True) for column in fitted)  # a zero centroid has no γ
    columns = {
        "model": [models] * n,
        "kind": [kind] * n,
        "kernel_height": np.full(n, height),
        "kernel_width": np.full(n, width),
        "clustering": [clustering] * n,
        "cluster": np.arange(n),
        "name": names,
        "count": found.counts,
        "similarity": similarity,
        "gamma": gamma,
        "taps": found.centroids.reshape(n, -1).astype(np.float32).tolist(),
    }
    return pa.table(columns).cast(SCHEMAS["centroids"])


def _check(k: int, restarts: int, threshold: float, free_range: tuple[int, int], sample: int) -> None:
    low, high = free_range
    check_threshold(threshold)
    if k < 2:
        raise EchosError(f"k: must be at least 2, not {k}; the paper uses 3")
    if restarts < 1:
        raise EchosError(f"restarts: k-means needs at least 1 start, not {restarts}; correct it")
    if not 2 <= low <= high:
        raise EchosError(f"free_range: must be a minimum and a maximum with 2 ≤ minimum ≤ maximum, not {free_range}")
    if sample <= high:
        raise EchosError(f"sample: must be larger than free_range's maximum, {high}, not {sample}; increase it")
