"""Initialisations unrelated to receptive fields: noise of a given variance or covariance, and single taps.

Papers: Kaiming, He et al., ICCV 2015; covariance, Trockman, Willmott, Kolter, ICLR 2023; impulse and box, Zheng et al. 2024;
random and frozen, Gavrikov and Keuper 2023.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import stats

from neural_echos.errors import EchosError
from neural_echos.initialisations.borrowed import chosen_kernels
from neural_echos.initialisations.registry import Count, Positive, Table, check_size, register
from neural_echos.receptive_fields.normalisation import usable


@register()
def kaiming(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    distribution: Literal["normal", "uniform"] = "normal",
    mode: Literal["fan_in", "fan_out", "fan_out_per_group"] = "fan_in",
    outputs: int = 1,
    multiplier: int = 1,
) -> np.ndarray:
    """Draw Kaiming kernels for ReLU: variance 2 / fan (He et al., ICCV 2015, equations 10 and 14).

    Parameters
    ----------
    distribution : {"normal", "uniform"}
        Distribution of the taps.
    mode : {"fan_in", "fan_out", "fan_out_per_group"}
        The fan, with A = height·width taps: A; A times the kernels of the layer, as in `torch.nn.init`, although each output
        feeds only one group; or A times the kernels of a channel, as in timm's EfficientNets.
    """
    fan = height * width * {"fan_in": 1, "fan_out": outputs, "fan_out_per_group": multiplier}[mode]
    return _noise(distribution, n, height, width, np.sqrt(2.0 / fan), rng)


@register()
def trunc_normal(
    n: int, height: int, width: int, rng: np.random.Generator, *, std: Positive = 0.02, cut: Positive = 2.0
) -> np.ndarray:
    """Draw from a truncated normal distribution, ConvNeXt's own initialisation.

    Parameters
    ----------
    std : float above 0
        Standard deviation before truncation.
    cut : float above 0
        Maximum absolute value of a tap, as in timm; 2 therefore truncates nothing at std .02.
    """
    return stats.truncnorm.rvs(-cut / std, cut / std, scale=std, size=(n, height, width), random_state=rng)


@register()
def dirac(n: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Set the centre tap to 1 and the others to 0: the identity, like `torch.nn.init.dirac_` with groups."""
    check_size("dirac", height, width, centred=True)
    kernels = np.zeros((n, height, width))
    kernels[:, height // 2, width // 2] = 1.0
    return kernels


@register()
def impulse(n: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw kernels with one random tap of sqrt(1/3) and the others 0 (Zheng et al. 2024)."""
    return box(n, height, width, rng, taps=1)


@register()
def box(n: int, height: int, width: int, rng: np.random.Generator, *, taps: Count = 9) -> np.ndarray:
    """Draw kernels with `taps` different random taps of sqrt(1 / 3 taps) and the others 0 (Zheng et al. 2024).

    Parameters
    ----------
    taps : int
        Number of non-zero taps.
    """
    if taps > height * width:
        raise EchosError(f"box cannot set {taps} taps: a {height}×{width} kernel has only {height * width}; lower taps")
    kernels = np.zeros((n, height * width))
    kernels[:, :taps] = np.sqrt(1 / (3 * taps))
    return rng.permuted(kernels, axis=1).reshape(n, height, width)


@register(frozen=True)
def random_frozen(
    n: int, height: int, width: int, rng: np.random.Generator, *, distribution: Literal["normal", "uniform"] = "uniform"
) -> np.ndarray:
    """Draw PyTorch's default for a depthwise Conv2d, variance 1 / 3A for A taps, and freeze it (Gavrikov and Keuper 2023).

    Parameters
    ----------
    distribution : {"normal", "uniform"}
        Distribution of the taps.
    """
    return _noise(distribution, n, height, width, np.sqrt(1 / (3 * height * width)), rng)


@register()
def covariance(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    sigma0: Positive = 0.5,
    velocity: float = 1.0,
    acceleration: float = 1.0,
    bank: Table | None = None,
    by_depth: bool = False,
    depth: float = 0.0,
    report: dict[str, float] | None = None,
) -> np.ndarray:
    """Draw kernels from N(0, Σ), with a modelled covariance that widens with depth, or the covariance of a bank's kernels.

    Trockman, Willmott, Kolter, ICLR 2023; the formula of Σ is from memory, not from the paper (`model_covariance`).

    Parameters
    ----------
    sigma0 : float above 0
        σ₀ of σ = σ₀ + v d + ½ a d² taps at depth d; the defaults are ours (.5 taps in the first layer, 2 in the last).
    velocity, acceleration : float
        v and a in σ, taps: how fast σ grows with depth, and how fast this growth increases.
    bank : table of schema "bank", or its path, optional
        Use the covariance (about zero) of this bank's depthwise kernels of the same size instead.
    by_depth : bool
        Use only the bank's layer that is nearest in depth.
    """
    if bank is not None:
        kernels, layer = chosen_kernels("covariance", bank, height, width, depth if by_depth else None)
        taps = kernels[usable(kernels)[0]].reshape(-1, height * width).astype(np.float64)
        if not taps.any():
            raise EchosError(
                f"covariance: the bank's {len(kernels)} depthwise kernels of {height}×{width} are all zero or not "
                "finite, so they have no covariance; choose another bank"
            )
        matrix = taps.T @ taps / len(taps)
        said = {"bank_kernels": float(len(taps))} | layer
    else:
        check_size("covariance", height, width, square=True)
        sigma = sigma0 + velocity * depth + 0.5 * acceleration * depth**2
        matrix, clipped = model_covariance(height, sigma)
        said = {"sigma": sigma, "clipped_share": clipped}
    if report is not None:
        report |= said
    values, vectors = np.linalg.eigh(matrix)
    roots = vectors * np.sqrt(np.clip(values, 0.0, None))
    return (rng.normal(size=(n, len(values))) @ roots.T).reshape(n, height, width)


@lru_cache
def model_covariance(k: int, sigma: float) -> tuple[np.ndarray, float]:
    """Covariance of the taps of k×k kernels (Trockman, Willmott, Kolter, ICLR 2023, as recalled).

    With Z a Gaussian bump of width σ on the k×k torus, M its value at the first tap, C at the difference of both, S at the
    second: Σ̂ = M ∘ (C − S/2) and Σ = (Σ̂ + Σ̂ᵀ)/2. In this form Σ is not positive semi-definite for k ≥ 5: negative
    eigenvalues are set to 0, and the rest are scaled to keep the trace.

    Parameters
    ----------
    k : int
        Side of the kernel.
    sigma : float
        Width of the bump, taps, above 0.

    Returns
    -------
    covariance : ndarray of float64, shape (k·k, k·k)
        Row-major taps; read-only.
    clipped : float
        Sum of the absolute negative eigenvalues over the sum of all absolute eigenvalues, before clipping.

    Raises
    ------
    EchosError
        `sigma` is not above 0.
    """
    values, vectors = np.linalg.eigh(unclipped_covariance(k, sigma))
    kept = np.clip(values, 0.0, None)
    matrix = (vectors * (kept * values.sum() / kept.sum())) @ vectors.T
    matrix.setflags(write=False)
    return matrix, float(np.clip(-values, 0.0, None).sum() / np.abs(values).sum())


def unclipped_covariance(k: int, sigma: float) -> np.ndarray:
    """Σ of `model_covariance` before its negative eigenvalues are clipped: float64, shape (k·k, k·k)."""
    if not (sigma > 0 and np.isfinite(sigma)):
        raise EchosError(f"covariance: σ = σ₀ + v d + ½ a d² must be above 0 taps, not {sigma:g}; increase sigma0")
    line = np.arange(k)
    apart = np.minimum(line, k - line) ** 2  # squared distance on the circle, by difference of indices
    difference = apart[(line[:, None] - line) % k]
    bump = np.exp(-0.5 * (difference[:, None, :, None] + difference[None, :, None, :]) / sigma**2).reshape(k * k, k * k)
    centred = bump[(k // 2) * (k + 1)]
    one_sided = centred[:, None] * (bump - centred / 2)
    return (one_sided + one_sided.T) / 2


def _noise(distribution: str, n: int, height: int, width: int, std: float, rng: np.random.Generator) -> np.ndarray:
    if distribution == "normal":
        return rng.normal(0.0, std, (n, height, width))
    return rng.uniform(-np.sqrt(3.0) * std, np.sqrt(3.0) * std, (n, height, width))
