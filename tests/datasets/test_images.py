"""Encoded images of every kind: the pixels that come out, and what is refused by name."""

import struct
import zlib

import numpy as np
import pytest
from pictures import WNIDS, encoded, image_folder, picture, refuses
from PIL import Image

from neural_echos.datasets import Dataset, make_dataset
from neural_echos.datasets.images import decode, resized


def test_images_of_different_sizes_need_a_size_in_memory(tmp_path):
    root = image_folder(tmp_path / "a", per_class=1, sides=(12, 8))
    picture(7, (9, 20)).save(root / "train" / WNIDS[1] / "b.png")
    refuses("give the option 'size'", lambda: make_dataset("folder", {"root": str(root), "memory": True}))
    dataset, _ = make_dataset("folder", {"root": str(root), "memory": True, "size": 6})
    assert isinstance(dataset, Dataset)
    assert (dataset.train_images.shape, dataset.test_images.shape) == ((4, 3, 6, 6), (3, 3, 6, 6))
    refuses(
        "size must be at least 1 pixel", lambda: make_dataset("folder", {"root": str(root), "memory": True, "size": 0})
    )


def test_resizing_keeps_the_centre_and_an_image_of_the_right_size():
    image = picture(0, (20, 8))
    np.testing.assert_array_equal(np.asarray(resized(image, 8)), np.asarray(image)[:, 6:14])
    assert resized(picture(0, (500, 333)), 64).size == (64, 64)


# Sixteen bits, floats, odd modes

RAMP = np.linspace(0, 1, 64).reshape(1, 64).repeat(8, axis=0)  # from black to white


def from_bytes(data: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(decode("x", data, mode))


@pytest.mark.parametrize(
    ("image", "form"),
    [
        (Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16)), "PNG"),
        (Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16)), "TIFF"),
        (Image.fromarray(np.rint(RAMP * 65535).astype(np.int32)), "TIFF"),
        (Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16)), "PPM"),
        (Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_sixteen_bits_and_floats_are_scaled_and_not_clipped(image, form, mode):
    found = from_bytes(encoded(image, form), mode)
    expected = np.rint(RAMP * 255)
    np.testing.assert_array_equal(found if mode == "L" else found[..., 2], expected)


def png_of_sixteen_bits(samples: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, which Pillow reads and does not write; samples of uint16, shape (h, w, 3)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colour_of_sixteen_bits_is_scaled():
    samples = np.rint(np.stack([RAMP, 1 - RAMP, RAMP / 2], axis=-1) * 65535).astype(np.uint16)
    found = from_bytes(png_of_sixteen_bits(samples)).astype(int)
    assert np.abs(found - samples / 257).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (RAMP.astype(np.float32) * 255, "x: floating-point pixels from 0 to 255 have no known range"),
        (RAMP.astype(np.float32) - 0.5, "floating-point pixels from -0.5 to 0.5"),
        (np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32), "floating-point pixels from nan to nan"),
        ((RAMP * 100000).astype(np.int32), "integer pixels from 0 to 100000"),
        ((RAMP * 200).astype(np.int32), "integer pixels from 0 to 200"),
        ((RAMP * 200 - 100).astype(np.int32), "integer pixels from -100 to 100"),
    ],
)
def test_pixels_of_an_unknown_range_are_refused(pixels, expected):
    refuses(expected, lambda: from_bytes(encoded(Image.fromarray(pixels), "TIFF")))


def test_every_mode_of_eight_bits_is_read_as_it_looks():
    colours = np.asarray(picture(3, (16, 8)))
    whole = Image.fromarray(colours)
    opaque = np.dstack([colours, np.full((8, 16), 255, np.uint8)])
    opaque[:, 8:, 3] = 0
    np.testing.assert_array_equal(from_bytes(encoded(Image.fromarray(opaque), "PNG")), colours)
    np.testing.assert_array_equal(from_bytes(encoded(Image.fromarray(opaque), "TIFF")), colours)
    np.testing.assert_array_equal(from_bytes(encoded(whole.convert("CMYK"), "TIFF")), colours)
    grey = whole.convert("L")
    np.testing.assert_array_equal(from_bytes(encoded(grey.convert("LA"), "PNG"), "L"), np.asarray(grey))
    black_or_white = Image.fromarray(colours[..., 0] > 99)
    np.testing.assert_array_equal(from_bytes(encoded(black_or_white, "PNG"), "L"), (colours[..., 0] > 99) * 255)
    few = whole.quantize(8)
    for form, options in (("PNG", {"transparency": bytes([0, 128])}), ("PNG", {"transparency": 3}), ("GIF", {})):
        np.testing.assert_array_equal(from_bytes(encoded(few, form, **options)), np.asarray(few.convert("RGB")))


def test_palettes_with_transparency_raise_no_warning_of_pillow(recwarn):
    from_bytes(encoded(picture(0).quantize(8), "PNG", transparency=bytes([0, 128])), "L")
    assert not recwarn


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_in_exif_is_applied_once(form):
    upright = Image.fromarray(np.rint(RAMP * 255).astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90° clockwise
    found = from_bytes(encoded(upright.transpose(Image.Transpose.ROTATE_90), form, exif=exif))
    assert found.shape == (8, 64, 3)
    assert np.abs(found.astype(int) - np.asarray(upright)).max() < 12
    broken = encoded(upright, "JPEG", exif=b"Exif\0\0no exif")
    assert from_bytes(broken).shape == (8, 64, 3)


def test_the_content_decides_and_of_several_frames_the_first_is_taken():
    first, second = picture(1), picture(2)
    np.testing.assert_array_equal(
        from_bytes(encoded(first, "TIFF", save_all=True, append_images=[second])), np.asarray(first)
    )
    assert decode("photo.jpg", encoded(first, "PNG"), "RGB").tobytes() == first.tobytes()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated_images_are_refused_by_name(form):
    data = encoded(picture(0, (64, 64)), form)
    for kept in (len(data) // 2, len(data) * 9 // 10):
        refuses("some/x.png: the image cannot be decoded", lambda kept=kept: decode("some/x.png", data[:kept], "RGB"))
    refuses("some/x.png: the file is empty", lambda: decode("some/x.png", b"", "RGB"))
    refuses("some/x.png: these 11 bytes are not an image", lambda: decode("some/x.png", b"hello world", "RGB"))
