"""Images in folders: which files are images, whose class they have, and what is said of the rest."""

import logging
from pathlib import Path

import numpy as np
import pytest
from pictures import WNIDS, image_folder, picture, refuses
from PIL import Image

from neural_echos.datasets import (
    StreamedDataset,
    make_dataset,
)
from neural_echos.errors import EchosError
from neural_echos.files import sha256


def test_an_image_folder_is_indexed_and_no_image_is_opened(tmp_path, monkeypatch):
    root = image_folder(tmp_path / "imagenet", per_class=4)
    (root / "train" / WNIDS[0] / ".hidden.JPEG").write_bytes(b"")
    (root / "train" / WNIDS[0] / "notes.txt").write_text("not an image")
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", lambda *_: pytest.fail("an image was opened"))
        dataset, facts = make_dataset("folder", {"root": str(root)})
    assert isinstance(dataset, StreamedDataset)
    assert (dataset.name, dataset.classes, dataset.channels) == ("imagenet", WNIDS, 3)
    assert dataset.train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.train.name(5) == f"train/{WNIDS[1]}/{WNIDS[1]}_1.JPEG"
    np.testing.assert_allclose(dataset.mean, [0.485, 0.456, 0.406])
    expected = Image.open(root / dataset.test.name(7)).convert("RGB")
    assert dataset.read("test", 7).tobytes() == expected.tobytes()
    assert facts["listing"]["files"] == 24
    assert facts["listing"]["bytes"] == sum(path.stat().st_size for path in root.rglob("*_*.JPEG"))
    assert facts["files"] == {}
    _, summed = make_dataset("folder", {"root": str(root), "checksums": True, "name": "mine", "mean": [0.5] * 3})
    assert summed["files"][dataset.train.name(5)] == sha256(root / dataset.train.name(5))
    assert summed["listing"] == facts["listing"]


