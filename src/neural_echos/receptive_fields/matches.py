"""The best receptive-field model of every kernel of a bank, and of the same kernel with its taps shuffled."""

import numpy as np
import pyarrow as pa

from neural_echos.receptive_fields.difference_of_gaussians import has_dog
from neural_echos.receptive_fields.fitting import fit
from neural_echos.receptive_fields.normalisation import usable
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of

MATCHED = ("dog", "gaussian", "gaussian_derivative_1", "gaussian_derivative_2")


def match_bank(bank: pa.Table, *, seed: int) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """Fit the DoG, the Gaussian and its first and second derivatives to a bank, and to the same kernels with taps shuffled.

    Gaussians are oriented, anisotropic and offset (`receptive_fields.fit`); the best of the four is the kernel's match.

    Parameters
    ----------
    bank : pyarrow.Table
        Of schema "bank".
    seed : int
        Of the shuffles: the same as those of `fit_bank`.

    Returns
    -------
    matches : pyarrow.Table
        Of schema "matches", sorted by `row`, the kernel's row number in `bank`. Kernels without a fit have no row.
    report : dict
        Per size ("7x7"): the number of kernels "fitted", "dropped_not_finite", "dropped_zero", and with "no_fit" (a side of 1).
    """
    parts = [SCHEMAS["matches"].empty_table()]
    report = {}
    for height, width in kernel_sizes(bank):
        rows, kernels = kernels_of(bank, height, width)
        counts = dict.fromkeys(("fitted", "dropped_not_finite", "dropped_zero", "no_fit"), 0)
        if min(height, width) >= 2:
            finite, varied = usable(kernels)
            kept = finite & varied
            parts.append(_matches_table(bank, rows[kept], kernels[kept], seed))
            counts |= {"fitted": int(kept.sum()), "dropped_not_finite": int((~finite).sum())}
            counts["dropped_zero"] = int((finite & ~varied).sum())
        else:
            counts["no_fit"] = len(rows)
        report[f"{height}x{width}"] = counts
    return pa.concat_tables(parts).sort_by("row").combine_chunks(), report


def _matches_table(bank: pa.Table, rows: np.ndarray, kernels: np.ndarray, seed: int) -> pa.Table:
    """The part of a "matches" table that holds usable kernels of one size."""
    height, width = kernels.shape[1:]
    models = [name for name in MATCHED if name != "dog" or has_dog(height, width)]
    flat = kernels.reshape(len(kernels), -1)
    shuffled = np.random.default_rng((seed, height)).permuted(flat, axis=1).reshape(kernels.shape)
    fits = {name: fit(kernels, name) for name in models}
    nulls = {name: fit(shuffled, name).cosine for name in models}
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
    columns |= {"row": rows, "best": np.array(models)[best], "null_cosine": np.max(list(nulls.values()), axis=0)}
    table = {
        name: pa.array(value, from_pandas=True) if isinstance(value, np.ndarray) else value
        for name, value in columns.items()
    }
    return pa.table({name: table[name] for name in SCHEMAS["matches"].names}).cast(SCHEMAS["matches"])
