"""Damped Newton steps up ln |cos| between kernels and a model's templates, for many kernels at once."""

from collections.abc import Callable

import numpy as np

from neural_echos.receptive_fields.fitting.dictionary import unit
from neural_echos.receptive_fields.fitting.steps import FROM_STEP, step_bounds
from neural_echos.receptive_fields.models import Model

_BLOCK = 512  # kernels per block: their data stays in the processor's caches
_HOPE = 20  # a climb is abandoned if it is behind the best of its race by more than this multiple of its last gain
_SOFTER, _HARDER = 10, 30  # the damping is divided or multiplied by these after a step that was accepted or rejected,
_REFUSED = 0.3  # and is raised to at least this value before it is multiplied
_FLOOR = 1e-2  # minimum curvature assumed by a step, in units of the templates' own metric
_STRAIGHT, _SHORT = 1.0, 0.01  # a step with less damping and length than these, and an expected gain below the minimum,
# is taken without evaluation and is the last one
_REACH = 0.7  # longest step in any parameter
_STILL = 1e-7  # a rejected step shorter than this also ends the climb
_DIFFERENCE = 1e-4  # step of numerical derivatives


def climb(
    slopes: Callable[..., tuple[np.ndarray, ...]],
    steps: np.ndarray,
    taps: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    rounds: int,
    least: float,
    damping: float,
    race: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maximise ln |cos| between bounds by damped Newton steps, in the precision of the taps.

    Returns the steps reached, (p, n), the value there, (n,), and whether the climb has ended, (n,). A climb ends when it gains less
    than `least`. `race` is the owner of each climb and the best value of each owner so far; a climb that falls behind also ends.
    """
    low, high = (bound.astype(taps.dtype) for bound in bounds)
    # a value on a bound stays on it after the change of precision
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


def _newton(
    gradient: np.ndarray, hessian: np.ndarray, metric: np.ndarray, damping: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Solve (−Hessian + damping · metric) move = gradient for (p, n), with parameters on their bound held fixed.

    Uses LDLᵀ for all kernels at once, with pivots made positive, so that the move always leads uphill.
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


def differences(
    model: Model, height: int, width: int, steps: np.ndarray, taps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`models.Slopes` of any model by central differences, evaluated slightly inside the bounds."""
    ranges = model.ranges(height, width)
    low, high = step_bounds(model, height, width)
    count, h = len(steps), _DIFFERENCE
    axes = h * np.eye(count)
    pairs = [(i, j) for i in range(count) for j in range(i)]
    shifts = np.array([0 * axes[0], *axes, *-axes, *(sign * (axes[i] + axes[j]) for i, j in pairs for sign in (1, -1))])
    inside = np.clip(steps, low + 2 * h, high - 2 * h)
    at = np.concatenate([steps[None], inside + shifts[:, :, None]])
    parameters = {name: FROM_STEP[one.steps_in](at[:, i]) for i, (name, one) in enumerate(ranges.items())}
    templates = unit(model((height, width), **parameters))
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


def _in_blocks(slopes: Callable[..., tuple[np.ndarray, ...]], steps: np.ndarray, taps: np.ndarray) -> list[np.ndarray]:
    parts = [slopes(steps[:, at : at + _BLOCK], taps[at : at + _BLOCK]) for at in range(0, max(len(taps), 1), _BLOCK)]
    return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]


def _where(kept: np.ndarray, parts: list[np.ndarray]) -> list[np.ndarray]:
    """The kept entries of arrays (…, n), contiguous, which indexing would not guarantee."""
    return parts if kept.all() else [np.compress(kept, part, axis=-1) for part in parts]
