"""Images in tar archives: shards in the webdataset layout, and ImageNet's own archives, one of which is a tar of class tars."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from neural_echos.datasets.base import Dataset, Facts
from neural_echos.datasets.registry import maker
from neural_echos.datasets.selection import FOREIGN, LeftOut, Selection, described, is_image, report_left_out
from neural_echos.datasets.streamed import Index, StreamedDataset, assembled
from neural_echos.datasets.tars import Member, members
from neural_echos.datasets.webdataset import Label, samples
from neural_echos.errors import EchosError
from neural_echos.files import sha256
from neural_echos.progress import tracked

_LOG = logging.getLogger(__name__)
_WNID = re.compile(r"n\d{8}")
_TEST, _OTHER_TEST = "*val*.tar", "*test*.tar"  # the second if nothing matches the first


@dataclass
class _Listing:
    """Images of one split: the archive, first byte, length and label of each, and the excluded members."""

    files: list[Path]
    places: list[tuple[int, int, int]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=list)

    def add(self, file: int, image: Member, label: Label) -> None:
        """Add one image."""
        self.places.append((file, image.start, image.length))
        self.labels.append(label)


@maker("shards")
def index_shards(
    *,
    root: str,
    train: str = "*train*.tar",
    test: str = _TEST,
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
    """Index tar archives of images; only headers and labels are read, no image is opened.

    The layout of each split is detected from its members: class tars (n01440764.tar, …) inside one tar, as in ImageNet's train;
    images only, as in ImageNet's val, which needs `labels`; or images with labels beside them, the webdataset layout (see
    `webdataset.samples`). Members that are not read are counted and logged.

    Parameters
    ----------
    root : str
        Folder of the archives.
    train, test : str
        Patterns of the archives' names below the root, read in order of their names. If no name contains val, test is used.
    labels : str
        File with the wnid of every test image, one per line: "wnid", in order of the images' names, or "file wnid".
    classes : sequence of str or int, optional
        Class names in order of their numbers, or the number of classes; by default the names in train, sorted, or as many numbers
        as its labels need.
    name : str
        Name of the dataset; by default the root's.
    seed, train_limit, test_limit, train_share, classes_kept
        See `Selection`.
    memory, size, mean, std
        See `assembled`.
    checksums : bool
        Compute the SHA-256 of every archive; a digest of names and sizes is always kept.
    licence, citation : str
        Licence and citation of the source, for the facts.

    Raises
    ------
    EchosError
        There is no archive; an archive is truncated or compressed; an image has no label or a label no image; labels are out of
        range; val has no `labels`; or too many members are not recognised.
    """
    folder = Path(root)
    selection = Selection(name or folder.resolve().name, seed, train_limit, test_limit, train_share, classes_kept)
    parts = _archives(folder, train, test)
    train_part, test_part = _listed(parts["train"], "train", ""), _listed(parts["test"], "test", labels)
    missed = {
        split: report_left_out(f"{root}, {split} archives", len(part.labels), part.left_out)
        for split, part in (("train", train_part), ("test", test_part))
    }
    names = _class_names(folder, train_part, test_part, classes)
    splits = [_index(part, names, folder) for part in (train_part, test_part)]
    dataset = assembled(selection, names, folder, splits, memory=memory, size=size, mean=mean, std=std)
    files = [*train_part.files, *test_part.files]
    inside = [file.relative_to(folder).as_posix() for file in files]
    facts = {
        "how": f"tar archives, {'decoded' if memory else 'index only'}",
        "options": {"root": root, "train": train, "test": test, **selection.options(), "size": size},
        "seed": seed,
        **described(files, [file.stat().st_size for file in files], inside, checksums),
        **({"left_out": missed} if any(missed.values()) else {}),
        "labels": {Path(labels).name: sha256(labels)} if labels else {},
        "licence": licence,
        "citation": citation,
    }
    return dataset, facts


def _archives(root: Path, train: str, test: str) -> dict[str, list[Path]]:
    """Find the archives of both splits; none may belong to both."""
    if not root.is_dir():
        raise EchosError(f"{root}: no such folder; check the path")
    patterns = {"train": train, "test": test}
    found = {split: _matching(root, pattern) for split, pattern in patterns.items()}
    if not found["test"] and test == _TEST:
        found["test"] = _matching(root, _OTHER_TEST)
        if found["test"]:
            _LOG.info("%s: no archive matches %s, reading test images from %s", root, _TEST, _OTHER_TEST)
    for split, files in found.items():
        if not files:
            raise EchosError(f"{root}: no {split} archive matches {patterns[split]}; correct the option {split!r}")
    both = sorted(set(found["train"]) & set(found["test"]))
    if both:
        raise EchosError(
            f"{both[0]}: this archive matches both {train} and {test}, so it would be used for training and testing; correct the "
            "options train and test"
        )
    return found


def _matching(root: Path, pattern: str) -> list[Path]:
    relative = bool(pattern) and not pattern.startswith("/")
    return sorted(path for path in root.glob(pattern) if path.is_file()) if relative else []


def _listed(files: list[Path], split: str, labels: str) -> _Listing:
    """List the images of one split in any layout."""
    first = next((member for file in files for member in members(file, [])), None)
    if first is None:
        raise EchosError(f"{files[0]}: this archive is empty, as are all other {split} archives; fetch them again")
    if first.name.endswith(".tar"):
        return _class_tars(files)
    listing = _Listing(files)
    bare: list[tuple[int, Member]] = []  # images without labels, with the numbers of their archives
    empty, dotted = [], ""
    for number, file in enumerate(tracked(files, f"{split} archives", len(files))):
        inside = list(members(file, listing.left_out))
        if not inside:
            empty.append(file.name)
        found = samples(file, inside, listing.left_out)
        dotted = dotted or found.dotted
        bare += [(number, image) for image in found.unlabelled]
        for image, label in found.labelled:
            listing.add(number, image, label)
    if empty:
        _LOG.info(
            "%s: %d of %d %s archives are empty, such as %s", files[0].parent, len(empty), len(files), split, empty[0]
        )
    if dotted:
        _LOG.info(
            "%s: names contain several dots, such as %s; each image gets the label with the same name",
            files[0].parent,
            dotted,
        )
    if listing.labels and bare:
        number, image = bare[0]
        raise EchosError(
            f"{files[number]}, member {image.name}: this image has no label (.cls) beside it, but {len(listing.labels):,} others "
            "do; add its label, or remove the image"
        )
    return _flat(listing, bare, labels) if bare else listing


def _class_tars(files: list[Path]) -> _Listing:
    """List ImageNet's training archive: one tar per class, named by its wnid, with that class's images."""
    if len(files) > 1:
        raise EchosError(
            f"{files[0]}: this tar of class tars must be the only archive, not one of {len(files)}; select only it in the option"
        )
    listing = _Listing(files)
    inner = list(members(files[0], listing.left_out))
    for member in tracked(inner, "class tars", len(inner)):
        wnid = member.name.removesuffix(".tar")
        if not _WNID.fullmatch(wnid):
            raise EchosError(
                f"{files[0]}, member {member.name}: not a class tar like n01440764.tar, unlike the others; fetch it again"
            )
        for one in members(files[0], listing.left_out, member.start):
            if is_image(one.name):
                listing.add(0, one, wnid)
            else:
                listing.left_out.append((FOREIGN, f"{member.name}/{one.name}"))
    return listing


def _flat(listing: _Listing, images: list[tuple[int, Member]], labels: str) -> _Listing:
    """List unlabelled images, given with the numbers of their archives, with labels from a file."""
    if not labels:
        raise EchosError(
            f"{listing.files[0]}: its images have no labels beside them (.cls), as in ImageNet's val; give the option 'labels', a "
            "file with the wnid of each image"
        )
    images = sorted(images, key=lambda image: (image[1].name, image[0]))
    for (number, image), wnid in zip(images, _wnids(Path(labels), [one.base for _, one in images]), strict=True):
        listing.add(number, image, wnid)
    return listing


def _wnids(path: Path, images: Sequence[str]) -> list[str]:
    """Read the wnid of each image from a file with "wnid" or "file wnid" on each line."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EchosError(f"{path}: this file cannot be read ({error}); correct the option 'labels'") from None
    for number, line in enumerate(lines, start=1):
        if len(line) > 2 or not _WNID.fullmatch(line[-1]):
            raise EchosError(
                f"{path}, line {number}: {' '.join(line)[:60]!r} is neither a wnid like n01440764 nor a file and its wnid; use a "
                "file of wnids (the numbers in ImageNet's development kit have a different order)"
            )
    if lines and len(lines[0]) == 2:
        named = {line[0]: line[-1] for line in lines}
        missing = next((image for image in images if image not in named), None)
        if missing:
            raise EchosError(f"{path}: there is no line for {missing}; use the file that belongs to these images")
        return [named[image] for image in images]
    if len(lines) != len(images):
        raise EchosError(
            f"{path}: it has {len(lines)} lines for {len(images)} images; use the file that belongs to them"
        )
    return [line[-1] for line in lines]


