"""Which images a dataset contains: how they are recognised, which are kept, and how the rest is reported.

Every reader of real images uses this module, whether its images are in folders, tar archives, Parquet or CIFAR's archives.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural_echos.datasets.base import Facts
from neural_echos.errors import EchosError, nearest
from neural_echos.files import sha256

_LOG = logging.getLogger(__name__)

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
_OF_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini", "@eadir"}

# Reasons for excluding a file. Files with a reason in EXPECTED are not images and not missed; the others count against the images.
HIDDEN = "hidden or a system file"
COMPANION = "a file that goes with an image"
FIELD = "another field of a sample"
FOREIGN = "not an image by its name"
BROKEN_LINK = "a broken link"
SPECIAL = "a link or a special file"
NO_CLASS = "an image outside the class folders"
NAMED = "left out by name"
EXPECTED = (HIDDEN, COMPANION, FIELD)
LeftOut = list[tuple[str, str]]  # (reason, name) of every excluded file

_TRIVIAL_SHARE = 0.01  # of images and unrecognised files together
_TRIVIAL_COUNT = 2
_CHECKSUMS = 5000  # maximum number of files with individual checksums


def is_image(name: str) -> bool:
    """Whether a file's name has an image suffix, ignoring case."""
    return name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether the base name is hidden (`.DS_Store`, `._a.jpg`) or left by an operating system (`Thumbs.db`)."""
    base = name.rpartition("/")[2]
    return base.startswith(".") or base.lower() in _OF_SYSTEMS


def report_left_out(where: str, images: int, left_out: LeftOut) -> dict[str, int]:
    """Log how many files were excluded and why, with an example for each reason.

    Parameters
    ----------
    where : str
        What was searched, for the message.
    images : int
        Number of images recognised there.
    left_out : list of (reason, name)
        Files that the user named do not count.

    Returns
    -------
    dict
        Count by reason, without the `EXPECTED` ones.

    Raises
    ------
    EchosError
        More than 2 files were not recognised, and more than 1 % of the images and these files together.
    """
    counts = Counter(reason for reason, _ in left_out if reason != NAMED)
    examples = {reason: name for reason, name in reversed(left_out)}
    missed = {reason: count for reason, count in sorted(counts.items()) if reason not in EXPECTED}
    told = {reason: f"{count:,} × {reason} (such as {examples[reason]})" for reason, count in sorted(counts.items())}
    unread = sum(missed.values())
    if unread > _TRIVIAL_COUNT and unread > _TRIVIAL_SHARE * (images + unread):
        raise EchosError(
            f"{where}: {unread:,} of {images + unread:,} files cannot be used: {', '.join(told[one] for one in missed)}; convert "
            f"them to a supported format ({', '.join(SUFFIXES)}), or move them elsewhere"
        )
    if told:
        _LOG.info("%s: %s images read; excluded: %s", where, f"{images:,}", ", ".join(told.values()))
    return missed


@dataclass(frozen=True)
class Selection:
    """Which images of a dataset are kept.

    Attributes
    ----------
    name : str
        The dataset's name.
    seed : int
        Determines which images a limit or share keeps.
    train_limit, test_limit : int, optional
        Number of randomly drawn images to keep of each split, in their order; a smaller limit keeps a subset.
    train_share : float, optional
        Share, in (0, 1], of every class's training images to keep; a smaller share keeps a subset.
    classes_kept : list of str, or str, optional
        Keep only these classes, in the dataset's order and renumbered, or those of a semantic half (`selection.HALVES`); limits
        and the share apply to the kept classes.
    """

    name: str
    seed: int = 0
    train_limit: int | None = None
    test_limit: int | None = None
    train_share: float | None = None
    classes_kept: Sequence[str] | str | None = None

    def __post_init__(self) -> None:
        """Refuse a share or limit that keeps nothing, and a share combined with a limit for the same split."""
        where = f"dataset {self.name}"
        for option in ("train_limit", "test_limit"):
            limit = getattr(self, option)
            if limit is not None and limit < 1:
                raise EchosError(f"{where}: {option} must be at least 1, not {limit}")
        if self.train_share is not None and not 0 < self.train_share <= 1:
            raise EchosError(f"{where}: train_share must be above 0 and at most 1, not {self.train_share}")
        if self.train_share is not None and self.train_limit is not None:
            raise EchosError(f"{where}: train_limit and train_share cannot be combined; set only one of them")

    def options(self) -> Facts:
        """Options of the selection for the facts."""
        names = ("train_limit", "test_limit", "train_share", "classes_kept")
        return {name: getattr(self, name) for name in names}

    def keep(
        self, classes: Sequence[str], train: np.ndarray, test: np.ndarray
    ) -> tuple[list[str], list[tuple[np.ndarray, np.ndarray]]]:
        """Determine which classes and images are kept.

        Parameters
        ----------
        classes : sequence of str
            All class names.
        train, test : ndarray of int64, shape (n,)
            Labels of all images.

        Returns
        -------
        classes : list of str
            The kept classes.
        splits : list of (rows, labels)
            For train and test, the kept rows, ascending, and their new labels; both int64.
        """
        kept, numbers = kept_classes(self.name, classes, self.classes_kept)
        drawn = (("train", train, self.train_limit, self.train_share), ("test", test, self.test_limit, None))
        splits = []
        for number, (split, found, limit, share) in enumerate(drawn):
            rows = np.flatnonzero(numbers[found] >= 0)
            if not len(rows):
                raise EchosError(
                    f"dataset {self.name}: no {split} image belongs to a class in classes_kept; keep other classes"
                )
            rows = rows[kept_rows(numbers[found[rows]], limit, share, [self.seed, number])]
            splits.append((rows, numbers[found[rows]]))
        return kept, splits


def kept_rows(labels: np.ndarray, limit: int | None, share: float | None, seed: Sequence[int]) -> np.ndarray:
    """Draw the rows that a limit or a share keeps.

    A share is drawn within each class, with at least one image per class; a smaller limit or share with the same seed keeps a
    subset of the rows.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
    limit : int, optional
        Total number of rows to keep.
    share : float, optional
        Share of each class's rows to keep, in (0, 1].
    seed : sequence of int
        Determines the draw.

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


