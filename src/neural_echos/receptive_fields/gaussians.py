"""The sampled Gaussian and its directional derivatives as formulas, and the slopes that their fit needs.

With x to the right, **y up** (array rows run downwards), both 0 at the middle of the kernel, θ the orientation, anticlockwise
from x, and (o_x, o_y) the offset, all lengths in taps:

    p = ( (x − o_x) cos θ + (y − o_y) sin θ) / σ_u,  q = (−(x − o_x) sin θ + (y − o_y) cos θ) / σ_v
    G = exp(−(p² + q²) / 2),                         ∂_u G = −p G / σ_u,  ∂_uu G = (p² − 1) G / σ_u²

Papers: Lindeberg, "Scale-Space Theory in Computer Vision", Kluwer 1994, for Gaussian derivatives as receptive fields; Babaiee,
Kiasari, Rus, Grosu, "Unveiling the Unseen", ICLR 2024 (arXiv 2401.14469), for kernels that look like them.
"""

import numpy as np
from numpy.typing import ArrayLike

from neural_echos.errors import EchosError

Size = int | tuple[int, int]
_FAR = -200.0  # exponents below are cut off there, for sums of squares that underflow are slow
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

    The Gaussian's peak is 1, wherever it lies between the taps. A unit sum would instead depend on where the taps fall and
    on what the border cuts off, so a kernel would not be a smooth, comparable function of its offset and scale.

    Parameters
    ----------
    k : int or (int, int)
        Side, or height and width, odd or even, at least 2; the middle of an even side lies between two taps.
    sigma_u : array_like of float
        Standard deviation along the orientation, taps.
    sigma_v : array_like of float, optional
        Standard deviation across it, taps; by default as along it.
    orientation : array_like of float
        Angle of the axis u, radians anticlockwise from x.
    offset_x, offset_y : array_like of float
        Place of the peak, taps to the right of the middle and above it.

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

    So the first derivative is positive on the side that the orientation points away from.

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
        … is the broadcast shape of the parameters; of unit taps^−order.

    Raises
    ------
    EchosError
        `order` is another one, or as in `gaussian`.
    """
    if order not in (0, 1, 2):
        raise EchosError(f"order: expected a derivative of order 0, 1 or 2, found {order}; correct it")
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
    """Ln |cos| between kernels and Gaussian derivatives, both centred, with its slopes; see `models.Slopes`.

    `steps` are ln σ_u, ln σ_v, θ, o_x, o_y. Every slope of a template T = He_order(p) G in them is a combination, given by
    the chain rule, of six functions, T_p and T_q times 1, p and q; every second slope is one of T_pp, T_pq and T_qq
    times products of 1, p and q, too. So sums over taps are taken for these functions, and combined at the end.
    """
    n, taps = steps.shape[1], height * width
    sigma_u, sigma_v = np.exp(steps[:2])
    p, q = (part.reshape(n, taps) for part in _frame(height, width, sigma_u, sigma_v, *steps[2:]))
    products = np.empty((n, 6, taps))
    pp, qq = p * p, q * q
    for place, product in enumerate((1.0, p, q, pp, p * q, qq)):
        products[:, place] = product
    template, t_p, t_pp = _along(order, p, pp, qq)
    t_q = -q * template
    first = np.empty((n, 7, taps))
    for place, slope in enumerate((t_p, p * t_p, q * t_p, t_q, p * t_q, q * t_q, template)):
        first[:, place] = slope
    sums, scores = first @ np.ones(taps), (first @ kernels[:, :, None])[:, :, 0]
    gram = first @ first.transpose(0, 2, 1) - sums[:, :, None] * (sums / taps)[:, None, :]
    square, match = gram[:, 6, 6, None], scores[:, 6, None]
    lean, pull = gram[:, 6, :6] / square, scores[:, :6] / match
    weight = kernels / match - (template - sums[:, 6:] / taps) / square
    second = np.empty((n, 3, taps))
    second[:, 0] = weight * t_pp
    second[:, 1] = weight * t_p * -q
    second[:, 2] = weight * template * (qq - 1)
    moments = second @ products.transpose(0, 2, 1)
    metric = gram[:, :6, :6] / square[:, :, None]
    outer = lean[:, :, None] * lean[:, None, :]
    curvature = moments[:, _BLOCKS[0], _BLOCKS[1]] - metric + 2 * outer - pull[:, :, None] * pull[:, None, :]
    metric -= outer
    chain = _chain(sigma_u, sigma_v, steps[2])
    turned = chain.transpose(0, 2, 1)
    shift = pull - lean
    hessian = chain @ curvature @ turned + _bend(chain, shift, sigma_v / sigma_u)
    value = np.log(np.abs(match[:, 0])) - 0.5 * np.log(square[:, 0])
    gradient = (chain @ shift[:, :, None])[:, :, 0]
    return value, gradient.T, hessian.transpose(1, 2, 0), (chain @ metric @ turned).transpose(1, 2, 0)


def _along(order: int, p: np.ndarray, pp: np.ndarray, qq: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T = He_order(p) G (the derivative up to a factor), T_p = −He_(order+1)(p) G and T_pp = He_(order+2)(p) G."""
    bell = np.exp(np.maximum(-0.5 * (pp + qq), _FAR))
    if order == 0:
        return bell, -p * bell, (pp - 1) * bell
    if order == 1:
        template = p * bell
        return template, (1 - pp) * bell, (pp - 3) * template
    return (pp - 1) * bell, (3 - pp) * p * bell, ((pp - 6) * pp + 3) * bell


