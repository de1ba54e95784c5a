"""Initialisations that borrow kernels from another model's bank, or the eight master key filters.

Papers: transfer, Babaiee, Kiasari, Rus, Grosu, "The Master Key Filters Hypothesis", AAAI 2025 (arXiv 2412.16751); the eight
filters, the same authors' "Quest for Universal Master Key Filters", NeurIPS 2025 (arXiv 2509.11711), as published with Lindeberg,
Babaiee, Kiasari, JMIV 2026 (arXiv 2509.12746).
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neural_echos.errors import EchosError
from neural_echos.initialisations.filters import resampled
from neural_echos.initialisations.registry import Distribution, Filters, Table, drawn, opened, register
from neural_echos.receptive_fields.master_key import read_filters
from neural_echos.receptive_fields.normalisation import usable
from neural_echos.tables import kernel_sizes, kernels_of


@register()
def transfer(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    bank: Table | None = None,
    by_depth: bool = True,
    by_layer: bool = False,
    taps: Literal["kept", "shuffled"] = "kept",
    resample: bool = False,
    depth: float = 0.0,
    outputs: int = 1,
    layer: str = "",
    channels: np.ndarray | None = None,
    report: dict[str, float] | None = None,
) -> np.ndarray:
    """Draw trained kernels of another model, with replacement if it has too few ("The Master Key Filters Hypothesis").

    Parameters
    ----------
    bank : table of schema "bank", or its path
        Bank of the other model. Kernels are drawn from its usable depthwise kernels.
    by_depth : bool
        Draw from the layer nearest in depth; otherwise from all layers.
    by_layer : bool
        Copy the layer of the same name from a bank of the same architecture, channel by channel, as the paper does; nothing is
        drawn.
    taps : {"kept", "shuffled"}
        "shuffled" permutes each kernel's taps: a control that keeps the values but not the spatial structure.
    resample : bool
        If the bank lacks the size, resample kernels of its nearest size, corner to corner, with cubic splines, keeping each
        kernel's L2 norm. Otherwise a missing size is an error.
    """
    if bank is None:
        raise EchosError("transfer needs the option bank: the bank of a trained model, as written by echos extract")
    table = depthwise_of(bank)
    if by_layer:
        rows = np.arange(n) if channels is None else channels
        kernels = _of_layer(table, layer, outputs, None if resample else (height, width))[rows]
    else:
        kernels, said = _drawn_from(table, n, height, width, rng, depth if by_depth else None, resample)
        if report is not None:
            report |= said
    if taps == "shuffled":
        kernels = rng.permuted(kernels.reshape(n, -1), axis=1).reshape(kernels.shape)
    return resampled(kernels, height, width)


def _drawn_from(
    table: pa.Table, n: int, height: int, width: int, rng: np.random.Generator, depth: float | None, resample: bool
) -> tuple[np.ndarray, dict[str, float]]:
    """Draw n usable kernels of a size, float64 (n, h, w), from the layer nearest to `depth` if given; and report the number."""
    source = _nearest_size(table, height, width) if resample else (height, width)
    kernels, said = chosen_kernels("transfer", table, *source, depth)
    kernels = kernels[np.logical_and(*usable(kernels))].astype(np.float64)
    if not len(kernels):
        raise EchosError("transfer: all kernels of the bank are constant or not finite; choose another bank")
    picked = rng.choice(len(kernels), n, replace=n > len(kernels))
    return kernels[picked], {"bank_kernels": float(len(kernels))} | said


def _of_layer(table: pa.Table, layer: str, outputs: int, size: tuple[int, int] | None) -> np.ndarray:
    """All kernels of one layer in channel order, float64 (outputs, h, w); of any size if `size` is None."""
    mine = table.filter(pc.equal(table["layer"], layer))
    if mine.num_rows != outputs:
        known = table["layer"].unique().to_pylist()
        found = f"has {mine.num_rows} kernels" if mine.num_rows else f"is not in the bank ({', '.join(known)})"
        raise EchosError(
            f"transfer: by_layer needs {outputs} kernels of layer {layer!r}, which {found}; use a bank of the same "
            "architecture, or omit by_layer"
        )
    ((height, width),) = kernel_sizes(mine)
    if size is not None and size != (height, width):
        raise EchosError(
            f"transfer: the bank's layer {layer!r} has {height}×{width} kernels, not {size[0]}×{size[1]}; choose another bank, or "
            "set resample"
        )
    _, kernels = kernels_of(mine, height, width)
    if not np.isfinite(kernels).all():
        raise EchosError(f"transfer: not all kernels of the bank's layer {layer!r} are finite; choose another bank")
    return kernels.astype(np.float64)


@register()
def master_key(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    filters: Filters | None = None,
    a: Distribution = 1.0,
    b: Distribution = 0.0,
    resample: bool = False,
) -> np.ndarray:
    """Draw a·x + b, where x is one of the eight published 7×7 filters (zero mean, unit norm) or of any set of filters.

    Parameters
    ----------
    filters : path or ndarray of float, shape (m, k, k)
        `master_key_filters_8.txt` (declared input `master_key_filters_8`), or your own filters.
    a, b : float, list of float, {"uniform": [low, high]} or {"normal": [mean, std]}
        Gain and bias, drawn for each kernel.
    resample : bool
        Resample the filters to other sizes, as `transfer` does; otherwise another size is an error.
    """
    if filters is None:
        raise EchosError(
            "master_key needs the option filters: the path of master_key_filters_8.txt; run echos fetch master_key_filters_8"
        )
    known = np.asarray(read_filters(filters) if isinstance(filters, str | Path) else filters, dtype=np.float64)
    if known.ndim != 3 or not len(known) or not np.isfinite(known).all():
        raise EchosError(f"master_key: filters must be finite and have shape (m, k, k), not {known.shape}")
    if known.shape[1:] != (height, width) and not resample:
        raise EchosError(
            f"master_key: the filters are {known.shape[1]}×{known.shape[2]} but the kernels are {height}×{width}; set resample, or "
            "exclude that layer with layers=…"
        )
    picked = resampled(known, height, width)[rng.integers(len(known), size=n)]
    gain, bias = (drawn(f"master_key: {name}", option, n, rng) for name, option in (("a", a), ("b", b)))
    return gain[:, None, None] * picked + bias[:, None, None]


def chosen_kernels(
    name: str, bank: Table, height: int, width: int, depth: float | None
) -> tuple[np.ndarray, dict[str, float]]:
    """Depthwise kernels of one size of a bank, float32 (n, height, width), and the notes to report.

    Parameters
    ----------
    name : str
        Name of the initialisation in error messages.
    depth : float, optional
        Take only the layer nearest to this depth (in a tie, the earlier one).

    Raises
    ------
    EchosError
        The bank has no depthwise kernels of that size.
    """
    table = depthwise_of(bank)
    rows, kernels = kernels_of(table, height, width)
    if not len(rows):
        sizes = ", ".join(f"{one}×{other}" for one, other in kernel_sizes(table)) or "none"
        raise EchosError(
            f"{name}: the bank has no {height}×{width} depthwise kernels, only {sizes}; choose another bank, resample if the "
            "scheme allows it, or exclude that layer with layers=…"
        )
    if depth is None:
        return kernels, {}
    depths = table["depth"].to_numpy()[rows]
    nearest = depths[np.abs(depths - depth).argmin()]
    return kernels[depths == nearest], {"bank_depth": float(nearest)}


def depthwise_of(table: Table) -> pa.Table:
    """The depthwise rows of a bank or centroid table."""
    table = opened({"bank": table})["bank"]
    return table.filter(pc.equal(table["kind"], "depthwise"))


def _nearest_size(bank: Table, height: int, width: int) -> tuple[int, int]:
    sizes = kernel_sizes(depthwise_of(bank))
    if not sizes:
        raise EchosError("transfer: the bank has no depthwise kernels; choose another one")
    return min(sizes, key=lambda size: (abs(size[0] - height) + abs(size[1] - width), size))