# Semantic splits that can be named instead of a list: class names or, for ImageNet, wnids below or above a limit. Sorted by wnid,
# ILSVRC's classes are 398 animals (tench to puffer), followed by everything else (from abacus).
HALVES: dict[str, Callable[[str], bool]] = {
    "cifar10_animals": {"bird", "cat", "deer", "dog", "frog", "horse"}.__contains__,
    "cifar10_vehicles": {"airplane", "automobile", "ship", "truck"}.__contains__,
    "imagenet_animals": lambda wnid: wnid < "n02666196",
    "imagenet_others": lambda wnid: wnid >= "n02666196",
}


def kept_classes(name: str, classes: Sequence[str], wanted: Sequence[str] | str | None) -> tuple[list[str], np.ndarray]:
    """Determine which classes a dataset keeps, in their order, and their new numbers.

    Parameters
    ----------
    name : str
        The dataset's name, for error messages.
    classes : sequence of str
        All class names.
    wanted : sequence of str, or str, optional
        Names of at least two classes, each once, or a key of `HALVES`; None keeps all.

    Returns
    -------
    kept : list of str
    numbers : ndarray of int64, shape (classes,)
        New label of every class; -1 if it is excluded.

    Raises
    ------
    EchosError
        A class or half is unknown, a class is repeated, or fewer than two classes are kept.
    """
    where = f"dataset {name}: classes_kept"
    if isinstance(wanted, str):
        if wanted not in HALVES:
            raise EchosError(
                f"{where} must be a list of classes or one of {', '.join(HALVES)}, not {wanted!r}{nearest(wanted, HALVES)}"
            )
        kept = [one for one in classes if HALVES[wanted](one)]
    else:
        kept = [one for one in classes if wanted is None or one in wanted]
        for one in wanted or ():
            if one not in classes:
                raise EchosError(f"{where} names {one!r}, which is not a class of this dataset{nearest(one, classes)}")
    if wanted is not None and (len(kept) < 2 or (not isinstance(wanted, str) and len(wanted) != len(kept))):
        raise EchosError(
            f"{where} must name at least two of the {len(classes)} classes, each only once, but is {wanted}"
        )
    numbers = {one: number for number, one in enumerate(kept)}
    return kept, np.array([numbers.get(one, -1) for one in classes], dtype=np.int64)


def described(paths: Iterable[Path], sizes: Sequence[int], names: Sequence[str], checksums: bool) -> Facts:
    """Describe a dataset's source files: their number, bytes, a digest of the listing and, if requested, checksums.

    Parameters
    ----------
    paths : iterable of path
        Used only if checksums are requested.
    sizes : sequence of int
        Size of each, bytes.
    names : sequence of str
        Name of each in the facts.
    checksums : bool
        Whether to compute their SHA-256.

    Raises
    ------
    EchosError
        There are more than 5,000 files to checksum.
    """
    if checksums and len(names) > _CHECKSUMS:
        raise EchosError(
            f"{names[0]} …: {len(names):,} files are too many to checksum one by one ({_CHECKSUMS:,} at most); set the option "
            "'checksums' to false; the digest of the listing is always kept"
        )
    digest = hashlib.sha256()
    for name, size in zip(names, sizes, strict=True):
        digest.update(os.fsencode(f"{name}\t{size}\n"))
    return {
        "files": {name: sha256(path) for name, path in zip(names, paths, strict=True)} if checksums else {},
        "listing": {"files": len(names), "bytes": int(sum(sizes)), "sha256": digest.hexdigest()},
    }
