"""Which kernels can be looked at, and the papers' normalisation of them."""

import numpy as np

ZERO = 1e-4  # the papers' loader drops a kernel whose taps are all this small
CONSTANT = 1e-6  # a kernel whose norm falls by this factor when centred is constant up to float32 rounding


def center_norm(kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalise kernels as the papers' loader does: drop the unusable, subtract the mean, divide by the L2 norm.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, h, w)

    Returns
    -------
    normalised : ndarray of float64, shape (m, h, w)
        The kernels kept, in order: zero mean, unit norm.
    kept : ndarray of bool, shape (n,)
        False where a tap is not finite, where all |taps| ≤ 1e-4, and where the kernel is constant.
    """
    finite, varied = usable(kernels)
    kept = finite & varied
    centred = kernels[kept].astype(np.float64)
    centred -= centred.mean(axis=(1, 2), keepdims=True)
    return centred / np.linalg.norm(centred, axis=(1, 2))[:, None, None], kept


def usable(kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which kernels, (n, h, w), are finite, and which of those are neither zero nor constant; bool, shape (n,) each."""
    finite = np.isfinite(kernels).all(axis=(1, 2))
    taps = np.where(finite[:, None, None], kernels, 0).reshape(len(kernels), -1).astype(np.float64)
    spread = norms(taps - taps.mean(axis=1, keepdims=True))
    return finite, (np.abs(taps).max(axis=1, initial=0.0) > ZERO) & (spread > CONSTANT * norms(taps))


def norms(vectors: np.ndarray) -> np.ndarray:
    """L2 norm of each row."""
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
