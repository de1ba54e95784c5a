"""Images in folders: train/<class>/ and val/<class>/ like an unpacked ImageNet-1k, class folders only, and Tiny-ImageNet-200."""

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
    NAMED,
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
_TEST_FOLDERS = ("val", "validation", "valid", "test")  # the first that exists contains the test images
_THREADS = 16  # listing waits for the file system, not for a core
Listing = list[tuple[str, int]]  # (name relative to the root, bytes) of each image
Left = dict[str, tuple[int, LeftOut]]  # images and excluded files, by the folder of the split


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
    test_share: float | None = None,
    leave_out: Sequence[str] = (),
    memory: bool = False,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    checksums: bool = False,
    licence: str = "none stated",
    citation: str = "",
) -> tuple[Dataset | StreamedDataset, Facts]:
    """Index an image folder without opening any image.

    Classes are the folders of train, sorted by name; images at any depth in them belong to the class. If there is no val, then
    validation, valid or test is read. A folder with wnids.txt and val/val_annotations.txt is read as Tiny-ImageNet-200. Files that
    are not read are counted and logged.

    Parameters
    ----------
    root : str
        Folder with train/<class>/… and val/<class>/….
    name : str
        Name of the dataset; by default the root's.
    seed, train_limit, test_limit, train_share, classes_kept
        See `Selection`.
    test_share : float, optional
        For a folder without val: share, in (0, 1), of each class's images that is drawn for testing, at least one and never all.
        The class folders are in train, or in `root` itself.
    leave_out : list of str
        Images to exclude, such as damaged ones, by their paths relative to `root`.
    memory, size, mean, std
        See `assembled`.
    checksums : bool
        Compute the SHA-256 of every file, for at most 5,000 files; a digest of names and sizes is always kept.
    licence, citation : str
        Licence and citation of the source, for the facts.

    Raises
    ------
    EchosError
        A folder is missing, empty, or has a layout without labels; train and val have different classes; or too many files are not
        recognised.
    """
    selection = Selection(name or Path(root).resolve().name, seed, train_limit, test_limit, train_share, classes_kept)
    folder, tiny = Path(root), _is_tiny_imagenet(Path(root))
    if test_share is None:
        classes, train, test, left_out = _read_splits(folder, tiny, frozenset(leave_out))
    else:
        classes, train, test, left_out = _draw_split(folder, test_share, seed, frozenset(leave_out))
    _require_found(folder, leave_out, left_out)
    missed = {split: report_left_out(str(folder / split), count, left) for split, (count, left) in left_out.items()}
    splits = [_index(part) for part in (train, test)]
    dataset = assembled(selection, classes, folder, splits, memory=memory, size=size, mean=mean, std=std)
    files = [image for part in (*train, *test) for image in part]
    paths, sizes = (folder / file for file, _ in files), [size for _, size in files]
    facts = {
        "how": f"{'Tiny-ImageNet-200' if tiny else 'one folder per class'}, {'decoded' if memory else 'index only'}",
        "options": {
            **{"root": root, **selection.options(), "size": size},
            **({"test_share": test_share} if test_share is not None else {}),
            **({"leave_out": list(leave_out)} if leave_out else {}),
        },
        "seed": seed,
        **described(paths, sizes, [file for file, _ in files], checksums),
        **({"left_out": missed} if any(missed.values()) else {}),
        "licence": licence,
        "citation": citation,
    }
    return dataset, facts


def has_test_split(root: Path) -> bool:
    """Whether a folder has labelled test images, in val or similar beside train, or as in Tiny-ImageNet-200."""
    found = _found(root, ("train",)), _found(root, _TEST_FOLDERS)
    return _is_tiny_imagenet(root) or all(names and _has_folders(root / names[0]) for names in found)


def _has_folders(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.is_dir() and not is_hidden(entry.name) for entry in entries)


def _is_tiny_imagenet(root: Path) -> bool:
    return (root / "wnids.txt").is_file() and (root / "val" / "val_annotations.txt").is_file()


def _read_splits(
    root: Path, tiny: bool, leave_out: frozenset[str]
) -> tuple[list[str], list[Listing], list[Listing], Left]:
    """List the images of every class in the folders of the two splits."""
    names = (_split_folder(root, ("train",)), "val" if tiny else _split_folder(root, _TEST_FOLDERS))
    left: tuple[LeftOut, LeftOut] = ([], [])
    classes = sorted(_lines(root / "wnids.txt") if tiny else _class_folders(root, names[0], left[0]))
    train = _listed(root, names[0], classes, "images" if tiny else "", left[0], leave_out)
    if tiny:
        test = _annotated(root, classes)
    else:
        _require_same(root, names, classes, _class_folders(root, names[1], left[1]))
        test = _listed(root, names[1], classes, "", left[1], leave_out)
    counts = (sum(map(len, listings)) for listings in (train, test))
    return classes, train, test, dict(zip(names, zip(counts, left, strict=True), strict=True))


