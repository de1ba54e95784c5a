"""The structured share: what it is of noise and of planted kernels, and what its interval covers."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from made import random_kernels
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import dog, fit_dog
from neural_echos.structure.shares import share_interval, structured_share

WEIGHTS = Path(__file__).resolve().parents[3] / "shared/data/weights"


@pytest.mark.parametrize("size", [3, 5, 7])
def test_untrained_banks_read_5_percent(size):
    """Within two points, whatever the tails of the taps, over five seeds, and the shuffles' seed moves it little."""
    for seed, tail in enumerate((0.5, 1, 1, 2, 3)):
        noise = random_kernels(2000, size, seed)
        kernels, layer_of = np.sign(noise) * np.abs(noise) ** tail, np.arange(2000) // 200
        found = structured_share(kernels, layer_of, seed=seed)
        assert found.share == pytest.approx(0.05, abs=0.02)
        assert found.low < 0.05 < found.high < 0.1
        assert found.mean_cosine == pytest.approx(found.null_mean_cosine, abs=0.02)
        again = structured_share(kernels, layer_of, seed=seed + 100)
        assert again.share == pytest.approx(found.share, abs=0.006)


def test_a_small_untrained_bank_reads_as_much_noise_as_its_size_allows():
    found = structured_share(random_kernels(72, 5), np.repeat([0, 1], 36))
    assert found.share < 0.15 and found.low < 0.05 < found.high
    assert (found.kernels, found.layers, len(found.resampled)) == (72, 2, 1000)


def test_planted_kernels_are_structured():
    rng = np.random.default_rng(0)
    kernels = dog(7, rng.uniform(0.3, 0.7, 1000), rng.choice([-1, 1], 1000)) + 0.01 * random_kernels(1000, 7)
    found = structured_share(kernels, np.arange(1000) % 10)
    assert found.share > 0.99 and found.low > 0.95 and found.high <= 1
    np.testing.assert_array_equal(found.resampled, structured_share(kernels, np.arange(1000) % 10).resampled)
    assert found.mean_cosine == pytest.approx(fit_dog(kernels).cosine.mean(), abs=1e-4)


def test_layers_repeat_and_not_kernels():
    """Half the layers structured: between layers the share varies far more than among as many independent kernels."""
    rng = np.random.default_rng(0)
    layers = [dog(5, rng.uniform(0.3, 0.6, 100)) if one % 2 else random_kernels(100, 5, one) for one in range(8)]
    kernels = np.concatenate(layers)
    by_layer = structured_share(kernels, np.repeat(np.arange(8), 100))
    alone = structured_share(kernels, np.full(800, 3))
    assert by_layer.share == alone.share and alone.layers == 1
    assert by_layer.high - by_layer.low > 4 * (alone.high - alone.low) > 0


def test_the_interval_covers_the_share_of_all_such_layers():
    """Six layers whose own shares vary: the percentiles of the bootstrap hold it in 83 of 100 banks, with Student's t in 95."""
    rng = np.random.default_rng(0)
    held, percentiles = [], []
    for _ in range(400):
        layers = rng.binomial(200, rng.beta(3, 3, size=6)) / 200
        drawn = rng.multinomial(6, np.full(6, 1 / 6), size=500) / 6
        low, high = share_interval(layers.mean(), drawn @ layers, np.full(6, 200))
        held.append(low <= 0.5 <= high)
        low, high = np.quantile(drawn @ layers, [0.025, 0.975])
        percentiles.append(low <= 0.5 <= high)
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(percentiles) < 0.9


@pytest.mark.parametrize(("share", "layers"), [(0.0, 1), (0.0, 4), (1.0, 1), (1.0, 4), (0.05, 1)])
def test_an_interval_is_never_narrower_than_that_of_independent_kernels(share, layers):
    low, high = share_interval(share, np.full(100, share), np.full(layers, 100 // layers))
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0.03


def test_kernels_without_a_layer_are_refused():
    with pytest.raises(EchosError, match="a layer for each, not 5 kernels and 4"):
        structured_share(random_kernels(5, 3), np.zeros(4, int))
    with pytest.raises(EchosError, match="not 0 kernels and 0 layers"):
        structured_share(random_kernels(0, 3), np.zeros(0, int))


@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ../shared/data/weights beside the repository")
def test_trained_depthwise_kernels_are_structured_and_untrained_ones_are_not():
    measured = {}
    for name in ("mobilenet_v2_imagenet", "random_weights_control"):
        tensors = load_file(WEIGHTS / f"{name}.depthwise.safetensors")
        layers = [taps[:, 0] for taps in tensors.values() if taps.ndim == 4 and taps.shape[1:] == (1, 3, 3)]
        layer_of = np.repeat(np.arange(len(layers)), list(map(len, layers)))
        measured[name] = structured_share(np.concatenate(layers), layer_of)
    trained, untrained = measured.values()
    assert trained.low > 0.3 and trained.mean_cosine > trained.null_mean_cosine + 0.2
    assert untrained.share == pytest.approx(0.05, abs=0.02) and untrained.low <= 0.05
