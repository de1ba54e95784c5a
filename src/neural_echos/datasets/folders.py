"""Images in folders: train/<class>/ and val/<class>/, as ImageNet-1k is unpacked, and Tiny-ImageNet-200 as it is distributed."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from neural_echos.datasets.base import Dataset, Facts
from neural_echos.datasets.registry import maker
from neural_echos.datasets.selection import (
    BROKEN_LINK,
    COMPANION,
    FOREIGN,
    HIDDEN,
    NO_CLASS,
    SPECIAL,
    SUFFIXES,
    LeftOut,
    Selection,
    described,
    is_hidden,
    is_image,
    report_left_out,
)
from neural_echos.datasets.streamed import Index, StreamedDataset, assembled
from neural_echos.errors import EchosError, nearest
from neural_echos.progress import tracked

_LOG = logging.getLogger(__name__)
_KAGGLE = "ILSVRC/Data/CLS-LOC"
_TEST_FOLDERS = ("val", "validation", "valid", "test")  # the first that is there holds the test images
_THREADS = 16  # listing waits for the file system, not for a core
Listing = list[tuple[str, int]]  # (name relative to the root, bytes) of each image


@maker("folder")
def index_folder(
    *,
    root: str,
    name: str = "",
    seed: int = 0,
    train_limit: int | None = None,
    test_limit: int | None = None,
    train_share: float | None = None,
    classes_kept: Sequence[str] | str | None = None,
    memory: bool = False,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    checksums: bool = False,
    licence: str = "none stated",
    citation: str = "",
) -> tuple[Dataset | StreamedDataset, Facts]:
    """Index an image folder; no image is opened.

    Classes are the folders of train, in the order of their names; whatever lies in them, at any depth, belongs to them. Where
    there is no val, validation, valid or test is read. A folder that holds wnids.txt and val/val_annotations.txt is read as
    Tiny-ImageNet-200. Files that are not read are counted and logged.

    Parameters
    ----------
    root : str
        Folder with train/<class>/… and val/<class>/….
    name : str
        Name of the data set; by default the root's.
    seed, train_limit, test_limit, train_share, classes_kept
        See `Selection`.
    memory, size, mean, std
        See `assembled`.
    checksums : bool
        Read every file for its SHA-256, of 5,000 files at most; a digest of names and sizes is kept in any case.
    licence, citation : str
        Of the source, for the facts.

    Raises
    ------
    EchosError
        A folder that is missing, empty, or of a layout that says no labels; train and val of other classes; too many files
        that are not recognised.
    """
    selection = Selection(name or Path(root).resolve().name, seed, train_limit, test_limit, train_share, classes_kept)
    folder = Path(root)
    tiny = (folder / "wnids.txt").is_file() and (folder / "val" / "val_annotations.txt").is_file()
    names = (_split_folder(folder, ("train",)), "val" if tiny else _split_folder(folder, _TEST_FOLDERS))
    left_out: tuple[LeftOut, LeftOut] = ([], [])
    classes = sorted(_lines(folder / "wnids.txt") if tiny else _class_folders(folder, names[0], left_out[0]))
    train = _listed(folder, names[0], classes, "images" if tiny else "", left_out[0])
    if tiny:
        test = _annotated(folder, classes)
    else:
        _require_same(folder, names, classes, _class_folders(folder, names[1], left_out[1]))
        test = _listed(folder, names[1], classes, "", left_out[1])
    missed = {
        split: report_left_out(str(folder / split), sum(map(len, listings)), left)
        for split, listings, left in zip(names, (train, test), left_out, strict=True)
    }
    splits = [_index(part) for part in (train, test)]
    dataset = assembled(selection, classes, folder, splits, memory=memory, size=size, mean=mean, std=std)
    files = [image for part in (*train, *test) for image in part]
    paths, sizes = (folder / file for file, _ in files), [size for _, size in files]
    facts = {
        "how": f"{'Tiny-ImageNet-200' if tiny else 'one folder per class'}, {'decoded' if memory else 'index only'}",
        "options": {"root": root, **selection.options(), "size": size},
        "seed": seed,
        **described(paths, sizes, [file for file, _ in files], checksums),
        **({"left_out": missed} if any(missed.values()) else {}),
        "licence": licence,
        "citation": citation,
    }
    return dataset, facts


def _index(listings: Sequence[Listing]) -> tuple[Index, np.ndarray]:
    """Index of the images of every class, and their labels."""
    files = [image for listing in listings for image in listing]
    labels = np.repeat(np.arange(len(listings)), [len(listing) for listing in listings])
    places = np.zeros((len(files), 3), dtype=np.int64)
    places[:, 0] = np.arange(len(files))
    places[:, 2] = [size for _, size in files]
    return Index.of([name for name, _ in files], places), labels.astype(np.int64)


def _split_folder(root: Path, names: Sequence[str]) -> str:
    """Find the folder of a split by the names that it may have, in upper or lower case; the first one counts."""
    if not root.is_dir():
        raise EchosError(f"{root}: no such folder; correct root")
    with os.scandir(root) as entries:
        folders = sorted((entry.name for entry in entries if entry.is_dir()), reverse=True)
    there = {folder.lower(): folder for folder in folders}
    found = [there[name] for name in names if name in there]
    if not found and (root / _KAGGLE).is_dir():
        raise EchosError(
            f"{root}: this is Kaggle's layout; give {root / _KAGGLE} as root, its val sorted into one folder per class"
        )
    if not found:
        deeper = next((one for one in sorted(folders) if (root / one / names[0]).is_dir()), None)
        hint = f"is {root / deeper} the right root?" if deeper else "correct root"
        raise EchosError(f"{root}: there is no folder {' or '.join(names)} with one folder per class in it; {hint}")
    if found[0] != names[0]:
        others = f"; {', '.join(found[1:])} left alone" if found[1:] else ""
        _LOG.info("%s: no folder %s, %s is read in its place%s", root, names[0], found[0], others)
    return found[0]


def _class_folders(root: Path, split: str, left_out: LeftOut) -> list[str]:
    """Names of the class folders of a split; files beside them are left out."""
    folder = root / split
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries)
    classes = [name for name, is_folder in found if is_folder and not is_hidden(name)]
    files = [name for name, is_folder in found if not is_folder or is_hidden(name)]
    flat = sum(is_image(name) and not is_hidden(name) for name in files)
    if flat and not classes:
        raise EchosError(
            f"{folder}: its {flat} images lie side by side, as in ImageNet's and Kaggle's own val, so that nothing tells their "
            "labels; sort them into one folder per class, or use kind shards with its option labels"
        )
    if not classes:
        raise EchosError(f"{folder}: there are no class folders in it; correct root")
    for name in files:
        reason = HIDDEN if is_hidden(name) else NO_CLASS if is_image(name) else FOREIGN
        left_out.append((reason, f"{split}/{name}"))
    return classes


def _require_same(root: Path, splits: tuple[str, str], classes: Sequence[str], found: Sequence[str]) -> None:
    """Refuse test images of other classes than train."""
    odd = next(iter(sorted(set(found) ^ set(classes))), None)
    if odd is not None:
        train, test = splits
        others = set(found if odd in classes else classes)
        raise EchosError(
            f"{root / test}: its {len(found)} classes are not the {len(classes)} of {train}, {odd!r} is only in "
            f"{train if odd in classes else test}{nearest(odd, others)}; take both from one data set"
        )


def _listed(root: Path, split: str, classes: Sequence[str], below: str, left_out: LeftOut) -> list[Listing]:
    """List the images of each class, at any depth, in the order of their names."""
    above = frozenset({_identity(root.stat()), _identity((root / split).stat())})

    def listing(name: str) -> tuple[Listing, LeftOut]:
        prefix = "/".join(part for part in (split, name, below) if part)
        found = list(_walked(root / prefix, prefix, above))
        images = sorted((name, size) for name, reason, size in found if not reason)
        others = _with_companions(images, sorted((name, reason) for name, reason, _ in found if reason))
        if not images:
            example = f"; {len(others)} files are none, such as {others[0][1]}" if others else ""
            raise EchosError(
                f"{root / prefix}: there are no images ({', '.join(SUFFIXES)}) in this class folder{example}; put them there, or "
                "remove the folder from every split"
            )
        return images, others

    with ThreadPoolExecutor(_THREADS) as pool:
        listings = []
        for images, others in tracked(pool.map(listing, classes), f"{split} classes", len(classes)):
            listings.append(images)
            left_out += others
    return listings


def _with_companions(images: Listing, others: Sequence[tuple[str, str]]) -> LeftOut:
    """Say why files are left out; one that has an image's name but for the ending goes with it."""
    if not others:
        return []
    stems = {name.rpartition(".")[0] for name, _ in images} | {name for name, _ in images}
    return [
        (COMPANION if reason == FOREIGN and name.rpartition(".")[0] in stems else reason, name)
        for name, reason in others
    ]


