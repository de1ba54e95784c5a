"""Mosaics of kernels: each scaled by its own largest tap, so that a channel's scale cannot hide its shape."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from neural_echos.artifacts.style import current


def draw_kernels(axes: Axes, kernels: np.ndarray, columns: int) -> AxesImage:
    """Draw kernels as a mosaic, each scaled by its own largest |tap|, red positive, blue negative, white zero.

    Parameters
    ----------
    kernels : ndarray, shape (n, k, k)
    columns : int
        Kernels per row of the mosaic.
    """
    n, height, width = kernels.shape
    rows = -(-n // columns)
    mosaic = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    largest = np.abs(kernels).max(axis=(1, 2), keepdims=True)
    for index, kernel in enumerate(kernels / np.where(largest > 0, largest, 1.0)):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        mosaic[top : top + height, left : left + width] = kernel
    axes.set_axis_off()
    return axes.imshow(mosaic, cmap=current().colour_map, vmin=-1.0, vmax=1.0, interpolation="nearest")


def colour_bar(figure: Figure, image: AxesImage, axes: Any, length: float | None = None) -> None:
    """Explain the kernels' colours once per figure, by a bar of `length` times the axes' height."""
    length = length or min(0.5, 1.2 / figure.get_figheight())  # about an inch, also in a tall figure
    bar = figure.colorbar(image, ax=axes, shrink=length, aspect=15, pad=0.01, panchor=False)
    bar.set_ticks([-1, 0, 1], labels=["−max", "0", "+max"])
    bar.outline.set_visible(False)
