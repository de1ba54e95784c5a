"""Measure the eight master key filters, and fit discrete scale-space models to them.

Paper: Lindeberg, Babaiee, Kiasari, JMIV 2026 (arXiv 2509.12746). The filters are from Babaiee, Kiasari, Rus, Grosu, "The
quest for universal master key filters", NeurIPS 2025 (arXiv 2509.11711). There are six ways to choose the scales σ_x, σ_y of a
filter's ideal model, each solved here from its definition. "Weighted" means the spread of |h| |w|, where w is the ideal model
at σ = 1. The filters are normalised first (`scale_space.normalise_filter`).

    A      from the weighted variances V, as if the filter were continuous: σ = sqrt(2V) along a smoothed axis, sqrt(2V/3)
           along a differentiated one
    B      the ideal model has the same weighted variances, one axis at a time, with σ = 1 along the other
    C1 D1  minimise the l1 (C) or l2 (D) norm of filter − ideal model
    C2 D2  the same, with σ_x = σ_y
    joint  one σ for each of the groups {1, 2, 3, 4, 8}, {5, 6}, {7}: minimise the sum of its l1 norms (C) or of its squared
           l2 norms (D); the geometric mean of the group's σ's (A, B) is ours, not the paper's

Filter 7 has σ_x = σ_y and the amount γ₇ instead of two scales, so variances do not determine its parameters: it has no A and no
B. Its C1, C2 and joint C coincide, as do D1, D2 and joint D.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.optimize import brentq, differential_evolution

from neural_echos.errors import EchosError
from neural_echos.receptive_fields.scale_space import (
    IDEALS,
    Axis,
    Spread,
    discrete_gaussian,
    ideal,
    normalise_filter,
    spread,
)
from neural_echos.tables import SCHEMAS

METHODS = ("A", "B", "C1", "C2", "D1", "D2", "joint A", "joint B", "joint C", "joint D")
GROUPS = ((1, 2, 3, 4, 8), (5, 6), (7,))
SIZE = 7

_POWERS = {"C": 1, "D": 2}
_GRID = np.linspace(0, 4, 161)  # values of every parameter in the first search: σ in taps, or γ₇
_POPULATION = 16  # the second search starts from this many best grid points, to the power of the number of parameters

Parameters = tuple[float, float, float | None]  # σ_x, σ_y, and γ₇ of filter 7


def read_filters(path: str | Path) -> np.ndarray:
    """Read the authors' text file: eight blocks "Filter n:", each followed by seven lines of seven numbers.

    Returns
    -------
    ndarray of float64, shape (8, 7, 7)
        Filter n at n − 1, its first row on top (where y is largest).

    Raises
    ------
    EchosError
        The file is missing or not text; there are not eight filters from 1 to 8; or one of them has the wrong shape, or contains
        anything but finite numbers.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise EchosError(
            f"{path}: the file of eight filters cannot be read ({error.strerror}); check the path"
        ) from None
    except UnicodeDecodeError:
        raise EchosError(f"{path}: not a text file of eight filters; fetch it again") from None
    before, *blocks = re.split(r"^Filter\s+(\S+):\s*$", text, flags=re.MULTILINE)
    numbers = blocks[::2]
    if before.strip() or numbers != [str(number) for number in IDEALS]:
        found = "has text before the first filter" if before.strip() else f"has filters {', '.join(numbers) or 'none'}"
        raise EchosError(
            f'{path}: the file {found}, but should have "Filter 1:" to "Filter 8:" in order; fetch it again'
        )
    return np.stack([_taps(path, number, body) for number, body in zip(numbers, blocks[1::2], strict=True)])


