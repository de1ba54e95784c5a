"""Images in folders: ImageNet-1k's train/<class>/ and val/<class>/, and Tiny-ImageNet-200 as it is distributed."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from neural_echos.datasets.base import Dataset, Facts
from neural_echos.datasets.images import SUFFIXES, described
from neural_echos.datasets.streamed import Index, StreamedDataset, assembled
from neural_echos.errors import EchosError, nearest
from neural_echos.progress import tracked

_KAGGLE = "ILSVRC/Data/CLS-LOC"
_THREADS = 16  # listing waits for the file system, not for a core
Listing = list[tuple[str, int]]  # (name relative to the root, bytes) of each image


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

    Classes are the folders of train, in the order of their names. A folder that holds wnids.txt and
    val/val_annotations.txt is read as Tiny-ImageNet-200.

    Parameters
    ----------
    root : str
        Folder with train/<class>/… and val/<class>/….
    name : str
        Name of the data set; by default the root's.
    seed : int
        Decides which images a limit or the share keeps.
    train_limit, test_limit : int, optional
        Keep so many images of each split, drawn at random, in their order; a smaller limit keeps some of the same.
    train_share : float, optional
        Keep this share, in (0, 1], of every class's train images; a smaller share keeps some of the same.
    classes_kept : list of str, or str, optional
        Keep only these classes, in the data set's order and numbered anew, or those of a half that is split by meaning
        (`images.HALVES`); limits and the share count what they have.
    memory : bool
        Decode into memory, or leave on disk and keep the index.
    size : int, optional
        In memory, the side that images are resized and cropped to; without it they must be equal.
    mean, std : sequence of three floats, optional
        On disk, what pixels are normalised with; by default ImageNet's.
    checksums : bool
        Read every file for its SHA-256, of 5,000 files at most; a digest of names and sizes is kept in any case.
    licence, citation : str
        Of the source, for the facts.

    Raises
    ------
    EchosError
        A folder that is missing, empty, or of a layout that says no labels; train and val of other classes.
    """
    folder = Path(root)
    tiny = (folder / "wnids.txt").is_file() and (folder / "val" / "val_annotations.txt").is_file()
    name = name or folder.resolve().name
    classes = _lines(folder / "wnids.txt") if tiny else _class_folders(folder, "train")
    classes = sorted(classes)
    train = _listed(folder, "train", classes, "images" if tiny else "")
    if not tiny:
        _require_same(folder, classes)
    test = _annotated(folder, classes) if tiny else _listed(folder, "val", classes, "")
    splits = [_index(part) for part in (train, test)]
    dataset = assembled(
        name,
        classes,
        folder,
        splits,
        seed=seed,
        share=train_share,
        classes_kept=classes_kept,
        limits=(train_limit, test_limit),
        memory=memory,
        size=size,
        mean=mean,
        std=std,
    )
    files = [image for part in (*train, *test) for image in part]
    facts = {
        "how": f"{'Tiny-ImageNet-200' if tiny else 'one folder per class'}, {'decoded' if memory else 'index only'}",
        "options": {
            "root": root,
            "train_limit": train_limit,
            "test_limit": test_limit,
            "train_share": train_share,
            "classes_kept": classes_kept,
            "size": size,
        },
        "seed": seed,
        **described(
            (folder / file for file, _ in files), [size for _, size in files], [file for file, _ in files], checksums
        ),
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


def _class_folders(root: Path, split: str) -> list[str]:
    """Names of the class folders of a split, or a sentence that says which layout is there instead."""
    folder = root / split
    if not folder.is_dir():
        if (root / _KAGGLE).is_dir():
            raise EchosError(
                f"{root}: expected the folder {split}, found Kaggle's {_KAGGLE}; give {root / _KAGGLE} as root, its val sorted "
                "into one folder per class"
            )
        raise EchosError(f"{root}: expected the folder {split} with one folder per class, found none; correct root")
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    classes = sorted(name for name, is_folder in found if is_folder)
    flat = sum(name.lower().endswith(SUFFIXES) for name, is_folder in found if not is_folder)
    if flat and not classes:
        raise EchosError(
            f"{folder}: expected one folder per class, found {flat} images side by side, as in ImageNet's and Kaggle's own val, "
            "which tell no label; sort them into one folder per class, or use kind shards with its option labels"
        )
    if not classes:
        raise EchosError(f"{folder}: expected one folder per class, found none; correct root")
    return classes


def _require_same(root: Path, classes: Sequence[str]) -> None:
    """Refuse a val of other classes than train."""
    found = _class_folders(root, "val")
    odd = sorted(set(found) ^ set(classes))
    if odd:
        raise EchosError(
            f"{root / 'val'}: expected the {len(classes)} classes of train, found {len(found)}, of which {odd[0]!r} is in one of "
            f"the two only{nearest(odd[0], set(classes) - {odd[0]})}; take train and val of one data set"
        )


def _listed(root: Path, split: str, classes: Sequence[str], below: str) -> list[Listing]:
    """List the images of each class, in the order of their names."""

    def listing(name: str) -> Listing:
        folder = root / split / name / below
        prefix = folder.relative_to(root).as_posix()
        try:
            with os.scandir(folder) as entries:
                found = [
                    (f"{prefix}/{entry.name}", entry.stat().st_size)
                    for entry in entries
                    if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")
                ]
        except FileNotFoundError:
            found = []
        if not found:
            raise EchosError(f"{folder}: expected images ({', '.join(SUFFIXES)}), found none; fetch the data set again")
        return sorted(found)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(tracked(pool.map(listing, classes), f"{split} classes", len(classes)))


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
                f"{annotations}, line {line}: expected a file and one of the {len(classes)} wnids of wnids.txt, "
                f"found {text[:60]!r}; fetch the data set again"
            )
        image = root / "val" / "images" / file
        if not image.is_file():
            raise EchosError(
                f"{image}: expected an image of {annotations.name}, found no file; fetch the data set again"
            )
        listings[number[wnid]].append((f"val/images/{file}", image.stat().st_size))
    return [sorted(listing) for listing in listings]


def _lines(path: Path) -> list[str]:
    """Lines of a text file that are not empty."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EchosError(f"{path}: expected lines of text, found {error}; fetch the data set again") from None
