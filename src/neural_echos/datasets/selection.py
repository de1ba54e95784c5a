"""Which images a data set holds: how they are recognised, which of them are kept, and what is said about the rest.

Every reader of real images goes through here, whether its images lie in folders, tar archives, Parquet or CIFAR's archives.
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

# Why a file is left out. Those in EXPECTED are no images and nobody would miss them; the others count against the images.
HIDDEN = "hidden or a system file"
COMPANION = "a file that goes with an image"
FIELD = "another field of a sample"
FOREIGN = "not an image by its name"
BROKEN_LINK = "a broken link"
SPECIAL = "a link or a special file"
NO_CLASS = "an image outside the class folders"
NAMED = "left out by name"
EXPECTED = (HIDDEN, COMPANION, FIELD)
LeftOut = list[tuple[str, str]]  # (reason, name) of every file that is left out

_TRIVIAL_SHARE = 0.01  # of images and unrecognised files together
_TRIVIAL_COUNT = 2
_CHECKSUMS = 5000  # files, at most, whose checksums are kept one by one


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's, in upper or lower case."""
    return name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether the base name is hidden (`.DS_Store`, `._a.jpg`) or one that an operating system leaves (`Thumbs.db`)."""
    base = name.rpartition("/")[2]
    return base.startswith(".") or base.lower() in _OF_SYSTEMS


def report_left_out(where: str, images: int, left_out: LeftOut) -> dict[str, int]:
    """Log how many files were left out and why, with an example of each reason.

    Parameters
    ----------
    where : str
        What was searched, for the sentence.
    images : int
        How many images were recognised there.
    left_out : list of (reason, name)
        Those that the user named do not count.

    Returns
    -------
    dict
        Count by reason, without the files that nobody would miss (`EXPECTED`).

    Raises
    ------
    EchosError
        More than 2 files, and more than 1 % of the images and these files together, were not recognised.
    """
    counts = Counter(reason for reason, _ in left_out if reason != NAMED)
    examples = {reason: name for reason, name in reversed(left_out)}
    missed = {reason: count for reason, count in sorted(counts.items()) if reason not in EXPECTED}
    told = {reason: f"{count:,} × {reason} (such as {examples[reason]})" for reason, count in sorted(counts.items())}
    unread = sum(missed.values())
    if unread > _TRIVIAL_COUNT and unread > _TRIVIAL_SHARE * (images + unread):
        raise EchosError(
            f"{where}: {unread:,} of {images + unread:,} files cannot be used: {', '.join(told[one] for one in missed)}; "
            f"convert them to a format that is read ({', '.join(SUFFIXES)}), or move them elsewhere"
        )
    if told:
        _LOG.info("%s: %s images read; left out: %s", where, f"{images:,}", ", ".join(told.values()))
    return missed


@dataclass(frozen=True)
class Selection:
    """Which images of a data set are kept.

    Attributes
    ----------
    name : str
        The data set's name.
    seed : int
        Decides which images a limit or the share keeps.
    train_limit, test_limit : int, optional
        Keep so many images of each split, drawn at random, in their order; a smaller limit keeps some of the same.
    train_share : float, optional
        Keep this share, in (0, 1], of every class's train images; a smaller share keeps some of the same.
    classes_kept : list of str, or str, optional
        Keep only these classes, in the data set's order and numbered anew, or those of a half that is split by meaning
        (`selection.HALVES`); limits and the share count what they have.
    """

    name: str
    seed: int = 0
    train_limit: int | None = None
    test_limit: int | None = None
    train_share: float | None = None
    classes_kept: Sequence[str] | str | None = None

    def __post_init__(self) -> None:
        """Refuse a share or limit that keeps nothing, and a share beside a limit of the same split."""
        where = f"dataset {self.name}"
        for option in ("train_limit", "test_limit"):
            limit = getattr(self, option)
            if limit is not None and limit < 1:
                raise EchosError(f"{where}: {option} must be at least 1, not {limit}")
        if self.train_share is not None and not 0 < self.train_share <= 1:
            raise EchosError(f"{where}: train_share must be above 0 and at most 1, not {self.train_share}")
        if self.train_share is not None and self.train_limit is not None:
            raise EchosError(f"{where}: train_limit and train_share exclude each other; set one of them")

    def options(self) -> Facts:
        """Options of the selection, for the facts."""
        names = ("train_limit", "test_limit", "train_share", "classes_kept")
        return {name: getattr(self, name) for name in names}

    def keep(
        self, classes: Sequence[str], train: np.ndarray, test: np.ndarray
    ) -> tuple[list[str], list[tuple[np.ndarray, np.ndarray]]]:
        """Decide which classes and images are kept.

        Parameters
        ----------
        classes : sequence of str
            All class names.
        train, test : ndarray of int64, shape (n,)
            Labels of all images.

        Returns
        -------
        classes : list of str
            Those that are kept.
        splits : list of (rows, labels)
            For train and for test, the rows that are kept, ascending, and their new labels; both int64.
        """
        kept, numbers = kept_classes(self.name, classes, self.classes_kept)
        drawn = (("train", train, self.train_limit, self.train_share), ("test", test, self.test_limit, None))
        splits = []
        for number, (split, found, limit, share) in enumerate(drawn):
            rows = np.flatnonzero(numbers[found] >= 0)
            if not len(rows):
                raise EchosError(
                    f"dataset {self.name}: no {split} image is of a class in classes_kept; keep other classes"
                )
            rows = rows[kept_rows(numbers[found[rows]], limit, share, [self.seed, number])]
            splits.append((rows, numbers[found[rows]]))
        return kept, splits


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
                raise EchosError(f"{where} names {one!r}, which is not a class of this data set{nearest(one, classes)}")
    if wanted is not None and (len(kept) < 2 or (not isinstance(wanted, str) and len(wanted) != len(kept))):
        raise EchosError(
            f"{where} must name at least two of the {len(classes)} classes, each of them once, but it is {wanted}"
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
            f"{names[0]} …: {len(names):,} files are too many to checksum one by one ({_CHECKSUMS:,} at most); "
            "set the option 'checksums' to false, the digest of the listing is kept in any case"
        )
    digest = hashlib.sha256()
    for name, size in zip(names, sizes, strict=True):
        digest.update(os.fsencode(f"{name}\t{size}\n"))
    return {
        "files": {name: sha256(path) for name, path in zip(names, paths, strict=True)} if checksums else {},
        "listing": {"files": len(names), "bytes": int(sum(sizes)), "sha256": digest.hexdigest()},
    }
