"""Inspect an image folder before using it: classes, splits, sizes, and images that cannot be read."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from neural_echos.datasets.folders import has_test_split, index_folder
from neural_echos.datasets.streamed import StreamedDataset
from neural_echos.errors import EchosError
from neural_echos.progress import tracked

_MOST_OPENED = 10_000  # images; if there are more, this number is drawn at random
_LEAST_TRAINED = 8  # images; with fewer, several steps per epoch would need batches of one image
_TRIVIAL_SHARE = 0.01  # largest tolerated share of images that cannot be read


@dataclass(frozen=True, eq=False)
class Look:
    """Content of an image folder.

    Attributes
    ----------
    root : Path
        Absolute path.
    classes : tuple of str
    train, test : ndarray of int64, shape (classes,)
        Number of images per class.
    test_share : float or None
        Share of each class that was drawn for testing; None if the folder has its own split.
    sizes : ndarray of int64, shape (opened, 2)
        Width and height of the opened images, pixels.
    unreadable : dict of str to str
        The errors of images that could not be read, by their paths relative to `root`; these images are not counted elsewhere.
    """

    root: Path
    classes: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    test_share: float | None
    sizes: np.ndarray
    unreadable: dict[str, str]

    @property
    def shorter_side(self) -> int:
        """Median of the images' shorter sides, pixels."""
        return int(np.median(self.sizes.min(axis=1)))


def look_at_folder(root: Path, *, test_share: float, seed: int) -> Look:
    """Inspect an image folder: list it like a dataset of kind `folder`, and open its images.

    Parameters
    ----------
    root : path
        Folder with train/<class>/… and val/<class>/…, or with class folders only.
    test_share : float
        Share of each class that is drawn for testing if the folder has no split, in (0, 1).
    seed : int
        Determines that draw and, if there are more than 10,000 images, which of them are opened.

    Raises
    ------
    EchosError
        `index_folder` refuses the folder; there is a single class or fewer than 8 images for training; or more than 1 % of the
        images, and more than two, cannot be read.
    """
    root = root.resolve()
    if not root.is_dir():
        found = (
            "a file, not an image folder; for other kinds of datasets, write a preset by hand"
            if root.exists()
            else "no such folder; check the path"
        )
        raise EchosError(f"{root}: {found}")
    share = None if has_test_split(root) else test_share
    index = partial(index_folder, root=str(root), seed=seed, test_share=share)
    data = _streamed(index())
    if len(data.classes) < 2:
        _refuse_one_class(root, data.classes[0])
    sizes, unreadable = _opened(data, seed)
    _refuse_many(root, len(sizes) + len(unreadable), unreadable)
    if unreadable:
        data = _streamed(index(leave_out=list(unreadable)))
    train, test = (np.bincount(labels, minlength=len(data.classes)) for labels in (data.train_labels, data.test_labels))
    if train.sum() < _LEAST_TRAINED:
        raise EchosError(f"{root}: {train.sum()} images for training are too few; at least {_LEAST_TRAINED} are needed")
    return Look(root, data.classes, train, test, share, sizes, unreadable)


def _streamed(made: tuple[object, object]) -> StreamedDataset:
    data, _ = made
    assert isinstance(data, StreamedDataset)
    return data


def _refuse_one_class(root: Path, name: str) -> None:
    inside = root / name
    deeper = inside.is_dir() and (has_test_split(inside) or sum(one.is_dir() for one in inside.iterdir()) > 1)
    hint = f"is {inside} the right one?" if deeper else "put the images of each class in their own folder"
    raise EchosError(f"{root}: this folder contains only one class, {name!r}, so there is nothing to classify; {hint}")


def _opened(data: StreamedDataset, seed: int) -> tuple[np.ndarray, dict[str, str]]:
    """Sizes of the images that can be read, int64 (n, 2), and the errors of the others, by name."""
    rows = [(split, row) for split in ("train", "test") for row in range(len(getattr(data, f"{split}_labels")))]
    if len(rows) > _MOST_OPENED:
        drawn = np.random.default_rng(seed).permutation(len(rows))[:_MOST_OPENED]
        rows = [rows[place] for place in np.sort(drawn)]

    def opened(split: str, row: int) -> tuple[int, int] | tuple[str, str]:
        try:
            return data.read(split, row).size
        except EchosError as error:
            index = {"train": data.train, "test": data.test}[split]
            return index.name(int(index.places[row, 0])), str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(tracked(pool.map(opened, *zip(*rows, strict=True)), "images", len(rows)))
    unreadable = {str(name): str(why) for name, why in found if isinstance(name, str)}
    sizes = [one for one in found if not isinstance(one[0], str)]
    return np.array(sizes, dtype=np.int64).reshape(-1, 2), unreadable


def _refuse_many(root: Path, opened: int, unreadable: dict[str, str]) -> None:
    if len(unreadable) > max(2, _TRIVIAL_SHARE * opened):
        first = next(iter(unreadable.values()))
        raise EchosError(f"{root}: {len(unreadable):,} of {opened:,} images cannot be read; the first: {first}")


def describe_look(look: Look, most_classes: int = 12) -> list[str]:
    """Describe an image folder, one sentence each: classes with their images, the split, sizes, unreadable images.

    Parameters
    ----------
    look : Look
    most_classes : int
        If there are more classes, only the smallest and largest number of images are given.
    """
    lines = [
        f"{len(look.classes)} classes, {look.train.sum():,} images for training and {look.test.sum():,} for testing: "
    ]
    if len(look.classes) <= most_classes:
        counts = zip(look.classes, look.train, look.test, strict=True)
        lines[0] += ", ".join(f"{name} {train:,} + {test:,}" for name, train, test in counts) + "."
    else:
        ranges = [f"{_range(counts)} for {what}" for counts, what in ((look.train, "training"), (look.test, "testing"))]
        lines[0] += f"per class {' and '.join(ranges)}."
    if look.test_share is None:
        lines.append("The folder comes with its own split.")
    else:
        lines.append(f"The folder has no split: {100 * look.test_share:g} % of each class is drawn for testing.")
    return [*lines, _described_sizes(look), *_described_losses(look)]


def _range(values: Sequence[int] | np.ndarray) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _described_sizes(look: Look) -> str:
    smallest, largest = (look.sizes[place] for place in look.sizes.prod(axis=1).argsort()[[0, -1]])
    counted = look.train.sum() + look.test.sum()
    of = f" (of {len(look.sizes):,} opened)" if len(look.sizes) < counted else ""
    if (look.sizes == look.sizes[0]).all():
        return f"All images have {smallest[0]}×{smallest[1]} pixels{of}."
    share = 100 * (look.sizes[:, 0] != look.sizes[:, 1]).mean()
    return (
        f"Images have {smallest[0]}×{smallest[1]} to {largest[0]}×{largest[1]} pixels{of}, "
        f"and {'none is' if not share else f'{share:.0f} % are not'} square."
    )


def _described_losses(look: Look) -> list[str]:
    if not look.unreadable:
        return []
    names = ", ".join(look.unreadable)
    images = (
        "1 image cannot be read and is"
        if len(look.unreadable) == 1
        else f"{len(look.unreadable)} images cannot be read and are"
    )
    return [f"{images} excluded: {names}."]
