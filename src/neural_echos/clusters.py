"""Clusters: k-means on normalised kernels, each cluster named by what its average looks like.

Papers: Babaiee, Kiasari, Rus, Grosu, "Neural Echos", WACV 2024 (arXiv 2401.10178), Figure 5: excitatory centres, inhibitory
centres and the rest (k = 3 is inferred from its caption); the normalisation is `receptive_fields.center_norm`. k-means is
scikit-learn's (Lloyd, k-means++). Beside the declared number of clusters stands a free one, chosen by the mean silhouette
(Rousseeuw, 1987). A cluster is never known by its index: its name comes from the fit of a Difference of Gaussians to its
centroid.
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
_KERNELS_PER_CLUSTER = 4  # fewer than this cannot be clustered
_CHUNK = 1024  # kernels whose distances to a whole sample are held at a time


@dataclass(frozen=True)
class Clustering:
    """One k-means clustering of n kernels with d taps: clusters sorted by count, the largest first.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
    distance : ndarray of float64, shape (n,)
        Euclidean distance of each kernel to its centroid.
    centroids : ndarray of float64, shape (c, d)
        Mean of each cluster's kernels.
    counts : ndarray of int64, shape (c,)
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
    """Cluster the kernels of a bank, kind by kind and size by size, with the declared and with a free number of clusters.

    Parameters
    ----------
    bank : pyarrow.Table
        Of schema "bank".
    k : int
        Declared number of clusters, at least 2; this clustering is called f"k={k}", the other "free".
    restarts : int
        Number of k-means++ starts, of which the best is kept.
    seed : int
        Of every random choice.
    threshold : float
        Least cosine, in [0, 1], of a centroid with its best DoG: above it the cluster is "excitatory" or "inhibitory" by the
        sign of its centre; below it, or where the size has no DoG, it is "other".
    free_range : tuple of int
        Least and largest free number of clusters, both included.
    sample : int
        Largest number of kernels on which the free number is chosen.

    Returns
    -------
    clusters : pyarrow.Table
        Of schema "clusters": per clustering one row for each kernel, sorted by `clustering` ("k=…", then "free") and `row`.
    centroids : pyarrow.Table
        Of schema "centroids". `similarity` and `gamma` (of the best DoG) are null where the size has none. A bank of several
        models has them joined by "+" as `model`.
    report : dict
        Per kind and size ("depthwise 7x7"): the number of kernels "clustered", "dropped" (not finite, zero or constant) and
        "left_out" (fewer than four kernels per cluster of the largest clustering asked for); with kernels clustered, also
        the mean silhouette of each free number tried ("silhouettes") and the one chosen ("free_k").

    Raises
    ------
    EchosError
        A parameter is outside its range.
    """
    _check(k, restarts, threshold, free_range, sample)
    largest = max(k, free_range[1])
    assigned, centroids = [SCHEMAS["clusters"].empty_table()], [SCHEMAS["centroids"].empty_table()]
    report: dict[str, dict[str, Any]] = {}
    for kind, (height, width), rows, kernels in _groups(bank):
        normalised, kept = center_norm(kernels)
        enough = len(normalised) >= _KERNELS_PER_CLUSTER * largest
        counts: dict[str, Any] = {"clustered": len(normalised), "dropped": int((~kept).sum()), "left_out": 0}
        report[f"{kind} {height}x{width}"] = counts
        if not enough:
            counts["clustered"], counts["left_out"] = 0, len(normalised)
            continue
        points = normalised.reshape(len(normalised), -1)
        silhouettes = _silhouettes_by_k(points, free_range, restarts, seed, sample)
        free_k = max(silhouettes, key=lambda number: silhouettes[number])
        counts |= {"free_k": free_k, "silhouettes": silhouettes}
        for name, number in ((f"k={k}", k), ("free", free_k)):
            found = cluster_kernels(points, number, restarts=restarts, seed=seed)
            names, similarity, gamma = name_centroids(found.centroids.reshape(-1, height, width), threshold)
            ...
    return pa.concat_tables(assigned), pa.concat_tables(centroids), report
