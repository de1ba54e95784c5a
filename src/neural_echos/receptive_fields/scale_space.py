"""Discrete scale-space models of receptive fields (differences of the discrete Gaussian), and the spread of kernels.

Paper: Lindeberg, Babaiee, Kiasari, "Modelling and analysis of the 8 filters from the 'master key filters hypothesis' for
depthwise-separable deep networks in relation to idealized receptive fields based on scale-space theory", JMIV 2026 (arXiv
2509.12746). With s = σ² the variance, I_n the modified Bessel functions, and p = (x, y) the position of a tap,

    T(n; s) = e^(−s) I_n(s), in two dimensions T(x; σ_x²) T(y; σ_y²)      the discrete analogue of the Gaussian
    F1 δ_y+ T · F2 δ_x− T · F3 δ_y− T · F4 δ_x+ T · F5 δ_x T · F6 δ_y T · F7 1 − γ₇ ∇²₅ T · F8 T       the ideal models
    M(h) = Σ p |h| / Σ |h|,  V(h) = Σ p pᵀ |h| / Σ |h| − M Mᵀ                                         mean and spread

Axes in this module: an array's last axis is x, to the right; its second-to-last axis is y, which points *up* while rows
run down, so row 0 has the largest y. The origin is the middle of the array.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import ive

from neural_echos.errors import EchosError

Axis = Literal["x", "y"]
Kind = Literal["backward", "forward", "central"]
Border = Literal["mirror", "zeros"]

IDEALS: dict[int, tuple[Axis, Kind] | None] = {
    1: ("y", "forward"),
    2: ("x", "backward"),
    3: ("y", "backward"),
    4: ("x", "forward"),
    5: ("x", "central"),
    6: ("y", "central"),
    7: None,  # the impulse minus γ₇ Laplacians
    8: None,  # the discrete Gaussian itself
}
_AXES: dict[Axis, int] = {"x": -1, "y": -2}
_PADS: dict[Border, Literal["symmetric", "constant"]] = {
    "mirror": "symmetric",
    "zeros": "constant",
}  # as np.pad names them


@dataclass(frozen=True)
class Spread:
    """Mean and spread of |kernels|, in taps and taps²; float64, shape of the kernels without their last two axes."""

    m_x: np.ndarray
    m_y: np.ndarray
    v_xx: np.ndarray
    v_xy: np.ndarray
    v_yy: np.ndarray


def discrete_gaussian(k: int | tuple[int, int], sigma_x: ArrayLike, sigma_y: ArrayLike | None = None) -> np.ndarray:
    """Discrete analogue of the Gaussian, T(n; s) = e^(−s) I_n(s) with s = σ², along both axes, cropped to its middle taps.

    Before cropping its taps sum to 1 and its variance is s; cropping does not change the remaining taps. Unlike a
    sampled Gaussian it has the semigroup property, T(s) ∗ T(s′) = T(s + s′) (Lindeberg 1990).

    Parameters
    ----------
    k : int or (int, int)
        Size, odd: one number, or height and width.
    sigma_x, sigma_y : array_like of float
        Standard deviations in taps, non-negative; 0 gives the unit impulse. They are broadcast; σ_y is σ_x by default.

    Returns
    -------
    ndarray of float64, shape (…, height, width)
        … is the broadcast shape of the standard deviations.

    Raises
    ------
    EchosError
        `k` is even or not positive, or a standard deviation is negative or not finite.
    """
    column, row = _lines(k, sigma_x, sigma_y)
    return column * row


def difference(kernels: ArrayLike, axis: Axis, kind: Kind, border: Border = "mirror") -> np.ndarray:
    """Difference operator δ along an axis, as a correlation.

    δ− = (−1, +1, 0) is "backward", δ+ = (0, −1, +1) "forward", δ = (−½, 0, +½) "central"; along y the masks run upwards.

    Parameters
    ----------
    kernels : array_like of float, shape (…, h, w)
    axis : {"x", "y"}
    kind : {"backward", "forward", "central"}
    border : {"mirror", "zeros"}
        Values beyond the border: the half-sample mirror of the taps, or zeros.

    Returns
    -------
    ndarray of float64, shape (…, h, w)

    Raises
    ------
    EchosError
        `axis`, `kind` or `border` is unknown, or a tap is not finite.
    """
    here = _checked_kernels("difference", kernels)
    before, after = _neighbours(here, axis, border)
    if kind == "backward":
        return here - before
    if kind == "forward":
        return after - here
    if kind == "central":
        return (after - before) / 2
    raise EchosError(f"kind must be 'backward', 'forward' or 'central', not {kind!r}")


def laplacian(kernels: ArrayLike) -> np.ndarray:
    """Five-point Laplacian ∇²₅ of kernels, shape (…, h, w), with zeros beyond the borders; float64, same shape."""
    here = _checked_kernels("laplacian", kernels)
    left, right = _neighbours(here, "x", "zeros")
    below, above = _neighbours(here, "y", "zeros")
    return left + right + below + above - 4 * here


def ideal(
    number: int,
    k: int | tuple[int, int],
    sigma_x: ArrayLike,
    sigma_y: ArrayLike | None = None,
    amount: ArrayLike | None = None,
) -> np.ndarray:
    """Ideal model of one of the eight master key filters: the discrete Gaussian is cropped first, then differenced.

    Parameters
    ----------
    number : int
        1 to 8: δ_y+ T, δ_x− T, δ_y− T, δ_x+ T, δ_x T, δ_y T, unit impulse − γ₇ ∇²₅ T, T.
    k, sigma_x, sigma_y
        As in `discrete_gaussian`.
    amount : array_like of float, optional
        γ₇, broadcast against the standard deviations; required for filter 7, unused by the others.

    Returns
    -------
    ndarray of float64, shape (…, height, width)
        … is the broadcast shape of the standard deviations (and of `amount`).

    Raises
    ------
    EchosError
        `number` is not in 1 to 8, `amount` is missing or not finite, or as in `discrete_gaussian`.
    """
    _check_number(number)
    if number == 7:
        smooth = discrete_gaussian(k, sigma_x, sigma_y)
        return discrete_gaussian(k, 0.0) - _checked_amount(amount)[..., None, None] * laplacian(smooth)
    column, row = _lines(k, sigma_x, sigma_y)
    derived = IDEALS[number]
    if derived is not None:
        axis, kind = derived
        column = difference(column, axis, kind) if axis == "y" else column
        row = difference(row, axis, kind) if axis == "x" else row
    return column * row


def spread(kernels: ArrayLike, weights: ArrayLike | None = None) -> Spread:
    """Means and second central moments of |kernels|, or of |kernels| |weights|: M = Σ p |h| / Σ |h|, V = Σ p pᵀ |h| / Σ |h| − M Mᵀ.

    Parameters
    ----------
    kernels : array_like of float, shape (…, h, w)
    weights : array_like of float, shape (…, h, w), optional
        Broadcast against `kernels`; the paper takes the ideal model at σ_x = σ_y = 1.

    Raises
    ------
    EchosError
        A tap is not finite, or all |taps| (times |weights|) of a kernel are 0.
    """
    mass = np.abs(_checked_kernels("spread", kernels))
    if weights is not None:
        mass = mass * np.abs(_checked_kernels("spread", weights))
    total = mass.sum(axis=(-2, -1))
    if (total == 0).any():
        raise EchosError(
            f"spread: {int((total == 0).sum())} kernels are all zero (or their weights are) and have no mean; drop them first"
        )
    x, y = _places(mass.shape[-2:])
    m_x, m_y, xx, xy, yy = ((place * mass).sum(axis=(-2, -1)) / total for place in (x, y, x * x, x * y, y * y))
    return Spread(m_x, m_y, xx - m_x**2, xy - m_x * m_y, yy - m_y**2)


def centred_first_moment(kernels: ArrayLike, axis: Axis) -> np.ndarray:
    """Centred first moment of kernels h along an axis, Σ (p − m) h with m the mean of |h|.

    Parameters
    ----------
    kernels : array_like of float, shape (…, h, w)
    axis : {"x", "y"}

    Returns
    -------
    ndarray of float64, shape (…)
        In taps; −1 for δ_x T and the other derivatives, up to the effect of cropping.

    Raises
    ------
    EchosError
        `axis` is unknown, or as in `spread`.
    """
    _check_axis(axis)
    taps = _checked_kernels("centred_first_moment", kernels)
    mean = getattr(spread(taps), f"m_{axis}")
    place = dict(zip(_AXES, _places(taps.shape[-2:]), strict=True))[axis]
    return np.asarray(((place - mean[..., None, None]) * taps).sum(axis=(-2, -1)))


def compensate_dc(kernel: ArrayLike) -> float:
    """Constant C to subtract from the kernel h: it minimises the spread sqrt(det V(|h − C|)).

    The spread is smooth except where C equals a tap, so the minimum is searched between each two neighbouring tap values and at
    the taps.

    Parameters
    ----------
    kernel : array_like of float, shape (h, w)

    Raises
    ------
    EchosError
        A tap is not finite, or all are equal.
    """
    taps = _checked_kernels("compensate_dc", kernel)
    levels = np.unique(taps)
    if len(levels) == 1:
        raise EchosError(
            f"compensate_dc: all taps are equal to {levels[0]:g}, so there is nothing to measure; drop the kernel"
        )

    def area(constants: ArrayLike) -> np.ndarray:
        found = spread(taps - np.asarray(constants)[..., None, None])
        return np.sqrt(np.maximum(found.v_xx * found.v_yy - found.v_xy**2, 0.0))

    between = [
        minimize_scalar(area, bounds=bounds, method="bounded", options={"xatol": 1e-9 * (bounds[1] - bounds[0])}).x
        for bounds in pairwise(levels)
    ]
    constants = np.concatenate([levels, between])
    return float(constants[area(constants).argmin()])


def normalise_filter(kernel: ArrayLike, number: int) -> tuple[np.ndarray, float, float]:
    """Normalise a master key filter like its ideal model: by its centred first moment (1 to 6) or its DC response (7, 8).

    Parameters
    ----------
    kernel : array_like of float, shape (h, w)
    number : int
        1 to 8.

    Returns
    -------
    normalised : ndarray of float64, shape (h, w)
        (kernel − constant) / divisor.
    constant : float
        The constant subtracted: `compensate_dc` for filters 7 and 8, else 0.
    divisor : float
        The divisor: minus the centred first moment along the differentiated axis (1 to 6), or the sum (7, 8).

    Raises
    ------
    EchosError
        `number` is not in 1 to 8, the divisor is 0, or as in `spread` and `compensate_dc`.
    """
    _check_number(number)
    taps = _checked_kernels("normalise_filter", kernel)
    derived = IDEALS[number]
    constant = 0.0 if derived else compensate_dc(taps)
    divisor = float(-centred_first_moment(taps, derived[0]) if derived else (taps - constant).sum())
    if abs(divisor) <= 1e-12 * np.abs(taps).sum():
        what = f"its centred first moment along {derived[0]} is 0" if derived else "its taps sum to 0"
        raise EchosError(f"the kernel cannot be normalised as master key filter {number}: {what}; check the number")
    return (taps - constant) / divisor, constant, divisor


def _lines(k: int | tuple[int, int], sigma_x: ArrayLike, sigma_y: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """The discrete Gaussian along y, shape (…, height, 1), and along x, (…, 1, width)."""
    height, width = (k, k) if isinstance(k, int | np.integer) else k
    row = _line(width, "sigma_x", sigma_x)[..., None, :]
    column = _line(height, "sigma_y", sigma_x if sigma_y is None else sigma_y)[..., :, None]
    return column, row


def _line(length: int, name: str, sigma: ArrayLike) -> np.ndarray:
    """The middle `length` taps of T(n; σ²): float64, shape σ.shape + (length,)."""
    if length < 1 or length % 2 == 0:
        raise EchosError(f"a discrete Gaussian needs a centre tap, so an odd number of taps, not {length}")
    values = np.asarray(sigma, dtype=np.float64)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        raise EchosError(f"{name} must be a number of taps of at least 0, not {values[wrong].flat[0]}")
    half = ive(np.arange(length // 2 + 1), values[..., None] ** 2)
    return np.concatenate([half[..., :0:-1], half], axis=-1)


def _neighbours(kernels: np.ndarray, axis: Axis, border: Border) -> tuple[np.ndarray, np.ndarray]:
    """The taps at p − 1 and at p + 1 along an axis, each of the kernels' shape."""
    _check_axis(axis)
    if border not in _PADS:
        raise EchosError(f"border must be {' or '.join(map(repr, _PADS))}, not {border!r}")
    along = np.moveaxis(kernels, _AXES[axis], -1)
    padded = np.pad(along, [(0, 0)] * (along.ndim - 1) + [(1, 1)], mode=_PADS[border])
    first, second = (np.moveaxis(part, -1, _AXES[axis]) for part in (padded[..., :-2], padded[..., 2:]))
    return (first, second) if axis == "x" else (second, first)  # the row above has the larger y


