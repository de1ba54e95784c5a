"""Images in Parquet: labels, class names and pixels, in memory and on disk, and every bad row or file."""

import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import DATA, encoded, needs_data, parquet, picture, refuses
from PIL import Image

from neural_echos.datasets import (
    CIFAR10_CLASSES,
    StreamedDataset,
    make_dataset,
    read_parquet_images,
)
from neural_echos.errors import EchosError
from neural_echos.files import sha256


def plain(value: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 255 - value, 7 * value % 256)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path: Path, images: list[bytes | None], labels: list[int | None], **columns: object) -> Path:
    """Write a shard in the Hugging Face layout."""
    structs = [None if image is None else {"bytes": image, "path": None} for image in images]
    table = pa.table({"img": structs, "label": labels, **columns})
    features = {"img": {"_type": "Image"}, "label": {"names": ["no", "yes"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_parquet_images_are_read_in_order_with_their_class_names(tmp_path):
    first = shard(tmp_path / "0.parquet", [plain(1), plain(2)], [0, 1])
    second = shard(tmp_path / "1.parquet", [plain(3), plain(4)], [1, 0])
    dataset, facts = make_dataset("parquet", {"name": "tiny"}, files={"train": [first, second], "test": [second]})
    assert dataset.train_images.shape == (4, 3, 5, 6)
    assert dataset.train_images[:, 0, 0, 0].tolist() == [1, 2, 3, 4]
    assert dataset.train_images[0, :, 0, 0].tolist() == [1, 254, 7]
    assert (dataset.classes, dataset.train_labels.tolist()) == (("no", "yes"), [0, 1, 1, 0])
    assert facts["files"] == {"0.parquet": sha256(first), "1.parquet": sha256(second)}
    grey, _ = read_parquet_images([first], [second], name="tiny", grey=True, classes=["a", "b"])
    assert (grey.train_images.shape, grey.classes) == ((2, 1, 5, 6), ("a", "b"))


def test_a_limit_draws_images_of_all_classes_from_files_sorted_by_class(tmp_path):
    images = [plain(value) for value in range(200)]
    sorted_files = [
        shard(tmp_path / "no.parquet", images[:100], [0] * 100),
        shard(tmp_path / "yes.parquet", images[100:], [1] * 100),
    ]

    def kept(limit: int, seed: int) -> list[int]:
        files = {"train": sorted_files, "test": sorted_files}
        dataset, _ = make_dataset("parquet", {"name": "tiny", "train_limit": limit}, seed, files)
        values = dataset.train_images[:, 0, 0, 0].tolist()
        assert dataset.train_labels.tolist() == [int(value >= 100) for value in values]
        assert len(dataset.test_images) == 200
        return values

    assert kept(60, 0) == sorted(kept(60, 0))
    assert 15 <= sum(value >= 100 for value in kept(60, 0)) <= 45
    assert set(kept(20, 0)) < set(kept(60, 0)) != set(kept(60, 1))
    assert kept(1000, 0) == list(range(200))
    with pytest.raises(EchosError, match="train_limit must be at least 1, not 0"):
        kept(0, 0)


def test_class_names_come_from_wnid_where_there_is_no_metadata(tmp_path):
    table = pa.table({"image": [plain(1), plain(2)], "label": [1, 0], "wnid": ["n2", "n1"]})
    pq.write_table(table, tmp_path / "a.parquet")
    dataset, _ = read_parquet_images([tmp_path / "a.parquet"], [tmp_path / "a.parquet"], name="tiny")
    assert dataset.classes == ("n1", "n2")
    pq.write_table(table.set_column(1, "label", [[0, 0]]), tmp_path / "b.parquet")
    with pytest.raises(EchosError, match="labels and wnids do not match"):
        read_parquet_images([tmp_path / "b.parquet"], [tmp_path / "b.parquet"], name="tiny")
    pq.write_table(table.drop_columns("wnid"), tmp_path / "c.parquet")
    with pytest.raises(EchosError, match="give the option 'classes'"):
        read_parquet_images([tmp_path / "c.parquet"], [tmp_path / "c.parquet"], name="tiny")


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        ([plain(1), plain(2)], [0, 2], "row 1: the label is 2, but labels must be from 0 to 1"),
        ([plain(1), plain(2)], [0, -1], "row 1: the label is -1,"),
        ([plain(1), plain(2)], [0, None], "row 1: the label is None,"),
        ([plain(1), b"no image"], [0, 1], "row 1: these 8 bytes are not an image"),
        ([plain(1), plain(2)[:45]], [0, 1], "row 1: the image cannot be decoded because it is truncated"),
        ([plain(1), None], [0, 1], "row 1: there is no encoded image here"),
        ([plain(1), plain(2, (7, 5))], [0, 1], "row 1: this image has 7 × 5 pixels, but the first one has 6 × 5"),
        ([], [], "the file has no rows"),
        ([plain(9), plain(9)], [0, 1], "all training pixels of a channel are equal"),
    ],
)
def test_bad_rows_are_one_sentence(tmp_path, images, labels, expected):
    path = shard(tmp_path / "bad.parquet", images, labels)
    with pytest.raises(EchosError) as caught:
        read_parquet_images([path], [path], name="tiny")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_train_and_test_images_of_different_sizes_are_refused(tmp_path):
    train = shard(tmp_path / "train.parquet", [plain(1), plain(2)], [0, 1])
    test = shard(tmp_path / "test.parquet", [plain(1, (8, 8))], [0])
    with pytest.raises(EchosError, match="train and test images must have one shape"):
        read_parquet_images([train], [test], name="tiny")


def test_bad_parquet_files_are_one_sentence(tmp_path):
    path = shard(tmp_path / "good.parquet", [plain(1), plain(2)], [0, 1])
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(path.read_bytes()[:-30])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(path.read_bytes()[:4] + b"\0" * 40 + path.read_bytes()[44:])
    for file, expected in [
        (tmp_path / "absent.parquet", "no such file"),
        (cut, "not a complete Parquet file"),
        (broken, "its rows cannot be read"),
    ]:
        with pytest.raises(EchosError, match=expected) as caught:
            read_parquet_images([file], [file], name="tiny", classes=["no", "yes"])
        assert "\n" not in str(caught.value)
    with pytest.raises(EchosError, match="there is no column 'lable', only img, label \\(did you mean 'label'"):
        read_parquet_images([path], [path], name="tiny", label_column="lable", classes=["no", "yes"])
    with pytest.raises(EchosError, match="both training and test files are needed"):
        read_parquet_images([path], [], name="tiny")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the data folder beside the checkout (../shared/data)")
def test_cifar10_is_read_as_published():
    train, test = DATA / "cifar10" / "train-00000-of-00005.parquet", DATA / "cifar10" / "test-00000-of-00001.parquet"
    limits = {"train_limit": 2000, "test_limit": 200}
    dataset, _ = read_parquet_images([train], [test], name="cifar10", **limits)
    assert dataset.classes == CIFAR10_CLASSES
    assert (dataset.train_images.shape, dataset.test_images.shape) == ((2000, 3, 32, 32), (200, 3, 32, 32))
    np.testing.assert_allclose(dataset.mean, [0.4914, 0.4822, 0.4465], atol=0.01)
    np.testing.assert_allclose(dataset.std, [0.2470, 0.2435, 0.2616], atol=0.01)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the data folder beside the checkout (../shared/data)")
def test_imagenette_is_read_with_wordnet_ids():
    files = {"train": [DATA / "imagenette64" / "train.parquet"], "test": [DATA / "imagenette64" / "val.parquet"]}
    options = {"name": "imagenette64", "train_limit": 50, "test_limit": 20}
    dataset, facts = make_dataset("parquet", options, files=files)
    assert dataset.train_images.shape == (50, 3, 64, 64)
    assert (len(dataset.classes), dataset.classes[0]) == (10, "n01440764")
    assert len(set(dataset.train_labels)) == 10
    assert (facts["kind"], facts["options"]["train_limit"]) == ("parquet", 50)


@needs_data
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("cifar10/train-00001-of-00005.parquet", "cifar10/test-00000-of-00001.parquet"),
        ("imagenette64/train.parquet", "imagenette64/val.parquet"),
    ],
)
def test_parquet_on_disk_and_in_memory_have_the_same_pixels(train, test):
    files = {"train": [DATA / train], "test": [DATA / test]}
    options = {"name": "x", "train_limit": 300, "test_limit": 20, "checksums": False}
    streamed, _ = make_dataset("parquet", options | {"memory": False, "pool": 2}, 3, files)
    whole, _ = make_dataset("parquet", options, 3, files)
    assert isinstance(streamed, StreamedDataset)
    for split, labels, images in (
        ("train", whole.train_labels, whole.train_images),
        ("test", whole.test_labels, whole.test_images),
    ):
        np.testing.assert_array_equal(getattr(streamed, f"{split}_labels"), labels)
        pixels = [np.asarray(streamed.read(split, row)).transpose(2, 0, 1) for row in range(len(labels))]
        np.testing.assert_array_equal(np.stack(pixels), images)


