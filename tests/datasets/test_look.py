"""A look at an image folder: what is counted, which split is drawn, and what is refused before anything is made."""

from pathlib import Path

import numpy as np
import pytest
from pictures import image_folder, picture

from neural_echos.datasets import StreamedDataset, make_dataset
from neural_echos.datasets.look import Look, describe_look, look_at_folder
from neural_echos.errors import EchosError


def class_folders(root: Path, counts: dict[str, int], size: tuple[int, int] = (12, 8)) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for one in range(count):
            picture(100 * len(name) + one, size).save(root / name / f"{one}.png")
    return root


def look(root: Path, test_share: float = 0.25) -> Look:
    return look_at_folder(root, test_share=test_share, seed=0)


def test_class_folders_alone_are_split_by_class_and_seed(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "mine", {"cats": 20, "dogs": 9, "odd": 2})
    found = look(root)
    assert found.classes == ("cats", "dogs", "odd")
    assert (found.train.tolist(), found.test.tolist(), found.test_share) == ([15, 7, 1], [5, 2, 1], 0.25)
    assert (found.sizes == [12, 8]).all() and len(found.sizes) == 31
    assert found.shorter_side == 8
    made = [make_dataset("folder", {"root": str(root), "test_share": 0.25}, seed)[0] for seed in (0, 0, 1)]
    names = []
    for one in made:
        assert isinstance(one, StreamedDataset)
        train, test = (
            {getattr(one, split).name(row) for row in range(len(getattr(one, split).ends))}
            for split in ("train", "test")
        )
        assert len(train) == 23 and len(test) == 8 and not train & test
        names.append(test)
    assert names[0] == names[1] != names[2]
    assert "The folder has no split: 25 % of each class is drawn for testing." in describe_look(found)
    assert describe_look(found)[0].endswith("cats 15 + 5, dogs 7 + 2, odd 1 + 1.")


def test_a_train_folder_alone_is_split_and_a_class_of_trains_is_none(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a" / "train", {"cats": 8, "dogs": 8}).parent
    (root / "test").mkdir()
    picture(1).save(root / "test" / "unlabelled.png")
    assert look(root).classes == ("cats", "dogs")
    assert look(class_folders(tmp_path / "b", {"bus": 8, "train": 8})).classes == ("bus", "train")


def test_a_split_of_the_folder_s_own_is_kept(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "imagenet", per_class=4)
    found = look(root)
    assert (found.train.tolist(), found.test.tolist(), found.test_share) == ([4, 4, 4], [4, 4, 4], None)
    assert "The folder comes with its own split." in describe_look(found)
    with pytest.raises(EchosError, match="this folder has test images in val; omit test_share"):
        make_dataset("folder", {"root": str(root), "test_share": 0.2})


def test_sizes_are_told(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "mine", {"a": 8, "b": 8})
    assert describe_look(look(root))[-1] == "All images have 12×8 pixels."
    picture(1, (30, 30)).save(root / "a" / "large.png")
    assert describe_look(look(root))[-1] == "Images have 12×8 to 30×30 pixels, and 94 % are not square."


def test_images_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "mine", {"a": 8, "b": 8})
    (root / "a" / "broken.png").write_bytes(b"no image")
    found = look(root)
    assert list(found.unreadable) == ["a/broken.png"]
    assert int((found.train + found.test).sum()) == len(found.sizes) == 16
    assert describe_look(found)[-1] == "1 image cannot be read and is excluded: a/broken.png."
    made, facts = make_dataset("folder", {"root": str(root), "test_share": 0.25, "leave_out": ["a/broken.png"]})
    assert len(made.train_labels) + len(made.test_labels) == 16
    assert facts["options"]["leave_out"] == ["a/broken.png"]
    with pytest.raises(EchosError, match=r"leave_out names 'a/brocken\.png', but there is no such image"):
        make_dataset("folder", {"root": str(root), "test_share": 0.25, "leave_out": ["a/brocken.png"]})
    for number in range(2):
        (root / "b" / f"broken{number}.png").write_bytes(b"no image")
    with pytest.raises(
        EchosError, match=r"3 of 19 images cannot be read; the first: .*broken\.png: these 8 bytes are not"
    ):
        look(root)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"cats": 9}, "only one class, 'cats', so there is nothing to classify; put the images of each class"),
        (
            {"deep/cats": 9, "deep/dogs": 9},
            "only one class, 'deep', so there is nothing to classify; is .*deep the right",
        ),
        ({"cats": 9, "dogs": 1}, "dogs: this class has only one image, but needs one for training and one for testing"),
        ({"cats": 4, "dogs": 4}, "6 images for training are too few; at least 8 are needed"),
        ({".": 3}, "its 3 images are all in one folder"),
        ({}, "mine: no such folder"),
    ],
)
def test_what_cannot_be_compared_on_is_refused(tmp_path: Path, counts: dict[str, int], told: str) -> None:
    with pytest.raises(EchosError, match=told):
        look(class_folders(tmp_path / "mine", counts))


def test_a_file_is_no_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_bytes(b"")
    with pytest.raises(EchosError, match=r"images\.tar: a file, not an image folder"):
        look(tmp_path / "images.tar")


def test_many_classes_are_summed_up() -> None:
    counts = np.arange(20, 40)
    found = Look(Path("/x"), tuple("abcdefghijklmnopqrst"), counts, counts // 4, 0.2, np.full((9, 2), 32), {})
    assert describe_look(found)[0] == (
        "20 classes, 590 images for training and 140 for testing: per class 20 to 39 for training and 5 to 9 for testing."
    )
    assert describe_look(found)[-1] == "All images have 32×32 pixels (of 9 opened)."