def _places(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x, shape (1, w), and y, shape (h, 1), of the taps of an array of shape (h, w)."""
    height, width = shape
    return (np.arange(width) - (width - 1) / 2)[None, :], ((height - 1) / 2 - np.arange(height))[:, None]


def _check_axis(axis: str) -> None:
    if axis not in _AXES:
        raise EchosError(f"axis must be 'x' or 'y', not {axis!r}")


def _check_number(number: int) -> None:
    if number not in IDEALS:
        raise EchosError(f"master key filters have the numbers 1 to 8, not {number}")


def _checked_amount(amount: ArrayLike | None) -> np.ndarray:
    values = np.asarray(np.nan if amount is None else amount, dtype=np.float64)
    if not np.isfinite(values).all():
        found = "none" if amount is None else values[~np.isfinite(values)].flat[0]
        raise EchosError(f"filter 7 needs amount, the finite factor γ₇ of its Laplacian, not {found}")
    return values


def _checked_kernels(name: str, kernels: ArrayLike) -> np.ndarray:
    taps = np.asarray(kernels, dtype=np.float64)
    if taps.ndim < 2 or 0 in taps.shape[-2:]:
        raise EchosError(f"{name}: kernels must have the shape (…, height, width), not {taps.shape}; reshape them")
    if not np.isfinite(taps).all():
        raise EchosError(f"{name}: some taps are NaN or infinite; drop such kernels first")
    return taps