def test_cifar100_in_parquet_is_read_by_the_label_that_is_named(tmp_path):
    path = parquet(
        tmp_path / "a.parquet", [encoded(picture(one)) for one in range(3)], [2, 0, 1], coarse_label=[1, 0, 1]
    )
    files = {"train": [path], "test": [path]}
    fine, _ = make_dataset("parquet", {"name": "c", "label_column": "fine_label"}, 0, files)
    coarse, _ = make_dataset("parquet", {"name": "c", "label_column": "coarse_label"}, 0, files)
    assert (fine.train_labels.tolist(), fine.classes) == ([2, 0, 1], ("a", "b", "c"))
    assert (coarse.train_labels.tolist(), coarse.classes) == ([1, 0, 1], ("x", "y"))
    refuses(
        "there is no column 'label', only img, fine_label", lambda: make_dataset("parquet", {"name": "c"}, 0, files)
    )
    other = parquet(tmp_path / "b.parquet", [encoded(picture(0))], [0])
    mixed = {"train": [path], "test": [other]}
    refuses(
        "there is no column 'fine_label'",
        lambda: make_dataset("parquet", {"name": "c", "label_column": "fine_label"}, 0, mixed),
    )


def test_parquet_of_other_classes_in_test_is_refused(tmp_path):
    train = parquet(tmp_path / "train.parquet", [encoded(picture(0))], [0])
    table = pq.read_table(train)
    info = {"info": {"features": {"label": {"names": ["a", "b"]}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), tmp_path / "test.parquet")
    files = {"train": [train], "test": [tmp_path / "test.parquet"]}
    refuses(
        "its 2 classes differ from the 3 of train.parquet", lambda: make_dataset("parquet", {"name": "c"}, 0, files)
    )


def test_an_order_of_parquet_stays_within_a_few_row_groups(tmp_path):
    first = parquet(
        tmp_path / "0.parquet", [encoded(picture(one)) for one in range(30)], [one % 3 for one in range(30)]
    )
    second = parquet(tmp_path / "1.parquet", [encoded(picture(one)) for one in range(30, 50)], [0] * 20)
    options = {"name": "c", "memory": False, "pool": 3}
    dataset, _ = make_dataset("parquet", options, 0, {"train": [first, second], "test": [second]})
    order = dataset.order(np.random.default_rng(1))
    assert sorted(order) == list(range(50))
    assert not np.array_equal(order, dataset.order(np.random.default_rng(2)))
    group = [tuple(dataset.train.places[row, :2]) for row in order]
    changes = {}
    for place, one in enumerate(group):
        changes.setdefault(one, []).append(place)
    assert len(changes) == 8 + 5
    assert max(places[-1] - places[0] for places in changes.values()) < 3 * 4
    assert sum(one != two for one, two in pairwise(group)) > 20, "rows of a pool are mixed"
    assert {dataset.read("train", row).tobytes() for row in (31, 49)} == {picture(one).tobytes() for one in (31, 49)}
    refuses(
        "set memory: true",
        lambda: make_dataset("parquet", options | {"grey": True}, 0, {"train": [first], "test": [second]}),
    )


def test_a_broken_row_on_disk_is_one_sentence(tmp_path):
    path = parquet(tmp_path / "a.parquet", [encoded(picture(0))] * 5 + [b"no image", None], [0] * 7)
    dataset, _ = make_dataset("parquet", {"name": "c", "memory": False}, 0, {"train": [path], "test": [path]})
    refuses(f"{path}, row 5: these 8 bytes are not an image", lambda: dataset.read("train", 5))
    refuses(f"{path}, row 6: there is no encoded image", lambda: dataset.read("train", 6))
    path.unlink()
    refuses("no such file", lambda: dataset.read("train", 0))