def _draw_split(
    root: Path, share: float, seed: int, leave_out: frozenset[str]
) -> tuple[list[str], list[Listing], list[Listing], Left]:
    """List the images of every class, and draw the test images."""
    if not 0 < share < 1:
        raise EchosError(f"{root}: test_share must be above 0 and below 1, not {share}")
    if has_test_split(root):
        raise EchosError(f"{root}: this folder has test images in {_found(root, _TEST_FOLDERS)[0]}; omit test_share")
    split = next(
        (one for one in _found(root, ("train",)) if _has_folders(root / one)), ""
    )  # else "train" may be a class of trains
    left: LeftOut = []
    classes = sorted(_class_folders(root, split, left))
    listings = _listed(root, split, classes, "", left, leave_out)
    rng = np.random.default_rng([seed, 2])
    train, test = [], []
    for name, listing in zip(classes, listings, strict=True):
        if len(listing) < 2:
            raise EchosError(
                f"{root / split / name}: this class has only one image, but needs one for training and one for testing; add "
                "images or remove the folder"
            )
        count = min(max(1, round(share * len(listing))), len(listing) - 1)
        drawn = set(rng.permutation(len(listing))[:count].tolist())
        train.append([image for place, image in enumerate(listing) if place not in drawn])
        test.append([image for place, image in enumerate(listing) if place in drawn])
    return classes, train, test, {split: (sum(map(len, listings)), left)}


def _require_found(root: Path, leave_out: Sequence[str], left_out: Left) -> None:
    found = {name for _, left in left_out.values() for reason, name in left if reason == NAMED}
    if absent := [name for name in leave_out if name not in found]:
        raise EchosError(
            f"{root}: leave_out names {absent[0]!r}, but there is no such image in a class folder; correct it"
        )


def _index(listings: Sequence[Listing]) -> tuple[Index, np.ndarray]:
    """Index of the images of every class, and their labels."""
    files = [image for listing in listings for image in listing]
    labels = np.repeat(np.arange(len(listings)), [len(listing) for listing in listings])
    places = np.zeros((len(files), 3), dtype=np.int64)
    places[:, 0] = np.arange(len(files))
    places[:, 2] = [size for _, size in files]
    return Index.of([name for name, _ in files], places), labels.astype(np.int64)


def _split_folder(root: Path, names: Sequence[str]) -> str:
    """Find the folder of a split by its possible names, ignoring case; the first match counts."""
    found = _found(root, names)
    if not found and (root / _KAGGLE).is_dir():
        raise EchosError(
            f"{root}: this is Kaggle's layout; give {root / _KAGGLE} as root, with its val sorted into one folder per class"
        )
    if not found:
        deeper = next((one.name for one in sorted(root.iterdir()) if (one / names[0]).is_dir()), None)
        hint = (
            f"is {root / deeper} the right root?"
            if deeper
            else "give the folder that contains it, or split class folders with test_share"
        )
        raise EchosError(f"{root}: there is no folder {' or '.join(names)} with one folder per class in it; {hint}")
    if found[0] != names[0]:
        others = f"; {', '.join(found[1:])} ignored" if found[1:] else ""
        _LOG.info("%s: no folder %s, reading %s instead%s", root, names[0], found[0], others)
    return found[0]


def _found(root: Path, names: Sequence[str]) -> list[str]:
    """Which of the given folders exist, ignoring case."""
    if not root.is_dir():
        raise EchosError(f"{root}: no such folder; check the path")
    with os.scandir(root) as entries:
        folders = sorted((entry.name for entry in entries if entry.is_dir()), reverse=True)
    there = {folder.lower(): folder for folder in folders}
    return [there[name] for name in names if name in there]


def _class_folders(root: Path, split: str, left_out: LeftOut) -> list[str]:
    """Names of the class folders of a split; files beside them are excluded."""
    folder = root / split
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries)
    classes = [name for name, is_folder in found if is_folder and not is_hidden(name)]
    files = [name for name, is_folder in found if not is_folder or is_hidden(name)]
    flat = sum(is_image(name) and not is_hidden(name) for name in files)
    if flat and not classes:
        raise EchosError(
            f"{folder}: its {flat} images are all in one folder, as in ImageNet's and Kaggle's own val, so their labels are "
            "unknown; sort them into one folder per class, or use kind shards with its option labels"
        )
    if not classes:
        raise EchosError(f"{folder}: there are no class folders here; give the folder that contains them")
    for name in files:
        reason = HIDDEN if is_hidden(name) else NO_CLASS if is_image(name) else FOREIGN
        left_out.append((reason, f"{split}/{name}" if split else name))
    return classes


