"""Datasets: what they hold, that nothing leaks from test to train, the file, and every input that must be refused."""

import importlib.util
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from neural_echos.datasets import (
    CIFAR10_CLASSES,
    SCENES,
    Dataset,
    dataset_facts,
    held_out_region,
    load_dataset,
    load_scene,
    make_dataset,
    make_digits,
    make_photographs,
    normalise_patches,
    patch_places,
    read_parquet_images,
    save_dataset,
)
from neural_echos.errors import EchosError
from neural_echos.files import sha256

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_skimage = pytest.mark.skipif(not importlib.util.find_spec("skimage"), reason="needs scikit-image")


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


# The file


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
        ({"train_images": np.zeros((4, 3, 4, 4))}, "train images in uint8"),
        ({"train_images": np.zeros((4, 4, 4), dtype=np.uint8)}, "train images in uint8"),
        ({"test_images": np.zeros((2, 1, 4, 4), dtype=np.uint8)}, "test images like train images"),
        ({"train_labels": np.array([0, 1, 0, 2])}, "labels below 2"),
        ({"test_labels": np.array([-1, 1])}, "labels below 2"),
        ({"test_labels": np.array([0])}, "as many test labels as images"),
        ({"test_labels": np.array([0, 1], dtype=np.int32)}, "test labels in int64"),
        ({"mean": np.array([0.5, np.nan, 0.5])}, "a finite mean per channel"),
        ({"std": np.array([0.5])}, "a finite std per channel"),
        ({"std": np.array([0.5, 0.0, 0.5])}, "pixels that vary in every channel"),
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
    with pytest.raises(EchosError, match="name another file, or make this one again") as caught:
        load_dataset(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_file_of_another_kind_are_one_sentence(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(EchosError, match="found no file"):
        load_dataset(tmp_path / "absent.safetensors")
    save_file({"weight": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(EchosError, match="expected a dataset of version 1"):
        load_dataset(tmp_path / "other.safetensors")


# Photographs


@pytest.fixture(scope="module")
def photographs() -> Dataset:
    pytest.importorskip("skimage")
    return make_photographs(train_per_scene=120, test_per_scene=40, seed=0)[0]


def test_photographs_have_the_promised_shape_and_balance(photographs):
    assert photographs.train_images.shape == (16 * 120, 1, 32, 32)
    assert photographs.classes == tuple(SCENES)
    assert set(np.bincount(photographs.train_labels)) == {120}
    assert set(np.bincount(photographs.test_labels)) == {40}
    pixels = photographs.train_images / 255
    np.testing.assert_allclose(photographs.mean, [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(photographs.std, [pixels.std()], rtol=1e-9)


@needs_skimage
def test_every_photograph_is_in_the_wheel_grey_and_needs_no_network(monkeypatch):
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in SCENES:
        image = load_scene(name)
        assert image.dtype == np.uint8
        assert image.ndim == 2
        assert min(image.shape) >= 128


@given(st.integers(20, 400), st.integers(20, 400), st.integers(4, 80), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_no_pixel_is_shared_between_train_and_test(height, width, block, seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(4, block + 1))
    if (height // block) * (width // block) < 2:
        with pytest.raises(EchosError, match="at least two blocks"):
            held_out_region(height, width, block=block, rng=rng)
        return
    test = held_out_region(height, width, block=block, rng=rng)
    image = rng.integers(0, 256, (height, width), dtype=np.uint8)
    used = {}
    for split, region in (("train", ~test), ("test", test)):
        used[split] = np.zeros((height, width), dtype=bool)
        places = patch_places(image, region, size=size, min_contrast=1.0)
        assert len(places) > 0
        for y, x in places[rng.permutation(len(places))[:200]]:
            used[split][y : y + size, x : x + size] = True
    assert not (used["train"] & used["test"]).any()
    assert 1 / 9 <= test.mean() <= 0.75


@needs_skimage
def test_test_blocks_are_a_spread_quarter_of_a_photograph():
    region = held_out_region(512, 512, block=64, rng=np.random.default_rng(0))
    blocks = region.reshape(8, 64, 8, 64)
    assert (blocks.all(axis=(1, 3)) | ~blocks.any(axis=(1, 3))).all()
    squares = blocks.any(axis=(1, 3)).reshape(4, 2, 4, 2).sum(axis=(1, 3))
    assert (squares == 1).all()


def test_flat_places_are_passed_over():
    image = np.full((64, 64), 100, dtype=np.uint8)
    image[:, 40:] += (np.arange(24) % 2 * 40).astype(np.uint8)
    places = patch_places(image, np.ones((64, 64), dtype=bool), size=16, min_contrast=4.0)
    windows = np.lib.stride_tricks.sliding_window_view(image, (16, 16))
    expected = np.argwhere(windows.std(axis=(2, 3)) >= 4.0)
    np.testing.assert_array_equal(places, expected)
    assert 0 < len(places) < 49 * 49


@given(st.integers(0, 2**32), st.sampled_from([2, 3, 5]), st.integers(0, 40), st.booleans())
@settings(max_examples=25, deadline=None)
def test_an_affine_change_of_grey_levels_changes_nothing(seed, gain, offset, inverted):
    patches = np.random.default_rng(seed).integers(0, 40, (3, 32, 32)).astype(np.uint8)
    plain = normalise_patches(patches).astype(int)
    changed = normalise_patches((patches * gain + offset).astype(np.uint8)).astype(int)
    assert np.abs(changed - plain).max() <= 1
    if inverted:
        assert np.abs(255 - normalise_patches(255 - patches).astype(int) - plain).max() <= 1


def test_a_patch_is_normalised_from_its_own_pixels_only():
    patches = np.random.default_rng(0).integers(0, 256, (4, 32, 32)).astype(np.uint8)
    together = normalise_patches(patches)
    alone = np.concatenate([normalise_patches(patch[None]) for patch in patches])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_brightness_and_contrast_give_nothing_away(photographs):
    """Chance is 1/16 = .0625; mean and deviation of a patch reach about that, its spectrum ten times as much."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = photographs.train_images[:, 0] / 255, photographs.test_images[:, 0] / 255

    def moments(images: np.ndarray) -> np.ndarray:
        return np.stack([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1)

    def spectrum(images: np.ndarray) -> np.ndarray:
        return np.log1p(np.abs(np.fft.rfft2(images - images.mean(axis=(1, 2), keepdims=True)))).reshape(len(images), -1)

    def accuracy(features: object, classifier: object) -> float:
        fitted = make_pipeline(StandardScaler(), classifier).fit(features(train), photographs.train_labels)
        return float(fitted.score(features(test), photographs.test_labels))

    assert np.ptp(moments(train), axis=0).max() < 0.005
    assert accuracy(moments, KNeighborsClassifier(25)) < 0.12
    assert accuracy(moments, LogisticRegression()) < 0.12
    assert accuracy(spectrum, LogisticRegression(C=0.01, tol=0.1)) > 0.45


@needs_skimage
def test_photographs_depend_on_the_seed_and_on_nothing_else():
    options = {"train_per_scene": 12, "test_per_scene": 6}
    first, facts = make_photographs(seed=1, scenes=["coins", "text"], **options)
    again, _ = make_photographs(seed=1, scenes=["coins", "text"], **options)
    other, _ = make_photographs(seed=2, scenes=["coins", "text"], **options)
    wider, _ = make_photographs(seed=1, scenes=["brick", "text", "coins"], **options)
    np.testing.assert_array_equal(first.train_images, again.train_images)
    assert not np.array_equal(first.train_images, other.train_images)

    def of(dataset: Dataset, scene: str) -> set[bytes]:
        chosen = dataset.train_images[dataset.train_labels == dataset.classes.index(scene)]
        return {image.tobytes() for image in chosen}

    assert of(first, "coins") == of(wider, "coins")
    assert facts["files"] == {"coins.png": SCENES["coins"].sha256, "text.png": SCENES["text"].sha256}


@needs_skimage
def test_a_photograph_file_has_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import sys; from neural_echos.datasets import *; save_dataset(sys.argv[1], *make_dataset('photographs', "
        "{'train_per_scene': 5, 'test_per_scene': 2, 'scenes': ['coins', 'page']}, 7))"
    )
    digests = []
    for number in range(2):
        path = tmp_path / f"{number}.safetensors"
        environment = {**os.environ, "PYTHONHASHSEED": str(number)}
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)
        digests.append(sha256(path))
    assert digests[0] == digests[1]


@needs_skimage
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scenes": ["coin", "text"]}, "did you mean 'coins'"),
        ({"scenes": ["coins"]}, "two scenes or more"),
        ({"scenes": ["coins", "coins"]}, "each once"),
        ({"size": 65}, "4 <= size <= block"),
        ({"train_per_scene": 0}, "at least one patch"),
        ({"scenes": ["text", "coins"], "test_per_scene": 10**6}, "photograph text: expected room for 1000000"),
        ({"scenes": ["text", "coins"], "block": 300}, "at least two blocks of 300 pixels, found 172 × 448"),
    ],
)
def test_impossible_photographs_are_refused(options, expected):
    with pytest.raises(EchosError, match=expected):
        make_photographs(seed=0, **options)


@needs_skimage
def test_a_photograph_that_is_missing_or_changed_is_refused_and_never_downloaded(monkeypatch):
    monkeypatch.setitem(SCENES, "coins", replace(SCENES["coins"], sha256="0" * 64))
    with pytest.raises(EchosError, match=r"expected the photograph coins with checksum 000000000000…, found checksum"):
        load_scene("coins")
    monkeypatch.setitem(SCENES, "coins", replace(SCENES["coins"], file="eagle.png"))
    with pytest.raises(EchosError, match="found no file; install scikit-image"):
        load_scene("coins")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EchosError, match="pip install scikit-image"):
        load_scene("text")


# Digits


def test_digits_are_split_within_each_class_and_only_enlarged():
    dataset, facts = make_digits(seed=0)
    assert dataset.train_images.shape == (1347, 1, 16, 16)
    assert dataset.test_images.shape == (450, 1, 16, 16)
    totals = np.bincount(dataset.train_labels) + np.bincount(dataset.test_labels)
    np.testing.assert_array_less(np.abs(np.bincount(dataset.test_labels) - totals / 4), 1)
    assert (dataset.train_images[..., ::2, ::2] == dataset.train_images[..., 1::2, 1::2]).all()
    assert dataset.train_images.max() == 255
    small_images = make_digits(seed=0, size=8)[0].train_images
    np.testing.assert_array_equal(small_images, dataset.train_images[..., ::2, ::2])
    assert facts["seed"] == 0


def test_digits_depend_on_the_seed_and_refuse_impossible_sizes():
    assert not np.array_equal(make_digits(seed=0)[0].test_labels, make_digits(seed=1)[0].test_labels)
    for options in ({"size": 20}, {"size": 0}, {"test_share": 1.0}):
        with pytest.raises(EchosError, match="digits: expected a size of 8, 16, 24"):
            make_digits(seed=0, **options)


# Parquet


def encoded(value: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> bytes:
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
    first = shard(tmp_path / "0.parquet", [encoded(1), encoded(2)], [0, 1])
    second = shard(tmp_path / "1.parquet", [encoded(3), encoded(4)], [1, 0])
    dataset, facts = make_dataset("parquet", {"name": "tiny"}, files={"train": [first, second], "test": [second]})
    assert dataset.train_images.shape == (4, 3, 5, 6)
    assert dataset.train_images[:, 0, 0, 0].tolist() == [1, 2, 3, 4]
    assert dataset.train_images[0, :, 0, 0].tolist() == [1, 254, 7]
    assert (dataset.classes, dataset.train_labels.tolist()) == (("no", "yes"), [0, 1, 1, 0])
    assert facts["files"] == {"0.parquet": sha256(first), "1.parquet": sha256(second)}
    grey, _ = read_parquet_images([first], [second], name="tiny", grey=True, classes=["a", "b"])
    assert (grey.train_images.shape, grey.classes) == ((2, 1, 5, 6), ("a", "b"))


def test_a_limit_draws_images_of_all_classes_from_files_sorted_by_class(tmp_path):
    images = [encoded(value) for value in range(200)]
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
    with pytest.raises(EchosError, match="expected limits of 1 or more, found 0, None"):
        kept(0, 0)


def test_class_names_come_from_wnid_where_there_is_no_metadata(tmp_path):
    table = pa.table({"image": [encoded(1), encoded(2)], "label": [1, 0], "wnid": ["n2", "n1"]})
    pq.write_table(table, tmp_path / "a.parquet")
    dataset, _ = read_parquet_images([tmp_path / "a.parquet"], [tmp_path / "a.parquet"], name="tiny")
    assert dataset.classes == ("n1", "n2")
    pq.write_table(table.set_column(1, "label", [[0, 0]]), tmp_path / "b.parquet")
    with pytest.raises(EchosError, match="one wnid per label"):
        read_parquet_images([tmp_path / "b.parquet"], [tmp_path / "b.parquet"], name="tiny")
    pq.write_table(table.drop_columns("wnid"), tmp_path / "c.parquet")
    with pytest.raises(EchosError, match="give the option 'classes'"):
        read_parquet_images([tmp_path / "c.parquet"], [tmp_path / "c.parquet"], name="tiny")


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        ([encoded(1), encoded(2)], [0, 2], "row 1: expected a label from 0 to 1, found 2"),
        ([encoded(1), encoded(2)], [0, -1], "row 1: expected a label from 0 to 1, found -1"),
        ([encoded(1), encoded(2)], [0, None], "row 1: expected a label from 0 to 1, found None"),
        ([encoded(1), b"no image"], [0, 1], "row 1: expected an encoded image, found 8 bytes that do not decode"),
        ([encoded(1), encoded(2)[:45]], [0, 1], "row 1: expected an encoded image"),
        ([encoded(1), None], [0, 1], "row 1: expected an encoded image, found no image"),
        ([encoded(1), encoded(2, (7, 5))], [0, 1], "row 1: expected an image of shape (3, 5, 6) like the first"),
        ([], [], "found no rows"),
        ([encoded(9), encoded(9)], [0, 1], "pixels that vary in every channel"),
    ],
)
def test_bad_rows_are_one_sentence(tmp_path, images, labels, expected):
    path = shard(tmp_path / "bad.parquet", images, labels)
    with pytest.raises(EchosError) as caught:
        read_parquet_images([path], [path], name="tiny")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_train_and_test_images_of_different_sizes_are_refused(tmp_path):
    train = shard(tmp_path / "train.parquet", [encoded(1), encoded(2)], [0, 1])
    test = shard(tmp_path / "test.parquet", [encoded(1, (8, 8))], [0])
    with pytest.raises(EchosError, match="test images like train images"):
        read_parquet_images([train], [test], name="tiny")


def test_bad_parquet_files_are_one_sentence(tmp_path):
    path = shard(tmp_path / "good.parquet", [encoded(1), encoded(2)], [0, 1])
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(path.read_bytes()[:-30])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(path.read_bytes()[:4] + b"\0" * 40 + path.read_bytes()[44:])
    for file, expected in [
        (tmp_path / "absent.parquet", "found no file"),
        (cut, "expected a parquet file"),
        (broken, "expected readable rows"),
    ]:
        with pytest.raises(EchosError, match=expected) as caught:
            read_parquet_images([file], [file], name="tiny", classes=["no", "yes"])
        assert "\n" not in str(caught.value)
    with pytest.raises(EchosError, match="expected a column 'lable', found img, label \\(did you mean 'label'"):
        read_parquet_images([path], [path], name="tiny", label_column="lable", classes=["no", "yes"])
    with pytest.raises(EchosError, match="expected train and test files"):
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


# The registry


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("photograph",), "did you mean 'photographs'"),
        (("digits", {"sizes": 8}), "did you mean 'size'"),
        (("digits", {"seed": 8}), "found 'seed'"),
        (("digits", {"size": "8"}), "the option 'size' a whole number, found '8'"),
        (("digits", {"size": True}), "the option 'size' a whole number, found True"),
        (("folder", {"root": "x", "train_share": "all"}), "'train_share' a number or null, found 'all'"),
        (("folder", {"root": "x", "mean": [0.5, "a", 1]}), "'mean' a list, each a number, or null, found"),
        (("folder", {"root": "x", "memory": "yes"}), "'memory' true or false, found 'yes'"),
        (("shards", {"root": 5}), "'root' text, found 5"),
        (("digits", {}, -1), "expected a seed of 0 or more"),
        (("digits", {}, 0, {"train": ["x"]}), "expected no files, found train"),
        (("parquet", {}, 0, {"train": ["x"], "test": ["y"]}), "expected the option 'name'"),
        (("parquet", {"name": "x"}, 0, {"train": ["x"]}), "expected train and test files, found train"),
    ],
)
def test_the_registry_refuses_what_it_does_not_know(arguments, expected):
    with pytest.raises(EchosError, match=expected):
        make_dataset(*arguments)


def test_the_registry_says_what_it_made():
    dataset, facts = make_dataset("digits", {"size": 8}, seed=4)
    assert dataset.name == "digits"
    assert (facts["kind"], facts["seed"], facts["options"]) == ("digits", 4, {"size": 8, "test_share": 0.25})
