"""Fit a Difference of Gaussians to a kernel: γ by a grid search and Newton steps, everything else by projection."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.receptive_fields.difference_of_gaussians import (
    check_size,
    dog_radius,
    dog_sigma,
    gamma_limit,
    ring_gaussians,
    rings_of,
    solve_rings,
)
from neural_echos.receptive_fields.normalisation import norms, unit_taps

_WIDEST = 0.999  # largest γ of the fit, unless a singularity comes first
_NARROWEST = 0.25  # smallest σ of the fit, in taps: the kernel is then within 4e-4 of its limit (5-point Laplacian)
_GRID = 256  # number of γ values in the initial grid search
_CHUNK = 4096  # kernels fitted at a time: 8 MB of scores
_SHRINK = (1 / 2, 1 / 32)  # finite-difference steps of the refinement, in grid steps


@dataclass(frozen=True)
class DogFit:
    """The best DoG of each of n kernels: kernel − mean ≈ amplitude · sign · dog(k, gamma); see `fit_dog`.

    Attributes
    ----------
    sign : ndarray of int8, shape (n,)
        +1 excitatory, −1 inhibitory, 0 for a constant kernel.
    gamma, r, sigma : ndarray of float64, shape (n,)
        The ratio, and r and σ in taps.
    amplitude : ndarray of float64, shape (n,)
        Non-negative, in the kernel's own unit.
    residual : ndarray of float64, shape (n,)
        ‖centred kernel − fit‖ / ‖centred kernel‖.
    cosine : ndarray of float64, shape (n,)
        |cos| between centred kernel and fit; residual² = 1 − cosine².
    """

    sign: np.ndarray
    gamma: np.ndarray
    r: np.ndarray
    sigma: np.ndarray
    amplitude: np.ndarray
    residual: np.ndarray
    cosine: np.ndarray


def fit_dog(kernels: np.ndarray) -> DogFit:
    """Fit amplitude · sign · dog(k, γ) to each kernel by least squares, after subtracting the kernel's mean.

    A DoG sums to zero, so the best amplitude is a projection and the best γ maximises the absolute cosine. It is searched on a
    grid of 256 values, uniform in σ from a quarter tap up to `gamma_limit(k)` (or to γ = .999), and then refined by two Newton
    steps in ln γ with finite differences; the better of grid and refinement is kept.

    γ is within 1e-5 of the optimum up to size 7 and within 2e-5 at 11, and the cosine within 1e-10. If two separate
    optima differ by less than about 1e-5 in cosine, the lower one may be returned. A γ at either end of the range means
    that the kernel is beyond the family's limit there: one tap against its four neighbours, or a Laplacian of a Gaussian.
    A constant kernel has sign, amplitude and cosine 0, and NaN elsewhere.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, k, k)
        k odd and at least 3.

    Raises
    ------
    EchosError
        The shape is wrong, or a tap is not finite.
    """
    parts = [_fit_chunk(part) for part in _chunks(kernels, "fit_dog")]
    return DogFit(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(DogFit)))


def dog_cosine(kernels: np.ndarray) -> np.ndarray:
    """Largest |cosine| of each kernel over `fit_dog`'s grid: at most 1e-4 below the fitted one, in a fifth of the time.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, k, k)
        k odd and at least 3.

    Returns
    -------
    ndarray of float64, shape (n,)
        0 for a constant kernel.

    Raises
    ------
    EchosError
        The shape is wrong, or a tap is not finite.
    """
    return np.concatenate([_cosine_chunk(part) for part in _chunks(kernels, "dog_cosine")])


def gamma_range(k: int) -> tuple[float, float]:
    """Least and largest γ that `fit_dog` finds at size `k`."""
    grid = _fit_grid(k)[0]
    return float(np.exp(grid[0])), float(min(np.exp(grid[-1]), gamma_limit(k)))


def _unit_rings(k: int, log_gamma: np.ndarray) -> np.ndarray:
    """Excitatory DoGs of unit norm on the rings, shape log_gamma.shape + (m,)."""
    gamma = np.exp(log_gamma)
    counts = rings_of(k)[1]
    centre, surround = ring_gaussians(k, gamma, dog_sigma(dog_radius(k, gamma), gamma))
    rings = centre / (centre @ counts)[..., None] - surround / (surround @ counts)[..., None]
    return rings / np.sqrt((rings**2) @ counts)[..., None]


@lru_cache
def _fit_grid(k: int) -> tuple[np.ndarray, np.ndarray]:
    """The fit's first search: ln γ, rising, shape (g,), and the unit DoGs there on the rings, shape (g, m)."""
    least = -(((k + 1) / (4 * _NARROWEST)) ** 2)  # σ is nearly (k + 1) / (4 sqrt(−ln γ)) for a small γ
    log_gamma = -(np.linspace(np.sqrt(-least), np.sqrt(-np.log(min(_WIDEST, gamma_limit(k)))), 10_000) ** 2)
    sigma = dog_sigma(dog_radius(k, np.exp(log_gamma)), np.exp(log_gamma))
    grid = np.interp(np.linspace(sigma[0], sigma[-1], _GRID), sigma, log_gamma)
    return grid, _unit_rings(k, grid)


