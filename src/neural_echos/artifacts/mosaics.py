"""Mosaics of kernels: each scaled by its own largest tap, so that a channel's scale cannot hide its shape."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from neural_echos.artifacts.style import current


def whole_rows(available: int, most: int, columns: int) -> tuple[int, int]:
    """How many kernels fill a rectangle, and in rows of how many: at most `most`, in one shorter row where there are few.

    Parameters
    ----------
    available, most : int
        Kernels that there are, and that may be drawn.
    columns : int
        Kernels of a row.
    """
    shown = min(available, most)
    return (shown, max(shown, 1)) if shown < columns else (shown - shown % columns, columns)


def even_columns(panels: int, most: int) -> int:
    """Columns, at most `most` and at least two thirds of that, that leave the fewest places empty for so many panels."""
    choices = range(min(most, panels), min(-(-2 * most // 3), panels) - 1, -1)
    return min(choices, key=lambda columns: -panels % columns)


def draw_kernels(
    axes: Axes, kernels: Iterable[np.ndarray], columns: int, labels: Sequence[str] | None = None, room: float = 0.3
) -> AxesImage:
    """Draw kernels as a mosaic, each scaled by its own largest |tap|, red positive, blue negative, white zero.

    Parameters
    ----------
    kernels : ndarray, shape (n, k, k), or iterable of n arrays of shape (k, k)
    columns : int
        Kernels per row of the mosaic.
    labels : sequence of n str, optional
        What stands below each kernel.
    room : float
        Height that the labels take, as a share of a kernel's.
    """
    shown = np.stack(list(kernels))
    n, height, width = shown.shape
    rows, below = -(-n // columns), 0 if labels is None else math.ceil(height * room)
    step = height + 1 + below
    mosaic = np.full((rows * step - 1, columns * (width + 1) - 1), np.nan)
    largest = np.abs(shown).max(axis=(1, 2), keepdims=True)
    for index, kernel in enumerate(shown / np.where(largest > 0, largest, 1.0)):
        top, left = (index // columns) * step, (index % columns) * (width + 1)
        mosaic[top : top + height, left : left + width] = kernel
        if labels is not None:
            size, middle = mpl.rcParams["xtick.labelsize"], left + (width - 1) / 2
            text = axes.text(middle, top + height - 0.4, labels[index], fontsize=size, ha="center", va="top")
            text.set_in_layout(False)  # it lies within the mosaic
    axes.set_axis_off()
    axes.set_anchor("N")
    return axes.imshow(mosaic, cmap=current().colour_map, vmin=-1.0, vmax=1.0, interpolation="nearest")


def colour_bar(figure: Figure, image: AxesImage, axes: Any, length: float | None = None) -> None:
    """Explain the kernels' colours once per figure, by a bar of `length` times the axes' height."""
    length = length or min(0.5, 1.2 / figure.get_figheight())  # about an inch, also in a tall figure
    bar = figure.colorbar(image, ax=axes, shrink=length, aspect=15, pad=0.01, panchor=False)
    bar.set_ticks([-1, 0, 1], labels=["−max", "0", "+max"])
    bar.outline.set_visible(False)
