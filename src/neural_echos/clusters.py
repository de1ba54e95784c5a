"""Clusters: k-means on normalised kernels, each cluster named by what its average looks like.

Papers: Babaiee, Kiasari, Rus, Grosu, "Neural Echos", WACV 2024 (arXiv 2401.10178), Figure 5: excitatory centres,
inhibitory centres and the rest (k = 3 is inferred from its caption). Kernels are normalised by
`receptive_fields.center_norm`; k-means is scikit-learn's (Lloyd, k-means++). Beside the declared number of clusters stands
a free one, that with the best mean silhouette (Rousseeuw, J. Comput. Appl. Math. 20, 1987). A cluster is never known by
its index: its name comes from the fit of a Difference of Gaussians to its centroid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.cluster import KMeans

from neural_echos.errors import EchosError
from neural_echos.receptive_fields import center_norm, check_threshold, fit_dog, has_dog
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of

_FITTED = 50_000  # above this many kernels the restarts run on a sample of so many
_KERNELS_PER_CLUSTER = 4  # fewer than this are not clustered
_CHUNK = 1024  # kernels whose distances to a whole sample are held at a time


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


def cluster_bank(
    bank: pa.Table,
    *,
    k: int,
    restarts: int,
    seed: int,
    threshold: float,
    free_range: tuple[int, int] = (2, 8),
    sample: int = 20_000,
) -> tuple[pa.Table, pa.Table, dict[str, dict[str, Any]]]:
    """Cluster a bank kind by kind and size by size, with the declared and with a free number of clusters.

    Parameters
    ----------
    bank : pyarrow.Table
        Of schema "bank".
    k : int
        Declared number of clusters, at least 2; this clustering is called f"k={k}", the other "free".
    restarts : int
        Number of k-means++ starts, of which the best is kept.
    seed : int
        Of every random choice, from 0 to 2³² − 1.
    threshold : float
        Least cosine, in [0, 1], between a centroid and its best DoG: from it on a cluster is "excitatory" or "inhibitory",
        by the sign of its centre; below it, or where the size has no DoG, it is "other".
    free_range : tuple of int
        Least and largest free number of clusters, both included.
    sample : int
        Largest number of kernels on which the free number is chosen.

    Returns
    -------
    clusters : pyarrow.Table
        Of schema "clusters": in each clustering one row for each kernel, sorted by `clustering` and `row`, the kernel's
        row number in `bank`.
    centroids : pyarrow.Table
        Of schema "centroids". `similarity` and `gamma` (of the best DoG) are null where the size has none. A bank of
        several models has their names joined by "+" as `model`.
    report : dict
        Per kind and size ("depthwise 7x7"): the number of kernels "clustered", "dropped" (not finite, zero or constant)
        and "left_out" (fewer than four kernels for each cluster of the largest clustering); where kernels are clustered,
        also the free number's "silhouettes" and the number chosen, "free_k".

    Raises
    ------
    EchosError
        A parameter is outside its range.
    """
    _check(k, restarts, threshold, free_range, sample)
    models = "+".join(sorted(bank["model"].unique().to_pylist()))
    clusters, centroids = [SCHEMAS["clusters"].empty_table()], [SCHEMAS["centroids"].empty_table()]
    report = {}
    for kind, height, width, rows, kernels in _groups(bank):
        normalised, kept = center_norm(kernels)
        counts: dict[str, Any] = {"clustered": 0, "dropped": int((~kept).sum()), "left_out": 0}
        report[f"{kind} {height}x{width}"] = counts
        if len(normalised) < _KERNELS_PER_CLUSTER * max(k, free_range[1]):
            counts["left_out"] = len(normalised)
            continue
        silhouettes = _silhouettes_by_number(normalised, free_range, restarts, seed, sample)
        free_k = max(silhouettes, key=lambda number: silhouettes[number])
        counts |= {"clustered": len(normalised), "free_k": free_k, "silhouettes": silhouettes}
        for clustering, number in ((f"k={k}", k), ("free", free_k)):
            found = cluster_kernels(normalised, number, restarts=restarts, seed=seed)
            named = _centroids_table(found, threshold, models, kind, clustering)
            centroids.append(named)
            clusters.append(_clusters_table(bank, rows[kept], found, named["name"].to_numpy(), clustering))
    order = [("clustering", "ascending"), ("row", "ascending")]
    return pa.concat_tables(clusters).sort_by(order), pa.concat_tables(centroids).combine_chunks(), report


def cluster_kernels(kernels: np.ndarray, k: int, *, restarts: int, seed: int) -> Clustering:
    """Cluster kernels of one size with k-means; more than 50,000 are polished from the best start on a sample.

    Parameters
    ----------
    kernels : ndarray of float64, shape (n, h, w)
        Normalised, n at least `k`.
    k : int
        Number of clusters; fewer come back where fewer kernels are distinct.
    restarts : int
        Number of k-means++ starts, of which the best is kept.
    seed : int
        Of the starts and of the sample.
    """
    points = kernels.reshape(len(kernels), -1)
    if len(points) > _FITTED:
        drawn = _draw(points, _FITTED, seed)
        start = KMeans(k, n_init=restarts, random_state=seed).fit(drawn).cluster_centers_
        labels = KMeans(k, init=start, n_init=1).fit(points).labels_
    else:
        labels = KMeans(k, n_init=restarts, random_state=seed).fit(points).labels_
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    # means by our own fixed order of addition: scikit-learn's last bits depend on its threads
    centroids = np.stack([points[labels == cluster].mean(axis=0) for cluster in range(len(counts))])
    order = np.lexsort((*centroids.T[::-1], -counts))
    labels = np.argsort(order)[labels]
    centroids = centroids[order]
    distance = np.linalg.norm(points - centroids[labels], axis=1)
    return Clustering(labels, distance, centroids.reshape(-1, *kernels.shape[1:]), counts[order])


def name_centroids(centroids: np.ndarray, threshold: float) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Name clusters by the Difference of Gaussians that fits their centroids best.

    Parameters
    ----------
    centroids : ndarray of float64, shape (c, k, k)
        k odd and at least 3.
    threshold : float
        Least cosine of a centre.

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


def mean_silhouettes(points: np.ndarray, labellings: Sequence[np.ndarray]) -> list[float]:
    """Mean silhouette of each of several clusterings of the same points, all from one pass over the distances.

    Parameters
    ----------
    points : ndarray of float64, shape (n, d)
    labellings : sequence of ndarray of int, shape (n,)
        Each numbers its clusters from 0, none of them empty.

    Returns
    -------
    list of float
        In [−1, 1]; a single cluster has −1, and a point alone in its cluster counts as 0.
    """
    squares = (points**2).sum(axis=1)
    members = [np.eye(labels.max() + 1)[labels] for labels in labellings]
    totals = [0.0 for _ in labellings]
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        distance = squares[part, None] + squares - 2 * (points[part] @ points.T)
        np.sqrt(np.maximum(distance, 0.0, out=distance), out=distance)
        np.fill_diagonal(distance[:, part], 0.0)
        for number, labels in enumerate(labellings):
            totals[number] += _silhouettes(distance, labels[part], members[number]).sum()
    return [
        float(total / len(points)) if member.shape[1] > 1 else -1.0
        for total, member in zip(totals, members, strict=True)
    ]


def _silhouettes(distance: np.ndarray, labels: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Silhouettes, (m,), of points with these labels, (m,), from their distances to all points, (m, n)."""
    counts = members.sum(axis=0)
    sums = distance @ members
    own = np.arange(len(labels)), labels
    within = sums[own] / np.maximum(counts[labels] - 1, 1)
    means = sums / counts
    means[own] = np.inf
    between = means.min(axis=1)
    larger = np.maximum(within, between)
    defined = (counts[labels] > 1) & np.isfinite(between) & (larger > 0)
    return np.divide(between - within, larger, out=np.zeros(len(labels)), where=defined)


