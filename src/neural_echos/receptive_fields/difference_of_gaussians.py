"""The formula of the Difference of Gaussians (DoG); its fit to kernels is in `dog_fit`.

Papers: Babaiee, Kiasari, Rus, Grosu, "Neural Echos", WACV 2024 (arXiv 2401.10178), equations 1–3, in the form of its
predecessor OOCS (Babaiee, Hasani, Lechner, Rus, Grosu, "On-Off Center-Surround Receptive Fields for Accurate and Robust
Image Classification", ICML 2021). With d the distance from the centre tap and γ in (0, 1) the centre-to-surround ratio,

    σ = (r / 2γ) · sqrt((1 − γ²) / (−ln γ))                         both Gaussians are equal at distance r
    C(d²) = (1 / γ²) exp(−d² / 2(γσ)²),  S(d²) = exp(−d² / 2σ²),  DoG = A_c C + A_s S
    Σ over P of DoG = +1,  Σ over the rest = −1,                      P = {taps where C > S} = {taps with d < r}
    r = γ (k + 1) / 2                                               for a kernel of odd size k

The code relies on two consequences. First, the zero sum alone gives A_c : A_s = ΣS : −ΣC over all taps, so P determines
only the amplitude: up to a factor the kernel is a *smooth* function of γ, although P jumps. Second, a kernel has few distinct
d² (*rings*: ten at 7×7), so everything is computed per ring and mapped to the taps at the end.

Taps at distance exactly r have C = S, so they are not in P. The released code of OOCS compares C and S as floats, and rounding
puts some of them in P (k = 3, γ = ½: five taps in P instead of one, amplitudes 1.509 times as large); `as_released` does the same.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from neural_echos.errors import EchosError

_TIE = 1e-12  # relative slack of d < r, so that a tap at distance r never falls into P by rounding


@dataclass(frozen=True)
class DogParameters:
    """Parameters of a DoG that follow from γ and the size; every field has the shape of γ.

    Attributes
    ----------
    r : ndarray of float64
        Distance at which both Gaussians are equal, taps.
    sigma : ndarray of float64
        Standard deviation of the surround, taps; the centre's is γ·sigma.
    a_centre, a_surround : ndarray of float64
        The amplitudes A_c > 0 and A_s < 0.
    positive_taps : ndarray of int64
        Number of taps in P.
    """

    r: np.ndarray
    sigma: np.ndarray
    a_centre: np.ndarray
    a_surround: np.ndarray
    positive_taps: np.ndarray


@dataclass(frozen=True)
class DogProfile:
    """The two Gaussians of an excitatory DoG along a line through its centre; float64, shape of `distance` (taps)."""

    distance: np.ndarray
    centre: np.ndarray
    surround: np.ndarray
    dog: np.ndarray


def gamma_limit(k: int) -> float:
    """Largest γ at which a k×k kernel still has a surround tap (k=3: .7071, k=5: .9428; 1, no limit, from k=7).

    The corners, at distance √2 (k − 1)/2, stay out of P as long as this distance is at least r = γ (k + 1)/2.
    """
    check_size(k)
    return min(1.0, math.sqrt(2.0) * (k - 1) / (k + 1))


def dog_radius(k: int, gamma: ArrayLike) -> np.ndarray:
    """Distance in taps at which centre and surround are equal: r = γ (k + 1)/2 (OOCS).

    Raises
    ------
    EchosError
        `k` is even or below 3, or `gamma` is not in (0, 1).
    """
    check_size(k)
    return _checked_gamma(gamma) * (k + 1) / 2


def dog_sigma(r: ArrayLike, gamma: ArrayLike) -> np.ndarray:
    """Standard deviation of the surround in taps: σ = (r / 2γ) sqrt((1 − γ²) / (−ln γ)) (OOCS).

    Raises
    ------
    EchosError
        `gamma` is not in (0, 1), or `r` is not a positive number.
    """
    radius = np.asarray(r, dtype=np.float64)
    wrong = ~(np.isfinite(radius) & (radius > 0))
    if wrong.any():
        raise EchosError(f"r must be a positive number of taps, not {radius[wrong].flat[0]}")
    gamma = _checked_gamma(gamma)
    return radius / (2 * gamma) * np.sqrt((1 - gamma) * (1 + gamma) / -np.log(gamma))


def dog_parameters(k: int, gamma: ArrayLike) -> DogParameters:
    """Solve the two sum constraints of a DoG for its amplitudes.

    Parameters
    ----------
    k : int
        Size, odd and at least 3.
    gamma : array_like of float
        Centre-to-surround ratio, in (0, 1) and at most `gamma_limit(k)`.

    Raises
    ------
    EchosError
        `k` or `gamma` is outside its range; above `gamma_limit(k)` the solve is singular.
    """
    return solve_rings(k, gamma)[0]


def dog(k: int, gamma: ArrayLike, sign: ArrayLike = 1, *, as_released: bool = False) -> np.ndarray:
    """Difference-of-Gaussians kernels: their taps sum to 0, those in P to +1 (excitatory) or −1 (inhibitory).

    Parameters
    ----------
    k : int
        Size, odd and at least 3.
    gamma : array_like of float
        Centre-to-surround ratio, in (0, 1) and at most `gamma_limit(k)`.
    sign : array_like of int
        +1 for an excitatory centre, −1 for an inhibitory one; broadcast against `gamma`.
    as_released : bool
        Let float rounding decide whether a tap at distance r is in P, as the released code of OOCS does. The shape of the
        kernel is the same, its amplitude may differ.

    Returns
    -------
    ndarray of float64, shape (…, k, k)
        … is the broadcast shape of `gamma` and `sign`.

    Raises
    ------
    EchosError
        `k`, `gamma` or `sign` is outside its range.
    """
    signs = np.asarray(sign, dtype=np.float64)
    wrong = np.abs(signs) != 1
    if wrong.any():
        raise EchosError(f"sign must be +1 (excitatory) or −1 (inhibitory), not {signs[wrong].flat[0]:g}")
    _, rings = solve_rings(k, gamma, as_released=as_released)
    return signs[..., None, None] * rings[..., rings_of(k)[2]]


def gaussian_pair_profile(k: int, gamma: float, distance: ArrayLike | None = None) -> DogProfile:
    """Centre and surround Gaussian of a DoG, and their sum, over the distance from the centre (Figure 2).

    Parameters
    ----------
    k : int
        Size, odd and at least 3.
    gamma : float
        Centre-to-surround ratio.
    distance : array_like of float, optional
        Distances in taps; by default 401 from −(k + 1)/2 to (k + 1)/2.
    """
    parameters = dog_parameters(k, gamma)
    at = np.linspace(-(k + 1) / 2, (k + 1) / 2, 401) if distance is None else np.asarray(distance, dtype=np.float64)
    centre = parameters.a_centre / gamma**2 * np.exp(-0.5 * (at / (gamma * parameters.sigma)) ** 2)
    surround = parameters.a_surround * np.exp(-0.5 * (at / parameters.sigma) ** 2)
    return DogProfile(at, centre, surround, centre + surround)


def has_dog(height: int, width: int) -> bool:
    """Whether kernels of this size have a centre tap and a surround, and so a DoG: square, odd, at least 3."""
    return height == width and height % 2 == 1 and height >= 3


def check_size(k: int) -> None:
    """Refuse a size that has no DoG."""
    if not has_dog(k, k):
        raise EchosError(f"a DoG needs a centre tap and a surround, so an odd kernel size of at least 3, not {k}")


def _checked_gamma(gamma: ArrayLike, limit: float = 1.0, k: int | None = None) -> np.ndarray:
    values = np.asarray(gamma, dtype=np.float64)
    wrong = ~((values > 0) & (values < 1))
    if wrong.any():
        raise EchosError(f"gamma must lie strictly between 0 and 1, not {values[wrong].flat[0]}")
    singular = values > limit
    if singular.any():
        raise EchosError(
            f"gamma must be at most {limit:.4f} at size {k}, not {values[singular].flat[0]}: no tap would be left for the "
            "surround; use a smaller gamma or a larger kernel"
        )
    return values


@lru_cache
def rings_of(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct squared distances in a k×k kernel, shape (m,); number of taps at each, (m,); and each tap's ring, (k, k)."""
    line = np.arange(k) - (k - 1) // 2
    squared, index, counts = np.unique(line[:, None] ** 2 + line**2, return_inverse=True, return_counts=True)
    return squared, counts, index.reshape(k, k)


