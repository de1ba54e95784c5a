"""Fits of whole banks: the Difference of Gaussians, or the best of four models, for every kernel and for its shuffled taps.

A bank of millions of kernels can be passed in parts; the shuffles do not depend on how it is split. Kernels that are non-finite,
zero or constant have no fit, and are counted.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from neural_echos.errors import EchosError
from neural_echos.receptive_fields.difference_of_gaussians import has_dog
from neural_echos.receptive_fields.dog_fit import DogFit, fit_dog
from neural_echos.receptive_fields.fitting import Fit, fit, fit_of_dogs
from neural_echos.receptive_fields.normalisation import shuffled_taps, usable
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of

MATCHED = ("dog", "gaussian", "gaussian_derivative_1", "gaussian_derivative_2")
KNOWN_DOG = ("model", "row", "sign", "gamma", "r", "sigma_x", "amplitude", "residual", "cosine", "null_cosine")
_COUNTS = ("fitted", "dropped_not_finite", "dropped_zero", "no_fit")


def fit_bank(bank: pa.Table, *, seed: int, threshold: float) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """Fit the DoG family to a bank, and to the same kernels with their taps shuffled.

    Parameters
    ----------
    bank : pyarrow.Table
        Schema "bank".
    seed : int
        Seed of the shuffles: one permutation per kernel, independent of the other kernel sizes in the bank.
    threshold : float
        Minimum cosine, in [0, 1], of a kernel labelled "on-centre" or "off-centre"; below it the label is "other".

    Returns
    -------
    fits : pyarrow.Table
        Schema "fits", sorted by `row`, the kernel's row number in `bank`. `null_cosine` is the kernel's best cosine
        after its taps are shuffled. Kernels without a fit have no row.
    report : dict
        Number of kernels per size ("7x7"): "fitted", "dropped_not_finite", "dropped_zero" (no tap beyond ±1e-4, or constant),
        and "no_fit" (an even side, not square, or 1×1).

    Raises
    ------
    EchosError
        `threshold` is outside [0, 1].
    """
    report: dict[str, dict[str, int]] = {}
    return pa.concat_tables(fit_batches([bank], report, seed=seed, threshold=threshold)).combine_chunks(), report


def fit_batches(
    batches: Iterable[pa.Table], report: dict[str, dict[str, int]], *, seed: int, threshold: float
) -> Iterator[pa.Table]:
    """Fit a bank in parts, as `fit_bank` does; counts are added to `report` as parts are processed."""
    check_threshold(threshold)
    return _per_size(batches, report, "fits", has_dog, partial(_fits_table, threshold=threshold), seed)


def match_bank(
    bank: pa.Table,
    *,
    seed: int,
    null_every: int = 1,
    restarts: int | None = None,
    processes: int = 1,
    dogs: pa.Table | None = None,
) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """Fit the DoG, the Gaussian and its first and second derivatives to a bank, and to the same kernels with taps shuffled.

    Gaussians are oriented, anisotropic and offset (`receptive_fields.fit`); the best of the four is the kernel's match.

    Parameters
    ----------
    bank : pyarrow.Table
        Schema "bank".
    seed : int
        Seed of the shuffles, which are the same as in `fit_bank`.
    null_every : int
        Fit shuffled taps only for every n-th row of the bank; in the other rows the columns `null_…` are empty. Shuffled taps take
        longer than the kernels because noise has many local optima, and with millions of kernels a tenth is enough.
    restarts : int, optional
        Maximum number of restarts per fit, for kernels and shuffled taps alike; see `receptive_fields.fit`.
    processes : int
        Number of worker processes; the result does not depend on it.
    dogs : pyarrow.Table, optional
        Result of `fit_bank` for this bank and seed, of schema "fits" or only its columns `KNOWN_DOG`. These DoGs are reused
        instead of being fitted again.

    Returns
    -------
    matches : pyarrow.Table
        Schema "matches", sorted by `row`, the kernel's row number in `bank`. Kernels without a fit have no row.
    report : dict
        Number of kernels per size ("7x7"): "fitted", "dropped_not_finite", "dropped_zero", and "no_fit" (a side of 1).

    Raises
    ------
    EchosError
        `null_every` is below 1, `restarts` is not a non-negative integer, or `dogs` lacks a kernel of the bank or belongs to
        another model.
    """
    report: dict[str, dict[str, int]] = {}
    parts = match_batches(
        [bank], report, seed=seed, null_every=null_every, restarts=restarts, processes=processes, dogs=dogs
    )
    return pa.concat_tables(parts).combine_chunks(), report


def match_batches(
    batches: Iterable[pa.Table],
    report: dict[str, dict[str, int]],
    *,
    seed: int,
    null_every: int = 1,
    restarts: int | None = None,
    processes: int = 1,
    dogs: pa.Table | None = None,
) -> Iterator[pa.Table]:
    """Match a bank in parts, as `match_bank` does; counts are added to `report` as parts are processed."""
    if null_every < 1:
        raise EchosError(f"null_every must be at least 1, not {null_every}")
    return _per_size(
        batches,
        report,
        "matches",
        lambda height, width: min(height, width) >= 2,
        partial(
            _matches_table,
            null_every=null_every,
            fitted=partial(fit, restarts=restarts, processes=processes),
            dogs=dogs,
        ),
        seed,
    )


def check_threshold(threshold: float) -> None:
    """Raise an `EchosError` unless `threshold` is a cosine in [0, 1]."""
    if not 0 <= threshold <= 1:
        raise EchosError(f"threshold must be a cosine in [0, 1], not {threshold}")


def _per_size(
    batches: Iterable[pa.Table],
    report: dict[str, dict[str, int]],
    schema: str,
    fits: Callable[[int, int], bool],
    make: Callable[[pa.Table, int, np.ndarray, np.ndarray, np.ndarray], pa.Table],
    seed: int,
) -> Iterator[pa.Table]:
    """Make a table of the usable kernels of a bank, size by size, for each part of the bank.

    Parameters
    ----------
    batches : iterable of pyarrow.Table
        Parts of the bank in order, schema "bank".
    report : dict
        Counts per size ("7x7") of kernels "fitted", "dropped_not_finite", "dropped_zero" and "no_fit" are added to it.
    schema : str
        Schema of the tables that `make` returns.
    fits : callable
        Maps height and width to whether such kernels are fitted.
    make : callable
        Makes the table of some kernels. Takes a part, the number of rows before it, rows in it, (n,), the kernels in these rows,
        (n, h, w), and the same kernels with shuffled taps. Rows in its table are counted from the start of the bank.
    seed : int
        Seed of the shuffles, which do not depend on how the bank is split.

    Yields
    ------
    pyarrow.Table
        Table of one part, sorted by `row`.
    """
    shuffles: dict[tuple[int, int], np.random.Generator] = {}
    first = 0
    for batch in batches:
        parts = [SCHEMAS[schema].empty_table()]
        for height, width in kernel_sizes(batch):
            rows, kernels = kernels_of(batch, height, width)
            counts = report.setdefault(f"{height}x{width}", dict.fromkeys(_COUNTS, 0))
            if not fits(height, width):
                counts["no_fit"] += len(rows)
                continue
            finite, varied = usable(kernels)
            kept = kernels[finite & varied]
            rng = shuffles.setdefault((height, width), np.random.default_rng((seed, height)))
            if len(kept):
                parts.append(make(batch, first, rows[finite & varied], kept, shuffled_taps(kept, rng)))
            counts["fitted"] += len(kept)
            counts["dropped_not_finite"] += int((~finite).sum())
            counts["dropped_zero"] += int((finite & ~varied).sum())
        yield pa.concat_tables(parts).sort_by("row")
        first += batch.num_rows


def _fits_table(
    bank: pa.Table, first: int, rows: np.ndarray, kernels: np.ndarray, shuffled: np.ndarray, threshold: float
) -> pa.Table:
    """Rows of a "fits" table for usable kernels of one odd size."""
    fit = fit_dog(kernels)
    centre = np.where(fit.sign > 0, "on-centre", "off-centre")
    columns = {name: bank[name].take(pa.array(rows)) for name in SCHEMAS["fits"].names if name in SCHEMAS["bank"].names}
    columns |= {
        "row": first + rows,
        "pattern": np.where(fit.cosine >= threshold, centre, "other"),
        "sign": fit.sign,
        "gamma": fit.gamma,
        "r": fit.r,
        "sigma_x": fit.sigma,
        "sigma_y": fit.sigma,
        "orientation": pa.nulls(len(rows), pa.float64()),
        "offset_x": np.zeros(len(rows)),
        "offset_y": np.zeros(len(rows)),
        "amplitude": fit.amplitude,
        "residual": fit.residual,
        "cosine": fit.cosine,
        "null_cosine": fit_dog(shuffled).cosine,
    }
    return pa.table({name: columns[name] for name in SCHEMAS["fits"].names}).cast(SCHEMAS["fits"])


def _matches_table(
    bank: pa.Table,
    first: int,
    rows: np.ndarray,
    kernels: np.ndarray,
    shuffled: np.ndarray,
    null_every: int,
    fitted: Callable[..., Fit],
    dogs: pa.Table | None,
) -> pa.Table:
    """Rows of a "matches" table for usable kernels of one size."""
    height, width = kernels.shape[1:]
    models = [name for name in MATCHED if name != "dog" or has_dog(height, width)]
    has_null = (first + rows) % null_every == 0
    fits, nulls = {}, {name: np.full(len(rows), np.nan) for name in models}
    for name in models:
        if name == "dog" and dogs is not None:
            fits[name], found = _known_dogs(dogs, bank["model"][0], first + rows, kernels)
            nulls[name][has_null] = found[has_null]
        else:
            fits[name], nulls[name][has_null] = fitted(kernels, name), fitted(shuffled[has_null], name).cosine
    best = np.stack([fits[name].cosine for name in models]).argmax(axis=0)

    def of_best(values: list[np.ndarray]) -> np.ndarray:
        return np.choose(best, values)

    undefined = np.full(len(rows), np.nan)
    shapes = ("gamma", "sigma_u", "sigma_v", "orientation", "offset_x", "offset_y")
    columns = {
        name: bank[name].take(pa.array(rows)) for name in SCHEMAS["bank"].names if name in SCHEMAS["matches"].names
    }
    columns |= {name: of_best([fits[model].parameters.get(name, undefined) for model in models]) for name in shapes}
    columns |= {
        name: of_best([getattr(fits[model], name) for model in models]) for name in ("cosine", "amplitude", "bias")
    }
    columns |= {f"cosine_{name}": fits[name].cosine if name in fits else undefined for name in MATCHED}
    columns |= {f"null_cosine_{name}": nulls.get(name, undefined) for name in MATCHED}
    columns |= {
        "row": first + rows,
        "best": np.array(models)[best],
        "null_cosine": np.max(list(nulls.values()), axis=0),
    }
    table = {
        name: pa.array(value, from_pandas=True) if isinstance(value, np.ndarray) else value
        for name, value in columns.items()
    }
    return pa.table({name: table[name] for name in SCHEMAS["matches"].names}).cast(SCHEMAS["matches"])


def _known_dogs(dogs: pa.Table, model: pa.Scalar, rows: np.ndarray, kernels: np.ndarray) -> tuple[Fit, np.ndarray]:
    """Fits of these rows of a bank, as `fit` returns them, and the cosines of their shuffled taps, from a "fits" table."""
    known = dogs["row"].to_numpy()
    at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    if not len(known) or (known[at] != rows).any():
        raise EchosError("dogs: some kernels of the bank are missing from these fits; fit this bank again")
    if dogs["model"][int(at[0])] != model:
        raise EchosError(f"dogs: these are fits of {dogs['model'][int(at[0])]}, not of {model}; fit this bank first")
    found = {name: dogs[name].to_numpy()[at] for name in ("sign", "gamma", "r", "amplitude", "residual", "cosine")}
    fitted = fit_of_dogs(kernels, DogFit(sigma=dogs["sigma_x"].to_numpy()[at], **found))
    return fitted, dogs["null_cosine"].to_numpy()[at]
