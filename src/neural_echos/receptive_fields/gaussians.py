"""Formulas of the sampled Gaussian and its directional derivatives, and the gradients and Hessians for fitting them.

x points right and **y points up** (array rows run downwards), both are 0 at the middle of the kernel. θ is the orientation,
anticlockwise from x, and (o_x, o_y) the offset. All lengths are in taps:

    p = ( (x − o_x) cos θ + (y − o_y) sin θ) / σ_u,  q = (−(x − o_x) sin θ + (y − o_y) cos θ) / σ_v
    G = exp(−(p² + q²) / 2),                         ∂_u G = −p G / σ_u,  ∂_uu G = (p² − 1) G / σ_u²

Papers: Lindeberg, "Scale-Space Theory in Computer Vision", Kluwer 1994, for Gaussian derivatives as receptive fields; Babaiee,
Kiasari, Rus, Grosu, "Unveiling the Unseen", ICLR 2024 (arXiv 2401.14469), for kernels that look like them.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from neural_echos.errors import EchosError

Size = int | tuple[int, int]
_FAR = {"d": -200.0, "f": -25.0}  # smaller exponents are clipped because underflowing sums of squares are slow
_PAIRS = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])  # places of (1, p, q)ᵀ(1, p, q) in (1, p, q, p², pq, q²)
_BLOCKS = (
    np.array([[0, 1], [1, 2]]).repeat(3, 0).repeat(3, 1),
    np.tile(_PAIRS, (2, 2)),
)  # the same under T_pp, T_pq, T_qq


def gaussian(
    k: Size,
    sigma_u: ArrayLike,
    sigma_v: ArrayLike | None = None,
    orientation: ArrayLike = 0.0,
    offset_x: ArrayLike = 0.0,
    offset_y: ArrayLike = 0.0,
) -> np.ndarray:
    """Sampled Gaussians, anisotropic, oriented and offset: G = exp(−(p² + q²) / 2), with p and q as above.

    The Gaussian's peak is 1, even if it lies between taps. A unit sum would instead depend on where the taps fall and
    on what the border cuts off, so a kernel would not be a smooth, comparable function of its offset and scale.

    Parameters
    ----------
    k : int or (int, int)
        Side, or height and width, odd or even, at least 2; the middle of an even side lies between two taps.
    sigma_u : array_like of float
        Standard deviation along the orientation, taps.
    sigma_v : array_like of float, optional
        Standard deviation across it, taps; by default equal to `sigma_u`.
    orientation : array_like of float
        Angle of the axis u, radians anticlockwise from x.
    offset_x, offset_y : array_like of float
        Position of the peak, in taps to the right of the middle and above it.

    Returns
    -------
    ndarray of float64, shape (…, h, w)
        … is the broadcast shape of the parameters.

    Raises
    ------
    EchosError
        A side is below 2, a standard deviation is not a positive number, or another parameter is not finite.
    """
    return gaussian_derivative(k, 0, sigma_u, sigma_v, orientation, offset_x, offset_y)


def gaussian_derivative(
    k: Size,
    order: int,
    sigma_u: ArrayLike,
    sigma_v: ArrayLike | None = None,
    orientation: ArrayLike = 0.0,
    offset_x: ArrayLike = 0.0,
    offset_y: ArrayLike = 0.0,
) -> np.ndarray:
    """Derivatives of the sampled `gaussian` along its orientation: ∂_u G = −p G / σ_u, ∂_uu G = (p² − 1) G / σ_u².

    The first derivative is therefore positive on the side that the orientation points away from.

    Parameters
    ----------
    k : int or (int, int)
        Side, or height and width, odd or even, at least 2.
    order : int
        0 (the Gaussian itself), 1 or 2.
    sigma_u, sigma_v, orientation, offset_x, offset_y
        As in `gaussian`.

    Returns
    -------
    ndarray of float64, shape (…, h, w)
        … is the broadcast shape of the parameters; the unit is taps^−order.

    Raises
    ------
    EchosError
        `order` is not 0, 1 or 2, or as in `gaussian`.
    """
    if order not in (0, 1, 2):
        raise EchosError(f"order must be 0, 1 or 2, not {order}")
    height, width = _sides(k)
    along = _checked("sigma_u", sigma_u, positive=True)
    across = along if sigma_v is None else _checked("sigma_v", sigma_v, positive=True)
    angle, right, up = (
        _checked(name, value)
        for name, value in (("orientation", orientation), ("offset_x", offset_x), ("offset_y", offset_y))
    )
    p, q = _frame(height, width, *np.broadcast_arrays(along, across, angle, right, up))
    with np.errstate(under="ignore"):
        bell = np.exp(-0.5 * (p**2 + q**2))
    if order == 0:
        return bell
    scale = np.broadcast_to(along, bell.shape[:-2])[..., None, None]
    return -p * bell / scale if order == 1 else (p**2 - 1) * bell / scale**2


def slopes(
    order: int, height: int, width: int, steps: np.ndarray, kernels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ln |cos| between centred kernels and Gaussian derivatives, with its derivatives, in the precision of the kernels.

    See `models.Slopes`; `steps` are ln σ_u, ln σ_v, θ, o_x, o_y. By the chain rule, every first derivative of a template
    T = He_order(p) G with respect to them is a combination of six functions, T_p and T_q times 1, p and q. Second derivatives
    also involve T_pp, T_pq and T_qq times products of 1, p and q. Sums over taps are therefore computed for these functions and
    combined at the end.
    """
    n, taps = kernels.shape
    turn = _Turn(*(row.astype(kernels.dtype) for row in steps))
    part = np.empty(
        (17, n, taps), kernels.dtype
    )  # T_p, p T_p, q T_p, T_q, p T_q, q T_q, T; kernel; 1, p, q, p², pq, q²; T_pp, −T_pq, −T_qq
    part[7], part[8] = kernels, 1.0
    p, q, pp, qq = part[9], part[10], part[11], part[13]
    np.matmul(turn.frame(), _grid(height, width).astype(kernels.dtype), out=part[9:11])
    np.multiply(p, p, out=pp)
    np.multiply(q, q, out=qq)
    np.multiply(p, q, out=part[12])
    template, t_p, t_pp = part[6], part[0], part[14]
    _along(order, p, pp, qq, out=(template, t_p, t_pp))
    np.multiply(part[9:11], t_p, out=part[1:3])
    np.multiply(q, template, out=part[3])
    np.negative(part[3], out=part[3])
    np.multiply(part[9:11], part[3], out=part[4:6])
    by_kernel = part.transpose(1, 0, 2)
    sums = (by_kernel[:, :7] @ by_kernel[:, :9].transpose(0, 2, 1)).transpose(1, 2, 0).copy()
    gram = sums[:, :7] - sums[:, 8, None] * (sums[:, 8] / taps)
    square, match = gram[6, 6], sums[6, 7]
    lean, pull = gram[6, :6] / square, sums[:6, 7] / match
    weight = kernels / match[:, None]
    weight -= np.divide(template, square[:, None], out=part[16])
    weight += (sums[6, 8] / taps / square)[:, None]
    t_pp *= weight
    np.multiply(part[2], weight, out=part[15])
    np.add(part[5], template, out=part[16])
    part[16] *= weight
    moments = (by_kernel[:, 14:] @ by_kernel[:, 8:14].transpose(0, 2, 1)).transpose(1, 2, 0)
    np.negative(moments[1:], out=moments[1:])
    outer = lean[:, None] * lean
    both = np.empty((6, 2, 6, n), kernels.dtype)
    metric = np.subtract(gram[:6, :6] / square, outer, out=both[:, 1])
    np.subtract(moments[_BLOCKS], metric, out=both[:, 0])
    both[:, 0] += outer - pull[:, None] * pull
    shift = pull - lean
    curvature, metric = turn.chained(turn.chained(both).transpose(2, 1, 0, 3)).transpose(1, 0, 2, 3)
    value = np.log(np.abs(match)) - 0.5 * np.log(square)
    return value, turn.chained(shift), curvature + turn.bend(shift), metric


