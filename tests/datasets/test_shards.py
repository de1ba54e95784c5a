"""Images in tar archives: webdataset shards and ImageNet's own archives, read from their headers."""

import io

import numpy as np
import pytest
from pictures import WNIDS, encoded, imagenet_archives, picture, refuses, webdataset, write_tar
from PIL import Image

from neural_echos.datasets import (
    make_dataset,
)
from neural_echos.files import sha256


def test_webdataset_shards_are_indexed_from_their_headers(tmp_path, monkeypatch):
    root = webdataset(tmp_path / "wds")
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", lambda *_: pytest.fail("an image was opened"))
        dataset, facts = make_dataset("shards", {"root": str(root)})
    assert dataset.classes == ("0", "1", "2")
    assert dataset.train_labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert dataset.read("train", 5).tobytes() == picture(11).tobytes()
    assert dataset.read("test", 1).tobytes() == picture(101).tobytes()
    assert facts["listing"]["files"] == 3
    named, _ = make_dataset(
        "shards", {"root": str(root), "classes": ["a", "b", "c"], "memory": True, "checksums": True}
    )
    assert (named.classes, named.train_labels.tolist()) == (("a", "b", "c"), dataset.train_labels.tolist())
    np.testing.assert_array_equal(named.train_images[5], np.asarray(picture(11)).transpose(2, 0, 1))
    assert make_dataset("shards", {"root": str(root), "classes": 1000})[0].classes[-1] == "999"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"train/000001.cls": None},
            "member train/000001.png: this image has no label (.cls) beside it, but 7 others do",
        ),
        ({"train/000001.png": None}, "key train/000001: there is a label, but no image"),
        ({"train/000001.jpg": b"x"}, "this sample has two images"),
        ({"train/000001.cls": b"cat"}, "some labels are names, such as 'cat', and some are numbers"),
        (
            {f"train/10000{one}.cls": None for one in range(4)},
            "member train/100000.jpg: this image has no label (.cls) beside it",
        ),
        ({"val/000001.cls": b"7"}, "the label 7 is not one of the 3 classes, '0' to '2'"),
    ],
)
def test_bad_shards_are_one_sentence(tmp_path, changes, expected):
    refuses(expected, lambda: make_dataset("shards", {"root": str(webdataset(tmp_path, **changes))}))


def test_shards_of_another_kind_or_cut_short_are_one_sentence(tmp_path):
    def index(**options: object) -> object:
        return make_dataset("shards", {"root": str(root), **options})

    root = webdataset(tmp_path / "wds", **{"train/000001.png": b"no image"})
    dataset, _ = index()
    refuses(
        "tiny-train-000000.tar, member train/000001.png: these 8 bytes are not an image",
        lambda: dataset.read("train", 1),
    )
    refuses("the label 2 is not one of the 2 classes, '0' to '1'", lambda: index(classes=2))
    refuses("no train archive matches *.tgz", lambda: index(train="*.tgz"))
    path = root / "tiny-train-000001.tar"
    whole = path.read_bytes()
    for kept in (300, 700, 5000, whole.rindex(b"ustar") + 1000):
        path.write_bytes(whole[:kept])
        refuses("fetch it again", index)
    refuses("no train archive matches /tmp/*.tar", lambda: index(train="/tmp/*.tar"))
    write_tar(root / "tiny-train-000001.tar.gz", [("a.cls", b"1")])
    refuses("not a complete, uncompressed tar archive", lambda: index(train="*.tar.gz"))
    refuses("absent: no such folder", lambda: make_dataset("shards", {"root": str(tmp_path / "absent")}))


def test_imagenets_own_archives_are_indexed_without_extraction(tmp_path):
    root = imagenet_archives(tmp_path / "imagenet")
    labels = tmp_path / "val.txt"
    labels.write_text(f"{WNIDS[1]}\n{WNIDS[0]}\n{WNIDS[2]}\n")
    dataset, facts = make_dataset("shards", {"root": str(root), "labels": str(labels)})
    assert (dataset.classes, dataset.train_labels.tolist()) == (WNIDS, [2, 2, 1, 1, 0, 0])
    assert dataset.test_labels.tolist() == [1, 0, 2]
    expected = Image.open(io.BytesIO(encoded(picture(11), "JPEG")))
    assert dataset.read("train", 3).tobytes() == expected.tobytes()
    assert dataset.read("test", 0).tobytes() == Image.open(io.BytesIO(encoded(picture(51), "JPEG"))).tobytes()
    assert facts["labels"] == {"val.txt": sha256(labels)}
    labels.write_text("".join(f"ILSVRC2012_val_{one:08d}.JPEG {WNIDS[one % 3]}\n" for one in (2, 3, 1)))
    again, _ = make_dataset("shards", {"root": str(root), "labels": str(labels)})
    assert again.test_labels.tolist() == [1, 2, 0]
    for text, expected_words in [
        ("1\n2\n3\n", "line 1: '1' is neither a wnid like n01440764"),
        (f"{WNIDS[0]}\n", "it has 1 lines for 3 images"),
        (f"ILSVRC2012_val_00000001.JPEG {WNIDS[0]}\n", "there is no line for ILSVRC2012_val_00000002.JPEG"),
        ("n09999999\n" * 3, "the label 'n09999999' is not one of the 3 classes, 'n01440764' to 'n03888257'"),
    ]:
        labels.write_text(text)
        refuses(expected_words, lambda: make_dataset("shards", {"root": str(root), "labels": str(labels)}))
    refuses("give the option 'labels'", lambda: make_dataset("shards", {"root": str(root)}))
    wds = str(webdataset(tmp_path / "imagenet").glob("tiny-val*").__next__().name)
    refuses(
        "some labels are names, such as 'n0",
        lambda: make_dataset("shards", {"root": str(root), "train": "ILSVRC*train.tar", "test": wds}),
    )
