"""Filters that replace many kernels: validate a set of them, and resample them to another size."""

import numpy as np
from scipy import ndimage

from neural_echos.errors import EchosError

_ALIKE = 1e-6  # two filters whose |cosine| is this close to 1 are the same
_CONSTANT = 1e-6  # a filter whose norm falls by this factor when centred is constant


def checked(name: str, filters: np.ndarray) -> np.ndarray:
    """Centre filters and scale them to unit norm; refuse an invalid set.

    Returns
    -------
    ndarray of float64, shape (m, h, w)

    Raises
    ------
    EchosError
        The set is empty; a filter is not finite, zero or constant; or two are the same up to sign, gain and bias.
    """
    filters = np.asarray(filters, dtype=np.float64)
    if filters.ndim != 3 or not len(filters):
        raise EchosError(f"{name} must have shape (m, k, k), not {filters.shape}")
    if not np.isfinite(filters).all():
        raise EchosError(f"{name}: some filters contain NaN or infinity; correct or remove them")
    taps = filters.reshape(len(filters), -1)
    centred = taps - taps.mean(axis=1, keepdims=True)
    before, after = (np.linalg.norm(one, axis=1) for one in (taps, centred))
    flat = np.flatnonzero(after <= _CONSTANT * before)
    if len(flat):
        kind = "zero" if before[flat[0]] == 0 else "constant"
        raise EchosError(f"{name}: filter {flat[0]} is {kind} and matches nothing; remove it")
    unit = centred / after[:, None]
    alike = np.argwhere(np.triu(np.abs(unit @ unit.T) > 1 - _ALIKE, k=1))
    if len(alike):
        first, other = alike[0]
        raise EchosError(f"{name}: filters {first} and {other} are the same up to sign, gain and bias; remove one")
    return unit.reshape(filters.shape)


def at_size(filters: np.ndarray, height: int, width: int, *, resample: bool) -> np.ndarray:
    """Filters at a model's kernel size: unchanged, or resampled if `resample` is true.

    Raises
    ------
    EchosError
        The sizes differ and `resample` is false, or resampled filters are no longer different.
    """
    if filters.shape[1:] == (height, width):
        return filters
    if not resample:
        raise EchosError(
            f"the filters are {filters.shape[1]}×{filters.shape[2]} and the kernels {height}×{width}; set resample to true, "
            "or choose a model of the filters' size"
        )
    return checked(f"filters resampled to {height}×{width}", resampled(filters, height, width))


def resampled(kernels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample kernels (n, h, w) to another size, corner to corner, with cubic splines; each keeps its L2 norm."""
    if kernels.shape[1:] == (height, width):
        return kernels
    zoom = (1, height / kernels.shape[1], width / kernels.shape[2])
    stretched = ndimage.zoom(kernels, zoom, order=min(3, min(kernels.shape[1:]) - 1), mode="nearest")
    before, after = (np.linalg.norm(one, axis=(1, 2)) for one in (kernels, stretched))
    return stretched * (before / np.where(after > 0, after, 1.0))[:, None, None]
