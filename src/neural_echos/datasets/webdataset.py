"""Samples of a webdataset shard: match images with labels.

By the webdataset convention, a member's key ends at the first dot of its base name, and the rest names a field of the sample:
`0001.jpg` and `0001.cls`, `0001.input.png` and `0001.target.cls`. Names with more dots (`002.00.png`, `002.00.cls`) share a key by
that convention; here each image is matched with the label whose name differs only in the last part.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from neural_echos.datasets.selection import FIELD, FOREIGN, LeftOut, is_image
from neural_echos.datasets.tars import Member
from neural_echos.errors import EchosError

_LABELS = ("cls", "class", "label")  # endings of fields that contain only a label
_KEYS = ("label", "cls", "class", "class_id", "label_id", "target", "class_name", "label_name", "category")  # in .json
_INPUTS = ("", "input", "image", "img", "rgb")  # fields that contain the image if a sample has several
_LONGEST = {"json": 1 << 24, "label": 1 << 10, "txt": 1 << 10}  # maximum bytes of a label
_NUMBER = re.compile(r"[+-]?\d+")
_FRACTION = re.compile(r"[+-]?(\d*\.\d+|\d+\.\d*)([eE][+-]?\d+)?")
Label = int | str


@dataclass
class Samples:
    """Content of a shard: images with labels, images without, and an example of a name with several dots."""

    labelled: list[tuple[Member, Label]] = field(default_factory=list)
    unlabelled: list[Member] = field(default_factory=list)
    dotted: str = ""


@dataclass
class _Fields:
    """Members with one key, by type and by the part of their field's name before its ending."""

    images: dict[str, Member] = field(default_factory=dict)
    label: dict[str, Member] = field(default_factory=dict)
    json: dict[str, Member] = field(default_factory=dict)
    txt: dict[str, Member] = field(default_factory=dict)
    others: list[Member] = field(default_factory=list)


def samples(path: Path, members: Sequence[Member], left_out: LeftOut) -> Samples:
    """Match the images of a shard with their labels, in the order of the images.

    A label is a number from 0 or a class name, in a field that ends in `cls`, `class` or `label`, or else in a `json` with a
    key such as "label", or else in a `txt`. Further images of a sample (`0001.seg.png` beside `0001.png`) and further
    fields are added to `left_out`.

    Raises
    ------
    EchosError
        Two images or labels have the same name, one label cannot be assigned to one of several images, a label has no image, or a
        label is neither a number from 0 nor a name.
    """
    groups: dict[str, _Fields] = defaultdict(_Fields)
    for member in members:
        stem, _, suffix = member.base.partition(".")
        _sort(path, groups[member.name[: len(member.name) - len(member.base)] + stem], member, suffix.lower())
    found = Samples()
    with path.open("rb") as file:
        for key, fields in groups.items():
            if fields.images or fields.label:
                _pair(path, file, key, fields, found, left_out)
            else:
                others = (*fields.json.values(), *fields.txt.values(), *fields.others)
                left_out += [(FOREIGN, member.name) for member in others]
    found.labelled.sort(key=lambda pair: pair[0].start)
    return found


def _sort(path: Path, fields: _Fields, member: Member, suffix: str) -> None:
    """Sort a member by the ending of its field."""
    prefix, _, ending = suffix.rpartition(".")
    kind = "images" if is_image(f".{ending}") else "label" if ending in _LABELS else ending
    if kind not in ("images", "label", "json", "txt"):
        fields.others.append(member)
        return
    same: dict[str, Member] = getattr(fields, kind)
    if prefix in same:
        what = "images" if kind == "images" else "labels"
        raise EchosError(
            f"{path}, member {member.name}: this sample has two {what}, this one and {same[prefix].name}; keep only one of them"
        )
    same[prefix] = member


