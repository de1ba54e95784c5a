"""Dictionaries of templates that a fit scores against every kernel before climbing from the best ones."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neural_echos.receptive_fields.fitting.steps import TO_STEP
from neural_echos.receptive_fields.models import Model
from neural_echos.receptive_fields.normalisation import CONSTANT

_SCORED = 128  # kernels scored at a time: their data stays in the processor's caches
_POSITIVE = np.int32(2**31 - 1)  # all bits of a float except its sign
_CANDIDATES = 12  # templates compared with each other for each one chosen
_ALIKE = 0.8  # two templates with a larger cosine are assumed to lead to the same optimum
_FARTHER = 0.25  # radians by which a restart may begin farther from the kernel than the optimum already reached


@dataclass(frozen=True)
class Dictionary:
    """Templates of the first search; templates of one place (a choice of the last three parameters) are `places` apart.

    Attributes
    ----------
    steps : ndarray of float64, shape (p, m)
    templates : ndarray of float32, shape (m, h·w)
        Centred, of unit norm.
    columns : ndarray of float32, shape (m / places, h·w, places)
        The templates, laid out for the matrix product.
    places : int
    """

    steps: np.ndarray
    templates: np.ndarray
    columns: np.ndarray
    places: int


@lru_cache(maxsize=16)
def dictionary_of(model: Model, height: int, width: int, *, fine: bool) -> Dictionary:
    """The dictionary of a model; a fine one samples the last two parameters twice as densely."""
    ranges = model.ranges(height, width)
    first = [np.array(one.first) for one in ranges.values()]
    if fine:
        first[-2:] = [np.sort(np.concatenate([row, (row[1:] + row[:-1]) / 2])) for row in first[-2:]]
    places = math.prod(len(row) for row in first[-3:])
    values = np.array(list(itertools.product(*first))).T
    templates = np.concatenate(
        [
            unit(model((height, width), **dict(zip(ranges, part, strict=True)))).astype(np.float32)
            for part in np.split(values, values.shape[1] // places, axis=1)
        ]
    )
    steps = [TO_STEP[one.steps_in](row) for one, row in zip(ranges.values(), values, strict=True)]
    return Dictionary(
        np.stack(steps), templates, templates.reshape(-1, places, height * width).transpose(0, 2, 1).copy(), places
    )


def nearest(taps: np.ndarray, dictionary: Dictionary) -> np.ndarray:
    """The index of the best template of a dictionary, (n,)."""
    index = np.empty(len(taps), np.intp)
    for part, number, score in _scores(taps, dictionary):
        index[part] = number[np.arange(len(score)), score.argmax(axis=1)]
    return index


def starts(taps: np.ndarray, dictionary: Dictionary, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The best template of a dictionary, then the best that is unlike it, …: their indices and |cosines|, (n, count)."""
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


def unlike_reached(
    dictionary: Dictionary,
    index: np.ndarray,
    score: np.ndarray,
    kernels: np.ndarray,
    reached: np.ndarray,
    value: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Select templates unlike the optimum reached that may climb beyond it: each one's kernel, and its steps."""
    alike = np.abs(dictionary.templates[index] @ reached[kernels, :, None])[:, :, 0] > _ALIKE
    least = np.cos(np.arccos(np.minimum(np.exp(value[kernels]), 1.0)) + _FARTHER)
    owner, rank = np.nonzero(~alike & (score > least[:, None]))
    return kernels[owner], dictionary.steps[:, index[owner, rank]]


def _unlike(score: np.ndarray, templates: np.ndarray, count: int) -> np.ndarray:
    """Choose from candidates (n, m) with templates (n, m, h·w) the best, then the best unlike it, …: (n, count)."""
    rows = np.arange(len(score))
    chosen = np.empty((len(score), count), dtype=np.intp)
    score = score.copy()
    for start in range(count):
        chosen[:, start] = score.argmax(axis=1)
        picked = templates[rows, chosen[:, start]]
        score -= 4 * (np.abs(templates @ picked[:, :, None])[:, :, 0] > _ALIKE)
    return chosen


def _scores(taps: np.ndarray, dictionary: Dictionary) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield, for some kernels at a time, the best template of each place: indices and |cosines|, (n, places)."""
    places = dictionary.places
    count = len(dictionary.templates) // places
    below = np.int32((1 << (count - 1).bit_length()) - 1)  # the last bits of a cosine encode the template's index
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


def unit(kernels: np.ndarray) -> np.ndarray:
    """Kernels (…, h, w) centred and divided by their norm, (…, h·w); constant kernels become 0."""
    flat = kernels.reshape(*kernels.shape[:-2], math.prod(kernels.shape[-2:]))
    size = np.linalg.norm(flat, axis=-1, keepdims=True)
    flat = flat - flat.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(flat, axis=-1, keepdims=True)
    return np.where(norm > CONSTANT * size, flat / np.where(norm > 0, norm, 1.0), 0.0)
