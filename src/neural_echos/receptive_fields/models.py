"""The registry of receptive-field models: each is called as `model(k, **parameters)` and fitted by `fit(kernels, model)`.

A model returns float64 kernels of shape (…, h, w), where … is the broadcast shape of its parameters and `k` is a side or
(height, width). x points right and **y points up** (array rows run downwards); both are 0 at the middle of the kernel,
which for an even side lies between two taps. Angles are in radians, anticlockwise from x; lengths are in taps.

To add a model, write its function and add an entry to `MODELS`. Each formula cites its papers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from neural_echos.errors import EchosError, nearest
from neural_echos.receptive_fields.difference_of_gaussians import dog, has_dog
from neural_echos.receptive_fields.dog_fit import gamma_range
from neural_echos.receptive_fields.gaussians import Size, gaussian, gaussian_derivative, slopes
from neural_echos.receptive_fields.scale_space import discrete_gaussian, ideal

Values = dict[str, np.ndarray]
# Maps height, width, parameters in the fit's steps (p, n) and centred kernels of unit norm (n, h·w) to ln |cos| of kernels and
# centred templates (n,), its gradient (p, n), its Hessian (p, p, n), and the Gram matrix (p, p, n) of the derivatives of the
# unit-norm templates.
Slopes = Callable[[int, int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
_ALONG = (
    (0.35, 0.6, 1.0, 1.8, 3.5),
    (0.5, 0.8, 1.3, 2.1, 3.5),
    (0.6, 1.0, 1.7, 3.0),
)  # σ_u by order; the first is the lower bound, see `fit`
_ACROSS = ((0.35, 0.6, 1.0, 1.8, 3.5), (0.5, 0.9, 1.6, 3.0), (0.5, 0.9, 1.6, 3.0))  # σ_v by order
_PLACES = 7  # maximum number of offsets per axis in the fit's first search


@dataclass(frozen=True)
class Range:
    """The range in which `fit` searches a parameter.

    Attributes
    ----------
    low, high : float
        Bounds, inclusive; infinite for an angle.
    first : tuple of float
        Values in the first search, which scores every combination of all parameters' values.
    steps_in : {"value", "log", "log of 1 + square"}
        Variable that the search steps in: the logarithm of a scale, or log(1 + scale²) for a scale that can be 0.
    """

    low: float
    high: float
    first: tuple[float, ...]
    steps_in: Literal["value", "log", "log of 1 + square"] = "value"


@dataclass(frozen=True)
class Model:
    """A receptive-field model: `model(k, **parameters)` evaluates its formula; the other fields are for `fit`.

    Attributes
    ----------
    name : str
        Its key in `MODELS`.
    formula : callable
        Maps `k` and parameters to float64 kernels, shape (…, h, w).
    ranges : callable
        Maps height and width to the `Range` of every fitted parameter, by name.
    exists : callable
        Maps height and width to whether the model has kernels of that size.
    sizes : str
        The sizes of its kernels in words.
    restarts : int
        Maximum number of restarts for a kernel whose first fit is doubtful; fewer for a model with few local optima.
    canonical : callable, optional
        Maps parameters and amplitude to the equivalent ones that `fit` reports.
    slopes : callable, optional
        Gradient and Hessian in closed form; without it `fit` uses finite differences.
    """

    name: str
    formula: Callable[..., np.ndarray]
    ranges: Callable[[int, int], dict[str, Range]]
    exists: Callable[[int, int], bool]
    sizes: str
    restarts: int = 6
    canonical: Callable[[Values, np.ndarray], tuple[Values, np.ndarray]] | None = None
    slopes: Slopes | None = None

    def __call__(self, k: Size, **parameters: ArrayLike) -> np.ndarray:
        """Kernels of this model: float64, shape (…, h, w); raises `EchosError` if the formula does."""
        return self.formula(k, **parameters)


def model_named(name: str) -> Model:
    """Return the model of that name.

    Raises
    ------
    EchosError
        There is none; the nearest name is suggested.
    """
    if name not in MODELS:
        raise EchosError(f"unknown model {name!r}{nearest(name, MODELS)}; known are {', '.join(MODELS)}")
    return MODELS[name]


def _gaussian_ranges(order: int, height: int, width: int) -> dict[str, Range]:
    side = float(max(height, width))
    return {
        "sigma_u": Range(_ALONG[order][0], side, _ALONG[order], "log"),
        "sigma_v": Range(_ACROSS[order][0], side, _ACROSS[order], "log"),
        "orientation": Range(-math.inf, math.inf, tuple(np.arange(8 if order else 4) * math.pi / 8)),
        "offset_x": _offset_range(width),
        "offset_y": _offset_range(height),
    }


def _offset_range(side: int) -> Range:
    reach = (side - 1) / 2
    return Range(-reach, reach, tuple(np.linspace(-reach, reach, min(side, _PLACES))))


def _gaussian_canonical(order: int, found: Values, amplitude: np.ndarray) -> tuple[Values, np.ndarray]:
    """Order 0: σ_u ≥ σ_v, θ in [0, π); order 1: amplitude ≥ 0, θ in [0, 2π); order 2: θ in [0, π)."""
    angle = found["orientation"]
    if order == 0:
        swap = found["sigma_u"] < found["sigma_v"]
        wide, narrow = (np.where(swap, found[b], found[a]) for a, b in (("sigma_u", "sigma_v"), ("sigma_v", "sigma_u")))
        found, angle = found | {"sigma_u": wide, "sigma_v": narrow}, angle + np.where(swap, np.pi / 2, 0.0)
    if order == 1:
        angle, amplitude = angle + np.where(amplitude < 0, np.pi, 0.0), np.abs(amplitude)
    period = 2 * np.pi if order == 1 else np.pi
    angle = np.mod(angle, period)
    return found | {"orientation": np.where(angle < period, angle, 0.0)}, amplitude


def _gaussian_model(name: str, order: int, formula: Callable[..., np.ndarray]) -> Model:
    return Model(
        name,
        formula,
        ranges=partial(_gaussian_ranges, order),
        exists=lambda height, width: min(height, width) >= 2,
        sizes="any sides of at least 2",
        canonical=partial(_gaussian_canonical, order),
        slopes=partial(slopes, order),
    )


def _discrete_ranges(height: int, width: int, *, parameters: tuple[str, ...]) -> dict[str, Range]:
    scale = Range(
        0.0, float(max(height, width)), tuple(np.geomspace(0.2, max(height, width) / 2, 24)), "log of 1 + square"
    )
    amount = Range(0.0, 10.0, tuple(np.geomspace(0.05, 10.0, 24)))
    return {name: amount if name == "amount" else scale for name in parameters}


def _discrete_model(name: str, formula: Callable[..., np.ndarray], *parameters: str) -> Model:
    return Model(
        name,
        formula,
        ranges=partial(_discrete_ranges, parameters=parameters),
        exists=lambda height, width: min(height, width) >= 3 and height % 2 == width % 2 == 1,
        sizes="odd sides of at least 3",
        restarts=2,
    )


def _dog_ranges(height: int, width: int) -> dict[str, Range]:
    return {"gamma": Range(*gamma_range(height), first=(), steps_in="log")}


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("dog", dog, _dog_ranges, has_dog, "odd squares from 3×3"),
        _gaussian_model("gaussian", 0, gaussian),
        _gaussian_model("gaussian_derivative_1", 1, partial(gaussian_derivative, order=1)),
        _gaussian_model("gaussian_derivative_2", 2, partial(gaussian_derivative, order=2)),
        _discrete_model("discrete_gaussian", discrete_gaussian, "sigma_x", "sigma_y"),
        *(
            _discrete_model(f"scale_space_{number}", partial(ideal, number), "sigma_x", "sigma_y")
            for number in (1, 2, 3, 4, 5, 6)
        ),
        _discrete_model("scale_space_7", partial(ideal, 7), "sigma_x", "amount"),
        _discrete_model("scale_space_8", partial(ideal, 8), "sigma_x", "sigma_y"),
    )
}
