"""Samples of webdataset shards: names with dots, labels of every kind, and what is refused because nothing tells."""

import json
import logging
from pathlib import Path

import pytest
from pictures import encoded, picture, refuses, write_tar

from neural_echos.datasets import make_dataset

IMAGES = [encoded(picture(one)) for one in range(8)]


def shards(root: Path, train: list[tuple[str, bytes]], val: list[tuple[str, bytes]] | None = None) -> Path:
    write_tar(root / "x-train-0.tar", train)
    write_tar(root / "x-val-0.tar", train if val is None else val)
    return root


def read(root: Path, **options: object) -> tuple[list[str], list[bytes]]:
    """Class name and pixels of every train image."""
    dataset, _ = make_dataset("shards", {"root": str(root), **options})
    names = [dataset.classes[label] for label in dataset.train_labels]
    return names, [dataset.read("train", row).tobytes() for row in range(len(names))]


def each(*fields: tuple[str, object], count: int = 4) -> list[tuple[str, bytes]]:
    """Members of some samples: fields with a `{}` for the number, and an image, a text, or a function of the number."""
    members = []
    for one in range(count):
        for name, content in fields:
            made = content(one) if callable(content) else content
            members.append((name.format(f"{one:03d}"), made if isinstance(made, bytes) else str(made).encode()))
    return members


def image(one: int) -> bytes:
    return IMAGES[one]


def parity(one: int) -> int:
    return one % 2


@pytest.mark.parametrize(
    "members",
    [
        each(("{}.png", image), ("{}.cls", parity)),
        each(("train.v1/{}.png", image), ("train.v1/{}.cls", parity)),
        each(("./{}.PNG", image), ("./{}.CLS", parity)),
        each(("{}.input.png", image), ("{}.target.cls", parity)),
        each(("{}.00.png", image), ("{}.00.cls", parity)),
        each(("img.v1.{}.png", image), ("img.v1.{}.cls", parity)),
        each(("{}.png", image), ("{}.cls", parity), ("{}.seg.png", IMAGES[7])),
        each(("{}.seg.png", IMAGES[7]), ("{}.image.png", image), ("{}.cls", parity)),
        each(("{}.png", image), ("{}.json", lambda one: json.dumps({"id": 9, "label": one % 2}))),
        each(("{}.png", image), ("{}.json", lambda one: json.dumps({"class_id": str(one % 2)}))),
        each(("{}.png", image), ("{}.json", parity)),
        each(("{}.png", image), ("{}.json", b"{}"), ("{}.txt", parity)),
        each(("{}.png", image), ("{}.class", parity), ("{}.json", b"no json"), ("{}.txt", b"a caption")),
        each(("{}.png", image), ("{}.cls", parity), ("._{}.png", b"AppleDouble"), (".DS_Store", b"")),
    ],
)
def test_images_and_labels_of_every_naming_are_paired(tmp_path, members):
    names, pixels = read(shards(tmp_path, members))
    assert names == ["0", "1", "0", "1"]
    assert pixels == [picture(one).tobytes() for one in range(4)]


def test_dotted_names_among_plain_ones_are_samples_of_their_own_and_said(tmp_path, caplog):
    members = [("0.png", IMAGES[0]), ("0.cls", b"1"), ("1.00.png", IMAGES[1]), ("1.00.cls", b"0")]
    members += [("1.01.cls", b"1"), ("1.01.png", IMAGES[2])]
    caplog.set_level(logging.INFO)
    assert read(shards(tmp_path, members)) == (["1", "0", "1"], [picture(one).tobytes() for one in range(3)])
    assert "names contain several dots, such as 1.00.png" in caplog.text


