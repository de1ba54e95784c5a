"""Statistics of a few paired differences: intervals, tests, multiple-testing correction, and minimum detectable effect."""

from collections.abc import Sequence

import numpy as np
from scipy.special import nctdtrinc, stdtr, stdtrit

_SAMPLES = 10_000


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval; the interval is (NaN, NaN) for fewer than two values."""
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if values.size else float("nan")
    if values.size < 2:
        return mean, float("nan"), float("nan")
    half = float(stdtrit(values.size - 1, 0.5 + confidence / 2) * values.std(ddof=1) / np.sqrt(values.size))
    return mean, mean - half, mean + half


def bootstrap_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean over 10,000 bootstrap samples; (NaN, NaN) for fewer than two values.

    It is too narrow for few values. For normal values the 95 % interval covers the true mean 75 % of the time with 3 values (where
    it is their range), 79 % with 4, 83 % with 5 and 88 % with 8; BCa, which corrects for skewness, does no better there. Use it to
    check whether the interval of Student's t, which covers 95 % for normal values, depends on one odd seed.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(values.size, size=(_SAMPLES, values.size))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def paired_p(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p of Student's paired t test; 1 if all differences are 0.

    NaN for fewer than two differences, or if all are the same non-zero number, which can happen with whole epochs: then there is no
    deviation to compare with.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2 or not np.ptp(values):
        return 1.0 if values.size > 1 and not values.any() else float("nan")
    t = abs(values.mean()) / (values.std(ddof=1) / np.sqrt(values.size))
    return float(2 * stdtr(values.size - 1, -t))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct the p-values of a family of tests for multiple testing (Holm 1979); NaN stays NaN and does not count.

    The i-th smallest of m, from 0, becomes the largest of (m − j) pⱼ over j ≤ i, and at most 1. If corrected values below .05 count
    as findings, the chance of any false finding in the family is at most 5 %, whether or not the tests are independent.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(np.isfinite(p))]
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return corrected


def detectable(differences: Sequence[float] | np.ndarray, *, power: float = 0.8, level: float = 0.05) -> float:
    """Minimum detectable effect: smallest true difference that a two-sided paired t test finds with the given power.

    It is δ = s ν / √n, with s the observed standard deviation, n the number of differences, and ν such that a t variable with n − 1
    degrees of freedom and non-centrality ν exceeds the test's bound with probability `power`. δ is as uncertain as s, which in 80 %
    of cases is between .32 and 1.5 times the true value with 3 differences, and between .52 and 1.4 times with 5. NaN for fewer
    than two differences, or if they are all equal.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2 or not np.ptp(values):
        return float("nan")
    freedom = values.size - 1
    shift = nctdtrinc(freedom, 1 - power, stdtrit(freedom, 1 - level / 2))
    return float(shift * values.std(ddof=1) / np.sqrt(values.size))