def _walked(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, str, int]]:
    """Go through a folder and those in it: (name, "" or the reason to leave it out, bytes) of every file."""
    try:
        above |= {_identity(folder.stat())}
        with os.scandir(folder) as scanned:
            entries = list(scanned)
    except FileNotFoundError:
        return
    except OSError as error:
        raise EchosError(f"{folder}: this folder cannot be listed ({error.strerror}); make it readable") from None
    for entry in entries:
        name = f"{prefix}/{entry.name}"
        if is_hidden(entry.name):
            yield name, HIDDEN, 0
        elif entry.is_dir():
            if _identity(entry.stat()) in above:
                yield name, SPECIAL, 0  # a link to a folder above it
            else:
                yield from _walked(folder / entry.name, name, above)
        elif not entry.is_file():
            yield name, BROKEN_LINK if entry.is_symlink() else SPECIAL, 0
        elif not is_image(entry.name):
            yield name, FOREIGN, 0
        else:
            yield name, "", entry.stat().st_size


def _identity(found: os.stat_result) -> tuple[int, int]:
    """What tells whether two folders are one, whatever their names."""
    return found.st_dev, found.st_ino


def _annotated(root: Path, classes: Sequence[str]) -> list[Listing]:
    """List Tiny-ImageNet's test images by class: val/images, with file and wnid on each line of val_annotations.txt."""
    annotations = root / "val" / "val_annotations.txt"
    listings: list[Listing] = [[] for _ in classes]
    number = {name: place for place, name in enumerate(classes)}
    for line, text in enumerate(_lines(annotations), start=1):
        file, _, rest = text.partition("\t")
        wnid = rest.split("\t")[0]
        if wnid not in number:
            raise EchosError(
                f"{annotations}, line {line}: {text[:60]!r} is not a file and one of the {len(classes)} wnids of wnids.txt; fetch "
                "the data set again"
            )
        image = root / "val" / "images" / file
        if not image.is_file():
            raise EchosError(
                f"{image}: {annotations.name} names this image, but it is not there; fetch the data set again"
            )
        listings[number[wnid]].append((f"val/images/{file}", image.stat().st_size))
    return [sorted(listing) for listing in listings]


def _lines(path: Path) -> list[str]:
    """Lines of a text file that are not empty."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EchosError(f"{path}: this list cannot be read ({error}); fetch the data set again") from None
