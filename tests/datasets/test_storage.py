"""Datasets as files: they come back as they were saved, and what contradicts itself or is cut short is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from pictures import image_folder, refuses

from neural_echos.datasets import (
    Dataset,
    StreamedDataset,
    dataset_facts,
    load_dataset,
    make_dataset,
    save_dataset,
)
from neural_echos.datasets.streamed import Index
from neural_echos.errors import EchosError


def small(**changes: object) -> Dataset:
    """Make a dataset of six 4 × 4 images."""
    rng = np.random.default_rng(0)
    dataset = Dataset(
        name="small",
        classes=("a", "b"),
        train_images=rng.integers(0, 256, (4, 3, 4, 4), dtype=np.uint8),
        train_labels=np.array([0, 1, 0, 1]),
        test_images=rng.integers(0, 256, (2, 3, 4, 4), dtype=np.uint8),
        test_labels=np.array([0, 1]),
        mean=np.array([0.4, 0.5, 0.6]),
        std=np.array([0.1, 1 / 3, 0.3]),
    )
    return replace(dataset, **changes)


def test_a_dataset_comes_back_as_it_was_saved_and_twice_with_the_same_bytes(tmp_path):
    facts = {"licence": "CC0", "seed": 3, "files": {"ä": "1"}}
    save_dataset(tmp_path / "a.safetensors", small(), facts)
    save_dataset(tmp_path / "b.safetensors", small(), dict(reversed(facts.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = load_dataset(tmp_path / "a.safetensors")
    for name in ("train_images", "train_labels", "test_images", "test_labels", "mean", "std"):
        np.testing.assert_array_equal(getattr(again, name), getattr(small(), name), strict=True)
    assert (again.name, again.classes) == ("small", ("a", "b"))
    assert dataset_facts(tmp_path / "a.safetensors") == facts


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train_images": np.zeros((4, 3, 4, 4))}, "train images must be uint8"),
        ({"train_images": np.zeros((4, 4, 4), dtype=np.uint8)}, "train images must be uint8"),
        ({"test_images": np.zeros((2, 1, 4, 4), dtype=np.uint8)}, "train and test images must have one shape"),
        ({"train_labels": np.array([0, 1, 0, 2])}, "labels must be from 0 to 1"),
        ({"test_labels": np.array([-1, 1])}, "labels must be from 0 to 1"),
        ({"test_labels": np.array([0])}, "there are 2 test images, but 1 labels"),
        ({"test_labels": np.array([0, 1], dtype=np.int32)}, "test labels must be int64"),
        ({"mean": np.array([0.5, np.nan, 0.5])}, "mean must have a finite number"),
        ({"std": np.array([0.5])}, "std must have a finite number"),
        ({"std": np.array([0.5, 0.0, 0.5])}, "all training pixels of a channel are equal"),
    ],
)
def test_contradictory_parts_are_refused_and_nothing_is_written(tmp_path, changes, expected):
    with pytest.raises(EchosError, match=expected):
        save_dataset(tmp_path / "a.safetensors", small(**changes), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_file_cut_short_is_one_sentence(tmp_path, keep):
    path = tmp_path / "a.safetensors"
    save_dataset(path, small(), {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EchosError, match="choose another file, or make this one again") as caught:
        load_dataset(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_file_of_another_kind_are_one_sentence(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(EchosError, match="there is no such dataset"):
        load_dataset(tmp_path / "absent.safetensors")
    save_file({"weight": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(EchosError, match="not a dataset file of version 1"):
        load_dataset(tmp_path / "other.safetensors")


def test_an_index_comes_back_as_it_was_saved_and_holds_no_images(tmp_path):
    root = image_folder(tmp_path / "imagé", sides=(200, 200))
    dataset, facts = make_dataset("folder", {"root": str(root)})
    for name in ("a", "b"):
        save_dataset(tmp_path / f"{name}.safetensors", dataset, facts)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.safetensors").stat().st_size < 5000 < facts["listing"]["bytes"] / 10
    again = load_dataset(tmp_path / "a.safetensors")
    assert isinstance(again, StreamedDataset)
    assert (again.root, again.column, again.pool, again.classes) == (str(root), "", 16, dataset.classes)
    for name in ("mean", "std", "train_labels", "test_labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(dataset, name), strict=True)
    assert pickle.loads(pickle.dumps(again)).read("train", 8).tobytes() == dataset.read("train", 8).tobytes()
    assert dataset_facts(tmp_path / "a.safetensors") == facts
    root.rename(tmp_path / "moved")
    refuses("its images are in the folder", lambda: load_dataset(tmp_path / "a.safetensors"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train_labels": np.array([0, 9])}, "labels must be from 0 to 2"),
        ({"train_labels": np.array([0])}, "there are 2 train images, but 1 labels"),
        ({"train": Index.of(["a"], np.array([[0, 0, 1], [1, 0, 1]]))}, "train images lie outside their 1 files"),
        ({"train": Index.of(["a"], np.array([[0, -1, 1], [0, 0, 1]]))}, "train images lie outside their 1 files"),
        (
            {"train": Index(np.zeros(3, np.uint8), np.array([2]), np.zeros((2, 3), np.int64))},
            "the names of the train files do not match",
        ),
        ({"std": np.zeros(3)}, "all training pixels of a channel"),
        ({"mean": np.array([0.5])}, "mean must have"),
        ({"pool": 0}, "pool must be at least 1"),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(tmp_path, changes, expected):
    index = Index.of(["a", "b"], np.array([[0, 0, 1], [1, 0, 1]]))
    parts = {
        "name": "x",
        "classes": ("a", "b", "c"),
        "mean": np.full(3, 0.5),
        "std": np.ones(3),
        "train_labels": np.array([0, 1]),
        "test_labels": np.array([0, 1]),
        "train": index,
        "test": index,
        "root": str(tmp_path),
    }
    save_dataset(tmp_path / "good.safetensors", StreamedDataset(**parts), {})
    refuses(expected, lambda: save_dataset(tmp_path / "x.safetensors", StreamedDataset(**parts | changes), {}))
    assert not (tmp_path / "x.safetensors").exists()
