"""The fit of any receptive-field model to kernels: least squares over amplitude, bias and the model's parameters.

Amplitude and bias are solved exactly (variable projection; Golub and Pereyra, SIAM J. Numer. Anal. 1973): for a template t(θ)
both follow from a projection, and what is left is to find the θ of the largest |cosine| between centred kernel and centred
template. That has many local optima. So a dictionary of templates is scored against all kernels (a matrix product), and the
best of each goes through a few damped Newton steps on ln |cos|. Where that leaves doubt, so do rivals: templates, of a finer
dictionary where the doubt is grave, that are unlike the first result and unlike each other. The best of all go on until they
fall behind, and the one that is left to the end. All but the end is done in single precision, everything for many kernels at
once, and no kernel's steps depend on another's.
"""

import itertools
import math
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context, parent_process
from threading import Thread

import numpy as np
from threadpoolctl import threadpool_limits

from neural_echos.errors import EchosError
from neural_echos.receptive_fields.difference_of_gaussians import fit_dog
from neural_echos.receptive_fields.models import MODELS, Model, Range, Values, model_named
from neural_echos.receptive_fields.normalisation import CONSTANT, norms, unit_taps

_LEAST, _MOST, _CHUNKS = 4096, 8192, 4  # kernels fitted at a time by one process; between these, a quarter of them
_BLOCK = 512  # kernels climbed with at a time: what they need stays in the processor's caches
_SCORED = 128  # kernels scored at a time, likewise
_POSITIVE = np.int32(2**31 - 1)  # all bits of a float but its sign
_SURE = 0.97  # a cosine beyond which the first start is believed; else rivals are sought
_POOR = 0.9  # a cosine below which they are sought in the fine dictionary; else in the coarse one
_FEW = 2  # rivals from the coarse one
_CANDIDATES = 12  # templates of a dictionary among which they are, for each that is chosen
_ALIKE = 0.8  # cosine of two templates beyond which they are taken to lead to one optimum
_FARTHER = 0.25  # radians by which a rival may start farther from the kernel than what is reached already
_FIRST, _MORE = 6, 3  # Newton steps of the first start and of its rivals, at most
_KEPT = 3  # rivals that are among the best
_AGAIN, _LAST = 20, 60  # steps of these and the first, and of the best of them, at most
_HOPE = 20  # times its last gain, by which one of them may lie behind the best without being given up
_ROUGH, _CLOSE, _GAIN = 2e-6, 1e-7, 1e-8  # of ln |cos|: a smaller one ends a climb, a longer climb, and the last one
_FAR, _NEAR, _THERE = 0.3, 0.03, 1e-4  # damping of the first step of climbs, in units of the templates' own metric
_SOFTER, _HARDER = 10, 30  # the damping is divided or multiplied by these after a step that was kept or refused,
_REFUSED = 0.3  # and is at least so much before the latter
_FLOOR = 1e-2  # least curvature that a step believes, in the same units
_STRAIGHT, _SHORT = 1.0, 0.01  # a step that is less damped and shorter, and promises less than the least gain,
# is taken unseen and is the last one
_REACH = 0.7  # longest step in any parameter
_STILL = 1e-7  # a refused step that is shorter ends it, too
_DIFFERENCE = 1e-4  # step of numeric slopes
_AT_BOUND = 1e-9  # how close to its bound a parameter lies on it, relative to the range
_STEPS: dict[str, tuple[Callable, Callable]] = {
    "value": (lambda value: value, lambda step: step),
    "log": (np.log, np.exp),
    "log of 1 + square": (lambda value: np.log1p(np.square(value)), lambda step: np.sqrt(np.expm1(step))),
}


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
        Whether a parameter lies on a bound of its range, so that the best one may lie beyond.
    """

    model: str
    parameters: Values
    amplitude: np.ndarray
    bias: np.ndarray
    residual: np.ndarray
    cosine: np.ndarray
    at_bound: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Dictionary:
    """Templates that are searched first; those of one place (a choice of the last three parameters) lie `places` apart.

    Attributes
    ----------
    steps : ndarray of float64, shape (p, m)
    templates : ndarray of float32, shape (m, h·w)
        Centred, of unit norm.
    columns : ndarray of float32, shape (m / places, h·w, places)
        The same, for the matrix product.
    places : int
    """

    steps: np.ndarray
    templates: np.ndarray
    columns: np.ndarray
    places: int


def fit(kernels: np.ndarray, model: Model | str, *, rivals: int | None = None, processes: int = 1) -> Fit:
    """Fit amplitude · model(k, θ) + bias to each kernel by least squares, the parameters θ within their bounds.

    Parameters
    ----------
    kernels : ndarray of float, shape (n, h, w)
    model : Model or str
        One of `MODELS`, or its name.
    rivals : int, optional
        Further starts, at most, of a kernel where the first leaves doubt; by default as many as the model has (`Model.rivals`).
        With 0 there is one start, as in a common optimiser: where there is doubt two to four times faster, and more often a
        lesser optimum.
    processes : int
        Processes that fit some 4,096 to 8,192 kernels each at a time; the result does not depend on them. They start (as
        `multiprocessing`'s "spawn" does, so that a script of yours needs its `if __name__ == "__main__":`) with the first call
        that has work for two, which takes some seconds, and stay for the next one. A model that is not in `MODELS` has one
        process.

    Returns
    -------
    Fit
        A constant kernel has amplitude and cosine 0, its mean as bias, and NaN elsewhere.

    Raises
    ------
    EchosError
        The model is unknown or has no kernels of that shape, `rivals` is no whole number from 0, a tap is not finite, or one
        of the processes was killed.

    Notes
    -----
    Of equivalent parameters these are reported. `dog`: the sign of the centre is the amplitude's. `gaussian`: σ_u ≥ σ_v
    and an orientation in [0, π). `gaussian_derivative_1`: an amplitude that is not negative and an orientation in
    [0, 2π), away from the positive lobe. `gaussian_derivative_2`: an orientation in [0, π); the sign is the amplitude's.

    The bounds, also in `Model.ranges`. The peak of a sampled Gaussian lies within the outermost taps and its σ is at most
    the longer side. Below .35 taps σ cannot be told from the samples: whatever the offset, the product of the two samples
    beside the largest one is exp(−1/σ²) times its square, which is 3e-4 there. Derivatives have σ_v from .5 and σ_u from .5
    (order 1) and .6 (order 2): the samples of narrower ones no longer sum to nearly 0, and take on any shape
    (aliasing). Discrete Gaussians have σ from 0, the impulse, to the longer side, and filter 7 has γ₇ from 0 to 10. A fit at a
    bound is marked in `at_bound`.

    Which optimum is found does not depend on other kernels, and its cosine is right to about 1e-8. It is the best one for
    all but about one in a thousand kernels that the model fits exactly. Else a better one is missed now and then, as a search
    from 30 rivals tells: at 7×7 in 8 to 11 % of white noise, by .01 of cosine on average, and in 3 to 15 % of the kernels
    of two small ImageNet-trained networks, by less than .01. Without rivals these are 34 to 52 % and 8 to 41 %, by .01 to .03.
    """
    model = model_named(model) if isinstance(model, str) else model
    kernels = np.asarray(kernels)
    if kernels.ndim != 3 or not model.exists(*kernels.shape[1:]):
        raise EchosError(
            f"fit: expected kernels of shape (n, h, w) with {model.sizes} for {model.name}, found {kernels.shape}; "
            "leave others out"
        )
    rivals = model.rivals if rivals is None else rivals
    if not isinstance(rivals, int | np.integer) or rivals < 0:
        raise EchosError(f"rivals: expected a whole number from 0, found {rivals}; correct it")
    if model.name == "dog":
        return _fit_dog(kernels, model)
    size = min(max(len(kernels) // _CHUNKS, _LEAST), _MOST)
    chunks = [kernels[start : start + size] for start in range(0, max(len(kernels), 1), size)]
    if min(processes, len(chunks)) > 1 and MODELS.get(model.name) is model:
        parts = _in_processes(processes, chunks, model.name, rivals)
    else:
        with threadpool_limits(1):  # many small products, for which one thread is best
            parts = [_fit_chunk(chunk, model, rivals) for chunk in chunks]

    def joined(field: str) -> np.ndarray:
        return np.concatenate([getattr(part, field) for part in parts])

    def joined_by_name(field: str) -> dict[str, np.ndarray]:
        return {name: np.concatenate([getattr(part, field)[name] for part in parts]) for name in parts[0].parameters}

    return Fit(
        model.name,
        joined_by_name("parameters"),
        joined("amplitude"),
        joined("bias"),
        joined("residual"),
        joined("cosine"),
        joined_by_name("at_bound"),
    )


def _in_processes(processes: int, chunks: list[np.ndarray], name: str, rivals: int) -> list[Fit]:
    try:
        return list(_pool(processes).map(partial(_fit_named, name=name, rivals=rivals), chunks))
    except BrokenProcessPool:
        _pool.cache_clear()
        raise EchosError(
            f"fit: expected its {processes} processes to live, found one killed; give the job more memory or fewer threads"
        ) from None


@lru_cache
def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, get_context("spawn"), _alone)


def _alone() -> None:
    """Prepare a process of fits, which lasts as long as the one that began it, even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    threadpool_limits(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _fit_named(kernels: np.ndarray, name: str, rivals: int) -> Fit:
    return _fit_chunk(kernels, MODELS[name], rivals)


def _fit_dog(kernels: np.ndarray, model: Model) -> Fit:
    """The same by the DoG's own solver; a DoG sums to 0, so the bias is the kernel's mean."""
    found = fit_dog(kernels)
    parameters = {"gamma": found.gamma}
    return Fit(
        model.name,
        parameters,
        found.amplitude * found.sign,
        kernels.mean(axis=(1, 2), dtype=np.float64),
        found.residual,
        found.cosine,
        _bounds_met(parameters, model.ranges(*kernels.shape[1:])),
    )


def _fit_chunk(kernels: np.ndarray, model: Model, rivals: int) -> Fit:
    """`fit` for a few thousand kernels."""
    height, width = kernels.shape[1:]
    unit = unit_taps(kernels, "fit")
    taps = unit.taps
    ranges = model.ranges(height, width)
    parameters = _parameters(model, height, width, _search(model, height, width, taps, rivals))
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


def _search(model: Model, height: int, width: int, taps: np.ndarray, rivals: int) -> np.ndarray:
    """Steps of the largest |cosine| that is found, (p, n), for centred kernels of unit norm, (n, h·w)."""
    bounds = _step_bounds(model, height, width)
    slopes = partial(model.slopes or partial(_differences, model), height, width)
    light = taps.astype(np.float32) if model.slopes else taps  # differences need all digits
    coarse = _dictionary(model, height, width, fine=False)
    start = coarse.steps[:, _nearest(light, coarse)]
    steps, value, done = first = _climb(slopes, start, light, bounds, _FIRST, _ROUGH, _FAR)
    owner = np.arange(len(taps))
    if rivals:
        owner_of_other, start = _rivals(model, height, width, light, steps, value, rivals)
        others = _climb(slopes, start, light[owner_of_other], bounds, _MORE, _ROUGH, _FAR)
        best = _best_of(owner_of_other, others[1], _KEPT)
        owner = np.concatenate([owner, owner_of_other[best]])
        steps, value, done = (
            np.concatenate([one, other[..., best]], axis=-1) for one, other in zip(first, others, strict=True)
        )
    leader = np.full(len(taps), -np.inf, light.dtype)
    np.maximum.at(leader, owner, value)
    on = np.flatnonzero(~done)
    steps[:, on], value[on], _ = _climb(
        slopes, steps[:, on], light[owner[on]], bounds, _AGAIN, _CLOSE, _NEAR, (owner[on], leader)
    )
    steps = steps[:, _best_of(owner, value, 1)]
    return _climb(slopes, steps, taps, bounds, _LAST, _GAIN, _THERE)[0]


def _rivals(
    model: Model, height: int, width: int, taps: np.ndarray, steps: np.ndarray, value: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Further starts, `count` of a kernel at most, where what was reached leaves doubt: each one's kernel, and its steps."""
    coarse, fine = (_dictionary(model, height, width, fine=fine) for fine in (False, True))
    reached = _unit(model((height, width), **_parameters(model, height, width, steps))).astype(np.float32)
    doubtful = np.flatnonzero((value <= math.log(_SURE)) & (value > math.log(_POOR)))
    poor = np.flatnonzero(value <= math.log(_POOR))
    few, many = _starts(taps[doubtful], coarse, 1 + min(_FEW, count)), _starts(taps[poor], fine, 1 + count)
    parts = (
        _unlike_reached(coarse, few[0][:, 1:], few[1][:, 1:], doubtful, reached, value),
        _unlike_reached(fine, *many, poor, reached, value),
    )
    owner, start = (np.concatenate(both, axis=-1) for both in zip(*parts, strict=True))
    return owner, start


def _best_of(owner: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` largest values of each owner, in the owners' order."""
    order = np.lexsort((-value, owner))
    first = np.searchsorted(owner[order], owner[order])
    return order[np.arange(len(order)) - first < count]


def _scores(taps: np.ndarray, dictionary: _Dictionary) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Of some kernels at a time: the best template of each place, their numbers and |cosines|, (n, places)."""
    places = dictionary.places
    count = len(dictionary.templates) // places
    below = np.int32((1 << (count - 1).bit_length()) - 1)  # the last bits of a cosine tell which of the templates it is
    memory = np.empty((_SCORED, places), np.float32)
    for at in range(0, len(taps), _SCORED):
        part = taps[at : at + _SCORED].astype(np.float32, copy=False)
        scores, best = memory[: len(part)], np.zeros((len(part), places), np.int32)
        bits = scores.view(np.int32)
        for one in range(count):
            np.matmul(part, dictionary.columns[one], out=scores)
            bits &= _POSITIVE & ~below
            bits |= np.int32(one)
            np.maximum(best, bits, out=best)
        number = np.arange(places) + places * (best & below)
        yield slice(at, at + len(part)), number, best.view(np.float32)


def _nearest(taps: np.ndarray, dictionary: _Dictionary) -> np.ndarray:
    """The number of the best template of a dictionary, (n,)."""
    index = np.empty(len(taps), np.intp)
    for part, number, score in _scores(taps, dictionary):
        index[part] = number[np.arange(len(score)), score.argmax(axis=1)]
    return index


def _starts(taps: np.ndarray, dictionary: _Dictionary, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The best template of a dictionary, then the best that is unlike it, …: their numbers and |cosines|, (n, count)."""
    count = min(count, dictionary.places)
    candidates = min(_CANDIDATES * count, dictionary.places)
    index, score = np.empty((len(taps), count), np.intp), np.empty((len(taps), count), np.float32)
    for part, number, best in _scores(taps, dictionary):
        rows = np.arange(len(best))[:, None]
        place = np.argpartition(-best, candidates - 1, axis=1)[:, :candidates]
        number, best = number[rows, place], best[rows, place]
        chosen = _unlike(best, dictionary.templates[number], count)
        index[part], score[part] = number[rows, chosen], best[rows, chosen]
    return index, score


def _unlike_reached(
    dictionary: _Dictionary,
    index: np.ndarray,
    score: np.ndarray,
    kernels: np.ndarray,
    reached: np.ndarray,
    value: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Of templates for some kernels, those unlike what was reached that may climb beyond it: each one's kernel, and its steps."""
    alike = np.abs(dictionary.templates[index] @ reached[kernels, :, None])[:, :, 0] > _ALIKE
    least = np.cos(np.arccos(np.minimum(np.exp(value[kernels]), 1.0)) + _FARTHER)
    owner, rank = np.nonzero(~alike & (score > least[:, None]))
    return kernels[owner], dictionary.steps[:, index[owner, rank]]


def _unlike(score: np.ndarray, templates: np.ndarray, count: int) -> np.ndarray:
    """Of candidates (n, m) with templates (n, m, h·w), the best one, then the best that is unlike it, …: (n, count)."""
    rows = np.arange(len(score))
    chosen = np.empty((len(score), count), dtype=np.intp)
    score = score.copy()
    for start in range(count):
        chosen[:, start] = score.argmax(axis=1)
        picked = templates[rows, chosen[:, start]]
        score -= 4 * (np.abs(templates @ picked[:, :, None])[:, :, 0] > _ALIKE)
    return chosen


def _parameters(model: Model, height: int, width: int, steps: np.ndarray) -> Values:
    """A model's parameters by name, for steps of shape (p, …)."""
    return {
        name: np.clip(_STEPS[one.steps_in][1](step), one.low, one.high)
        for (name, one), step in zip(model.ranges(height, width).items(), steps, strict=True)
    }


def _climb(
    slopes: Callable[..., tuple[np.ndarray, ...]],
    steps: np.ndarray,
    taps: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    rounds: int,
    least: float,
    damping: float,
    race: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Damped Newton steps up ln |cos| between bounds: the steps reached, (p, n), the value there and whether it has ended, (n,).

    In the precision of the taps. A climb ends when it gains less than `least`. In a race, the owner of each climb and the best
    value of each owner so far, one that falls behind ends, too.
    """
    low, high = (bound.astype(taps.dtype) for bound in bounds)
    # a bound in one precision is a bound in the other
    on_low, on_high = steps <= bounds[0].astype(steps.dtype), steps >= bounds[1].astype(steps.dtype)
    steps = np.where(on_low, low, np.where(on_high, high, steps)).astype(taps.dtype)
    with np.errstate(divide="ignore", invalid="ignore", under="ignore", over="ignore"):
        value, *slope = _in_blocks(slopes, steps, taps)
        ended = ~np.isfinite(value)  # a constant kernel stays where it is
        damped = np.full(len(taps), damping, taps.dtype)
        state = _where(~ended, [np.arange(len(taps)), damped, steps, value, *slope])
        for _ in range(rounds):
            number, damped, here, _, uphill, hessian, metric = state
            held = ((here <= low) & (uphill < 0)) | ((here >= high) & (uphill > 0))
            move = _newton(uphill, hessian, metric, damped, held)
            there = np.clip(here + np.clip(move, -_REACH, _REACH), low, high)
            last = (damped < _STRAIGHT) & (np.abs(move).max(axis=0) < _SHORT)
            last &= (there == here + move).all(axis=0) & (np.einsum("pn,pn->n", move, uphill) < 2 * least)
            steps[:, number[last]] = there[:, last]
            ended[number[last]] = True
            (number, damped, *old), [there] = _where(~last, state), _where(~last, [there])
            if not len(number):
                break
            new = _in_blocks(slopes, there, taps[number])
            gain = new[0] - old[1]
            better = gain > 0
            done = np.where(better, gain < least, np.abs(there - old[0]).max(axis=0) < _STILL)
            damped = np.where(better, damped / _SOFTER, np.maximum(damped, _REFUSED) * _HARDER)
            old = [np.where(better, *both) for both in zip([there, *new], old, strict=True)]
            steps[:, number], value[number] = old[:2]
            if race is not None:
                owner, leader = race
                np.maximum.at(leader, owner[number], old[1])
                done |= better & (old[1] + _HOPE * gain < leader[owner[number]])
            ended[number] = done
            state = _where(~done, [number, damped, *old])
    return steps, value, ended


def _where(kept: np.ndarray, parts: list[np.ndarray]) -> list[np.ndarray]:
    """The entries that are kept, of arrays (…, n); contiguous, as an index would not leave them."""
    return parts if kept.all() else [np.compress(kept, part, axis=-1) for part in parts]


def _in_blocks(slopes: Callable[..., tuple[np.ndarray, ...]], steps: np.ndarray, taps: np.ndarray) -> list[np.ndarray]:
    parts = [slopes(steps[:, at : at + _BLOCK], taps[at : at + _BLOCK]) for at in range(0, max(len(taps), 1), _BLOCK)]
    return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]


def _newton(
    gradient: np.ndarray, hessian: np.ndarray, metric: np.ndarray, damping: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Solve (−Hessian + damping · metric) move = gradient for (p, n), parameters on their bound held.

    By LDLᵀ, all kernels at once, with pivots made positive, so that the move always leads uphill.
    """
    count = len(gradient)
    diagonal = np.arange(count)
    scale = metric[diagonal, diagonal] + 1e-12
    matrix = damping * metric - hessian
    matrix[diagonal, diagonal] += _FLOOR * damping * scale
    matrix = np.where(held[:, None] | held[None], 0.0, matrix)
    move = np.where(held, 0.0, gradient)
    for i in range(count):
        pivot = np.maximum(np.abs(matrix[i, i]), _FLOOR * scale[i])
        factor = matrix[i + 1 :, i] / pivot
        matrix[i + 1 :, i + 1 :] -= factor[:, None] * matrix[i, i + 1 :]
        move[i + 1 :] -= factor * move[i]
        move[i] /= pivot
        matrix[i + 1 :, i] = factor
    for i in range(count - 2, -1, -1):
        move[i] -= (matrix[i + 1 :, i] * move[i + 1 :]).sum(axis=0)
    return move


def _step_bounds(model: Model, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a model's steps, (p, 1) each."""
    ranges = model.ranges(height, width).values()
    bounds = np.array([[_STEPS[one.steps_in][0](bound) for bound in (one.low, one.high)] for one in ranges])
    return bounds[:, :1], bounds[:, 1:]


@lru_cache(maxsize=16)
def _dictionary(model: Model, height: int, width: int, *, fine: bool) -> _Dictionary:
    """The dictionary of a model; the last two parameters are twice as dense in a fine one."""
    ranges = model.ranges(height, width)
    first = [np.array(one.first) for one in ranges.values()]
    if fine:
        first[-2:] = [np.sort(np.concatenate([row, (row[1:] + row[:-1]) / 2])) for row in first[-2:]]
    places = math.prod(len(row) for row in first[-3:])
    values = np.array(list(itertools.product(*first))).T
    templates = np.concatenate(
        [
            _unit(model((height, width), **dict(zip(ranges, part, strict=True)))).astype(np.float32)
            for part in np.split(values, values.shape[1] // places, axis=1)
        ]
    )
    steps = [_STEPS[one.steps_in][0](row) for one, row in zip(ranges.values(), values, strict=True)]
    return _Dictionary(
        np.stack(steps), templates, templates.reshape(-1, places, height * width).transpose(0, 2, 1).copy(), places
    )


def _unit(kernels: np.ndarray) -> np.ndarray:
    """Kernels (…, h, w) centred and divided by their norm: (…, h·w); constant ones become 0."""
    flat = kernels.reshape(*kernels.shape[:-2], math.prod(kernels.shape[-2:]))
    size = np.linalg.norm(flat, axis=-1, keepdims=True)
    flat = flat - flat.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(flat, axis=-1, keepdims=True)
    return np.where(norm > CONSTANT * size, flat / np.where(norm > 0, norm, 1.0), 0.0)


def _differences(
    model: Model, height: int, width: int, steps: np.ndarray, taps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`models.Slopes` of any model by central differences, taken a little inside the bounds."""
    ranges = model.ranges(height, width)
    low, high = _step_bounds(model, height, width)
    count, h = len(steps), _DIFFERENCE
    axes = h * np.eye(count)
    pairs = [(i, j) for i in range(count) for j in range(i)]
    shifts = np.array([0 * axes[0], *axes, *-axes, *(sign * (axes[i] + axes[j]) for i, j in pairs for sign in (1, -1))])
    inside = np.clip(steps, low + 2 * h, high - 2 * h)
    at = np.concatenate([steps[None], inside + shifts[:, :, None]])
    parameters = {name: _STEPS[one.steps_in][1](at[:, i]) for i, (name, one) in enumerate(ranges.items())}
    templates = _unit(model((height, width), **parameters))
    value = np.log(np.abs(np.einsum("snd,nd->sn", templates, taps)))
    exact, centre, up, down = value[0], value[1], value[2 : 2 + count], value[2 + count : 2 + 2 * count]
    gradient = (up - down) / (2 * h)
    hessian = np.empty((count, count, len(taps)))
    for i in range(count):
        hessian[i, i] = (up[i] + down[i] - 2 * centre) / h**2
    for (i, j), both in zip(pairs, value[2 + 2 * count :].reshape(len(pairs), 2, -1), strict=True):
        mixed = both.sum(axis=0) + 2 * centre - up[i] - down[i] - up[j] - down[j]
        hessian[i, j] = hessian[j, i] = mixed / (2 * h**2)
    slope = (templates[2 : 2 + count] - templates[2 + count : 2 + 2 * count]) / (2 * h)
    return exact, gradient, hessian, np.einsum("ind,jnd->ijn", slope, slope)
