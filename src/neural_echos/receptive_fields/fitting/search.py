"""Search the best parameters of a model: score a dictionary, climb from its best templates, and restart if in doubt."""

import math
from functools import partial

import numpy as np

from neural_echos.receptive_fields.fitting.climb import climb, differences
from neural_echos.receptive_fields.fitting.dictionary import dictionary_of, nearest, starts, unit, unlike_reached
from neural_echos.receptive_fields.fitting.steps import parameters_at, step_bounds
from neural_echos.receptive_fields.models import Model

_SURE = 0.97  # above this cosine the first start is accepted; otherwise there are restarts
_POOR = 0.9  # below this cosine restarts come from the fine dictionary, otherwise from the coarse one
_FEW = 2  # restarts from the coarse dictionary
_FIRST, _MORE = 6, 3  # maximum Newton steps of the first start and of its restarts
_KEPT = 3  # number of best restarts that continue
_AGAIN, _LAST = 20, 60  # maximum steps of these and the first start, and of the best of them
_ROUGH, _CLOSE, _GAIN = 2e-6, 1e-7, 1e-8  # smallest gain in ln |cos| in the first, second and last climb
_FAR, _NEAR, _THERE = 0.3, 0.03, 1e-4  # initial damping of these climbs, in units of the templates' own metric


def search(model: Model, height: int, width: int, taps: np.ndarray, restarts: int) -> np.ndarray:
    """Steps with the largest |cosine| found, (p, n), for centred kernels of unit norm, (n, h·w)."""
    bounds = step_bounds(model, height, width)
    slopes = partial(model.slopes or partial(differences, model), height, width)
    light = taps.astype(np.float32) if model.slopes else taps  # finite differences need full precision
    coarse = dictionary_of(model, height, width, fine=False)
    start = coarse.steps[:, nearest(light, coarse)]
    steps, value, done = first = climb(slopes, start, light, bounds, _FIRST, _ROUGH, _FAR)
    owner = np.arange(len(taps))
    if restarts:
        owner_of_other, start = _restarts(model, height, width, light, steps, value, restarts)
        others = climb(slopes, start, light[owner_of_other], bounds, _MORE, _ROUGH, _FAR)
        best = _best_of(owner_of_other, others[1], _KEPT)
        owner = np.concatenate([owner, owner_of_other[best]])
        steps, value, done = (
            np.concatenate([one, other[..., best]], axis=-1) for one, other in zip(first, others, strict=True)
        )
    leader = np.full(len(taps), -np.inf, light.dtype)
    np.maximum.at(leader, owner, value)
    on = np.flatnonzero(~done)
    steps[:, on], value[on], _ = climb(
        slopes, steps[:, on], light[owner[on]], bounds, _AGAIN, _CLOSE, _NEAR, (owner[on], leader)
    )
    steps = steps[:, _best_of(owner, value, 1)]
    return climb(slopes, steps, taps, bounds, _LAST, _GAIN, _THERE)[0]


def _restarts(
    model: Model, height: int, width: int, taps: np.ndarray, steps: np.ndarray, value: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Restarts of doubtful kernels, at most `count` each: the kernel and the steps of each restart."""
    coarse, fine = (dictionary_of(model, height, width, fine=fine) for fine in (False, True))
    reached = unit(model((height, width), **parameters_at(model, height, width, steps))).astype(np.float32)
    doubtful = np.flatnonzero((value <= math.log(_SURE)) & (value > math.log(_POOR)))
    poor = np.flatnonzero(value <= math.log(_POOR))
    few, many = starts(taps[doubtful], coarse, 1 + min(_FEW, count)), starts(taps[poor], fine, 1 + count)
    parts = (
        unlike_reached(coarse, few[0][:, 1:], few[1][:, 1:], doubtful, reached, value),
        unlike_reached(fine, *many, poor, reached, value),
    )
    owner, start = (np.concatenate(both, axis=-1) for both in zip(*parts, strict=True))
    return owner, start


def _best_of(owner: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest values of each owner, in the owners' order."""
    order = np.lexsort((-value, owner))
    first = np.searchsorted(owner[order], owner[order])
    return order[np.arange(len(order)) - first < count]