def test_tiny_imagenet_is_recognised_by_its_files(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for number, wnid in enumerate(WNIDS):
        (root / "train" / wnid / "images").mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("")
        for one in range(2):
            picture(10 * number + one).save(root / "train" / wnid / "images" / f"{wnid}_{one}.JPEG", "JPEG")
    (root / "val" / "images").mkdir(parents=True)
    (root / "test" / "images").mkdir(parents=True)
    annotations = []
    for one, wnid in enumerate((WNIDS[2], WNIDS[0], WNIDS[2])):
        picture(one).save(root / "val" / "images" / f"val_{one}.JPEG", "JPEG")
        annotations.append(f"val_{one}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    (root / "wnids.txt").write_text("\n".join(reversed(WNIDS)))
    (root / "words.txt").write_text("n01440764\ttench, Tinca tinca\n")
    dataset, facts = make_dataset("folder", {"root": str(root)})
    assert (dataset.classes, dataset.train_labels.tolist()) == (WNIDS, [0, 0, 1, 1, 2, 2])
    assert dataset.test_labels.tolist() == [0, 2, 2]
    assert [dataset.test.name(row) for row in range(3)] == [f"val/images/val_{one}.JPEG" for one in (1, 0, 2)]
    assert "Tiny-ImageNet-200" in facts["how"]
    whole, _ = make_dataset("folder", {"root": str(root), "memory": True})
    assert whole.train_images.shape == (6, 3, 8, 8)
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn99999999\t0\t0\t1\t1\n")
    refuses("is not a file name followed by one of the 3 wnids", lambda: make_dataset("folder", {"root": str(root)}))
    (root / "val" / "val_annotations.txt").write_text(f"val_9.JPEG\t{WNIDS[0]}\t0\t0\t1\t1\n")
    refuses(
        "val_9.JPEG: this image is listed in val_annotations.txt, but is missing",
        lambda: make_dataset("folder", {"root": str(root)}),
    )


def test_folders_that_say_no_labels_are_refused_by_name(tmp_path):
    def index(root: Path) -> object:
        return make_dataset("folder", {"root": str(root)})

    root = image_folder(tmp_path / "imagenet", per_class=1)
    refuses("absent: no such folder", lambda: index(tmp_path / "absent"))
    (root / "val" / WNIDS[2]).rename(root / "val" / "n09999999")
    refuses("its 3 classes differ from the 3 of train: 'n03888257' is only in train", lambda: index(root))
    flat = image_folder(tmp_path / "flat", per_class=1)
    for folder in (flat / "val").iterdir():
        next(folder.iterdir()).rename(flat / "val" / f"{folder.name}.JPEG")
        folder.rmdir()
    refuses("its 3 images are all in one folder", lambda: index(flat))
    (tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC" / "train").mkdir(parents=True)
    refuses("this is Kaggle's layout; give", lambda: index(tmp_path / "kaggle"))
    hollow = image_folder(tmp_path / "hollow", per_class=1)
    next((hollow / "train" / WNIDS[1]).iterdir()).unlink()
    refuses(f"{WNIDS[1]}: there are no images", lambda: index(hollow))
    refuses("needs the option 'root'", lambda: make_dataset("folder"))


def test_a_broken_image_is_one_sentence_when_it_is_read(tmp_path):
    root = image_folder(tmp_path / "imagenet", per_class=2)
    broken = root / "train" / WNIDS[0] / f"{WNIDS[0]}_1.JPEG"
    data = broken.read_bytes()
    broken.write_bytes(b"x" * len(data))
    dataset, _ = make_dataset("folder", {"root": str(root)})
    refuses(f"{broken}: these {len(data)} bytes are not an image", lambda: dataset.read("train", 1))
    broken.write_bytes(data[:-5])
    refuses(f"it has {len(data) - 5} instead of {len(data)} bytes from byte 0", lambda: dataset.read("train", 1))
    broken.unlink()
    refuses(f"{broken}: this image cannot be read (No such file", lambda: dataset.read("train", 1))
    refuses("No such file", dataset.in_memory)


# What is read, what is left out, and what is said of it


def index(root: Path, **options: object) -> tuple[list[str], dict[str, object]]:
    """Names of the train images, and the facts."""
    dataset, facts = make_dataset("folder", {"root": str(root), **options})
    return [dataset.train.name(row) for row in range(len(dataset.train_labels))], facts


def test_images_of_every_suffix_and_at_any_depth_are_read_in_order(tmp_path):
    root = image_folder(tmp_path / "a", per_class=1)
    folder = root / "train" / WNIDS[0]
    for name in ("a.TIF", "b.tiff", "c.Gif", "d.webp", "e.bmp", "f.PNG", "deep/er.v2/g.png", "deep/h.jpeg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(0).save(folder / name, {"tif": "TIFF", "jpeg": "JPEG"}.get(name[-3:].lower()))
    names, facts = index(root)
    expected = [path.relative_to(root).as_posix() for path in sorted(folder.rglob("*.*")) if path.is_file()]
    assert names[:9] == sorted(expected)
    assert "left_out" not in facts
    data = make_dataset("folder", {"root": str(root)})[0]
    assert {data.read("train", row).size for row in range(len(names))} == {(8, 8)}


@pytest.mark.parametrize(
    ("folder", "beside"), [("validation", "test"), ("valid", "test"), ("test", None), ("Val", None), ("VALID", None)]
)
def test_test_images_may_lie_in_folders_of_other_names(tmp_path, caplog, folder, beside):
    root = image_folder(tmp_path / "a")
    (root / "val").rename(root / folder)
    if beside:
        (root / beside).mkdir()
    caplog.set_level(logging.INFO)
    dataset, _ = make_dataset("folder", {"root": str(root)})
    assert dataset.test.name(0).startswith(f"{folder}/{WNIDS[0]}/")
    assert (f"no folder val, reading {folder} instead" in caplog.text) == (folder != "Val") or folder == "Val"
    assert ("test ignored" in caplog.text) == bool(beside)


def test_files_that_are_not_read_are_counted_by_reason(tmp_path, caplog):
    root = image_folder(tmp_path / "a")
    folder = root / "train" / WNIDS[0]
    (folder / "notes.txt").write_text("")
    (folder / "broken.png").symlink_to("nowhere.png")
    for name in (".DS_Store", "._x.png", "Thumbs.db", ".git/config", "__MACOSX/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    for image in list(folder.glob("*.JPEG")):
        image.with_suffix(".xml").write_text("")
    (folder / "again").symlink_to(folder)
    caplog.set_level(logging.INFO)
    (root / "train" / WNIDS[1] / "x.txt").write_text("")  # makes four that were not expected
    with pytest.raises(
        EchosError, match=f"train: 4 of 13 files cannot be used: .*broken link .such as train/{WNIDS[0]}/broken.png"
    ):
        index(root)
    for name in ("notes.txt", "again"):
        (folder / name).unlink()
    names, facts = index(root)
    assert len(names) == 9
    assert facts["left_out"] == {"train": {"a broken link": 1, "not an image by its name": 1}, "val": {}}
    assert f"5 × hidden or a system file (such as train/{WNIDS[0]}/.DS_Store)" in caplog.text
    assert f"3 × a file that goes with an image (such as train/{WNIDS[0]}/{WNIDS[0]}_0.xml)" in caplog.text


def test_one_file_in_a_hundred_is_reported_and_more_are_an_error(tmp_path):
    root = image_folder(tmp_path / "a")
    folder = root / "train" / WNIDS[0]
    for one in range(391):
        (folder / f"{one}.png").write_bytes(b"")  # with 9 others, 400 images
    for one in range(4):
        (folder / f"{one}_.heic").write_bytes(b"")
    assert index(root)[1]["left_out"]["train"] == {"not an image by its name": 4}
    (folder / "5_.heic").write_bytes(b"")
    refuses(
        "train: 5 of 405 files cannot be used: 5 × not an image by its name (such as train/n01440764/0_.heic); convert",
        lambda: index(root),
    )


def test_images_outside_the_class_folders_are_not_lost_silently(tmp_path):
    root = image_folder(tmp_path / "a")
    for one in range(3):
        picture(one).save(root / "train" / f"{one}.png")
    refuses(
        "3 of 12 files cannot be used: 3 × an image outside the class folders (such as train/0.png)",
        lambda: index(root),
    )
    wrapped = tmp_path / "wrapped"
    wrapped.mkdir()
    root.rename(wrapped / "data")
    refuses(f"is {wrapped / 'data'} the right root?", lambda: index(wrapped))
