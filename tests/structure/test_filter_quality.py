"""Sparsity and variance entropy: published definitions, values that follow from them, and those of the released code."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from neural_echos.structure.filter_quality import filter_quality, is_sparse, variance_entropy

WEIGHTS = Path(__file__).resolve().parents[3] / "shared/data/weights"
RELEASED = {  # sparsity and variance entropy as the authors' torchconvquality 0.4.0 gives them
    "InvRes1_dw": (0.21875, 0.6327320),
    "InvRes16_dw": (0.1197917, 0.8500782),
    "InvRes7_dw_1": (0.05, 0.9577049),
}


@pytest.mark.parametrize("size", [(3, 3), (5, 5), (7, 7), (3, 5)])
def test_variance_entropy_of_known_spectra(size):
    taps = size[0] * size[1]
    axes = np.concatenate([np.eye(taps), -np.eye(taps)])
    assert variance_entropy(axes.reshape(-1, *size)) == pytest.approx(
        np.log10(taps)
    )  # all axes alike: the largest there is
    one = np.linspace(-1, 1, 20)[:, None] * axes[:1] + 3.7
    assert variance_entropy(one.reshape(-1, *size)) == pytest.approx(0, abs=1e-12)
    two = np.concatenate([2 * axes[:1], -2 * axes[:1], axes[1:2], -axes[1:2]])  # variances 4 to 1
    assert variance_entropy(two.reshape(-1, *size)) == pytest.approx(0.2173220, abs=1e-7)  # −.8 log .8 − .2 log .2
    assert variance_entropy(np.full((9, *size), 0.1)) == 0


def test_sparse_kernels_are_those_below_1_percent_of_their_layers_largest():
    kernels = np.zeros((4, 3, 3))
    kernels[0, 1, 1], kernels[1, 0, 2], kernels[2, 2, 0] = -10, 0.0999, 0.1
    assert is_sparse(kernels).tolist() == [False, True, False, True]
    assert is_sparse(np.zeros((2, 3, 3))).all()


def test_both_are_means_over_layers():
    rng = np.random.default_rng(0)
    kernels, layer_of = rng.normal(size=(60, 3, 3)), np.repeat([0, 1], [50, 10])
    kernels[55:] *= 1e-3
    found = filter_quality(kernels, layer_of)
    assert found.sparse.tolist() == [False] * 55 + [True] * 5
    assert found.sparsity == 0.25
    assert found.variance_entropy == pytest.approx(
        (variance_entropy(kernels[:50]) + variance_entropy(kernels[50:])) / 2
    )


@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ../shared/data/weights beside the repository")
@pytest.mark.parametrize("layer", RELEASED)  # 3×3, 5×5 and 7×7
def test_trained_layers_read_what_the_released_code_says(layer):
    kernels = load_file(WEIGHTS / "mcunet_in4_imagenet.depthwise.safetensors")[layer][:, 0]
    assert (is_sparse(kernels).mean(), variance_entropy(kernels)) == pytest.approx(RELEASED[layer], abs=1e-6)
