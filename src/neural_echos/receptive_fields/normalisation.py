"""Select the usable kernels and normalise them as the papers do."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from neural_echos.errors import EchosError

ZERO = 1e-4  # the papers' loader drops kernels with no tap larger than this
CONSTANT = 1e-6  # a kernel whose norm falls by this factor when centred is constant up to float32 rounding
_CHUNK = 65_536  # kernels converted to float64 at a time


@dataclass(frozen=True)
class UnitTaps:
    """Kernels normalised for a fit; float64.

    Attributes
    ----------
    taps : ndarray, shape (n, h·w)
        Zero mean and unit norm; only rounding errors for a constant kernel.
    mean, norm : ndarray, shape (n,)
        Mean of the kernels, and norm of the centred kernels. For a constant kernel the norm is its largest |tap|.
    constant : ndarray of bool, shape (n,)
    """

    taps: np.ndarray
    mean: np.ndarray
    norm: np.ndarray
    constant: np.ndarray


def unit_taps(kernels: np.ndarray, who: str) -> UnitTaps:
    """Centre kernels, (n, h, w), of any scale and divide them by their norm; `who` names the caller in errors.

    Raises
    ------
    EchosError
        A tap is not finite.
    """
    taps = flattened(kernels).astype(np.float64)
    scale = np.abs(taps).max(axis=1, initial=0.0)
    finite = np.isfinite(scale)
    if not finite.all():
        raise EchosError(f"{who}: {int((~finite).sum())} kernels contain NaN or infinity; drop them first")
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
        Type of the result. The computation is in float64, in chunks, so that float32 halves the memory of a large bank.

    Returns
    -------
    normalised : ndarray of `dtype`, shape (m, h, w)
        The kernels kept, in order: zero mean, unit norm.
    kept : ndarray of bool, shape (n,)
        False if a tap is not finite, no tap is beyond ±1e-4, or the kernel is constant.
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
    """Kernels (n, h, w) as rows of taps, (n, h·w); also for n = 0, where numpy cannot infer a -1."""
    return kernels.reshape(len(kernels), math.prod(kernels.shape[1:]))


def shuffled_taps(kernels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The kernels (n, h, w), each with its taps shuffled independently; n = 0 draws nothing."""
    return rng.permuted(flattened(kernels), axis=1).reshape(kernels.shape)


def norms(vectors: np.ndarray) -> np.ndarray:
    """L2 norm of each row."""
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
