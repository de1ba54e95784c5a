"""Initialisations from receptive-field models, against what their papers say."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import depthwise, small

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos import receptive_fields
from neural_echos.errors import EchosError
from neural_echos.initialisations import draw_kernels, init_depthwise_
from neural_echos.initialisations.receptive import dog
from neural_echos.receptive_fields import dog as dog_kernels

MASTER_KEYS = Path(__file__).parents[3] / "shared" / "data" / "weights" / "master_key_filters_8.txt"


@pytest.mark.parametrize(("gamma", "size"), [(0.5, 3), (2 / 3, 5), (0.6, 7), (0.3, 9)])
def test_dog_draws_the_receptive_field_of_its_gamma(gamma, size):
    model = small((7, size))
    init_depthwise_(model, "dog", seed=0, gamma=gamma, centres="alternating")
    expected = dog_kernels(size, gamma).astype(np.float32)
    signs = np.array([1, -1, 1, -1, 1, -1, 1], dtype=np.float32)[:, None, None]
    np.testing.assert_array_equal(depthwise(model)["0"], signs * expected)


def test_gammas_of_a_list_are_all_drawn_and_no_other():
    kernels = dog(300, 5, 5, np.random.default_rng(0), gamma=[0.2, 0.5, 0.6], centres="excitatory")
    choices = dog_kernels(5, [0.2, 0.5, 0.6])
    which = (kernels[:, None] == choices).all(axis=(2, 3))
    assert (which.sum(axis=1) == 1).all()
    assert (which.sum(axis=0) > 300 / 3 - 5 * np.sqrt(300 * 2 / 9)).all()  # five standard deviations


def test_gammas_of_a_uniform_distribution_fill_its_range():
    rng = np.random.default_rng(0)
    kernels = dog(2000, 5, 5, rng, gamma={"uniform": [0.3, 0.6]}, centres="excitatory")
    grid = np.linspace(0.3, 0.6, 3001)
    shapes = dog_kernels(5, grid).reshape(-1, 25)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    found = grid[(kernels.reshape(-1, 25) @ shapes.T).argmax(axis=1)]
    quantiles = np.quantile(found, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quantiles, [0.3, 0.375, 0.45, 0.525, 0.6], atol=0.02)


@pytest.mark.parametrize("gamma", [0.5, [0.5], {"uniform": [0.5, 0.5]}, np.array([0.5]), np.float32(0.5)])
def test_one_gamma_can_be_written_in_several_ways(gamma):
    kernels = dog(4, 7, 7, np.random.default_rng(0), gamma=gamma, centres="inhibitory")
    np.testing.assert_array_equal(kernels, np.broadcast_to(-dog_kernels(7, 0.5), (4, 7, 7)))


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 50), seed=st.integers(0, 99))
@pytest.mark.parametrize("centres", ["excitatory", "inhibitory", "alternating"])
def test_centres_have_the_declared_sign(centres, n, seed):
    centre = dog(n, 7, 7, np.random.default_rng(seed), centres=centres)[:, 3, 3]
    signs = {"excitatory": 1, "inhibitory": -1, "alternating": (-1) ** np.arange(n)}[centres]
    np.testing.assert_array_equal(np.sign(centre), np.broadcast_to(signs, n))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_random_centres_are_excitatory_with_probability_p(p):
    n = 4000
    centre = dog(n, 7, 7, np.random.default_rng(0), centres="random", p=p)[:, 3, 3]
    assert abs((centre > 0).mean() - p) <= 4 * np.sqrt(p * (1 - p) / n)
    assert (centre != 0).all()


def test_centres_and_gammas_of_other_options_share_one_draw():
    # Two variants of an ablation differ in what they vary only.
    signs = [
        np.sign(dog(50, 7, 7, np.random.default_rng(0), gamma=gamma)[:, 3, 3])
        for gamma in (0.5, [0.3, 0.5], {"uniform": [0.3, 0.7]})
    ]
    np.testing.assert_array_equal(signs[0], signs[1])
    np.testing.assert_array_equal(signs[0], signs[2])


@pytest.mark.parametrize(("k", "gamma"), [(3, 0.5), (5, 2 / 3), (7, 2 / 3)])
def test_oocs_alternates_its_fixed_kernels(k, gamma):
    kernels = draw_kernels("oocs", 4, k, seed=0)
    on = receptive_fields.dog(k, gamma)
    np.testing.assert_array_equal(kernels, [on, -on, on, -on])


@pytest.mark.parametrize(("k", "factor"), [(3, 1.509), (5, 1), (7, 1)])
def test_oocs_as_released_differs_by_a_factor(k, factor):
    ours, released = (draw_kernels("oocs", 2, k, seed=0, as_released=switch) for switch in (False, True))
    np.testing.assert_allclose(released, released[0, k // 2, k // 2] / ours[0, k // 2, k // 2] * ours, rtol=1e-9)
    assert released[0, k // 2, k // 2] / ours[0, k // 2, k // 2] == pytest.approx(factor, abs=5e-4)


def test_dog_fitted_draws_pairs_that_the_bank_has(lent):
    fits = lent["dog_fitted"]["fits"].to_pandas()
    mine = fits[(fits.kernel_height == 7) & (fits.pattern != "other")]
    kernels = draw_kernels("dog_fitted", 500, 7, seed=0, **lent["dog_fitted"])
    known = receptive_fields.dog(7, mine.gamma.to_numpy(), mine.sign.to_numpy())
    distance = np.abs(kernels[:, None] - known).max(axis=(2, 3))
    assert (distance.min(axis=1) == 0).all()
    drawn = np.bincount(distance.argmin(axis=1), minlength=len(known))
    assert (drawn > 0).sum() == len(known)
    with pytest.raises(
        EchosError,
        match=r"no 11×11 depthwise kernel that is a centre \(0 kernels of that size; the sizes are 3×3, 5×5, 7×7, 9×9\)",
    ):
        draw_kernels("dog_fitted", 5, 11, seed=0, **lent["dog_fitted"])


def test_scale_space_draws_the_eight_ideal_models():
    kernels = draw_kernels("scale_space", 400, 7, seed=0, a=[-1, 1])
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(kernels, axis=(1, 2)), 1)
    assert len(np.unique(kernels.round(9), axis=0)) == 16


@pytest.mark.skipif(not MASTER_KEYS.exists(), reason=f"{MASTER_KEYS} is not on this machine")
def test_scale_space_models_look_like_the_published_filters():
    filters = draw_kernels("master_key", 200, 7, seed=0, filters=MASTER_KEYS)
    models = draw_kernels("scale_space", 200, 7, seed=0)
    known = [np.unique(kernels.round(9), axis=0).reshape(8, -1) for kernels in (filters, models)]
    assert (np.abs(known[0] @ known[1].T).max(axis=1) > 0.84).all()


def test_gaussian_derivatives_draw_orders_with_their_shares():
    kernels = draw_kernels("gaussian_derivatives", 3000, 7, seed=0, shares=[2, 1, 1])
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(kernels, axis=(1, 2)), 1)
    odd = np.abs(kernels + kernels[:, ::-1, ::-1]).max(axis=(1, 2)) < 1e-9  # first derivatives only
    round_ones = np.abs(kernels - kernels.transpose(0, 2, 1)).max(axis=(1, 2)) < 1e-9
    assert odd.mean() == pytest.approx(0.25, abs=0.03)
    assert round_ones.mean() == pytest.approx(0.5, abs=0.03)
    assert (kernels[round_ones][:, 3, 3] > 0).mean() == pytest.approx(0.5, abs=0.05)


def test_gaussian_derivatives_of_clusters_have_the_shares_of_the_clusters(lent):
    centroids = lent["clustered"]["centroids"].to_pandas()
    mine = centroids[(centroids.kernel_height == 7)]
    finest = mine[mine.clustering == mine.clustering.value_counts().idxmax()]
    kernels = draw_kernels("gaussian_derivatives", 4000, 7, seed=0, centroids=lent["clustered"]["centroids"], least=0.0)
    patterns, counts = np.unique(kernels.round(9), axis=0, return_counts=True)
    np.testing.assert_allclose(np.sort(counts / 4000), np.sort(finest["count"] / finest["count"].sum()), atol=0.03)
    averages = np.stack(finest.taps).reshape(len(finest), -1)
    averages = averages - averages.mean(axis=1, keepdims=True)
    cosines = patterns.reshape(len(patterns), -1) @ (averages / np.linalg.norm(averages, axis=1, keepdims=True)).T
    assert (cosines.max(axis=1) > 0.8).all()
    with pytest.raises(EchosError, match="there are no clusters of 11×11 depthwise kernels"):
        draw_kernels("gaussian_derivatives", 5, 11, seed=0, centroids=lent["clustered"]["centroids"])
    with pytest.raises(EchosError, match=r"a cosine of at least 1\.0; the best is 0\.99"):
        draw_kernels("gaussian_derivatives", 5, 7, seed=0, centroids=lent["clustered"]["centroids"], least=1.0)
