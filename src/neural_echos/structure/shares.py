"""The structured share: how many kernels resemble a Difference of Gaussians more than their shuffled taps do.

A kernel is structured if its best cosine with a Difference of Gaussians (DoG) exceeds the 95th percentile of the same cosine
over all kernels with their taps shuffled. A bank without structure has 5 %, regardless of its scale and its taps' distribution.
Each kernel is shuffled often enough that the error of the percentile is negligible, and every bootstrap sample has its own
percentile.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from neural_echos.errors import EchosError
from neural_echos.receptive_fields import dog_cosine
from neural_echos.receptive_fields.normalisation import shuffled_taps
from neural_echos.structure.intervals import TAILS, wilson_interval

CHANCE = 0.05  # share of kernels without structure that count as structured
SHUFFLES = 100_000  # minimum per kernel size of a bank: the percentile's level is then known to .07 points
SAMPLES = 1000  # bootstrap samples
_BINS = 2000  # bins of the cosine, for the bootstrap's percentiles
_CHUNK = 250  # bootstrap samples at a time


@dataclass(frozen=True)
class StructuredShare:
    """The structured share of some kernels.

    Attributes
    ----------
    share, low, high : float
        The share and its 95 % interval over layers.
    threshold : float
        The cosine above which a kernel is structured.
    mean_cosine, null_mean_cosine : float
        Mean cosine of the kernels, and of their shuffled taps.
    kernels, layers : int
    resampled : ndarray of float64, shape (samples,)
        The share in each bootstrap sample of layers, with that sample's own threshold.
    """

    share: float
    low: float
    high: float
    threshold: float
    mean_cosine: float
    null_mean_cosine: float
    kernels: int
    layers: int
    resampled: np.ndarray


def structured_share(
    kernels: np.ndarray,
    layer_of: np.ndarray,
    *,
    shuffles: int = SHUFFLES,
    samples: int = SAMPLES,
    seed: int = 0,
) -> StructuredShare:
    """Share of kernels whose cosine with their best DoG exceeds that of shuffled taps.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, k, k)
        k odd and at least 3; finite and not constant; n at least 1.
    layer_of : ndarray of int, shape (n,)
        Layer number of each kernel.
    shuffles : int
        Minimum number of shuffles in all; every kernel is shuffled equally often, at least once.
    samples : int
        Number of bootstrap samples.
    seed : int
        Seed of the shuffles and the bootstrap.

    Raises
    ------
    EchosError
        There is no kernel, the two lengths differ, or `dog_cosine` refuses the kernels.
    """
    if not len(kernels) or len(kernels) != len(layer_of):
        raise EchosError(
            f"structured_share takes kernels and a layer for each, not {len(kernels)} kernels and {len(layer_of)} layers"
        )
    rng = np.random.default_rng(seed)
    cosine = dog_cosine(kernels)
    repeats = -(-shuffles // len(kernels))
    null = np.stack([dog_cosine(shuffled_taps(kernels, rng)) for _ in range(repeats)])
    threshold = float(np.quantile(null, 1 - CHANCE))
    share = float((cosine > threshold).mean())
    layer_of = np.unique(layer_of, return_inverse=True)[1]
    layers = int(layer_of.max()) + 1
    counted, shuffled = _histogram(cosine[None], layer_of, layers), _histogram(null, layer_of, layers)
    resampled = _resampled(counted, shuffled, samples, rng)
    low, high = share_interval(share, resampled, np.bincount(layer_of))
    means = float(cosine.mean()), float(null.mean())
    return StructuredShare(share, low, high, threshold, *means, len(kernels), layers, resampled)


def share_interval(share: float, resampled: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """95 % interval of a share from its bootstrap over a few layers with `counts` kernels each.

    With few layers, bootstrap percentiles are too narrow for two reasons. The samples vary too little, by the factor √(1 − 1/m),
    where m is the number of layers weighted by their kernels (Kish's effective size). Their spread is also uncertain, which
    Student's t accounts for (Hesterberg, "What teachers should know about the bootstrap", Am. Stat. 69, 2015). Both corrections are
    applied to arcsin √share, whose spread does not depend on the share. No interval is narrower than Wilson's for as many
    independent kernels. A single layer has only Wilson's interval, which is too narrow.

    Parameters
    ----------
    share : float
    resampled : ndarray of float, shape (samples,)
    counts : ndarray of int, shape (layers,)
    """
    low, high = wilson_interval(np.array(share), int(counts.sum()))
    ends = [float(low), float(high), share]
    if len(counts) > 1:
        effective = counts.sum() ** 2 / (counts**2).sum()
        spread = np.arcsin(np.sqrt(resampled)).std() * np.sqrt(effective / (effective - 1))
        reach = stdtrit(len(counts) - 1, TAILS[1]) * spread * np.array([-1, 1])
        ends += list(np.sin(np.clip(np.arcsin(np.sqrt(share)) + reach, 0, np.pi / 2)) ** 2)
    return float(min(ends)), float(max(ends))


def _histogram(cosines: np.ndarray, layer_of: np.ndarray, layers: int) -> np.ndarray:
    """Count the cosines, (repeats, n), of each layer in each bin: shape (layers, bins)."""
    bins = np.minimum((cosines * _BINS).astype(np.int64), _BINS - 1)
    return np.bincount((layer_of * _BINS + bins).ravel(), minlength=layers * _BINS).reshape(layers, _BINS)


def _resampled(counted: np.ndarray, shuffled: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Shares in bootstrap samples of layers, from histograms per layer, (layers, bins), of kernels and of shuffled taps."""
    layers = len(counted)
    shares = []
    for start in range(0, samples, _CHUNK):
        size = min(_CHUNK, samples - start)
        drawn = rng.multinomial(layers, np.full(layers, 1 / layers), size=size).astype(np.float64)
        below = (drawn @ shuffled).cumsum(axis=1)
        threshold = (below < (1 - CHANCE) * below[:, -1:]).sum(axis=1)  # bin of the percentile
        at_most = (drawn @ counted).cumsum(axis=1)
        shares.append(1 - np.take_along_axis(at_most, threshold[:, None], 1)[:, 0] / at_most[:, -1])
    return np.concatenate(shares)