def ring_gaussians(k: int, gamma: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """γ² C and S on the rings: float64, shape gamma.shape + (m,)."""
    distance = np.sqrt(rings_of(k)[0])
    with np.errstate(over="ignore"):  # far taps of a vanishing centre: exp(−∞) = 0
        centre = np.exp(-0.5 * (distance / (gamma * sigma)[..., None]) ** 2)
    return centre, np.exp(-0.5 * (distance / sigma[..., None]) ** 2)


def _released_centre(k: int, gamma: np.ndarray) -> np.ndarray:
    """Whether C > S on each ring, with the operations of the released OOCS code; bool, shape gamma.shape + (m,)."""

    def is_in(ratio: float, squared: int) -> bool:
        sigma = (ratio * (k + 1) / 2 / (2 * ratio)) * math.sqrt((1 - ratio**2) / -math.log(ratio))
        centre = (1 / ratio**2) * math.exp(-squared / (2 * (ratio * sigma) ** 2))
        return centre > math.exp(-squared / (2 * sigma**2))

    return np.asarray(np.vectorize(is_in, otypes=[bool])(gamma[..., None], rings_of(k)[0]))


def solve_rings(k: int, gamma: ArrayLike, *, as_released: bool = False) -> tuple[DogParameters, np.ndarray]:
    """Parameters of excitatory DoGs and their values on the rings, shape gamma.shape + (m,)."""
    gamma = _checked_gamma(gamma, gamma_limit(k), k)
    squared, counts, _ = rings_of(k)
    r = dog_radius(k, gamma)
    sigma = dog_sigma(r, gamma)
    centre, surround = ring_gaussians(k, gamma, sigma)
    inside = _released_centre(k, gamma) if as_released else np.sqrt(squared) < (r * (1 - _TIE))[..., None]
    positive = counts * inside
    rest = counts - positive
    centre_in, centre_out = (centre * positive).sum(-1), (centre * rest).sum(-1)
    surround_in, surround_out = (surround * positive).sum(-1), (surround * rest).sum(-1)
    determinant = centre_in * surround_out - surround_in * centre_out
    a_centre = (surround_in + surround_out) / determinant  # of γ² C
    a_surround = -(centre_in + centre_out) / determinant
    rings = a_centre[..., None] * centre + a_surround[..., None] * surround
    rings[..., 0] = 1 - (rings * positive)[..., 1:].sum(-1)  # exact even if both Gaussians nearly vanish
    return DogParameters(r, sigma, a_centre * gamma**2, a_surround, positive.sum(-1)), rings