def _require_same(root: Path, splits: tuple[str, str], classes: Sequence[str], found: Sequence[str]) -> None:
    """Refuse test images whose classes differ from the training classes."""
    odd = next(iter(sorted(set(found) ^ set(classes))), None)
    if odd is not None:
        train, test = splits
        others = set(found if odd in classes else classes)
        raise EchosError(
            f"{root / test}: its {len(found)} classes differ from the {len(classes)} of {train}: {odd!r} is only in "
            f"{train if odd in classes else test}{nearest(odd, others)}; use both from the same dataset"
        )


def _listed(
    root: Path, split: str, classes: Sequence[str], below: str, left_out: LeftOut, leave_out: frozenset[str]
) -> list[Listing]:
    """List the images of each class, at any depth, sorted by name, without the excluded ones."""
    above = frozenset({_identity(root.stat()), _identity((root / split).stat())})

    def listing(name: str) -> tuple[Listing, LeftOut]:
        prefix = "/".join(part for part in (split, name, below) if part)
        walked = _walked(root / prefix, prefix, above)
        found = [(name, reason or NAMED * (name in leave_out), size) for name, reason, size in walked]
        images = sorted((name, size) for name, reason, size in found if not reason)
        others = _with_companions(images, sorted((name, reason) for name, reason, _ in found if reason))
        if not images:
            example = f"; {len(others)} files are not images, such as {others[0][1]}" if others else ""
            raise EchosError(
                f"{root / prefix}: there are no images ({', '.join(SUFFIXES)}) in this class folder{example}; add some, or remove "
                "the folder from every split"
            )
        return images, others

    with ThreadPoolExecutor(_THREADS) as pool:
        listings = []
        for images, others in tracked(pool.map(listing, classes), f"{split} classes", len(classes)):
            listings.append(images)
            left_out += others
    return listings


def _with_companions(images: Listing, others: Sequence[tuple[str, str]]) -> LeftOut:
    """Give the reasons for excluding files; a file with the same name as an image but another suffix is its companion."""
    if not others:
        return []
    stems = {name.rpartition(".")[0] for name, _ in images} | {name for name, _ in images}
    return [
        (COMPANION if reason == FOREIGN and name.rpartition(".")[0] in stems else reason, name)
        for name, reason in others
    ]


def _walked(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, str, int]]:
    """Walk through a folder and its subfolders: (name, "" or the reason to exclude it, bytes) of every file."""
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
                yield name, SPECIAL, 0  # a link to a parent folder
            else:
                yield from _walked(folder / entry.name, name, above)
        elif not entry.is_file():
            yield name, BROKEN_LINK if entry.is_symlink() else SPECIAL, 0
        elif not is_image(entry.name):
            yield name, FOREIGN, 0
        else:
            yield name, "", entry.stat().st_size


def _identity(found: os.stat_result) -> tuple[int, int]:
    """Identity of a folder, independent of its name."""
    return found.st_dev, found.st_ino


def _annotated(root: Path, classes: Sequence[str]) -> list[Listing]:
    """List Tiny-ImageNet's test images by class: files in val/images, with file and wnid on each line of val_annotations.txt."""
    annotations = root / "val" / "val_annotations.txt"
    listings: list[Listing] = [[] for _ in classes]
    number = {name: place for place, name in enumerate(classes)}
    for line, text in enumerate(_lines(annotations), start=1):
        file, _, rest = text.partition("\t")
        wnid = rest.split("\t")[0]
        if wnid not in number:
            raise EchosError(
                f"{annotations}, line {line}: {text[:60]!r} is not a file name followed by one of the {len(classes)} wnids in "
                "wnids.txt; fetch the dataset again"
            )
        image = root / "val" / "images" / file
        if not image.is_file():
            raise EchosError(
                f"{image}: this image is listed in {annotations.name}, but is missing; fetch the dataset again"
            )
        listings[number[wnid]].append((f"val/images/{file}", image.stat().st_size))
    return [sorted(listing) for listing in listings]


def _lines(path: Path) -> list[str]:
    """Non-empty lines of a text file."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EchosError(f"{path}: this list cannot be read ({error}); fetch the dataset again") from None
