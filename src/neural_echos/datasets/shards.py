"""Images in tar archives: shards in the webdataset layout, and ImageNet's own archives, one of them a tar of class tars."""

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural_echos.datasets.base import Dataset, Facts
from neural_echos.datasets.images import SUFFIXES, described
from neural_echos.datasets.streamed import Index, StreamedDataset, assembled
from neural_echos.errors import EchosError
from neural_echos.files import sha256
from neural_echos.progress import tracked

_WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True, slots=True)
class _Member:
    """One file in a tar archive: its name, and where its data lies in the archive's file."""

    name: str
    start: int
    length: int


@dataclass
class _Listing:
    """Images of one split: the archive, first byte and length of each, and its label, a number or a wnid."""

    files: list[Path]
    places: list[tuple[int, int, int]]
    labels: list[int] | list[str]


def index_shards(
    *,
    root: str,
    train: str = "*train*.tar",
    test: str = "*val*.tar",
    labels: str = "",
    classes: Sequence[str] | int | None = None,
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
    """Index tar archives of images; headers and labels are read, no image is opened.

    The layout of each split is told by its members: class tars (n01440764.tar, …) inside one tar, as ImageNet's train comes;
    images alone, as its val comes, which needs `labels`; or key.jpg with key.cls (a number from 0), the webdataset layout.

    Parameters
    ----------
    root : str
        Folder of the archives.
    train, test : str
        Patterns of the archives' names below the root, read in the order of their names.
    labels : str
        File with the wnid of every test image, one per line: "wnid", in the order of the images' names, or "file wnid".
    classes : sequence of str or int, optional
        In the webdataset layout, the class names or their number; by default as many as the train labels need.
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
        Read every archive for its SHA-256; a digest of names and sizes is kept in any case.
    licence, citation : str
        Of the source, for the facts.

    Raises
    ------
    EchosError
        No archive, one that is cut short or compressed, an image without label or a label without image, labels out of
        range, or a val without `labels`.
    """
    folder = Path(root)
    name = name or folder.resolve().name
    train_part = _listed(folder, "train", train, "")
    test_part = _listed(folder, "test", test, labels)
    names = _class_names(folder, train_part, test_part, classes)
    splits = [_index(part, names, folder) for part in (train_part, test_part)]
    dataset = assembled(
        name,
        names,
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
    files = [*train_part.files, *test_part.files]
    inside = [file.relative_to(folder).as_posix() for file in files]
    facts = {
        "how": f"tar archives, {'decoded' if memory else 'index only'}",
        "options": {
            "root": root,
            "train": train,
            "test": test,
            "train_limit": train_limit,
            "test_limit": test_limit,
            "train_share": train_share,
            "classes_kept": classes_kept,
            "size": size,
        },
        "seed": seed,
        **described(files, [file.stat().st_size for file in files], inside, checksums),
        "labels": {Path(labels).name: sha256(labels)} if labels else {},
        "licence": licence,
        "citation": citation,
    }
    return dataset, facts


def _listed(root: Path, split: str, pattern: str, labels: str) -> _Listing:
    """List the images of one split, whatever its layout."""
    if not root.is_dir():
        raise EchosError(f"{root}: expected a folder of tar archives, found no folder; correct root")
    relative = bool(pattern) and not pattern.startswith("/")
    files = sorted(path for path in root.glob(pattern) if path.is_file()) if relative else []
    if not files:
        raise EchosError(
            f"{root}: expected {split} archives of the form {pattern}, found none; correct the option {split!r}"
        )
    first = next(_members(files[0]), None)
    if first is None:
        raise EchosError(f"{files[0]}: expected members, found an empty archive; fetch it again")
    if first.name.endswith(".tar"):
        return _class_tars(files)
    listing = _Listing(files, [], [])
    numbers: list[int] = []
    bare: list[tuple[str, int, _Member]] = []  # images of archives without labels
    for number, file in enumerate(tracked(files, f"{split} archives", len(files))):
        members = list(_members(file))
        if not any(member.name.endswith(".cls") for member in members):
            bare += [(one.name, number, one) for one in members if one.name.lower().endswith(SUFFIXES)]
            continue
        for image, label in _samples(file, members):
            listing.places.append((number, image.start, image.length))
            numbers.append(label)
    if numbers and bare:
        name, number, _ = bare[0]
        raise EchosError(
            f"{files[number]}, member {name}: expected a label (.cls) beside it, found none; make the shard again"
        )
    if bare:
        return _flat(files, bare, labels)
    listing.labels = numbers
    return listing


def _members(path: Path, start: int = 0) -> Iterator[_Member]:
    """Read the headers of a tar archive, or of one that begins inside it at byte `start`; places are in the whole file."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            archive = tarfile.TarFile(fileobj=file)
            while (header := archive.next()) is not None:
                vars(archive)["members"].clear()  # or it would keep every header
                if header.isfile():
                    yield _Member(header.name, header.offset_data, header.size)
            file.seek(archive.offset)
            whole = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise EchosError(f"{path}: expected a whole, uncompressed tar archive, found {error}; fetch it again") from None
    if not whole:
        raise EchosError(
            f"{path}: expected a whole tar archive, found no end after byte {archive.offset}; it is cut short: fetch it again"
        )


def _samples(path: Path, members: Sequence[_Member]) -> Iterator[tuple[_Member, int]]:
    """Pair the members of a webdataset shard: (image, label) of each key, which ends at the first dot of a base name."""
    images: dict[str, _Member] = {}
    labels: dict[str, int] = {}
    with path.open("rb") as file:
        for member in members:
            folder, slash, base = member.name.rpartition("/")
            stem, _, suffix = base.partition(".")
            key, suffix = f"{folder}{slash}{stem}", suffix.lower()
            if f".{suffix}" in SUFFIXES:
                if key in images:
                    raise EchosError(
                        f"{path}, member {member.name}: expected one image per key, found two; make the shard again"
                    )
                images[key] = member
            elif suffix == "cls":
                file.seek(member.start)
                text = file.read(min(member.length, 32)).decode("ascii", "replace").strip()
                if not text.isdigit():
                    raise EchosError(
                        f"{path}, member {member.name}: expected a label from 0, found {text!r}; make the shard again"
                    )
                labels[key] = int(text)
    odd = next((key for key in [*images, *labels] if key not in images or key not in labels), None)
    if odd is not None:
        missing = "label (.cls)" if odd in images else "image"
        raise EchosError(f"{path}, key {odd}: expected an image and a label, found no {missing}; make the shard again")
    for key, image in images.items():
        yield image, labels[key]


def _class_tars(files: Sequence[Path]) -> _Listing:
    """List ImageNet's train archive: a tar for each class, named by its wnid, with that class's images."""
    if len(files) > 1:
        raise EchosError(
            f"{files[0]}: expected one tar of class tars, found {len(files)} archives; let the option name one of them"
        )
    listing = _Listing(list(files), [], [])
    labels: list[str] = []
    inner = list(_members(files[0]))
    for member in tracked(inner, "class tars", len(inner)):
        wnid = member.name.removesuffix(".tar")
        if not _WNID.fullmatch(wnid):
            raise EchosError(
                f"{files[0]}, member {member.name}: expected a class tar like n01440764.tar, found another; fetch it again"
            )
        images = [one for one in _members(files[0], member.start) if one.name.lower().endswith(SUFFIXES)]
        listing.places += [(0, one.start, one.length) for one in images]
        labels += [wnid] * len(images)
    listing.labels = labels
    return listing


def _flat(files: Sequence[Path], images: list[tuple[str, int, _Member]], labels: str) -> _Listing:
    """List images that lie side by side, (name, number of the archive, member), with labels from a file."""
    if not labels:
        raise EchosError(
            f"{files[0]}: expected a label (.cls) beside each image, found images alone, as in ImageNet's val; give the option "
            "'labels', a file with the wnid of each image"
        )
    images = sorted(images, key=lambda image: image[:2])
    wnids = _wnids(Path(labels), [name.rpartition("/")[2] for name, _, _ in images])
    return _Listing(list(files), [(number, one.start, one.length) for _, number, one in images], wnids)


def _wnids(path: Path, images: Sequence[str]) -> list[str]:
    """Read the wnid of each image from a file with "wnid" or "file wnid" on each line."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EchosError(f"{path}: expected one wnid per line, found {error}; correct the option 'labels'") from None
    for number, line in enumerate(lines, start=1):
        if len(line) > 2 or not _WNID.fullmatch(line[-1]):
            raise EchosError(
                f"{path}, line {number}: expected a wnid like n01440764, or a file and its wnid, found {' '.join(line)[:60]!r}; "
                "take a file of wnids (the numbers of ImageNet's development kit are in another order)"
            )
    if lines and len(lines[0]) == 2:
        named = {line[0]: line[-1] for line in lines}
        missing = next((image for image in images if image not in named), None)
        if missing:
            raise EchosError(
                f"{path}: expected a line for {missing}, found none; take the file that belongs to these images"
            )
        return [named[image] for image in images]
    if len(lines) != len(images):
        raise EchosError(
            f"{path}: expected {len(images)} lines, one for each image, found {len(lines)}; take the file that belongs to them"
        )
    return [line[-1] for line in lines]


def _class_names(root: Path, train: _Listing, test: _Listing, classes: Sequence[str] | int | None) -> list[str]:
    """Class names of both splits, which must name their classes in the same way."""
    kinds = {isinstance(label, str) for part in (train, test) for label in part.labels[:1]}
    if not train.labels or not test.labels:
        raise EchosError(f"{root}: expected images in train and test, found none; correct the options train and test")
    if len(kinds) > 1:
        raise EchosError(
            f"{root}: expected train and test archives of one layout, found wnids in one and numbers in the other; correct the "
            "options train and test"
        )
    if kinds == {True}:
        return sorted({str(label) for label in train.labels})
    greatest = max(int(label) for label in train.labels)
    if classes is None:
        return [str(number) for number in range(greatest + 1)]
    return [str(number) for number in range(classes)] if isinstance(classes, int) else list(classes)


def _index(part: _Listing, names: Sequence[str], root: Path) -> tuple[Index, np.ndarray]:
    """Index of one split, and its labels as numbers."""
    wnids = {name: place for place, name in enumerate(names)}
    numbers = (wnids.get(label, -1) if isinstance(label, str) else label for label in part.labels)
    labels = [number if number < len(names) else -1 for number in numbers]
    if -1 in labels:
        place = labels.index(-1)
        raise EchosError(
            f"{part.files[part.places[place][0]]}: expected labels of {len(names)} classes, {names[0]!r} to {names[-1]!r}, found "
            f"{str(part.labels[place])!r}; correct the option 'classes' or take archives of one data set"
        )
    files = [path.relative_to(root).as_posix() for path in part.files]
    return Index.of(files, np.array(part.places, dtype=np.int64)), np.array(labels, dtype=np.int64)
