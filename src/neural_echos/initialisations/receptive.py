"""Initialisations drawn from receptive-field models: Difference of Gaussians, Gaussian derivatives, discrete scale space.

Papers: Babaiee, Kiasari, Rus, Grosu, "Neural Echos", WACV 2024 (equations of OOCS, ICML 2021) and "Unveiling the Unseen", ICLR
2024; Lindeberg, Babaiee, Kiasari, JMIV 2026. What the papers leave open (the distribution of γ, the probability of an excitatory
centre, the shares of the patterns) is an option here, never a silent choice.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow.compute as pc

from neural_echos import receptive_fields
from neural_echos.errors import EchosError
from neural_echos.initialisations.registry import Distribution, Share, Table, check_size, drawn, opened, register
from neural_echos.receptive_fields import MODELS
from neural_echos.receptive_fields.normalisation import norms
from neural_echos.tables import kernel_sizes, kernels_of

# (σx, σy) of filters 1 to 8, and γ₇: Lindeberg, Babaiee, Kiasari, JMIV 2026. The values of fit D1 are published. Those of fit B,
# which the released code uses for replacement, are ours (`master_key.fit_scales`). Filter 7 has no fit B, so it keeps D1.
IDEAL_SIGMAS = {
    "D1": (
        (0.491, 0.722),
        (0.581, 0.519),
        (0.483, 0.503),
        (0.501, 0.000),
        (1.300, 1.004),
        (0.984, 1.074),
        (0.675, 0.675),
        (0.616, 0.608),
    ),
    "B": (
        (0.644, 0.583),
        (0.586, 0.644),
        (0.690, 0.674),
        (0.756, 0.460),
        (1.107, 0.945),
        (0.900, 0.889),
        (0.675, 0.675),
        (0.609, 0.601),
    ),
}
IDEAL_AMOUNT = 0.5256
_ORDERS = ("gaussian", "gaussian_derivative_1", "gaussian_derivative_2")


@register()
def dog(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    gamma: Distribution = 0.5,
    centres: Literal["excitatory", "inhibitory", "alternating", "random"] = "random",
    p: Share = 0.5,
) -> np.ndarray:
    """Draw Difference-of-Gaussians kernels (Neural Echos; `receptive_fields.dog`).

    Parameters
    ----------
    gamma : float in (0, 1), sequence of float, or {"uniform": [low, high]}
        Centre-to-surround ratio: fixed, drawn from a list, or drawn uniformly.
    centres : {"excitatory", "inhibitory", "alternating", "random"}
        Sign of the centre.
    p : float in [0, 1]
        Probability of an excitatory centre if `centres` is "random".
    """
    check_size("dog", height, width, square=True)
    sign = {
        "excitatory": np.ones(n),
        "inhibitory": -np.ones(n),
        "alternating": _alternating(n),
        "random": np.where(rng.random(n) < p, 1.0, -1.0),
    }[centres]
    return receptive_fields.dog(height, _gammas(gamma, n, rng), sign)


@register()
def dog_fitted(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    fits: Table | None = None,
    by_depth: bool = False,
    depth: float = 0.0,
    report: dict[str, float] | None = None,
) -> np.ndarray:
    """Draw DoG kernels with γ and sign as fitted to a bank: a data-driven prior that is not in the paper.

    Pairs (γ, sign) are drawn with replacement from the depthwise kernels of this size that were classified as a centre.

    Parameters
    ----------
    fits : table of schema "fits", or its path
        As written by `echos fit`.
    by_depth : bool
        Draw from the layer nearest in depth that has such kernels; otherwise from all layers.
    """
    if fits is None:
        raise EchosError(
            "dog_fitted needs the option fits: the fits of a trained model's bank, as written by echos fit"
        )
    table = opened({"fits": fits})["fits"]
    table = table.filter(pc.equal(table["kind"], "depthwise"))
    found = kernel_sizes(table)
    table = table.filter(pc.and_(pc.equal(table["kernel_height"], height), pc.equal(table["kernel_width"], width)))
    centres = table.filter(pc.not_equal(table["pattern"], "other"))
    if not centres.num_rows:
        sizes = ", ".join(f"{one}×{other}" for one, other in found) or "none"
        raise EchosError(
            f"dog_fitted: the fits contain no {height}×{width} depthwise kernel that is a centre ({table.num_rows} kernels of that "
            f"size; the sizes are {sizes}); use the fits of another bank"
        )
    if by_depth:
        depths = centres["depth"].to_numpy()
        centres = centres.filter(pc.equal(centres["depth"], depths[np.abs(depths - depth).argmin()]))
    picked = rng.integers(centres.num_rows, size=n)
    if report is not None:
        report |= {"fitted_kernels": float(centres.num_rows), "mean_gamma": float(pc.mean(centres["gamma"]).as_py())}
    return receptive_fields.dog(height, centres["gamma"].to_numpy()[picked], centres["sign"].to_numpy()[picked])


@register(frozen=True)
def oocs(n: int, height: int, width: int, rng: np.random.Generator, *, as_released: bool = False) -> np.ndarray:
    """Use OOCS's fixed kernels, alternately on-centre and off-centre (ICML 2021): γ = ½ at size 3 and ⅔ above.

    Parameters
    ----------
    as_released : bool
        Let rounding decide about taps between centre and surround, as the released code does: 1.509 times as large at size 3.
    """
    check_size("oocs", height, width, square=True)
    ratio = 0.5 if height == 3 else 2 / 3
    return _alternating(n)[:, None, None] * receptive_fields.dog(height, ratio, as_released=as_released)


@register()
def gaussian_derivatives(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    centroids: Table | None = None,
    least: Share = 0.7,
    shares: Sequence[float] = (1.0, 1.0, 1.0),
    sigma: Distribution = 1.0,
    orientations: Sequence[float] = (0.0, 90.0),
    report: dict[str, float] | None = None,
) -> np.ndarray:
    """Draw a mixture of Gaussians and their first and second derivatives ("Unveiling the Unseen"); zero mean, unit norm.

    With `centroids`, the mixture is taken from a clustering of a bank: each centroid is replaced by the Gaussian or
    derivative that matches it best, drawn in proportion to the size of its cluster. Without it, orders 0 to 2 are drawn with
    weights `shares` and random signs, because the paper's shares are not known.

    Parameters
    ----------
    centroids : table of schema "centroids", or its path, optional
        As written by `echos cluster`; the clustering with the most clusters is used.
    least : float in [0, 1]
        Minimum cosine of a centroid with its best model; clusters below it are excluded (and reported).
    shares : sequence of three floats of at least 0
        Weights of orders 0, 1 and 2, without `centroids`.
    sigma : float, list of float, {"uniform": [low, high]} or {"normal": [mean, std]}
        Standard deviation in taps, above 0, without `centroids`.
    orientations : sequence of float
        Directions of the derivatives, in degrees anticlockwise from x, chosen uniformly, without `centroids`.
    """
    if centroids is not None:
        templates, weights, excluded = _matched_patterns(centroids, height, width, least)
        if report is not None:
            report |= {"patterns": float(len(templates)), "excluded_share": excluded}
        return templates[rng.choice(len(templates), n, p=weights)]
    weights = np.asarray(shares, dtype=np.float64)
    if weights.shape != (3,) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise EchosError(
            f"gaussian_derivatives: shares must be three non-negative numbers, not all 0, but are {shares}"
        )
    order = rng.choice(3, n, p=weights / weights.sum())
    sign = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    angle = np.deg2rad(drawn("gaussian_derivatives: orientations", list(orientations), n, rng))
    widths = drawn("gaussian_derivatives: sigma", sigma, n, rng)
    kernels = np.empty((n, height, width))
    for one in range(3):
        of = order == one
        kernels[of] = receptive_fields.gaussian_derivative((height, width), one, widths[of], orientation=angle[of])
    return sign[:, None, None] * _centred(kernels)


@register()
def scale_space(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    sigmas: Sequence[Sequence[float]] = IDEAL_SIGMAS["D1"],
    amount: float = IDEAL_AMOUNT,
    a: Distribution = 1.0,
    b: Distribution = 0.0,
) -> np.ndarray:
    """Draw a·x + b, where x is one of the eight ideal models of discrete scale space at zero mean and unit norm (JMIV 2026).

    Parameters
    ----------
    sigmas : sequence of eight pairs (σx, σy) of at least 0
        Standard deviations in taps; by default from the paper's fit D1.
    amount : float
        γ₇, the amount of Laplacian subtracted from the impulse in model 7.
    a, b : float, list of float, {"uniform": [low, high]} or {"normal": [mean, std]}
        Gain and bias, drawn for each kernel.
    """
    pairs = np.asarray(sigmas, dtype=np.float64)
    if pairs.shape != (8, 2):
        raise EchosError(f"scale_space: sigmas must be eight pairs, not an array of shape {pairs.shape}")
    models = np.stack(
        [
            receptive_fields.ideal(number, (height, width), *pair, **({"amount": amount} if number == 7 else {}))
            for number, pair in enumerate(pairs, start=1)
        ]
    )
    picked = _centred(models)[rng.integers(8, size=n)]
    gain, bias = (drawn(f"scale_space: {name}", option, n, rng) for name, option in (("a", a), ("b", b)))
    return gain[:, None, None] * picked + bias[:, None, None]


def _matched_patterns(centroids: Table, height: int, width: int, least: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The best Gaussian derivative for each centroid, (m, h, w), its weight, (m,), and the excluded share."""
    averages, counts, known = _finest(centroids, height, width)
    if not len(averages):
        sizes = ", ".join(f"{one}×{other}" for one, other in known) or "none"
        raise EchosError(
            f"gaussian_derivatives: there are no clusters of {height}×{width} depthwise kernels, only of {sizes}; use the clusters "
            "of another bank, or exclude that layer with layers=…"
        )
    fits = [receptive_fields.fit(averages, name) for name in _ORDERS]
    cosines = np.stack([fit.cosine for fit in fits])
    best, close = cosines.argmax(axis=0), cosines.max(axis=0) >= least
    if not close.any():
        raise EchosError(
            f"gaussian_derivatives: no centroid matches a model with a cosine of at least {least}; the best is "
            f"{cosines.max():.5f}; lower least or choose another bank"
        )
    models = np.stack(
        [fit.amplitude[:, None, None] * MODELS[fit.model]((height, width), **fit.parameters) for fit in fits]
    )
    templates = _centred(models[best, np.arange(len(averages))][close])
    return templates, counts[close] / counts[close].sum(), float(counts[~close].sum() / counts.sum())


