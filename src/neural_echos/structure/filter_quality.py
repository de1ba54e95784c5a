"""Two standard measures of a layer's kernels: sparsity and variance entropy.

Paper: Gavrikov and Keuper, "CNN Filter DB: An Empirical Investigation of Trained Convolutional Filters", CVPR 2022 (arXiv
2203.15331), for 3×3; both work for any kernel size. With v the shares of variance along the principal axes of a layer's kernels,

    sparsity = share of kernels with max |tap| < 1 % of the layer's max |tap|
    variance entropy = −Σ v log₁₀ v,  from 0 (one pattern and its multiples) to log₁₀ k² (white noise)
"""

from dataclasses import dataclass

import numpy as np

_SPARSE = 0.01  # relative to the layer's largest |tap|
_ROUNDING = 1e-7  # relative to the norm of all taps; smaller standard deviations count as 0


@dataclass(frozen=True)
class FilterQuality:
    """Sparsity and variance entropy of the kernels of some layers.

    Attributes
    ----------
    sparse : ndarray of bool, shape (n,)
        Which kernels are almost dead.
    sparsity, variance_entropy : float
        Means over the layers, as in the paper.
    """

    sparse: np.ndarray
    sparsity: float
    variance_entropy: float


def filter_quality(kernels: np.ndarray, layer_of: np.ndarray) -> FilterQuality:
    """Measure finite kernels, (n, h, w), with layer indices from 0, (n,); n is at least 1."""
    sparse = np.zeros(len(kernels), bool)
    sparsities, entropies = [], []
    for layer in np.unique(layer_of):
        mine = layer_of == layer
        sparse[mine] = is_sparse(kernels[mine])
        sparsities.append(sparse[mine].mean())
        entropies.append(variance_entropy(kernels[mine]))
    return FilterQuality(sparse, float(np.mean(sparsities)), float(np.mean(entropies)))


def is_sparse(kernels: np.ndarray) -> np.ndarray:
    """Which kernels of a layer, (n, h, w), have no tap of at least 1 % of the layer's largest |tap|; bool, shape (n,)."""
    largest = np.abs(kernels).max(axis=(1, 2))
    return (largest < _SPARSE * largest.max()) | (largest == 0)


def variance_entropy(kernels: np.ndarray) -> float:
    """Entropy (log₁₀) of the shares of variance along the principal axes of a layer's kernels, (n, h, w).

    0 · log 0 counts as 0, and identical kernels have entropy 0.
    """
    taps = kernels.reshape(len(kernels), -1).astype(np.float64)
    values = np.linalg.svd(taps - taps.mean(axis=0), compute_uv=False)
    variance = values[values > _ROUNDING * np.linalg.norm(taps)] ** 2
    shares = variance / variance.sum()
    return float((shares * -np.log10(shares)).sum())