def _chunks(kernels: np.ndarray, who: str) -> list[np.ndarray]:
    """Split kernels into parts of a few thousand, at least one; `who` names the caller in errors."""
    kernels = np.asarray(kernels)
    if kernels.ndim != 3 or kernels.shape[1] != kernels.shape[2]:
        raise EchosError(f"{who}: kernels must be square, of shape (n, k, k), not {kernels.shape}; exclude others")
    check_size(kernels.shape[1])
    return [kernels[start : start + _CHUNK] for start in range(0, max(len(kernels), 1), _CHUNK)]


def _cosine_chunk(kernels: np.ndarray) -> np.ndarray:
    """`dog_cosine` for a few thousand kernels."""
    k = kernels.shape[1]
    unit = unit_taps(kernels, "dog_cosine")
    scores = unit.taps @ np.eye(len(rings_of(k)[1]))[rings_of(k)[2].ravel()] @ _fit_grid(k)[1].T
    return np.where(unit.constant, 0.0, np.minimum(np.maximum(scores.max(axis=1), -scores.min(axis=1)), 1.0))


def _fit_chunk(kernels: np.ndarray) -> DogFit:
    """`fit_dog` for a few thousand kernels."""
    index, counts = rings_of(kernels.shape[1])[2].ravel(), rings_of(kernels.shape[1])[1]
    unit = unit_taps(kernels, "fit_dog")
    sums = unit.taps @ np.eye(len(counts))[index]
    gamma, sign = _best_gamma(kernels.shape[1], sums)
    parameters, rings = solve_rings(kernels.shape[1], gamma)
    square = rings**2 @ counts
    amplitude = np.abs(np.einsum("nm,nm->n", sums, rings)) / square
    residual = norms(unit.taps - ((sign * amplitude)[:, None] * rings)[:, index])
    undefined = np.where(unit.constant, np.nan, 1.0)
    return DogFit(
        sign=np.where(unit.constant, 0, sign).astype(np.int8),
        gamma=gamma * undefined,
        r=parameters.r * undefined,
        sigma=parameters.sigma * undefined,
        amplitude=np.where(unit.constant, 0.0, amplitude * unit.norm),
        residual=residual * undefined,
        cosine=np.where(unit.constant, 0.0, np.minimum(amplitude * np.sqrt(square), 1.0)),
    )


def _best_gamma(k: int, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """γ and sign with the largest |cosine|, each of shape (n,), for the ring sums, (n, m), of unit kernels."""
    grid, templates = _fit_grid(k)
    scores = sums @ templates.T
    best = np.abs(scores).argmax(axis=1)
    found = np.take_along_axis(scores, best[:, None], 1)[:, 0]
    sign = np.where(found < 0, -1.0, 1.0)
    log_gamma = grid[best]
    reach = np.diff(grid)[np.clip(best - 1, 0, _GRID - 2)]
    for shrink in _SHRINK:
        step = shrink * reach
        middle = np.clip(log_gamma, grid[0] + step, grid[-1] - step)
        below, at, above = (sign * _cosine(k, sums, middle + shift) for shift in (-step, 0.0, step))
        curvature = 2 * at - below - above
        with np.errstate(divide="ignore", invalid="ignore"):
            vertex = 0.5 * (above - below) / curvature
        vertex = np.where(curvature > 0, vertex, np.sign(above - below))
        log_gamma = np.clip(middle + np.clip(step * vertex, -reach, reach), grid[0], grid[-1])
    better = sign * _cosine(k, sums, log_gamma) >= np.abs(found)
    return np.minimum(np.exp(np.where(better, log_gamma, grid[best])), gamma_limit(k)), sign


def _cosine(k: int, sums: np.ndarray, log_gamma: np.ndarray) -> np.ndarray:
    return np.einsum("nm,nm->n", sums, _unit_rings(k, log_gamma))