def test_labels_that_are_names_are_classes_in_their_order(tmp_path):
    animals = ["dog", "cat", "dog", "ant eater"]
    root = shards(tmp_path, each(("{}.png", image), ("{}.cls", lambda one: f" {animals[one]}\n")))
    assert read(root)[0] == animals
    assert make_dataset("shards", {"root": str(root)})[0].classes == ("ant eater", "cat", "dog")
    given = ["dog", "ant eater", "cat", "bird"]
    dataset, _ = make_dataset("shards", {"root": str(root), "classes": given})
    assert (dataset.classes, dataset.train_labels.tolist()) == (tuple(given), [0, 2, 0, 1])
    val = each(("{}.png", image), ("{}.cls", b"cow"))
    refuses(
        "the label 'cow' is not one of the 3 classes",
        lambda: read(shards(tmp_path, each(("{}.png", image), ("{}.cls", lambda one: animals[one])), val)),
    )


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (each(("{}.png", image), ("{}.cls", b"-1")), "member 000.cls: the label is '-1'"),
        (each(("{}.png", image), ("{}.cls", b"0.5")), "member 000.cls: the label is '0.5'"),
        (each(("{}.png", image), ("{}.cls", b"")), "member 000.cls: the label is ''"),
        (each(("{}.png", image), ("{}.cls", b"\xff\xfe")), "member 000.cls: this label cannot be read"),
        (each(("{}.png", image), ("{}.json", b"{]")), "member 000.json: this label cannot be read"),
        (each(("{}.png", image), ("{}.txt", b"x" * 2000)), "member 000.txt: 2,000 bytes are too many for a label"),
        (each(("{}.png", image), ("{}.json", b'{"caption": "a dog"}')), "its images have no labels beside them (.cls)"),
        (
            each(("{}.left.png", image), ("{}.right.png", image), ("{}.cls", b"1")),
            "one label for 2 images (000.left.png, 000.right.png)",
        ),
        (
            each(("{}.png", image), ("{}.fine.cls", b"1"), ("{}.coarse.cls", b"0")),
            "it is unclear which of its labels (000.fine.cls, 000.coarse.cls)",
        ),
        (
            [*each(("{}.0.png", image), ("{}.0.cls", b"1")), ("000.1.png", IMAGES[0])],
            "member 000.1.png: this image has no label",
        ),
        (
            [*each(("{}.0.png", image), ("{}.0.cls", b"1")), ("000.1.cls", b"1")],
            "member 000.1.cls: there is a label, but no image",
        ),
        ([*each(("{}.png", image), ("{}.cls", b"1")), ("000.png", IMAGES[1])], "this sample has two images"),
        (
            [*each(("{}.png", image), ("{}.cls", b"1")), ("9.heic", b""), ("9.cls", b"1")],
            "key 9: there is a label, but no image",
        ),
        (
            [*each(("{}.png", image), ("{}.cls", b"1")), *each(("x{}.heic", b""))],
            "4 of 8 files cannot be used: 4 × not an image by its name (such as x000.heic)",
        ),
    ],
)
def test_samples_that_are_not_clear_are_refused(tmp_path, members, expected):
    refuses(expected, lambda: read(shards(tmp_path, members)))


def test_empty_shards_are_passed_over_and_counted(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    root = shards(tmp_path, each(("{}.png", image), ("{}.cls", parity)))
    for number in (1, 2):
        write_tar(root / f"w-train-{number}.tar", [])
    assert len(read(root)[0]) == 4
    assert "2 of 3 train archives are empty, such as w-train-1.tar" in caplog.text
    write_tar(root / "x-train-0.tar", [])
    refuses("w-train-1.tar: this archive is empty, as are all other train archives", lambda: read(root))


def test_test_archives_may_be_named_test_and_none_is_both(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    root = shards(tmp_path, each(("{}.png", image), ("{}.cls", parity)))
    (root / "x-val-0.tar").rename(root / "x-test-0.tar")
    assert len(read(root)[0]) == 4
    assert "reading test images from *test*.tar" in caplog.text
    (root / "x-train-0.tar").rename(root / "interval-train-0.tar")
    refuses("interval-train-0.tar: this archive matches both", lambda: read(root))
