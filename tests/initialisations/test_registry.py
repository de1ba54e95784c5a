"""The registry: names, and kernels drawn without a model."""

import numpy as np
import pytest

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos.errors import EchosError
from neural_echos.initialisations import draw_kernels, names

PLAIN = [name for name in names() if name not in ("default", "dog_fitted", "transfer", "master_key", "universal")]


NAMES = (
    "box covariance dirac dog dog_fitted gaussian_derivatives impulse kaiming master_key oocs random_frozen scale_space "
    "scale_space_sigmas"
)


def test_the_registry_lists_its_names():
    assert names() == ["default", *NAMES.split(), "transfer", "trunc_normal", "universal"]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("k", [3, 5, 7, 9])
def test_kernels_are_drawn_without_a_model_too(name, k):
    kernels = draw_kernels(name, 50, k, seed=0)
    assert kernels.shape == (50, k, k)
    assert np.isfinite(kernels).all()
    np.testing.assert_array_equal(kernels, draw_kernels(name, 50, k, seed=0))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *[(name, size) for name in ("kaiming", "impulse", "box", "random_frozen") for size in (2, 4, (1, 11), (3, 5))],
        *[(name, size) for name in ("trunc_normal", "gaussian_derivatives") for size in (2, 4, (3, 5))],
    ],
)
def test_even_and_rectangular_kernels_are_drawn_where_that_makes_sense(name, size):
    options = {"taps": 2} if name == "box" else {}
    assert draw_kernels(name, 5, size, seed=0, **options).shape == (5, *np.broadcast_to(size, 2))


@pytest.mark.parametrize("name", ["dog", "oocs", "dirac", "scale_space"])
@pytest.mark.parametrize("k", [2, 6])
def test_an_even_size_is_refused_where_a_centre_is_needed(name, k):
    with pytest.raises(EchosError, match=f"not {k}$|are {k}×{k}"):
        draw_kernels(name, 5, k, seed=0)


@pytest.mark.parametrize("name", PLAIN)
def test_a_single_tap_is_no_kernel(name):
    with pytest.raises(EchosError, match="at least two taps, not 1×1"):
        draw_kernels(name, 5, 1, seed=0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("default", 5, 3), "keeps a model's kernels"),
        (("dog_fited", 5, 3), r"did you mean 'dog_fitted'"),
    ],
)
def test_what_cannot_be_drawn_without_a_model_is_said(arguments, expected):
    with pytest.raises(EchosError, match=expected):
        draw_kernels(*arguments, seed=0)
    with pytest.raises(EchosError, match="'dog' does not use the layer fact 'depth', none at all"):
        draw_kernels("dog", 5, 3, seed=0, depth=0.5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"seed": None}, "seed must be a whole number of at least 0, not None"),
        ({"seed": -1}, "seed must be .*not -1"),
        ({"seed": 0.5}, "seed must be .*not 0.5"),
        ({"n": -1}, "n must be a whole number of kernels, not -1"),
        ({"n": 2.0}, "n must be .*not 2.0"),
        ({"k": "7"}, r"k must be a whole number or \(height, width\), not '7'"),
        ({"k": 7.0}, "k must be .*not 7.0"),
        ({"k": (7,)}, r"k must be .*not \(7,\)"),
        ({"k": (7, None)}, r"k must be .*not \(7, None\)"),
    ],
)
def test_a_number_size_or_seed_that_is_none_is_one_sentence(given, expected):
    with pytest.raises(EchosError, match=expected):
        draw_kernels("dog", **{"n": 5, "k": 7, "seed": 0, **given})


def test_integers_of_numpy_are_numbers_sizes_and_seeds_too():
    expected = draw_kernels("dog", 5, 7, seed=3)
    five, seven, three = np.array([5, 7, 3])
    np.testing.assert_array_equal(draw_kernels("dog", five, seven, seed=three), expected)
    np.testing.assert_array_equal(draw_kernels("dog", five, np.array([7, 7]), seed=three), expected)