def _silhouettes_by_number(
    kernels: np.ndarray, free_range: tuple[int, int], restarts: int, seed: int, sample: int
) -> dict[int, float]:
    """Mean silhouette of each number of clusters in `free_range`, on at most `sample` kernels."""
    drawn = _draw(kernels, sample, seed)
    numbers = range(free_range[0], free_range[1] + 1)
    labellings = [cluster_kernels(drawn, number, restarts=restarts, seed=seed).labels for number in numbers]
    return dict(zip(numbers, mean_silhouettes(drawn.reshape(len(drawn), -1), labellings), strict=True))


def _draw(values: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Draw at most `n` rows of `values`, without replacement and in order."""
    if len(values) <= n:
        return values
    return values[np.sort(np.random.default_rng(seed).choice(len(values), n, replace=False))]


def _groups(bank: pa.Table) -> Iterator[tuple[str, int, int, np.ndarray, np.ndarray]]:
    """Yield each kind and size of a bank: kind, height, width, row numbers (n,) and kernels (n, height, width)."""
    for kind in sorted(bank["kind"].unique().to_pylist()):
        of_kind = np.flatnonzero(pc.equal(bank["kind"], kind).to_numpy(zero_copy_only=False))
        part = bank.take(pa.array(of_kind))
        for height, width in kernel_sizes(part):
            rows, kernels = kernels_of(part, height, width)
            yield kind, height, width, of_kind[rows], kernels


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
        names, similarity, gamma = name_centroids(found.centroids, threshold)
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
        raise EchosError(f"k: expected at least 2 clusters, found {k}; the papers' number is 3")
    if restarts < 1:
        raise EchosError(f"restarts: expected at least 1 start of k-means, found {restarts}; correct it")
    if not 2 <= low <= high:
        raise EchosError(
            f"free_range: expected a least and a largest number with 2 ≤ least ≤ largest, found {free_range}"
        )
    if sample <= high:
        raise EchosError(
            f"sample: expected more kernels than free_range's largest number, {high}, found {sample}; raise it"
        )
