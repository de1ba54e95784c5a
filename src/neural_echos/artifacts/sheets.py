"""Contact sheets: the kernels of a model's layers, on demand."""

from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from neural_echos.artifacts.mosaics import colour_bar, draw_kernels
from neural_echos.artifacts.style import canvas, drawing
from neural_echos.errors import EchosError, nearest
from neural_echos.tables import kernels_of
from neural_echos.words import count_of

_ACROSS = 16  # kernels per row of a sheet with one layer
_PANELS = 3  # layers per row of a sheet with several


@drawing()
def contact_sheet(
    bank: pa.Table, *, layer: str = "*", kernels: int = 400, kind: str = "depthwise"
) -> tuple[Figure, str]:
    """Show the kernels of the layers whose names match a pattern, in channel order.

    Parameters
    ----------
    bank : pyarrow.Table
        Schema "bank".
    layer : str
        Pattern of layer names, for instance "stages.3.*".
    kernels : int
        Maximum number per layer, evenly spaced over its channels; at most 64 if there are several layers.
    kind : {"depthwise", "regular"}

    Returns
    -------
    figure : Figure
    says : str
        A sentence about what it shows.

    Raises
    ------
    EchosError
        No layer of that kind matches.
    """
    layers = _layers(bank, layer, kind)
    most = max(1, kernels if len(layers) == 1 else min(kernels, 64))
    across = _ACROSS if len(layers) == 1 else 8
    columns = min(_PANELS, len(layers))
    rows = -(-len(layers) // columns)
    shown = [_evenly(taps[np.isfinite(taps).all(axis=(1, 2))], most) for _, taps in layers]
    down = max(-(-len(taps) // across) for taps in shown)
    figure, axes = canvas(rows, columns, (7.2, rows * (0.3 + 6.6 / columns / across * down) + 0.3))
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, taps), drawn in zip(axes.flat, layers, shown, strict=False):
        image = draw_kernels(axis, drawn if len(drawn) else np.zeros((1, *taps.shape[1:])), across)
        axis.set_title(
            f"{name}\n{taps.shape[1]}×{taps.shape[2]}, {len(drawn)} of {len(taps)}", fontsize=6 if columns > 1 else 8
        )
    colour_bar(figure, image, axes)
    total = sum(len(taps) for _, taps in layers)
    models = ", ".join(sorted(bank["model"].unique().to_pylist()))
    told = f"{sum(map(len, shown))} of {total:,} {kind} kernels in {count_of(len(layers), 'layer')}"
    return figure, f"{models}: {told}, each scaled by its largest tap."


def _layers(bank: pa.Table, pattern: str, kind: str) -> list[tuple[str, np.ndarray]]:
    """Name and kernels, (n, h, w), of every matching layer."""
    mine = bank.filter(pc.equal(bank["kind"], kind))
    names = list(dict.fromkeys(mine["layer"].to_pylist()))
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        guess = nearest(pattern, names) or (
            f" (there are {', '.join(names[:5])}{', …' if len(names) > 5 else ''})" if names else ""
        )
        raise EchosError(f"no {kind} layer matches {pattern!r}{guess}")
    found = []
    for name in matching:
        of = mine.filter(pc.equal(mine["layer"], name))
        found.append((name, kernels_of(of, of["kernel_height"][0].as_py(), of["kernel_width"][0].as_py())[1]))
    return found


def _evenly(kernels: np.ndarray, most: int) -> np.ndarray:
    if len(kernels) <= most:
        return kernels
    return kernels[np.linspace(0, len(kernels) - 1, most).round().astype(np.int64)]
