"""Templates of the named patterns, and the best pattern for a kernel.

Paper: Babaiee, Kiasari, Rus, Grosu, "Unveiling the Unseen", ICLR 2024 (arXiv 2401.14469): on/off centre, on/off square, off-centre
cross, first derivatives, second derivatives, other. The names are the paper's; its templates, if it has any, are not available.
The templates are ours, by one rule for every size, with scales from ½ tap to a third of the side in factors of √2:

- on-centre: Gaussians, and Differences of Gaussians at sizes that have them; off-centre: the same with the opposite sign;
- on-square: boxes with sides of at least two taps and a margin around them; off-square: the same with the opposite sign;
- off-centre cross: the middle rows and columns negative, the corners positive;
- first derivatives of the Gaussian in eight directions, centred or shifted by half a tap: differences of neighbouring taps,
  such as four of the eight master key filters, are of the shifted kind (Lindeberg et al., arXiv 2509.12746);
- second derivatives in eight directions, centred.

To add a pattern, write a function from the side to its kernels and add an entry to `PATTERNS`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.receptive_fields.difference_of_gaussians import dog, has_dog
from neural_echos.receptive_fields.gaussians import gaussian, gaussian_derivative
from neural_echos.receptive_fields.normalisation import center_norm

OTHER = "other"
_GAMMAS = np.array([0.3, 0.4, 0.5, 0.6, 0.7])  # all of them exist at every odd size
_DIRECTIONS = np.arange(8) * math.pi / 8
_CHUNK = 8192  # kernels matched at a time


@dataclass(frozen=True)
class Pattern:
    """A named pattern.

    Attributes
    ----------
    name : str
        Its key in `PATTERNS`.
    kernels : callable
        Maps a side of at least 3 to float64 kernels, shape (m, k, k); m is 0 if the size is too small for the pattern.
    signed : bool
        Whether a kernel of the opposite sign is another pattern.
    """

    name: str
    kernels: Callable[[int], np.ndarray]
    signed: bool = True


def templates(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Templates of every pattern at one size.

    Parameters
    ----------
    k : int
        Side, at least 3.

    Returns
    -------
    names : ndarray of str, shape (m,)
        The pattern of each template, in the order of `PATTERNS`.
    kernels : ndarray of float64, shape (m, k, k)
        Zero mean, unit norm.

    Raises
    ------
    EchosError
        The side is below 3.
    """
    if k < 3:
        raise EchosError(f"templates need a side of at least 3 taps, not {k}; exclude smaller kernels")
    return _templates(k)


def best_pattern(kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the pattern whose best template has the largest cosine with each kernel (|cosine| for unsigned patterns).

    Parameters
    ----------
    kernels : ndarray of float, shape (n, k, k)
        Zero mean and unit norm, as from `center_norm`.

    Returns
    -------
    names : ndarray of str, shape (n,)
        One of `PATTERNS`, however small the cosine.
    cosine : ndarray of float64, shape (n,)
        In [−1, 1].

    Raises
    ------
    EchosError
        The kernels are not square, or smaller than 3×3.
    """
    if kernels.ndim != 3 or kernels.shape[1] != kernels.shape[2]:
        raise EchosError(
            f"best_pattern: kernels must be square, of shape (n, k, k), not {kernels.shape}; exclude others"
        )
    names, shapes = templates(kernels.shape[1])
    unsigned = ~np.array([PATTERNS[name].signed for name in names])
    flat = shapes.reshape(len(shapes), -1).T
    best, cosine = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for start in range(0, len(kernels), _CHUNK):
        scores = kernels[start : start + _CHUNK].reshape(-1, flat.shape[0]).astype(np.float64) @ flat
        scores[:, unsigned] = np.abs(scores[:, unsigned])
        best.append(scores.argmax(axis=1))
        cosine.append(np.minimum(scores.max(axis=1), 1.0))
    return names[np.concatenate(best)], np.concatenate(cosine)


@lru_cache(maxsize=32)
def _templates(k: int) -> tuple[np.ndarray, np.ndarray]:
    parts = {name: center_norm(pattern.kernels(k))[0] for name, pattern in PATTERNS.items()}
    names = np.repeat(list(parts), [len(part) for part in parts.values()])
    kernels = np.concatenate(list(parts.values()))
    for array in (names, kernels):
        array.flags.writeable = False  # shared by all callers
    return names, kernels


def _scales(k: int) -> np.ndarray:
    """Standard deviations from ½ tap to a third of the side, in factors of √2."""
    return 0.5 * math.sqrt(2) ** np.arange(math.floor(2 * math.log2(2 * k / 3)) + 1)


def _centres(k: int) -> np.ndarray:
    round_ones = gaussian(k, _scales(k))
    return np.concatenate([round_ones, dog(k, _GAMMAS)]) if has_dog(k, k) else round_ones


def _squares(k: int) -> np.ndarray:
    distance = np.abs(np.arange(k) - (k - 1) / 2)
    lines = np.array([distance < side / 2 for side in range(2 + k % 2, k - 1, 2)], dtype=float).reshape(-1, k)
    return lines[:, :, None] * lines[:, None, :]


def _crosses(k: int) -> np.ndarray:
    distance = np.abs(np.arange(k) - (k - 1) / 2)
    lines = np.array([distance < width / 2 for width in range(2 - k % 2, k // 2 + 1, 2)])
    return (lines[:, :, None] | lines[:, None, :]).astype(float)


def _derivatives(k: int, order: int, offsets: tuple[float, ...]) -> np.ndarray:
    sigma, angle, offset = (
        grid.ravel() for grid in np.meshgrid(_scales(k), _DIRECTIONS, np.array(offsets), indexing="ij")
    )
    return gaussian_derivative(
        k, order, sigma, orientation=angle, offset_x=offset * np.cos(angle), offset_y=offset * np.sin(angle)
    )


PATTERNS: dict[str, Pattern] = {
    pattern.name: pattern
    for pattern in (
        Pattern("on-centre", _centres),
        Pattern("off-centre", lambda k: -_centres(k)),
        Pattern("on-square", _squares),
        Pattern("off-square", lambda k: -_squares(k)),
        Pattern("off-centre cross", lambda k: -_crosses(k)),
        Pattern("first derivative", lambda k: _derivatives(k, 1, (-0.5, 0.0, 0.5)), signed=False),
        Pattern("second derivative", lambda k: _derivatives(k, 2, (0.0,)), signed=False),
    )
}
