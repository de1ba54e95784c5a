"""Figures for a page: embedded, at their size in inches, and split between panels for narrow screens."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural_echos.report.templates import embedded

PIXELS_PER_INCH = 120  # of a page; text of 8 points is then as large as the page's own
_GAP = 0.06  # width of a blank strip, in inches, at which a figure may be split
_MIDDLE = (0.3, 0.7)  # range of a figure's width in which it may be split


@dataclass(frozen=True)
class Picture:
    """A figure on a page.

    Attributes
    ----------
    source : str
        Data URL.
    width : int
        Pixels on the page, so that all figures have the same text size.
    cut : float or None
        Where to split it into a left and a right half, as a share of its width; None if something crosses its middle.
    """

    source: str
    width: int
    cut: float | None


def picture_of(stem: Path, most: int, dpi: int) -> Picture:
    """Embed a figure as SVG or PNG, whichever is smaller; if both are larger than `most` bytes, as a PNG with fewer pixels.

    Parameters
    ----------
    stem : Path
        Of the figure's files, without suffix.
    most : int
        Bytes.
    dpi : int
        Resolution of the PNG file.
    """
    from PIL import Image

    pixels, drawn = stem.with_name(f"{stem.name}.png").read_bytes(), stem.with_name(f"{stem.name}.svg")
    smallest, kind = pixels, "png"
    if drawn.exists() and drawn.stat().st_size < len(pixels):
        smallest, kind = drawn.read_bytes(), "svg+xml"
    with Image.open(io.BytesIO(pixels)) as image:
        whole = image.convert("RGB")
    for width in (1600, 1000, 600):
        if len(smallest) <= most:
            break
        buffer = io.BytesIO()
        whole.resize((width, round(whole.height * width / whole.width))).save(buffer, "PNG")
        smallest, kind = min((smallest, kind), (buffer.getvalue(), "png"), key=lambda one: len(one[0]))
    return Picture(
        embedded(smallest, kind), round(PIXELS_PER_INCH * whole.width / dpi), _cut(np.asarray(whole), round(_GAP * dpi))
    )


def _cut(pixels: np.ndarray, gap: int) -> float | None:
    """Find the blank strip nearest to the middle of a picture, shape (height, width, 3), at least `gap` pixels wide."""
    blank = (pixels == pixels[0, 0]).all(axis=(0, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], blank.astype(np.int8), [0]])))
    middles = [(start + end) / 2 / len(blank) for start, end in edges.reshape(-1, 2) if end - start >= gap]
    nearest = min(middles, key=lambda middle: abs(middle - 0.5), default=0.0)
    return round(float(nearest), 4) if _MIDDLE[0] < nearest < _MIDDLE[1] else None