def measure_filters(filters: np.ndarray) -> pa.Table:
    """Measure the mean and the spread of every filter, plain and weighted by its ideal model.

    Parameters
    ----------
    filters : ndarray of float, shape (8, 7, 7)
        Filter n at n − 1.

    Returns
    -------
    pyarrow.Table
        Schema "spread", one row per filter. Filters 7 and 8 are measured after DC compensation.

    Raises
    ------
    EchosError
        The shape is wrong, or a filter cannot be normalised.
    """
    rows = []
    for number, kernel in zip(IDEALS, _checked_filters(filters), strict=True):
        normalised, constant, divisor = normalise_filter(kernel, number)
        rows.append(
            {
                "filter": number,
                "constant": constant,
                "divisor": divisor,
                "l1": np.abs(kernel if IDEALS[number] else normalised).sum(),
                **vars(spread(normalised)),
                **{f"weighted_{name}": value for name, value in vars(_weighted(normalised, number)).items()},
                "taps": normalised.ravel().tolist(),
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMAS["spread"])


def fit_scales(filters: np.ndarray) -> pa.Table:
    """Fit the scales of every filter's ideal model by every method.

    Parameters
    ----------
    filters : ndarray of float, shape (8, 7, 7)
        Filter n at n − 1.

    Returns
    -------
    pyarrow.Table
        Schema "scales", one row per filter and method, sorted by filter; filter 7 lacks A and B. Residuals are the normalised
        filter minus its ideal model.

    Raises
    ------
    EchosError
        The shape is wrong, a filter cannot be normalised, or no ideal model is as wide as the filter (method B).

    Notes
    -----
    The l1 norm is not smooth, and has minima .04 apart in σ that differ by .1 % (filter 8). The best points of a grid over
    [0, 4] (step .025, for σ and γ₇) are therefore the initial population of a differential evolution with a fixed seed, 256 points
    for two parameters. With 96 points, two of six seeds missed the lower of these minima; with 128 or more, none did.
    """
    normalised = {
        number: normalise_filter(kernel, number)[0]
        for number, kernel in zip(IDEALS, _checked_filters(filters), strict=True)
    }
    fitted = {
        (method, number): parameters
        for number, kernel in normalised.items()
        for method, parameters in _single_fits(kernel, number).items()
    }
    for group in GROUPS:
        fitted |= _joint_fits(normalised, group, fitted)
    rows = [
        {"filter": number, "method": method, **_compared(normalised[number], number, fitted[method, number])}
        for number in IDEALS
        for method in METHODS
        if (method, number) in fitted
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["scales"])


def _single_fits(kernel: np.ndarray, number: int) -> dict[str, Parameters]:
    """Fits A to D2 of one normalised filter."""
    if number == 7:
        nearest = {letter: _nearest({number: kernel}, power) for letter, power in _POWERS.items()}
        return {f"{letter}{which}": found for letter, found in nearest.items() for which in (1, 2)}
    fits: dict[str, Parameters] = {
        "A": (_continuous(kernel, number, "x"), _continuous(kernel, number, "y"), None),
        "B": (_matched(kernel, number, "x"), _matched(kernel, number, "y"), None),
    }
    for letter, power in _POWERS.items():
        fits[f"{letter}1"] = _nearest({number: kernel}, power, separate=True)
        fits[f"{letter}2"] = _nearest({number: kernel}, power)
    return fits


def _joint_fits(
    normalised: Mapping[int, np.ndarray], group: tuple[int, ...], single: Mapping[tuple[str, int], Parameters]
) -> dict[tuple[str, int], Parameters]:
    """The joint fits of one group of filters; `single` has the fits that A and B average."""
    fits: dict[str, Parameters] = {}
    for letter in ("A", "B"):
        if all((letter, number) in single for number in group):
            sigma = float(np.exp(np.mean(np.log([single[letter, number][:2] for number in group]))))
            fits[f"joint {letter}"] = sigma, sigma, None
    for letter, power in _POWERS.items():
        fits[f"joint {letter}"] = _nearest({number: normalised[number] for number in group}, power)
    return {(method, number): parameters for method, parameters in fits.items() for number in group}


def _weighted(kernels: np.ndarray, number: int) -> Spread:
    """Spread of kernels weighted by the ideal model at σ = 1; filter 7's weights are T at σ = 1/√2."""
    weights = discrete_gaussian(SIZE, np.sqrt(0.5)) if number == 7 else ideal(number, SIZE, 1.0)
    return spread(kernels, weights)


def _variance(kernels: np.ndarray, number: int, axis: Axis) -> np.ndarray:
    weighted = _weighted(kernels, number)
    return weighted.v_xx if axis == "x" else weighted.v_yy


def _continuous(kernel: np.ndarray, number: int, axis: Axis) -> float:
    """Method A along one axis: a Gaussian weighted by itself has half its variance, a first derivative 3/2 of it."""
    derived = IDEALS[number]
    share = 3 if derived is not None and derived[0] == axis else 1
    return float(np.sqrt(2 * _variance(kernel, number, axis) / share))


def _matched(kernel: np.ndarray, number: int, axis: Axis) -> float:
    """Method B along one axis: the σ at which the ideal model has the filter's weighted variance."""
    aim = _variance(kernel, number, axis)

    def excess(sigma: np.ndarray) -> np.ndarray:
        models = ideal(number, SIZE, *((sigma, 1.0) if axis == "x" else (1.0, sigma)))
        return _variance(models, number, axis) - aim

    on_grid = excess(_GRID)
    crossings = np.flatnonzero((on_grid[:-1] <= 0) & (on_grid[1:] > 0))
    if not len(crossings):
        raise EchosError(
            f"filter {number}: its weighted variance along {axis} is {aim:.3f}, but its ideal models have "
            f"{on_grid[0] + aim:.3f} to {on_grid[-1] + aim:.3f}; check the filter's number"
        )
    return float(brentq(excess, *_GRID[crossings[0] : crossings[0] + 2]))


def _nearest(filters: Mapping[int, np.ndarray], power: int, *, separate: bool = False) -> Parameters:
    """The parameters, shared by all `filters`, that minimise Σ |filter − model|^power."""

    def distance(*values: np.ndarray) -> np.ndarray:
        found = _parameters(values, 7 in filters)
        apart = [np.abs(kernel - ideal(number, SIZE, *found)) ** power for number, kernel in filters.items()]
        return np.sum([taps.sum(axis=(-2, -1)) for taps in apart], axis=0)

    return _parameters(_least(distance, 2 if separate or 7 in filters else 1), 7 in filters)


def _parameters(values: tuple, has_amount: bool) -> tuple:
    """σ_x, σ_y and γ₇ from the search variables: (σ,), (σ_x, σ_y), or (σ, γ₇)."""
    return (values[0], values[0], values[1]) if has_amount else (values[0], values[-1], None)


def _least(function: Callable[..., np.ndarray], count: int) -> tuple[float, ...]:
    """Global minimum of a vectorised function of `count` parameters: a grid search, then differential evolution."""
    on_grid = function(*np.meshgrid(*[_GRID] * count, indexing="ij", sparse=True))
    best = np.unravel_index(np.argsort(on_grid, axis=None, kind="stable")[: _POPULATION**count], on_grid.shape)
    found = differential_evolution(
        lambda values: function(*values),
        [(_GRID[0], _GRID[-1])] * count,
        init=_GRID[np.stack(best, axis=1)],
        vectorized=True,
        updating="deferred",
        polish=False,
        rng=0,
        tol=0,
        atol=1e-9,
    )
    return tuple(float(value) for value in found.x)


def _compared(kernel: np.ndarray, number: int, parameters: Parameters) -> dict[str, float | None]:
    """Columns of "scales" for one normalised filter and the parameters of its ideal model."""
    model = ideal(number, SIZE, *parameters)
    sigma_x, sigma_y, amount = parameters
    return {
        "sigma_x": sigma_x,
        "sigma_y": sigma_y,
        "amount": amount,
        "l1": float(np.abs(kernel - model).sum()),
        "l2": float(np.linalg.norm(kernel - model)),
        "cosine": float((kernel * model).sum() / (np.linalg.norm(kernel) * np.linalg.norm(model))),
    }


def _taps(path: str | Path, number: str, body: str) -> np.ndarray:
    """One filter of the file, from the lines below its name."""
    lines = [line.split() for line in body.splitlines() if line.strip()]
    shape = f"{len(lines)} lines of {', '.join(map(str, sorted({len(line) for line in lines}))) or 'no'} numbers"
    if len(lines) != SIZE or any(len(line) != SIZE for line in lines):
        raise EchosError(f"{path}: filter {number} has {shape}, not {SIZE} lines of {SIZE}; fetch the file again")
    try:
        taps = np.array(lines, dtype=np.float64)
    except ValueError as error:
        raise EchosError(
            f"{path}: filter {number} contains text that is not a number ({error}); fetch the file again"
        ) from None
    if not np.isfinite(taps).all():
        raise EchosError(f"{path}: filter {number} contains NaN or infinity; fetch the file again")
    return taps


def _checked_filters(filters: np.ndarray) -> np.ndarray:
    taps = np.asarray(filters, dtype=np.float64)
    if taps.shape != (len(IDEALS), SIZE, SIZE):
        raise EchosError(f"filters must be all eight, of shape {(len(IDEALS), SIZE, SIZE)}, not {taps.shape}")
    return taps
