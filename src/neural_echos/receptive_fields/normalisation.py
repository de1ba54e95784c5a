"""Which kernels can be looked at, and the papers' normalisation of them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from neural_echos.errors import EchosError

ZERO = 1e-4  # the papers' loader drops a kernel whose taps are all this small
CONSTANT = 1e-6  # a kernel whose norm falls by this factor when centred is constant up to float32 rounding
_CHUNK = 65_536  # kernels that are held in float64 at a time


@dataclass(frozen=True)
class UnitTaps:
    """Kernels as a fit needs them; float64.

    Attributes
    ----------
    taps : ndarray, shape (n, h·w)
        Zero mean and unit norm; rounding errors alone for a constant kernel.
    mean, norm : ndarray, shape (n,)
        Of the kernels, and of the centred kernels; the norm is 1 in units of the largest |tap| for a constant kernel.
    constant : ndarray of bool, shape (n,)
    """

    taps: np.ndarray
    mean: np.ndarray
    norm: np.ndarray
    constant: np.ndarray


def unit_taps(kernels: np.ndarray, who: str) -> UnitTaps:
    """Centre kernels, (n, h, w), and divide them by their norm, whatever their scale; `who` asks, for the error.

    Raises
    ------
    EchosError
        A tap is not finite.
    """
    taps = flattened(kernels).astype(np.float64)
    scale = np.abs(taps).max(axis=1, initial=0.0)
    finite = np.isfinite(scale)
    if not finite.all():
        raise EchosError(f"{who}: {int((~finite).sum())} kernels hold NaN or infinity; drop them first")
    taps /= np.where(scale > 0, scale, 1.0)[:, None]  # squares neither overflow nor vanish
    size = norms(taps)
    mean = taps.mean(axis=1)
    taps -= mean[:, None]
    norm = norms(taps)
    constant = norm <= CONSTANT * size
    norm[constant] = 1.0
    taps /= norm[:, None]
    return UnitTaps(taps, mean * scale, norm * scale, constant)


def center_norm(kernels: np.ndarray, dtype: DTypeLike = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Normalise kernels as the papers' loader does: drop the unusable, subtract the mean, divide by the L2 norm.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, h, w)
    dtype : dtype
        Of the result; the computation is in float64, in chunks, so that float32 saves half of the memory of millions.

    Returns
    -------
    normalised : ndarray of `dtype`, shape (m, h, w)
        The kernels kept, in order: zero mean, unit norm.
    kept : ndarray of bool, shape (n,)
        False where a tap is not finite, where no tap is beyond ±1e-4, and where the kernel is constant.
    """
    normalised, kept = np.empty(kernels.shape, dtype), np.empty(len(kernels), bool)
    found = 0
    for start in range(0, len(kernels), _CHUNK):
        part = kernels[start : start + _CHUNK]
        finite, varied = usable(part)
        kept[start : start + _CHUNK] = finite & varied
        centred = part[finite & varied].astype(np.float64)
        centred -= centred.mean(axis=(1, 2), keepdims=True)
        length = np.linalg.norm(centred, axis=(1, 2))[:, None, None]
        np.divide(centred, length, out=normalised[found : found + len(centred)], casting="same_kind")
        found += len(centred)
    return normalised[:found], kept


def usable(kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which kernels, (n, h, w), are finite, and which of those are neither zero nor constant; bool, shape (n,) each."""
    finite = np.isfinite(kernels).all(axis=(1, 2))
    taps = flattened(np.where(finite[:, None, None], kernels, 0)).astype(np.float64)
    spread = norms(taps - taps.mean(axis=1, keepdims=True))
    return finite, (np.abs(taps).max(axis=1, initial=0.0) > ZERO) & (spread > CONSTANT * norms(taps))


def flattened(kernels: np.ndarray) -> np.ndarray:
    """Kernels (n, h, w) as rows of taps, (n, h·w); n may be 0, for which numpy's -1 does not know a length."""
    return kernels.reshape(len(kernels), math.prod(kernels.shape[1:]))


def shuffled_taps(kernels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same kernels (n, h, w), each with its taps in an order of its own; of none nothing is drawn."""
    return rng.permuted(flattened(kernels), axis=1).reshape(kernels.shape)


def norms(vectors: np.ndarray) -> np.ndarray:
    """L2 norm of each row."""
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