def _along(order: int, p: np.ndarray, pp: np.ndarray, qq: np.ndarray, out: tuple[np.ndarray, ...]) -> None:
    """Write T = He_order(p) G (the derivative up to a factor), T_p = −He_(order+1)(p) G, T_pp = He_(order+2)(p) G to `out`."""
    template, t_p, t_pp = out
    bell = pp + qq
    bell *= -0.5
    np.exp(np.maximum(bell, _FAR[bell.dtype.char], out=bell), out=bell)
    odd = p * bell
    if order == 0:
        template[:] = bell
        np.negative(odd, out=t_p)
        np.multiply(pp - 1, bell, out=t_pp)
    elif order == 1:
        template[:] = odd
        np.multiply(1 - pp, bell, out=t_p)
        np.multiply(pp - 3, odd, out=t_pp)
    else:
        np.multiply(pp - 1, bell, out=template)
        np.multiply(3 - pp, odd, out=t_p)
        np.multiply((pp - 6) * pp + 3, bell, out=t_pp)


class _Turn:
    """The chain rule from p and q to the five steps, for n kernels; all fields have shape (n,).

    ∂_lnσu p = −p, ∂_lnσv q = −q, ∂_θ p = q σ_v/σ_u, ∂_θ q = −p σ_u/σ_v; the derivatives in the offsets are the same at all taps.
    """

    def __init__(self, *steps: np.ndarray) -> None:
        self.narrow, (self.x, self.y) = np.exp(-np.array(steps[:2])), steps[3:]
        cosine, sine = np.cos(steps[2]), np.sin(steps[2])
        (self.p_x, self.q_y), (self.p_y, self.q_x) = cosine * self.narrow, sine * self.narrow
        self.ratio = self.narrow[0] / self.narrow[1]

    def frame(self) -> np.ndarray:
        """Coefficients of p and of q in (x, y, 1): shape (2, n, 3)."""
        p = [self.p_x, self.p_y, -self.p_x * self.x - self.p_y * self.y]
        q = [-self.q_x, self.q_y, self.q_x * self.x - self.q_y * self.y]
        return np.array([p, q]).transpose(0, 2, 1)

    def chained(self, of: np.ndarray) -> np.ndarray:
        """Convert derivatives in p and q, each times 1, p and q, (6, …, n), to derivatives in the steps, (5, …, n)."""
        slopes = np.empty((5, *of.shape[1:]), of.dtype)
        np.negative(of[1:6:4], out=slopes[:2])
        np.multiply(of[2], self.ratio, out=slopes[2])
        slopes[2] -= of[4] / self.ratio
        np.multiply(of[3], self.q_x, out=slopes[3])
        slopes[3] -= self.p_x * of[0]
        np.multiply(of[3], -self.q_y, out=slopes[4])
        slopes[4] -= self.p_y * of[0]
        return slopes

    def bend(self, shift: np.ndarray) -> np.ndarray:
        """The second derivatives of p and q weighted by `shift`, (6, n): shape (5, 5, n)."""
        bend = np.zeros((5, 5, shift.shape[1]), shift.dtype)
        bend[0, 0], bend[1, 1], bend[2, 2] = shift[1], shift[5], -shift[1] - shift[5]
        bend[2, 0], bend[2, 1] = -self.ratio * shift[2], shift[4] / self.ratio
        bend[3, 0], bend[4, 0] = self.p_x * shift[0], self.p_y * shift[0]
        bend[3, 1], bend[4, 1] = -self.q_x * shift[3], self.q_y * shift[3]
        bend[3, 2], bend[4, 2] = self.p_y * shift[0] + self.q_y * shift[3], self.q_x * shift[3] - self.p_x * shift[0]
        bend[0, 1:], bend[1, 2:], bend[2, 3:] = bend[1:, 0], bend[2:, 1], bend[3:, 2]
        return bend


