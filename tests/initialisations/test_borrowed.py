"""Kernels borrowed from a bank, and the master key filters."""

from pathlib import Path

import numpy as np
import pytest
from networks import depthwise, small

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos.errors import EchosError
from neural_echos.initialisations import draw_kernels
from neural_echos.kernels import bank_from_model
from neural_echos.tables import kernels_of

MASTER_KEYS = Path(__file__).parents[3] / "shared" / "data" / "weights" / "master_key_filters_8.txt"


def test_by_depth_draws_from_the_nearest_layer(lent):
    model = small((60, 5), (60, 5), (60, 5))
    bank = bank_from_model(model, "lender")
    layers = depthwise(model)
    for depth, name in ((0.0, "0"), (0.4, "1"), (1.0, "2")):
        kernels = draw_kernels("transfer", 60, 5, seed=0, bank=bank, depth=depth).astype(np.float32)
        order = np.argsort(kernels[:, 0, 0])
        np.testing.assert_array_equal(kernels[order], layers[name][np.argsort(layers[name][:, 0, 0])])
    everywhere = draw_kernels("transfer", 180, 5, seed=0, bank=bank, by_depth=False).astype(np.float32)
    np.testing.assert_array_equal(np.sort(everywhere[:, 0, 0]), np.sort(np.concatenate(list(layers.values()))[:, 0, 0]))


def test_transfer_resamples_only_when_asked(lent):
    bank = lent["transfer"]["bank"]
    with pytest.raises(
        EchosError, match="no 11×11 depthwise kernels, only 3×3, 5×5, 7×7, 9×9; choose another bank, resample"
    ):
        draw_kernels("transfer", 5, 11, seed=0, bank=bank)
    stretched = draw_kernels("transfer", 60, 11, seed=0, bank=bank, resample=True)
    sources = kernels_of(bank, 9, 9)[1].astype(np.float64)
    np.testing.assert_allclose(
        np.sort(np.linalg.norm(stretched, axis=(1, 2))), np.sort(np.linalg.norm(sources, axis=(1, 2)))
    )
    corners = stretched[:, [0, 0, 5, -1, -1], [0, -1, 5, 0, -1]]
    taps = sources[:, [0, 0, 4, -1, -1], [0, -1, 4, 0, -1]]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (corners, taps)]
    assert ((unit[0] @ unit[1].T).max(axis=1) > 1 - 1e-9).all()  # corners and centre stay in proportion


def test_master_key_draws_its_filters_with_gain_and_bias():
    filters = np.random.default_rng(0).normal(size=(8, 7, 7))
    kernels = draw_kernels("master_key", 400, 7, seed=0, filters=filters, a=[-2.0, 0.5], b=0.25)
    known = np.concatenate([-2 * filters, filters / 2]) + 0.25
    distance = np.abs(kernels[:, None] - known).max(axis=(2, 3))
    assert distance.min(axis=1).max() < 1e-12
    assert (np.bincount(distance.argmin(axis=1), minlength=16) > 5).all()


@pytest.mark.skipif(not MASTER_KEYS.exists(), reason=f"{MASTER_KEYS} is not on this machine")
def test_master_key_reads_the_published_filters():
    kernels = draw_kernels("master_key", 100, 7, seed=0, filters=MASTER_KEYS)
    assert len(np.unique(kernels.round(6), axis=0)) == 8
    np.testing.assert_allclose(np.linalg.norm(kernels, axis=(1, 2)), 1, atol=1e-4)
