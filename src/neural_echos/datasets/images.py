"""Encoded images: decoding, resizing, which of them a limit or a share keeps, and what is said of their files."""

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neural_echos.datasets.base import Facts
from neural_echos.errors import EchosError, nearest
from neural_echos.files import sha256

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm")
# What Pillow may try; without a list it asks every plugin that it has.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF")
_CHECKSUMS = 5000  # files, at most, whose checksums are kept one by one
# What Pillow raises on broken images, beside its own errors (which are OSErrors).
_UNDECODABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, zlib.error)


def decode(where: str, data: Any, mode: str) -> Image.Image:
    """Decode one image.

    Parameters
    ----------
    where : str
        Its place, for the sentence.
    data : bytes, or {"bytes": bytes}
        As encoded.
    mode : str
        Pillow's mode of the result: "RGB" or "L".

    Raises
    ------
    EchosError
        It does not decode.
    """
    encoded: Any = data.get("bytes") if isinstance(data, dict) else data
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            return image.convert(mode)
    except (*_UNDECODABLE, Image.DecompressionBombError):
        found = f"{len(encoded)} bytes that do not decode" if isinstance(encoded, bytes) else "no image"
        raise EchosError(f"{where}: expected an encoded image, found {found}; fetch the file again") from None


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
        How many there are.
    size : int, optional
        Side to which each is resized and cropped; without it they must be equal.

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
                f"{where}: expected an image of shape {stack.shape[1:]} like the first, found {one.shape}; "
                "give the option 'size', or resize the images to one size first"
            )
        stack[number] = one
    return stack


def check_kept(name: str, size: int | None, share: float | None, *limits: int | None) -> None:
    """Refuse a size, share or limit that keeps nothing, and a share beside a limit of the same split."""
    if min(limit for limit in (*limits, 1) if limit is not None) < 1:
        raise EchosError(
            f"dataset {name}: expected limits of 1 or more, found {', '.join(map(str, limits))}; correct them"
        )
    if share is not None and not 0 < share <= 1:
        raise EchosError(f"dataset {name}: expected a train_share above 0 and at most 1, found {share}; correct it")
    if share is not None and limits[0] is not None:
        raise EchosError(f"dataset {name}: expected train_limit or train_share, found both; take one out")
    if size is not None and size < 1:
        raise EchosError(f"dataset {name}: expected a size of 1 pixel or more, found {size}; correct it")


def kept_rows(labels: np.ndarray, limit: int | None, share: float | None, seed: Sequence[int]) -> np.ndarray:
    """Draw the rows that a limit or a share keeps.

    A share is drawn within each class, at least one image of each; a smaller limit or share of the same seed keeps some
    of the same rows.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
    limit : int, optional
        Rows to keep, of all classes together.
    share : float, optional
        Share of each class's rows to keep, in (0, 1].
    seed : sequence of int
        Decides the draw.

    Returns
    -------
    ndarray of int64
        Rows, ascending.
    """
    rng = np.random.default_rng(seed)
    if share is None:
        return np.sort(rng.permutation(len(labels))[:limit])
    by_class = np.lexsort((rng.permutation(len(labels)), labels))
    counts = np.bincount(labels)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    quota = np.maximum(1, np.rint(share * counts))
    return np.sort(by_class[place < np.repeat(quota, counts)])


# Splits by meaning that can be named in place of a list: class names, or, for ImageNet, wnids below or from one on. In the
# order of their wnids, ILSVRC's classes are 398 animals (tench to puffer), and then everything else (abacus on).
HALVES: dict[str, Callable[[str], bool]] = {
    "cifar10_animals": {"bird", "cat", "deer", "dog", "frog", "horse"}.__contains__,
    "cifar10_vehicles": {"airplane", "automobile", "ship", "truck"}.__contains__,
    "imagenet_animals": lambda wnid: wnid < "n02666196",
    "imagenet_others": lambda wnid: wnid >= "n02666196",
}


def kept_classes(name: str, classes: Sequence[str], wanted: Sequence[str] | str | None) -> tuple[list[str], np.ndarray]:
    """Decide which classes a data set keeps, in their order, and their new numbers.

    Parameters
    ----------
    name : str
        The data set's name, for the sentence.
    classes : sequence of str
        All class names.
    wanted : sequence of str, or str, optional
        Names of at least two classes, each once, or a key of `HALVES`; None keeps all.

    Returns
    -------
    kept : list of str
    numbers : ndarray of int64, shape (classes,)
        New label of every class; -1 for one that is left out.

    Raises
    ------
    EchosError
        An unknown class or half, a class twice, or fewer than two that are kept.
    """
    if isinstance(wanted, str):
        if wanted not in HALVES:
            raise EchosError(
                f"dataset {name}: expected as classes_kept a list of classes or one of {', '.join(HALVES)}, "
                f"found {wanted!r}{nearest(wanted, HALVES)}; correct it"
            )
        kept = [one for one in classes if HALVES[wanted](one)]
    else:
        kept = [one for one in classes if wanted is None or one in wanted]
        for one in wanted or ():
            if one not in classes:
                raise EchosError(
                    f"dataset {name}: expected as classes_kept classes that it has, found {one!r}"
                    f"{nearest(one, classes)}; correct it"
                )
    if wanted is not None and (len(kept) < 2 or (not isinstance(wanted, str) and len(wanted) != len(kept))):
        raise EchosError(
            f"dataset {name}: expected as classes_kept at least two of its {len(classes)} classes, each once, found "
            f"{wanted}; correct it"
        )
    numbers = {one: number for number, one in enumerate(kept)}
    return kept, np.array([numbers.get(one, -1) for one in classes], dtype=np.int64)


def described(paths: Iterable[Path], sizes: Sequence[int], names: Sequence[str], checksums: bool) -> Facts:
    """Say which files a data set was made from: their number, bytes, a digest of the listing and, where asked for, checksums.

    Parameters
    ----------
    paths : iterable of path
        Gone through only where checksums are asked for.
    sizes : sequence of int
        Bytes of each.
    names : sequence of str
        What each is called in the facts.
    checksums : bool
        Whether to read all of them for their SHA-256.

    Raises
    ------
    EchosError
        There are more than 5,000 files to read.
    """
    if checksums and len(names) > _CHECKSUMS:
        raise EchosError(
            f"{names[0]} …: expected at most {_CHECKSUMS:,} files to checksum, found {len(names):,}; "
            "set the option 'checksums' to false, the digest of the listing is kept in any case"
        )
    digest = hashlib.sha256()
    for name, size in zip(names, sizes, strict=True):
        digest.update(os.fsencode(f"{name}\t{size}\n"))
    return {
        "files": {name: sha256(path) for name, path in zip(names, paths, strict=True)} if checksums else {},
        "listing": {"files": len(names), "bytes": int(sum(sizes)), "sha256": digest.hexdigest()},
    }
