"""Mosaics of kernels, each scaled by its own largest tap, so that a channel's scale does not hide its shape."""

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
    """Number of kernels that fill a rectangle, at most `most`, and kernels per row (one shorter row if there are few).

    Parameters
    ----------
    available, most : int
        Number of kernels, and maximum number to draw.
    columns : int
        Kernels per row.
    """
    shown = min(available, most)
    return (shown, max(shown, 1)) if shown < columns else (shown - shown % columns, columns)


def even_columns(panels: int, most: int) -> int:
    """Number of columns, from two thirds of `most` to `most`, that leaves the fewest places empty for `panels` panels."""
    choices = range(min(most, panels), min(-(-2 * most // 3), panels) - 1, -1)
    return min(choices, key=lambda columns: -panels % columns)


def tiled(kernels: np.ndarray, columns: int, below: int = 0) -> np.ndarray:
    """Arrange kernels in one mosaic, each scaled by its own largest |tap|, with missing values between and `below` them.

    Parameters
    ----------
    kernels : ndarray, shape (n, h, w)
        Missing taps (NaN) stay missing.
    columns : int
        Kernels per row.
    below : int
        Additional rows of missing values below each kernel.

    Returns
    -------
    ndarray of float64, shape (rows · (h + 1 + below) − 1, columns · (w + 1) − 1)
        In [−1, 1].
    """
    n, height, width = kernels.shape
    step = height + 1 + below
    mosaic = np.full((-(-n // columns) * step - 1, columns * (width + 1) - 1), np.nan)
    largest = np.nanmax(np.abs(kernels), axis=(1, 2), keepdims=True, initial=0.0)
    for index, kernel in enumerate(kernels / np.where(largest > 0, largest, 1.0)):
        top, left = (index // columns) * step, (index % columns) * (width + 1)
        mosaic[top : top + height, left : left + width] = kernel
    return mosaic


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
        Text below each kernel.
    room : float
        Height of the labels, as a share of a kernel's height.
    """
    shown = np.stack(list(kernels))
    _, height, width = shown.shape
    below = 0 if labels is None else math.ceil(height * room)
    for index, label in enumerate(() if labels is None else labels):
        bottom, left = (index // columns) * (height + 1 + below) + height, (index % columns) * (width + 1)
        size, middle = mpl.rcParams["xtick.labelsize"], left + (width - 1) / 2
        text = axes.text(middle, bottom - 0.4, label, fontsize=size, ha="center", va="top")
        text.set_in_layout(False)  # it is inside the mosaic
    axes.set_axis_off()
    axes.set_anchor("N")
    return axes.imshow(
        tiled(shown, columns, below), cmap=current().colour_map, vmin=-1.0, vmax=1.0, interpolation="nearest"
    )


def colour_bar(figure: Figure, image: AxesImage, axes: Any, length: float | None = None) -> None:
    """Add one colour bar for kernels to a figure, with `length` relative to the axes' height."""
    length = length or min(0.5, 1.2 / figure.get_figheight())  # about an inch, also in a tall figure
    bar = figure.colorbar(image, ax=axes, shrink=length, aspect=15, pad=0.01, panchor=False)
    bar.set_ticks([-1, 0, 1], labels=["−max", "0", "+max"])
    bar.outline.set_visible(False)
