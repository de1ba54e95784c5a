"""Signals: what is measured is what a layer does, against networks whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from neural_echos.datasets import make_dataset
from neural_echos.errors import EchosError
from neural_echos.initialisations import init_depthwise_
from neural_echos.initialisations.signal_propagation import BANDS, batch_of, measure_signals, signals_table, spectrum_of
from neural_echos.tables import SCHEMAS


class Chain(nn.Module):
    """Depthwise layers one after another, circular so that no border disturbs, then a classifier."""

    def __init__(self, channels: int, size: int, depth: int):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            *[
                nn.Conv2d(
                    channels, channels, size, padding="same", padding_mode="circular", groups=channels, bias=False
                )
                for _ in range(depth)
            ]
        )
        self.head = nn.Linear(channels, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(images).mean(dim=(2, 3)))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(32, 6, 16, 16, generator=generator) + 0.5, torch.arange(32) % 4


def test_the_identity_changes_nothing(batch):
    model = Chain(6, 5, 3)
    init_depthwise_(model, "dirac", seed=0)
    for one in measure_signals(model, *batch):
        assert (one.output_mean, one.output_variance) == pytest.approx((one.input_mean, one.input_variance))
        assert one.input_mean == pytest.approx(0.5, abs=0.02)
        assert one.kernel_l2 == 1.0
        assert one.frequency == pytest.approx(spectrum_of(batch[0])[1])


def test_white_noise_gains_the_squared_norm_of_a_kernel(batch):
    model = Chain(6, 5, 1)
    init_depthwise_(model, "kaiming", seed=0)
    (one,) = measure_signals(model, *batch)
    expected = float(model.layers[0].weight.detach().square().sum(dim=(1, 2, 3)).mean())
    assert one.output_variance / one.input_variance == pytest.approx(expected, rel=0.05)


def test_scale_is_visible(batch):
    raw, half = Chain(6, 5, 2), Chain(6, 5, 2)
    init_depthwise_(raw, "dog", seed=0)
    init_depthwise_(half, "dog", seed=0, scale=0.5)
    for one, other in zip(measure_signals(raw, *batch), measure_signals(half, *batch), strict=True):
        gain, halved = one.output_variance / one.input_variance, other.output_variance / other.input_variance
        assert halved == pytest.approx(gain / 4, rel=1e-5)
        assert other.kernel_l2 == pytest.approx(one.kernel_l2 / 2)
        np.testing.assert_allclose(one.spectrum, other.spectrum, rtol=1e-4)


def test_a_difference_of_gaussians_is_a_band_pass(batch):
    model = Chain(6, 5, 1)
    init_depthwise_(model, "dog", seed=0)
    (one,) = measure_signals(model, *batch)
    assert one.output_mean == pytest.approx(0, abs=1e-6)
    noise, _ = spectrum_of(batch[0])
    assert one.spectrum[0] < noise[0] / 2  # slow variation is taken off
    assert one.spectrum[-1] < noise[-1] / 2  # and the centre smooths


@pytest.mark.parametrize(("fy", "fx"), [(0, 2), (3, 0), (4, 4), (8, 8)])
def test_the_spectrum_of_a_wave_is_its_frequency(fy, fx):
    y, x = np.mgrid[:16, :16]
    wave = torch.tensor(np.cos(2 * np.pi * (fy * y + fx * x) / 16) + 3)[None, None]
    shares, frequency = spectrum_of(wave)
    radius = np.hypot(fy, fx) / 16
    assert frequency == pytest.approx(radius)
    assert shares.argmax() == min(int(radius / np.sqrt(0.5) * BANDS), BANDS - 1)
    assert shares.sum() == pytest.approx(1)


def test_a_constant_map_has_no_spectrum():
    shares, frequency = spectrum_of(torch.full((2, 3, 8, 8), 7.0))
    assert np.isnan(shares).all()
    assert np.isnan(frequency)


def test_gradients_are_those_of_the_loss_and_the_model_is_left_alone(batch):
    model = Chain(6, 3, 2)
    init_depthwise_(model, "oocs", seed=0, layers="layers.0")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    measured = measure_signals(model, *batch)
    assert [one.frozen for one in measured] == [True, False]
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    model.requires_grad_(True)
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    for one, layer in zip(measured, model.layers, strict=True):
        assert one.gradient_norm == pytest.approx(float(layer.weight.grad.double().norm()), rel=1e-5)


def test_every_part_of_the_model_keeps_its_mode(batch):
    model = Chain(6, 3, 2)
    model.eval()
    model.head.train()
    measure_signals(model, *batch)
    assert [name for name, part in model.named_modules() if part.training] == ["head"]
    with torch.no_grad():
        model.layers[0].weight.fill_(float("inf"))
    with pytest.raises(EchosError, match="the loss of the first batch"):
        measure_signals(model, *batch)
    assert not model.training


def test_a_table_has_one_row_a_layer(batch):
    table = signals_table(
        measure_signals(Chain(6, 3, 2), *batch),
        {"layers.0": 6},
        {"dataset": "noise", "architecture": "chain", "initialisation": "default", "seed": 3},
    )
    assert table.schema == SCHEMAS["signals"]
    assert table["replaced"].to_pylist() == [6, 0]
    assert table["depth"].to_pylist() == [0.0, 1.0]
    assert all(len(shares) == BANDS for shares in table["spectrum"].to_pylist())


def test_a_batch_has_every_class_and_is_normalised():
    data, _ = make_dataset("digits", {"size": 16, "test_share": 0.25}, 0, None)
    images, labels = batch_of(data, 200)
    assert images.shape == (200, 1, 16, 16)
    assert set(labels.tolist()) == set(range(10))
    assert float(images.mean()) == pytest.approx(0, abs=0.1)
    assert float(images.std()) == pytest.approx(1, abs=0.1)
    for number in (1, 10**6):
        with pytest.raises(EchosError, match=f"images must be from 2 to .*, not {number}"):
            batch_of(data, number)


def test_what_cannot_be_measured_is_said(batch):
    with pytest.raises(EchosError, match="Linear has no depthwise layers to measure"):
        measure_signals(nn.Linear(2, 2), *batch)
    model = Chain(6, 3, 1)
    with torch.no_grad():
        model.layers[0].weight.fill_(float("inf"))
    with pytest.raises(EchosError, match="the loss of the first batch is"):
        measure_signals(model, *batch)