def _chain(sigma_u: np.ndarray, sigma_v: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Slopes of p and q in the five steps as combinations of (1, p, q): shape (n, 5, 6), p's in the first three columns."""
    cosine, sine = np.cos(angle), np.sin(angle)
    chain = np.zeros((len(angle), 5, 6))
    chain[:, 0, 1] = chain[:, 1, 5] = -1.0
    chain[:, 2, 2], chain[:, 2, 4] = sigma_v / sigma_u, -sigma_u / sigma_v
    chain[:, 3, 0], chain[:, 3, 3] = -cosine / sigma_u, sine / sigma_v
    chain[:, 4, 0], chain[:, 4, 3] = -sine / sigma_u, -cosine / sigma_v
    return chain


def _bend(chain: np.ndarray, shift: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """The second slopes of p and q, weighted by `shift`: (n, 5, 5).

    They are first ones again: ∂_lnσu p_i = −p_i, ∂_lnσv q_i = −q_i, ∂_θ p_i = q_i σ_v/σ_u, ∂_θ q_i = −p_i σ_u/σ_v.
    """
    by_p, by_q = chain[:, :, :3], chain[:, :, 3:]
    of_p, of_q = shift[:, :3, None], shift[:, 3:, None]
    bend = np.zeros((len(shift), 5, 5))
    bend[:, 0] = bend[:, :, 0] = -(by_p @ of_p)[:, :, 0]
    bend[:, 1, 1:] = bend[:, 1:, 1] = -(by_q @ of_q)[:, 1:, 0]
    turned = ratio[:, None] * (by_q @ of_p)[:, :, 0] - (by_p @ of_q)[:, :, 0] / ratio[:, None]
    bend[:, 2, 2:] = bend[:, 2:, 2] = turned[:, 2:]
    return bend


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
        raise EchosError(f"k: expected a side of at least 2, or height and width, found {k}; correct it")
    return int(sides[0]), int(sides[1])


def _checked(name: str, value: ArrayLike, *, positive: bool = False) -> np.ndarray:
    values = np.asarray(value, dtype=np.float64)
    wrong = ~(np.isfinite(values) & ((values > 0) | (not positive)))
    if wrong.any():
        expected = "a positive number of taps" if positive else "a finite number"
        raise EchosError(f"{name}: expected {expected}, found {values[wrong].flat[0]}; correct it")
    return values
