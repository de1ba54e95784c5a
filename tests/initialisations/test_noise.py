"""Noise of a given variance or covariance, and single taps, against what their papers say."""

import numpy as np
import pytest
import torch
from networks import small
from torch import nn

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos.errors import EchosError
from neural_echos.initialisations import draw_kernels, init_depthwise_
from neural_echos.initialisations.noise import kaiming, model_covariance, unclipped_covariance
from neural_echos.tables import kernels_of


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("size", [3, 7, 9])
def test_kaiming_has_the_deviation_of_its_fan_in(size, distribution):
    kernels = kaiming(20_000, size, size, np.random.default_rng(0), distribution=distribution)
    std = np.sqrt(2 / size**2)
    assert kernels.std() == pytest.approx(std, rel=0.01)
    assert abs(kernels.mean()) < 0.01 * std
    assert np.sqrt((kernels**2).sum(axis=(1, 2)).mean()) == pytest.approx(1.414, rel=0.01)
    assert (np.abs(kernels).max() > np.sqrt(3) * std) == (distribution == "normal")


def test_kaiming_takes_kernels_of_any_shape():
    model = nn.Sequential(nn.Conv2d(2000, 2000, (1, 8), groups=2000))
    (report,) = init_depthwise_(model, "kaiming", seed=0)
    assert report.std_after == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("options", "variance"),
    [
        ({"mode": "fan_in"}, 2 / 25),
        ({"mode": "fan_out", "outputs": 12}, 2 / (25 * 12)),
        ({"mode": "fan_out_per_group", "multiplier": 3}, 2 / 75),
    ],
)
def test_kaiming_divides_by_the_fan_of_its_mode(options, variance):
    assert draw_kernels("kaiming", 4000, 5, seed=0, **options).var() == pytest.approx(variance, rel=0.02)


def test_kaiming_fans_are_those_of_torch_and_timm():
    module = nn.Conv2d(2000, 4000, 5, groups=2000)
    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    expected = float(module.weight.detach().std())
    init_depthwise_(nn.Sequential(module), "kaiming", seed=0, mode="fan_out")
    assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.02)
    init_depthwise_(nn.Sequential(module), "kaiming", seed=0, mode="fan_out_per_group")
    assert float(module.weight.detach().std()) == pytest.approx(np.sqrt(2 / 50), rel=0.02)


def test_trunc_normal_has_its_deviation_and_its_cut():
    kernels = draw_kernels("trunc_normal", 2000, 7, seed=0)
    assert kernels.std() == pytest.approx(0.02, rel=0.01)
    assert np.linalg.norm(kernels, axis=(1, 2)).mean() == pytest.approx(0.14, rel=0.01)  # PAPERS.md: .14 at k = 7
    assert np.abs(draw_kernels("trunc_normal", 2000, 7, seed=0, std=1.0, cut=0.5)).max() <= 0.5


def test_random_frozen_has_the_norm_of_a_default_convolution():
    assert np.sqrt((draw_kernels("random_frozen", 4000, 7, seed=0) ** 2).sum(axis=(1, 2)).mean()) == pytest.approx(
        0.577, abs=2e-3
    )


def test_dirac_is_the_identity():
    model = small((4, 5))
    init_depthwise_(model, "dirac", seed=0)
    expected = nn.init.dirac_(torch.empty(4, 1, 5, 5), groups=4)
    assert torch.equal(model[0].weight, expected)


@pytest.mark.parametrize("taps", [1, 4, 25])
def test_impulse_and_box_set_taps_of_equal_size(taps):
    kernels = draw_kernels("box", 3000, 5, seed=0, taps=taps)
    assert ((kernels != 0).sum(axis=(1, 2)) == taps).all()
    np.testing.assert_allclose(kernels.max(axis=(1, 2)), np.sqrt(1 / (3 * taps)))
    np.testing.assert_allclose((kernels**2).sum(axis=(1, 2)), 1 / 3)
    np.testing.assert_allclose((kernels != 0).mean(axis=0), taps / 25, atol=0.03)
    np.testing.assert_array_equal(draw_kernels("impulse", 9, 5, seed=3), draw_kernels("box", 9, 5, seed=3, taps=1))


@pytest.mark.parametrize(("sigma", "least", "largest"), [(1.5, -0.10, 2.3), (3.0, -0.46, 10.8)])
def test_covariance_has_the_eigenvalues_that_papers_md_computed(sigma, least, largest):
    values = np.linalg.eigvalsh(unclipped_covariance(7, sigma))
    assert values[0] == pytest.approx(least, abs=0.005)
    assert values[-1] == pytest.approx(largest, abs=0.05)
    matrix, clipped = model_covariance(7, sigma)
    kept = np.linalg.eigvalsh(matrix)
    assert kept[0] > -1e-9
    assert np.trace(matrix) == pytest.approx(np.trace(unclipped_covariance(7, sigma)))
    assert clipped == pytest.approx(-values[values < 0].sum() / np.abs(values).sum())


@pytest.mark.parametrize("k", [3, 5, 7, 9])
def test_covariance_of_the_centre_tap_is_one_half(k):
    for sigma in (0.5, 1.0, 3.0):
        assert unclipped_covariance(k, sigma)[k * k // 2, k * k // 2] == pytest.approx(0.5)
    assert model_covariance(3, 1.0)[1] == pytest.approx(0.0, abs=1e-12)


def test_covariance_is_that_of_its_draws_and_widens_with_depth():
    drawn = draw_kernels("covariance", 60_000, 5, seed=0, depth=1.0, sigma0=0.5, velocity=0.5, acceleration=1.0)
    matrix, clipped = model_covariance(5, 1.5)
    taps = drawn.reshape(-1, 25)
    np.testing.assert_allclose(taps.T @ taps / len(taps), matrix, atol=0.015)
    model = small(*[(8, 5)] * 3)
    reports = init_depthwise_(model, "covariance", seed=0, sigma0=0.5, velocity=0.5, acceleration=1.0)
    assert [one.notes["sigma"] for one in reports] == [0.5, 0.875, 1.5]
    assert reports[2].notes["clipped_share"] == pytest.approx(clipped)


def test_covariance_of_a_bank_is_that_of_its_kernels(lent):
    bank = lent["transfer"]["bank"]
    _, kernels = kernels_of(bank, 5, 5)
    taps = kernels.reshape(-1, 25).astype(np.float64)
    drawn = draw_kernels("covariance", 40_000, 5, seed=0, bank=bank).reshape(-1, 25)
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), taps.T @ taps / len(taps), atol=0.01)
    with pytest.raises(EchosError, match="no 11×11 depthwise kernels, only 3×3, 5×5, 7×7, 9×9"):
        draw_kernels("covariance", 5, 11, seed=0, bank=bank)
