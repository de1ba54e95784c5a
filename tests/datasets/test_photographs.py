"""Patches of photographs: nothing leaks from test to train, and brightness and contrast tell nothing."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_echos.datasets import (
    SCENES,
    Dataset,
    held_out_region,
    load_scene,
    make_photographs,
    normalise_patches,
    patch_places,
)
from neural_echos.errors import EchosError
from neural_echos.files import sha256

needs_skimage = pytest.mark.skipif(not importlib.util.find_spec("skimage"), reason="needs scikit-image")


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
        with pytest.raises(EchosError, match="has no room for two blocks"):
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
        ({"scenes": ["coins"]}, "at least two scenes"),
        ({"scenes": ["coins", "coins"]}, "each only once"),
        ({"size": 65}, "4 <= size <= block"),
        ({"train_per_scene": 0}, "at least one patch"),
        (
            {"scenes": ["text", "coins"], "test_per_scene": 10**6},
            "photograph text has room for only 8873 distinct test patches of 32 pixels, not 1000000",
        ),
        ({"scenes": ["text", "coins"], "block": 300}, "an image of 172 × 448 pixels has no room for two blocks of 300"),
    ],
)
def test_impossible_photographs_are_refused(options, expected):
    with pytest.raises(EchosError, match=expected):
        make_photographs(seed=0, **options)


@needs_skimage
def test_a_photograph_that_is_missing_or_changed_is_refused_and_never_downloaded(monkeypatch):
    monkeypatch.setitem(SCENES, "coins", replace(SCENES["coins"], sha256="0" * 64))
    with pytest.raises(
        EchosError,
        match=r"not the photograph coins that scikit-image 0.26 ships \(checksum 000000000000…, found checksum",
    ):
        load_scene("coins")
    monkeypatch.setitem(SCENES, "coins", replace(SCENES["coins"], file="eagle.png"))
    with pytest.raises(EchosError, match=r"found no file\); install that version"):
        load_scene("coins")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EchosError, match="pip install scikit-image"):
        load_scene("text")
