"""How much of a bank receptive-field models explain: fits of every kernel, and of the same kernel with its taps shuffled."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neural_echos.errors import EchosError
from neural_echos.receptive_fields.difference_of_gaussians import fit_dog, has_dog
from neural_echos.receptive_fields.normalisation import shuffled_taps, usable
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of

TAILS = (0.025, 0.975)  # of a 95 % interval
_COUNTS = ("fitted", "dropped_not_finite", "dropped_zero", "no_fit")


def fit_bank(bank: pa.Table, *, seed: int, threshold: float) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """Fit the DoG family to a bank, and to the same kernels with their taps shuffled.

    Parameters
    ----------
    bank : pyarrow.Table
        Of schema "bank".
    seed : int
        Of the shuffles: one permutation per kernel, independent of the bank's other sizes.
    threshold : float
        Least cosine, in [0, 1], of a kernel that is named "on-centre" or "off-centre"; below it is "other".

    Returns
    -------
    fits : pyarrow.Table
        Of schema "fits", sorted by `row`, the kernel's row number in `bank`. `null_cosine` is the best cosine of the
        kernel once its taps are shuffled. Kernels without a fit have no row.
    report : dict
        Per size ("7x7"): the number of kernels "fitted", "dropped_not_finite", "dropped_zero" (no tap beyond ±1e-4, or
        constant), and with "no_fit" (an even side, not square, or 1×1).

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
    """Fit a bank that comes in parts, as `fit_bank` does; counts are added to `report` on the way."""
    check_threshold(threshold)
    return per_size(batches, report, "fits", has_dog, partial(_fits_table, threshold=threshold), seed)


def per_size(
    batches: Iterable[pa.Table],
    report: dict[str, dict[str, int]],
    schema: str,
    fits: Callable[[int, int], bool],
    make: Callable[[pa.Table, int, np.ndarray, np.ndarray, np.ndarray], pa.Table],
    seed: int,
) -> Iterator[pa.Table]:
    """Make a table of the usable kernels of a bank, size by size, for each of the parts that the bank comes in.

    Parameters
    ----------
    batches : iterable of pyarrow.Table
        Of schema "bank", one after another.
    report : dict
        Per size ("7x7"), counts of kernels "fitted", "dropped_not_finite", "dropped_zero" and with "no_fit" are added to it.
    schema : str
        Of the tables that `make` gives.
    fits : callable
        From height and width to whether such kernels are fitted.
    make : callable
        From a part, the rows before it, rows in it, (n,), its kernels there, (n, h, w), and the same with shuffled taps, to
        their table, with rows counted from the start of the bank.
    seed : int
        Of the shuffles, which do not depend on how the bank is parted.

    Yields
    ------
    pyarrow.Table
        Of one part, sorted by `row`.
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


def structured_share(fits: pa.Table, *, quantile: float = 0.95, samples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Share of kernels whose cosine with their best DoG is beyond that of shuffled taps.

    Kernels of one layer are not independent, so the interval is that of a bootstrap over layers, the threshold held
    fixed: its own sampling error is left out. With a single layer that is impossible; the bootstrap is then over kernels,
    and its interval too narrow.

    Parameters
    ----------
    fits : pyarrow.Table
        Of schema "fits", with kernels of one size.
    quantile : float
        Of the null cosines, that a structured kernel exceeds; a bank without structure has a share of 1 − quantile.
    samples : int
        Number of bootstrap samples.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `share` and its 95 % interval `low`, `high`; `threshold` (cosine); `mean_cosine`, `null_mean_cosine`; the counts
        `kernels` and `layers`.

    Raises
    ------
    EchosError
        There are no kernels, or kernels of several sizes.

    Notes
    -----
    At 3×3 the measure is conservative: a shuffle puts a dominating tap back on the centre in one of nine cases, which
    is more often than 1 − .95, so the threshold is high; there the means tell more. From 5×5 on (one of 25) it is not.
    """
    sizes = kernel_sizes(fits)
    if len(sizes) != 1:
        found = ", ".join(f"{height}×{width}" for height, width in sizes) or "no kernel"
        raise EchosError(f"structured_share: expected fits of one kernel size, found {found}; filter the table first")
    cosine, null = fits["cosine"].to_numpy(), fits["null_cosine"].to_numpy()
    threshold = float(np.quantile(null, quantile))
    structured = cosine > threshold
    layer_of = _layer_codes(fits)
    of_layer = np.bincount(layer_of)
    if len(of_layer) > 1:
        low, high = layer_interval(np.bincount(layer_of, weights=structured), of_layer, samples=samples, seed=seed)
    else:
        shares = np.random.default_rng(seed).binomial(len(cosine), structured.mean(), size=samples) / len(cosine)
        low, high = np.quantile(shares, TAILS)
    return {
        "share": float(structured.mean()),
        "low": float(low),
        "high": float(high),
        "threshold": threshold,
        "mean_cosine": float(cosine.mean()),
        "null_mean_cosine": float(null.mean()),
        "kernels": len(cosine),
        "layers": len(of_layer),
    }


def layer_interval(sums: np.ndarray, counts: np.ndarray, *, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a mean over kernels, bootstrapped over layers: kernels of one layer are not independent.

    Parameters
    ----------
    sums : ndarray of float, shape (layers,) or (layers, m)
        Of each layer's kernels; several quantities see the same samples.
    counts : ndarray of int, shape (layers,)
        Kernels of each layer.
    samples : int
        Number of bootstrap samples.
    seed : int
        Of the bootstrap.

    Returns
    -------
    low, high : float64, or ndarray of float64 of shape (m,)
    """
    drawn = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=samples)
    low, high = np.quantile(((drawn @ sums).T / (drawn @ counts)).T, TAILS, axis=0)
    return low, high


def check_threshold(threshold: float) -> None:
    """Raise an `EchosError` unless `threshold` is a cosine in [0, 1]."""
    if not 0 <= threshold <= 1:
        raise EchosError(f"threshold: expected a cosine in [0, 1], found {threshold}; correct it")


def _fits_table(
    bank: pa.Table, first: int, rows: np.ndarray, kernels: np.ndarray, shuffled: np.ndarray, threshold: float
) -> pa.Table:
    """The part of a "fits" table that holds usable kernels of one odd size."""
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


def _layer_codes(fits: pa.Table) -> np.ndarray:
    """Number each kernel's layer (model, kind and module path), from 0: int64, shape (n,)."""
    keys = pc.binary_join_element_wise(fits["model"], fits["kind"], fits["layer"], "\x1f")
    return keys.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
