"""Assignment: find the best of a few filters for each of many kernels, by projection.

Every kernel y becomes a·x + b, where x is one filter of a set. Papers: Babaiee, Kiasari, Rus, Grosu, "The Quest for Universal
Master Key Filters", NeurIPS 2025 (arXiv 2509.11711); Lindeberg, Babaiee, Kiasari, JMIV 2026 (arXiv 2509.12746).
"""

from dataclasses import dataclass

import numpy as np

from neural_echos.errors import EchosError

_CHUNK = 16_384  # kernels compared with all filters at a time

OUTSIDE = 1e-4  # a kernel whose error exceeds this share of its norm does not belong to the family


@dataclass(frozen=True)
class Assignment:
    """The best filter of each of n kernels: kernel ≈ a · filters[index] + b.

    Attributes
    ----------
    index : ndarray of int64, shape (n,)
        In a tie, the first of the best filters.
    a, b : ndarray of float64, shape (n,)
        ⟨y, x⟩ and the mean of y, in the kernel's own unit.
    error : ndarray of float64, shape (n,)
        ‖y − (a x + b)‖.
    """

    index: np.ndarray
    a: np.ndarray
    b: np.ndarray
    error: np.ndarray


def assign(kernels: np.ndarray, filters: np.ndarray) -> Assignment:
    """Assign each kernel its best filter, exactly, by projection (JMIV 2026).

    With x at zero mean and unit norm, ‖y − (a x + b)‖² is minimal at b = mean y and a = ⟨y, x⟩, where it equals ‖y − b‖² − a². The
    best filter therefore has the largest |a|.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, h, w)
    filters : ndarray of float, shape (m, h, w)
        As returned by `filters.checked`.

    Raises
    ------
    EchosError
        The sizes differ, or a kernel is not finite.
    """
    index, a, b, square = (np.empty(len(kernels), dtype) for dtype in (np.int64, float, float, float))
    for start in range(0, len(kernels), _CHUNK):
        part = slice(start, start + _CHUNK)
        gains, b[part], total = projections(kernels[part], filters)
        index[part] = np.abs(gains).argmax(axis=1)
        a[part] = np.take_along_axis(gains, index[part][:, None], axis=1)[:, 0]
        square[part] = total
    return Assignment(index, a, b, np.sqrt(np.maximum(square - a**2, 0.0)))


def projections(kernels: np.ndarray, filters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project kernels on all filters: ⟨y, x⟩, float64 (n, m); the mean of y, (n,); and ‖y − mean y‖², (n,)."""
    if kernels.shape[1:] != filters.shape[1:]:
        raise EchosError(
            f"the filters are {filters.shape[1]}×{filters.shape[2]} and the kernels {kernels.shape[1]}×{kernels.shape[2]}; "
            "set resample to true, or choose a model of the filters' size"
        )
    taps = kernels.reshape(len(kernels), -1).astype(np.float64)
    if not np.isfinite(taps).all():
        raise EchosError("some kernels contain NaN or infinity and cannot be replaced by filters; retrain the model")
    mean = taps.mean(axis=1)
    taps = taps - mean[:, None]
    return taps @ filters.reshape(len(filters), -1).T, mean, np.einsum("nt,nt->n", taps, taps)
