"""The fit of any receptive-field model to kernels: least squares over amplitude, bias and the model's parameters.

Amplitude and bias are solved exactly (variable projection; Golub and Pereyra, SIAM J. Numer. Anal. 1973): for a template t(θ)
both follow from a projection. It remains to find the θ that maximises the |cosine| between centred kernel and centred template,
which has many local optima. A dictionary of templates is therefore scored against all kernels (a matrix product), and the best
template of each kernel is refined by a few damped Newton steps on ln |cos|. If the result is doubtful, there are restarts from
templates that are unlike the first result and unlike each other; if it is poor, these come from a finer dictionary. The best
starts continue until they fall behind, and the last one until it converges. All but this last refinement is in single precision.
Everything is computed for many kernels at once, and no kernel's steps depend on another's.
"""

from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from neural_echos.errors import EchosError
from neural_echos.receptive_fields.dog_fit import DogFit, fit_dog
from neural_echos.receptive_fields.fitting.processes import in_processes
from neural_echos.receptive_fields.fitting.search import search
from neural_echos.receptive_fields.fitting.steps import parameters_at
from neural_echos.receptive_fields.models import MODELS, Model, Range, Values, model_named
from neural_echos.receptive_fields.normalisation import norms, unit_taps

_LEAST, _MOST, _CHUNKS = 4096, 8192, 4  # kernels per process at a time: a quarter, within limits
_AT_BOUND = 1e-9  # a parameter this close to its bound, relative to the range, counts as on it


@dataclass(frozen=True)
class Fit:
    """The best kernel of a model for each of n kernels: kernel ≈ amplitude · model(k, **parameters) + bias; see `fit`.

    Attributes
    ----------
    model : str
        Its name in `MODELS`.
    parameters : dict of str to ndarray of float64, shape (n,)
        By name; NaN for a constant kernel.
    amplitude, bias : ndarray of float64, shape (n,)
        In the kernel's own unit.
    residual : ndarray of float64, shape (n,)
        ‖centred kernel − centred fit‖ / ‖centred kernel‖; NaN for a constant kernel.
    cosine : ndarray of float64, shape (n,)
        |cos| between centred kernel and centred fit; residual² = 1 − cosine².
    at_bound : dict of str to ndarray of bool, shape (n,)
        Whether a parameter is on a bound of its range, so that the optimum may lie beyond.
    """

    model: str
    parameters: Values
    amplitude: np.ndarray
    bias: np.ndarray
    residual: np.ndarray
    cosine: np.ndarray
    at_bound: dict[str, np.ndarray]


