"""Quality of clusterings of the same points: silhouettes, and agreement between clusterings.

Papers: silhouettes, Rousseeuw, J. Comput. Appl. Math. 20, 1987; the adjusted Rand index, Hubert and Arabie, J. Classification 2,
1985.
"""

from collections.abc import Sequence

import numpy as np

_DISTANCES = 1024  # points whose distances to all others are computed at a time


def mean_silhouettes(points: np.ndarray, labellings: Sequence[np.ndarray]) -> list[float]:
    """Mean silhouettes of several clusterings of the same points, in one pass over the distances.

    Parameters
    ----------
    points : ndarray of float64, shape (n, d)
    labellings : sequence of ndarray of int, shape (n,)
        Each numbers its clusters from 0; none is empty.

    Returns
    -------
    list of float
        In [−1, 1]; −1 for a single cluster. A point alone in its cluster counts as 0.
    """
    squares = (points**2).sum(axis=1)
    members = [np.eye(labels.max() + 1)[labels] for labels in labellings]
    totals = [0.0 for _ in labellings]
    for start in range(0, len(points), _DISTANCES):
        part = slice(start, start + _DISTANCES)
        distance = squares[part, None] + squares - 2 * (points[part] @ points.T)
        np.sqrt(np.maximum(distance, 0.0, out=distance), out=distance)
        np.fill_diagonal(distance[:, part], 0.0)
        for number, labels in enumerate(labellings):
            totals[number] += _silhouettes(distance, labels[part], members[number]).sum()
    return [
        float(total / len(points)) if member.shape[1] > 1 else -1.0
        for total, member in zip(totals, members, strict=True)
    ]


def stability(labellings: Sequence[np.ndarray]) -> float:
    """Agreement of several clusterings of the same points: the mean adjusted Rand index over all pairs.

    Parameters
    ----------
    labellings : sequence of ndarray of int, shape (n,)
        Each numbers its clusters from 0.

    Returns
    -------
    float
        1 if all are the same up to numbering, about 0 if they agree no more than by chance; NaN for fewer than two.
    """
    if len(labellings) < 2:
        return float("nan")
    members = [np.eye(labels.max() + 1)[labels] for labels in labellings]
    first = np.cumsum([0, *(one.shape[1] for one in members[:-1])])
    shared = np.hstack(members).T @ np.hstack(members)  # points in both of two clusters, for all labellings at once
    squares = np.add.reduceat(np.add.reduceat(shared**2, first, axis=0), first, axis=1)
    n = len(labellings[0])
    together = squares - n  # ordered pairs of points in the same cluster in both labellings; in one on the diagonal
    own = np.diag(together)
    expected = own[:, None] * (own / max(n * (n - 1), 1))
    largest = (own[:, None] + own) / 2
    index = np.divide(together - expected, largest - expected, out=np.ones_like(expected), where=largest > expected)
    return float(index[np.triu_indices(len(labellings), 1)].mean())


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