def _pair(path: Path, file: BinaryIO, key: str, fields: _Fields, found: Samples, left_out: LeftOut) -> None:
    """Match images and labels with one key; images without a label are listed as unlabelled."""
    if not fields.images:
        raise EchosError(f"{path}, key {key}: there is a label, but no image; add the image, or remove the label")
    labels, values = _labels(path, file, fields)
    pairs = {prefix: prefix for prefix in fields.images if prefix in labels}
    if not pairs and len(labels) == 1:
        pairs = {_the_image(path, key, fields.images): next(iter(labels))}
    if labels and not pairs:
        names = ", ".join(member.base for member in labels.values())
        raise EchosError(
            f"{path}, key {key}: it is unclear which of its labels ({names}) belongs to its image; keep only that one"
        )
    for image, label in pairs.items():
        found.labelled.append((fields.images[image], values[label]))
    found.dotted = found.dotted or next((fields.images[one].name for one in pairs if any(map(str.isdigit, one))), "")
    others = [*fields.others]
    for prefix, member in fields.images.items():
        if prefix not in pairs:
            # A further image with a named field is part of the sample; one with a number is an image whose label is missing.
            further = bool(pairs) and not any(map(str.isdigit, prefix))
            (others if further else found.unlabelled).append(member)
    used = {id(labels[label]) for label in pairs.values()}
    for member in (*fields.label.values(), *fields.json.values(), *fields.txt.values()):
        if id(member) not in used:
            others.append(member)
    for prefix, member in labels.items():
        if pairs and prefix not in pairs.values() and any(map(str.isdigit, prefix)):
            raise EchosError(
                f"{path}, member {member.name}: there is a label, but no image; add the image, or remove it"
            )
    left_out += [(FIELD, member.name) for member in others]


def _the_image(path: Path, key: str, images: dict[str, Member]) -> str:
    """Return which image of a sample with one label is the one to classify."""
    wanted = [prefix for prefix in _INPUTS if prefix in images] if len(images) > 1 else list(images)
    if not wanted:
        names = ", ".join(member.base for member in images.values())
        raise EchosError(
            f"{path}, key {key}: there is one label for {len(images)} images ({names}); rename the image to classify to "
            f"{key}.input.{names.rpartition('.')[2]}, or give each image a label with its own name"
        )
    return wanted[0]


def _labels(path: Path, file: BinaryIO, fields: _Fields) -> tuple[dict[str, Member], dict[str, Label]]:
    """Members that contain a sample's labels, and their values: label fields, or else .json, or else .txt."""
    for kind in ("label", "json", "txt"):
        members: dict[str, Member] = getattr(fields, kind)
        values = dict(_values(path, file, kind, members))
        if values:
            return {prefix: members[prefix] for prefix in values}, values
    return {}, {}


def _values(path: Path, file: BinaryIO, kind: str, members: dict[str, Member]) -> Iterator[tuple[str, Label]]:
    """Read the labels of some members; a .json without a label is skipped."""
    for prefix, member in members.items():
        where = f"{path}, member {member.name}"
        if member.length > _LONGEST[kind]:
            raise EchosError(f"{where}: {member.length:,} bytes are too many for a label; store long texts elsewhere")
        file.seek(member.start)
        try:
            text = file.read(member.length).decode("utf-8").strip()
            value: Any = json.loads(text) if kind == "json" else text
        except (UnicodeDecodeError, ValueError) as error:
            raise EchosError(f"{where}: this label cannot be read ({error}); make the shard again") from None
        if isinstance(value, dict):
            value = next((value[key] for key in _KEYS if isinstance(value.get(key), int | str)), None)
        if isinstance(value, int | str) and not isinstance(value, bool):
            yield prefix, _label(where, str(value).strip())
        elif kind != "json":
            raise EchosError(f"{where}: {text[:60]!r} is not a label; labels are numbers from 0 or class names")


def _label(where: str, text: str) -> Label:
    """Parse a number from 0 or a class name."""
    if not text or "\n" in text or text.startswith("-") or _FRACTION.fullmatch(text):
        raise EchosError(f"{where}: the label is {text[:60]!r}, but labels are whole numbers from 0 or class names")
    return int(text) if _NUMBER.fullmatch(text) else text