@lru_cache
def _grid(height: int, width: int) -> np.ndarray:
    """x, y and 1 at each tap: shape (3, h·w)."""
    y, x = np.mgrid[(height - 1) / 2 : -height / 2 : -1, -(width - 1) / 2 : width / 2]
    return np.stack([x.ravel(), y.ravel(), np.ones(height * width)])


def _frame(
    height: int,
    width: int,
    sigma_u: np.ndarray,
    sigma_v: np.ndarray,
    angle: np.ndarray,
    offset_x: np.ndarray,
    offset_y: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The taps' p and q, each of shape (…, h, w), for parameters of one shape."""
    x = (np.arange(width) - (width - 1) / 2 - offset_x[..., None])[..., None, :]
    y = ((height - 1) / 2 - np.arange(height) - offset_y[..., None])[..., :, None]
    cosine, sine = np.cos(angle)[..., None, None], np.sin(angle)[..., None, None]
    along, across = sigma_u[..., None, None], sigma_v[..., None, None]
    return cosine / along * x + sine / along * y, -sine / across * x + cosine / across * y


def _sides(k: Size) -> tuple[int, int]:
    sides = tuple(k) if isinstance(k, tuple | list) else (k, k)
    if len(sides) != 2 or not all(isinstance(side, int | np.integer) and side >= 2 for side in sides):
        raise EchosError(f"k must be a side of at least 2, or height and width, not {k}")
    return int(sides[0]), int(sides[1])


def _checked(name: str, value: ArrayLike, *, positive: bool = False) -> np.ndarray:
    values = np.asarray(value, dtype=np.float64)
    wrong = ~(np.isfinite(values) & ((values > 0) | (not positive)))
    if wrong.any():
        expected = "a positive number of taps" if positive else "a finite number"
        raise EchosError(f"{name} must be {expected}, not {values[wrong].flat[0]}")
    return values