def fit(kernels: np.ndarray, model: Model | str, *, restarts: int | None = None, processes: int = 1) -> Fit:
    """Fit amplitude · model(k, θ) + bias to each kernel by least squares, with the parameters θ within their bounds.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, h, w)
    model : Model or str
        One of `MODELS`, or its name.
    restarts : int, optional
        Maximum number of restarts for a kernel whose first fit is doubtful; by default `Model.restarts`. With 0 there is one
        start, as in a common optimiser: two to four times faster for doubtful kernels, but more often a worse optimum.
    processes : int
        Worker processes, which fit 4,096 to 8,192 kernels at a time; the result does not depend on their number. They are
        spawned by the first call that has work for two, which takes some seconds, and are kept for the next call. A script
        that uses them needs an `if __name__ == "__main__":` guard. A model that is not in `MODELS` is fitted in one process.

    Returns
    -------
    Fit
        A constant kernel has amplitude and cosine 0, its mean as bias, and NaN elsewhere.

    Raises
    ------
    EchosError
        The model is unknown or has no kernels of that shape, `restarts` is not a non-negative integer, a tap is not finite, or a
        worker process was killed.

    Notes
    -----
    Among equivalent parameters, these are reported. `dog`: the sign of the centre is the sign of the amplitude. `gaussian`:
    σ_u ≥ σ_v and an orientation in [0, π). `gaussian_derivative_1`: a non-negative amplitude and an orientation in [0, 2π),
    away from the positive lobe. `gaussian_derivative_2`: an orientation in [0, π); the amplitude has the sign.

    Bounds (see `Model.ranges`): the peak of a sampled Gaussian is within the outermost taps, and its σ is at most the longer
    side. Below .35 taps, σ cannot be identified from the samples: at any offset, the product of the two samples beside the
    largest one is exp(−1/σ²) times its square, which is 3e-4 there. Derivatives have σ_v ≥ .5, and σ_u ≥ .5
    (order 1) or .6 (order 2): the samples of narrower ones no longer sum to nearly 0, and can take any shape
    (aliasing). Discrete Gaussians have σ from 0, the impulse, to the longer side, and filter 7 has γ₇ from 0 to 10. A fit at a
    bound is marked in `at_bound`.

    The optimum found does not depend on other kernels, and its cosine is accurate to about 1e-8. For kernels that the model
    fits exactly, it is the global optimum for all but about one in a thousand. For others a better one is sometimes missed,
    compared with a search with 30 restarts: at 7×7 in 8 to 11 % of white noise, by .01 in cosine on average, and in 3 to 15 % of
    the kernels of two small ImageNet-trained networks, by less than .01. Without restarts these are 34 to 52 % and 8 to 41 %,
    by .01 to .03.
    """
    model = model_named(model) if isinstance(model, str) else model
    kernels = np.asarray(kernels)
    if kernels.ndim != 3 or not model.exists(*kernels.shape[1:]):
        raise EchosError(
            f"fit: {model.name} needs kernels of shape (n, h, w) with {model.sizes}, not {kernels.shape}; exclude others"
        )
    restarts = model.restarts if restarts is None else restarts
    if not isinstance(restarts, int | np.integer) or restarts < 0:
        raise EchosError(f"restarts must be a whole number of at least 0, not {restarts}")
    if model.name == "dog":
        return fit_of_dogs(kernels, fit_dog(kernels))
    size = min(max(len(kernels) // _CHUNKS, _LEAST), _MOST)
    chunks = [kernels[start : start + size] for start in range(0, max(len(kernels), 1), size)]
    if min(processes, len(chunks)) > 1 and MODELS.get(model.name) is model:
        parts = in_processes(processes, partial(_fit_named, name=model.name, restarts=restarts), chunks)
    else:
        with threadpool_limits(1):  # many small products, for which one thread is best
            parts = [_fit_chunk(chunk, model, restarts) for chunk in chunks]
    return _joined(parts)


def _joined(parts: list[Fit]) -> Fit:
    """Concatenate the fits of several chunks."""

    def all_of(values: list) -> Any:
        if isinstance(values[0], np.ndarray):
            return np.concatenate(values)
        return {name: np.concatenate([one[name] for one in values]) for name in values[0]}

    found = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Fit)}
    return Fit(found.pop("model")[0], **{name: all_of(values) for name, values in found.items()})


def _fit_named(kernels: np.ndarray, name: str, restarts: int) -> Fit:
    return _fit_chunk(kernels, MODELS[name], restarts)


def fit_of_dogs(kernels: np.ndarray, found: DogFit) -> Fit:
    """Convert a `DogFit` of kernels (n, k, k) to a `Fit`; a DoG sums to 0, so the bias is the kernel's mean."""
    parameters = {"gamma": found.gamma}
    return Fit(
        "dog",
        parameters,
        found.amplitude * found.sign,
        kernels.mean(axis=(1, 2), dtype=np.float64),
        found.residual,
        found.cosine,
        _bounds_met(parameters, MODELS["dog"].ranges(*kernels.shape[1:])),
    )


def _fit_chunk(kernels: np.ndarray, model: Model, restarts: int) -> Fit:
    """`fit` for a few thousand kernels."""
    height, width = kernels.shape[1:]
    unit = unit_taps(kernels, "fit")
    taps = unit.taps
    ranges = model.ranges(height, width)
    parameters = parameters_at(model, height, width, search(model, height, width, taps, restarts))
    template = model((height, width), **parameters).reshape(taps.shape)
    level = template.mean(axis=1)
    template -= level[:, None]
    square = np.einsum("nd,nd->n", template, template)
    amplitude = np.einsum("nd,nd->n", taps, template) / square
    residual = norms(taps - amplitude[:, None] * template)
    cosine = np.where(unit.constant, 0.0, np.minimum(np.abs(amplitude) * np.sqrt(square), 1.0))
    amplitude = np.where(unit.constant, 0.0, amplitude * unit.norm)
    bias = unit.mean - amplitude * level
    if model.canonical is not None:
        parameters, amplitude = model.canonical(parameters, amplitude)
    undefined = np.where(unit.constant, np.nan, 1.0)
    parameters = {name: values * undefined for name, values in parameters.items()}
    return Fit(model.name, parameters, amplitude, bias, residual * undefined, cosine, _bounds_met(parameters, ranges))


def _bounds_met(parameters: Values, ranges: dict[str, Range]) -> dict[str, np.ndarray]:
    slack = {name: _AT_BOUND * (one.high - one.low) for name, one in ranges.items()}
    return {
        name: (values <= ranges[name].low + slack[name]) | (values >= ranges[name].high - slack[name])
        for name, values in parameters.items()
    }