def _class_names(root: Path, train: _Listing, test: _Listing, classes: Sequence[str] | int | None) -> list[str]:
    """Class names of both splits, which must label their classes in the same way."""
    for split, part in (("train", train), ("test", test)):
        if not part.labels:
            raise EchosError(f"{root}: there are no {split} images; correct the option {split!r}")
    examples = {isinstance(label, str): label for part in (train, test) for label in part.labels}
    if len(examples) > 1:
        raise EchosError(
            f"{root}: some labels are names, such as {examples[True]!r}, and some are numbers, such as {examples[False]}; label "
            "all training and test images in the same way"
        )
    if classes is not None and not isinstance(classes, int):
        return list(classes)
    if True in examples:
        return sorted({str(label) for label in train.labels})
    greatest = max(int(label) for label in train.labels)
    return [str(number) for number in range(greatest + 1 if classes is None else classes)]


def _index(part: _Listing, names: Sequence[str], root: Path) -> tuple[Index, np.ndarray]:
    """Index of one split, and its labels as numbers."""
    numbers = {name: place for place, name in enumerate(names)}
    labels = [numbers.get(label, -1) if isinstance(label, str) else label for label in part.labels]
    wrong = next((place for place, number in enumerate(labels) if not 0 <= number < len(names)), None)
    if wrong is not None:
        raise EchosError(
            f"{part.files[part.places[wrong][0]]}: the label {part.labels[wrong]!r} is not one of the {len(names)} classes, "
            f"{names[0]!r} to {names[-1]!r}; correct the option 'classes', or use archives of one dataset"
        )
    files = [path.relative_to(root).as_posix() for path in part.files]
    return Index.of(files, np.array(part.places, dtype=np.int64)), np.array(labels, dtype=np.int64)
