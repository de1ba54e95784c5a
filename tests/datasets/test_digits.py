"""Handwritten digits: split within each class, enlarged and never resampled."""

import numpy as np
import pytest

from neural_echos.datasets import (
    make_digits,
)
from neural_echos.errors import EchosError


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
        with pytest.raises(EchosError, match="digits: size must be a multiple of 8"):
            make_digits(seed=0, **options)
