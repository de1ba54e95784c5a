"""The variables in which a fit steps through a model's parameters: the logarithm of a scale, an angle unchanged."""

from collections.abc import Callable

import numpy as np

from neural_echos.receptive_fields.models import Model, Values

_WAYS: dict[str, tuple[Callable, Callable]] = {
    "value": (lambda value: value, lambda step: step),
    "log": (np.log, np.exp),
    "log of 1 + square": (lambda value: np.log1p(np.square(value)), lambda step: np.sqrt(np.expm1(step))),
}
TO_STEP = {name: way[0] for name, way in _WAYS.items()}
FROM_STEP = {name: way[1] for name, way in _WAYS.items()}


def parameters_at(model: Model, height: int, width: int, steps: np.ndarray) -> Values:
    """A model's parameters by name, for steps of shape (p, …)."""
    return {
        name: np.clip(FROM_STEP[one.steps_in](step), one.low, one.high)
        for (name, one), step in zip(model.ranges(height, width).items(), steps, strict=True)
    }


def step_bounds(model: Model, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a model's steps, (p, 1) each."""
    ranges = model.ranges(height, width).values()
    bounds = np.array([[TO_STEP[one.steps_in](bound) for bound in (one.low, one.high)] for one in ranges])
    return bounds[:, :1], bounds[:, 1:]
