"""Intervals of shares and means over kernels; the unit of replication is the layer.

Kernels of one layer are not independent, so intervals are bootstrapped over layers (and trainings). Intervals over several models
are bootstrapped over models first, then over each one's layers and trainings (Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri, stdtrit

if TYPE_CHECKING:
    import pandas as pd

TAILS = (0.025, 0.975)  # of a 95 % interval


def layer_interval(sums: np.ndarray, counts: np.ndarray, *, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a mean over kernels, bootstrapped over layers because kernels of one layer are not independent.

    Parameters
    ----------
    sums : ndarray of float, shape (layers,) or (layers, m)
        Sum over each layer's kernels; several quantities share the same bootstrap samples.
    counts : ndarray of int, shape (layers,)
        Number of kernels in each layer.
    samples : int
        Number of bootstrap samples.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    low, high : float64, or ndarray of float64 of shape (m,)
    """
    drawn = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=samples)
    low, high = np.quantile(((drawn @ sums).T / (drawn @ counts)).T, TAILS, axis=0)
    return low, high


def pooled_interval(
    values: Sequence[np.ndarray], weights: Sequence[np.ndarray], *, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over models of each one's weighted mean over layers, with a 95 % interval over models, then layers.

    Parameters
    ----------
    values : sequence of ndarray of float, shape (layers,) or (layers, trainings)
        One array per model. Several trainings are averaged, and the interval also covers them.
    weights : sequence of ndarray of float, shape (layers,)
        Weight of each layer: its number of kernels.
    samples : int
        Number of bootstrap samples.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    mean, low, high : float
        The interval is (NaN, NaN) if there is only one layer in all, since nothing is replicated.
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
            total[here] += (by_training * trainings_drawn(rng, value.shape[1], len(drawn))).sum(axis=1)
    low, high = np.quantile(total / count, TAILS)
    return mean, float(low), float(high)


def difference_interval(
    first: Sequence[np.ndarray], other: Sequence[np.ndarray], difference: float, *, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the difference between two groups of networks, bootstrapped over networks, then layers.

    The spread of each group's bootstrap is used with Student's t and Welch's degrees of freedom, because there are few networks.
    The interval is too wide if layers vary more than networks, because the spread over networks already includes the spread over
    layers once.

    Parameters
    ----------
    first, other : sequence of ndarray of float, shape (resampled,)
        One array for each network, at least two in each group: the samples of its own bootstrap over layers.
    difference : float
        Difference of the groups' means over networks.
    samples : int
        Number of bootstrap samples.
    seed : int
        Seed of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    variances, freedoms = [], []
    for group in map(np.stack, (first, other)):
        networks = rng.integers(len(group), size=(samples, len(group)))
        drawn = group[networks, rng.integers(group.shape[1], size=networks.shape)]
        variances.append(drawn.mean(axis=1).var())
        freedoms.append(len(group) - 1)
    if not any(variances):
        return difference, difference
    freedom = sum(variances) ** 2 / sum(one**2 / of for one, of in zip(variances, freedoms, strict=True))
    reach = float(stdtrit(freedom, TAILS[1]) * np.sqrt(sum(variances)))
    return difference - reach, difference + reach


def share_difference(first: "pd.DataFrame", other: "pd.DataFrame") -> tuple[float, float, float]:
    """Difference of the mean structured shares of two groups of networks, with its 95 % interval.

    Parameters
    ----------
    first, other : DataFrame
        Rows of the table "structure", at least two in each group.

    Returns
    -------
    difference, low, high : float
        See `difference_interval`.
    """
    difference = float(first.share.mean() - other.share.mean())
    return difference, *difference_interval(list(first.resampled), list(other.resampled), difference)


def wilson_interval(share: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share of `n` independent trials (J. Am. Stat. Assoc. 22, 1927)."""
    z = ndtri(TAILS[1])
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return middle - half, middle + half


def trainings_drawn(rng: np.random.Generator, trainings: int, samples: int) -> np.ndarray:
    """Weights of trainings in bootstrap samples, shape (samples, trainings)."""
    if trainings == 1:
        return np.ones((samples, 1))
    return rng.multinomial(trainings, np.full(trainings, 1 / trainings), size=samples) / trainings
