"""The best receptive-field model of every kernel of a bank, and of the same kernel with its taps shuffled."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from neural_echos.errors import EchosError
from neural_echos.receptive_fields.banks import per_size
from neural_echos.receptive_fields.difference_of_gaussians import has_dog
from neural_echos.receptive_fields.fitting import Fit, fit
from neural_echos.tables import SCHEMAS

MATCHED = ("dog", "gaussian", "gaussian_derivative_1", "gaussian_derivative_2")


def match_bank(
    bank: pa.Table, *, seed: int, null_every: int = 1, rivals: int | None = None, processes: int = 1
) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """Fit the DoG, the Gaussian and its first and second derivatives to a bank, and to the same kernels with taps shuffled.

    Gaussians are oriented, anisotropic and offset (`receptive_fields.fit`); the best of the four is the kernel's match.

    Parameters
    ----------
    bank : pyarrow.Table
        Of schema "bank".
    seed : int
        Of the shuffles: the same as those of `fit_bank`.
    null_every : int
        Shuffled taps are fitted for every n-th row of the bank; elsewhere the columns `null_…` hold nothing. They take longer
        than the kernels, for noise has many local optima, and a tenth of millions tells as much.
    rivals : int, optional
        Further starts of each fit, at most, of the kernels and of the shuffled taps alike; see `receptive_fields.fit`.
    processes : int
        Of the fits, which do not depend on them.

    Returns
    -------
    matches : pyarrow.Table
        Of schema "matches", sorted by `row`, the kernel's row number in `bank`. Kernels without a fit have no row.
    report : dict
        Per size ("7x7"): the number of kernels "fitted", "dropped_not_finite", "dropped_zero", and with "no_fit" (a side of 1).

    Raises
    ------
    EchosError
        `null_every` is below 1 or `rivals` no whole number from 0.
    """
    report: dict[str, dict[str, int]] = {}
    parts = match_batches([bank], report, seed=seed, null_every=null_every, rivals=rivals, processes=processes)
    return pa.concat_tables(parts).combine_chunks(), report


def match_batches(
    batches: Iterable[pa.Table],
    report: dict[str, dict[str, int]],
    *,
    seed: int,
    null_every: int = 1,
    rivals: int | None = None,
    processes: int = 1,
) -> Iterator[pa.Table]:
    """Match a bank that comes in parts, as `match_bank` does; counts are added to `report` on the way."""
    if null_every < 1:
        raise EchosError(f"null_every: expected 1 or more, found {null_every}; correct it")
    return per_size(
        batches,
        report,
        "matches",
        lambda height, width: min(height, width) >= 2,
        partial(_matches_table, null_every=null_every, fitted=partial(fit, rivals=rivals, processes=processes)),
        seed,
    )


def _matches_table(
    bank: pa.Table,
    first: int,
    rows: np.ndarray,
    kernels: np.ndarray,
    shuffled: np.ndarray,
    null_every: int,
    fitted: Callable[..., Fit],
) -> pa.Table:
    """The part of a "matches" table that holds usable kernels of one size."""
    height, width = kernels.shape[1:]
    models = [name for name in MATCHED if name != "dog" or has_dog(height, width)]
    fits = {name: fitted(kernels, name) for name in models}
    has_null = (first + rows) % null_every == 0
    nulls = {name: np.full(len(rows), np.nan) for name in models}
    for name, cosine in nulls.items():
        cosine[has_null] = fitted(shuffled[has_null], name).cosine
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