def _finest(centroids: Table, height: int, width: int) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Centroids, (m, h, w), and counts, (m,), of the clustering with the most clusters of depthwise kernels; and all sizes."""
    table = opened({"centroids": centroids})["centroids"]
    table = table.filter(pc.equal(table["kind"], "depthwise"))
    rows, averages = kernels_of(table, height, width)
    clustering = table["clustering"].to_numpy(zero_copy_only=False)[rows]
    known, sizes = np.unique(clustering, return_counts=True)
    finest = clustering == known[sizes.argmax()] if len(rows) else np.empty(0, dtype=bool)
    return averages[finest], table["count"].to_numpy()[rows][finest].astype(np.float64), kernel_sizes(table)


def _centred(kernels: np.ndarray) -> np.ndarray:
    """Kernels (n, h, w) at zero mean and unit L2 norm; constant kernels become 0."""
    taps = kernels.reshape(len(kernels), -1)
    taps = taps - taps.mean(axis=1, keepdims=True)
    size = norms(taps)
    return (taps / np.where(size > 0, size, 1.0)[:, None]).reshape(kernels.shape)


def _alternating(n: int) -> np.ndarray:
    return np.where(np.arange(n) % 2 == 0, 1.0, -1.0)


def _gammas(gamma: Distribution, n: int, rng: np.random.Generator) -> np.ndarray:
    try:
        if isinstance(gamma, Mapping):
            ((distribution, (low, high)),) = gamma.items()
            if distribution == "uniform" and 0 < low <= high < 1:
                return rng.uniform(low, high, n)
        elif not isinstance(gamma, str):
            ratios = np.asarray(gamma, dtype=np.float64)
            if ratios.ndim == 0:
                return np.full(n, ratios)
            if ratios.ndim == 1 and ratios.size:
                return rng.choice(ratios, n)
    except (TypeError, ValueError):
        pass
    raise EchosError(
        f"gamma must be a ratio, a list of ratios, or {{'uniform': [low, high]}} with 0 < low ≤ high < 1, not {gamma!r}"
    )
