"""Encoded images: decoding to 8 bits, resizing, stacking.

Any file whose content Pillow recognises is read, whatever its name. 16-bit and float pixels are scaled to 8 bits by their range. An
alpha channel is dropped, as in torchvision and timm. An orientation in the EXIF data is applied. Only the first of several frames
is used.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

from neural_echos.errors import EchosError

# Formats that Pillow may try; without a list it tries every plugin.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF")
# Errors that Pillow raises on broken images, in addition to its own (which are OSErrors).
_UNDECODABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, struct.error, zlib.error)
_EIGHT_BITS = 255
_SIXTEEN_BITS = 65535


def decode(where: str, data: Any, mode: str) -> Image.Image:
    """Decode one image.

    Parameters
    ----------
    where : str
        Location of the image, for error messages.
    data : bytes, or {"bytes": bytes}
        The encoded image.
    mode : str
        Pillow's mode of the result: "RGB" or "L".

    Raises
    ------
    EchosError
        It cannot be decoded, or the range of its pixels is unknown.
    """
    encoded: Any = data.get("bytes") if isinstance(data, dict) else data
    if not isinstance(encoded, bytes):
        raise EchosError(f"{where}: there is no encoded image here; exclude this row, or fetch the file again")
    try:
        with warnings.catch_warnings():  # from Pillow, about odd metadata and large images
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
                image.load()
                return _eight_bits(where, _upright(image)).convert(mode)
    except Image.UnidentifiedImageError:
        if not encoded:
            raise EchosError(f"{where}: the file is empty; fetch it again or remove it") from None
        raise EchosError(
            f"{where}: these {len(encoded):,} bytes are not an image in a supported format ({', '.join(_FORMATS)}); fetch the "
            "file again, convert it, or remove it"
        ) from None
    except (*_UNDECODABLE, Image.DecompressionBombError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EchosError(
            f"{where}: the image cannot be decoded because it is truncated or damaged ({reason}); fetch the file again or remove "
            "it"
        ) from None


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation of an image; an image with broken EXIF data is returned unchanged."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except _UNDECODABLE:
        return image


def _eight_bits(where: str, image: Image.Image) -> Image.Image:
    """Scale grey pixels from 16 or 32 bits to 8; an image in another mode is returned unchanged.

    Integers are scaled by the range of the file's format (65,535 for 16 bits), floats by 1. Pillow itself scales 16-bit colour.
    """
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        largest, known = 1.0, bool(low >= 0 and high <= 1)
    else:
        bits = image.tag_v2.get(258, (16,))[0] if isinstance(image, TiffImagePlugin.TiffImageFile) else 16
        largest = 4095.0 if bits == 12 else float(_SIXTEEN_BITS)
        # In 32 bits, values below 256 may come from an 8-bit image or a dark 16-bit image.
        known = bool(low >= 0 and high <= largest and (bits <= 16 or high == 0 or high > _EIGHT_BITS))
    if not known:
        kind = "floating-point" if image.mode == "F" else "integer"
        raise EchosError(
            f"{where}: {kind} pixels from {low:g} to {high:g} have no known range; save them as 8-bit or 16-bit integers, "
            "or as floats between 0 and 1"
        )
    return Image.fromarray(np.rint(values * (_EIGHT_BITS / largest)).astype(np.uint8))


def resized(image: Image.Image, size: int) -> Image.Image:
    """Resize an image so that its shorter side is `size` pixels (Pillow's bicubic filter), and crop the centre, size × size."""
    shorter = min(image.size)
    width, height = (max(size, round(side * size / shorter)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def pixels(image: Image.Image) -> np.ndarray:
    """Pixels of an image; uint8, shape (c, h, w)."""
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def stacked(images: Iterable[tuple[str, Image.Image]], count: int, size: int | None) -> np.ndarray:
    """Put images of one size into one array.

    Parameters
    ----------
    images : iterable of (place, image)
    count : int
        Number of images.
    size : int, optional
        Side to which each image is resized and cropped; without it, all must have the same size.

    Returns
    -------
    ndarray of uint8, shape (count, c, h, w)

    Raises
    ------
    EchosError
        Two images differ in size, and no `size` is given.
    """
    stack = np.empty((0, 0, 0, 0), dtype=np.uint8)
    for number, (where, image) in enumerate(images):
        one = pixels(image if size is None else resized(image, size))
        if not number:
            stack = np.empty((count, *one.shape), dtype=np.uint8)
        if one.shape != stack.shape[1:]:
            raise EchosError(
                f"{where}: this image has {_sides(one)} pixels, but the first one has {_sides(stack[0])}; give the option 'size', "
                "or resize the images to one size first"
            )
        stack[number] = one
    return stack


def _sides(image: np.ndarray) -> str:
    """Width and height of an array (c, h, w), as text."""
    return f"{image.shape[2]} × {image.shape[1]}"
