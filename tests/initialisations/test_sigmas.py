"""Kernels of which two scales and a bias are learned, against the papers' formulas written out."""

import math

import numpy as np
import pytest
import torch
from networks import copy, same, small
from torch import nn

from neural_echos.errors import EchosError
from neural_echos.initialisations import draw_kernels, init_depthwise_
from neural_echos.initialisations.learned_sigmas import Sigmas
from neural_echos.initialisations.parametrised import describe, plain_, reparameterise_
from neural_echos.kernels import bank_from_model
from neural_echos.tables import kernels_of

SCHEME = "scale_space_sigmas"


def formula(
    model: int, height: int, width: int, sigma_x: float, sigma_y: float, amount=0.5, unit_sum=False
) -> np.ndarray:
    """Model 1 to 8 at unit norm, tap by tap: x to the right, y up, zeros beyond the border."""
    tops, rights = height // 2, width // 2

    def line(place, sigma, half):
        taps = [math.exp(-(one**2) / (2 * sigma**2)) for one in range(-half, half + 1)]
        return taps[place + half] / (sum(taps) if unit_sum else math.sqrt(2 * math.pi) * sigma)

    def g(x, y):
        if abs(x) > rights or abs(y) > tops:
            return 0.0
        return line(x, sigma_x, rights) * line(y, sigma_y, tops)

    def tap(x, y):
        return {
            1: lambda: g(x, y + 1) - g(x, y),
            2: lambda: g(x, y) - g(x - 1, y),
            3: lambda: g(x, y) - g(x, y - 1),
            4: lambda: g(x + 1, y) - g(x, y),
            5: lambda: (g(x + 1, y) - g(x - 1, y)) / 2,
            6: lambda: (g(x, y + 1) - g(x, y - 1)) / 2,
            7: lambda: (x == y == 0) - amount * (g(x + 1, y) + g(x - 1, y) + g(x, y + 1) + g(x, y - 1) - 4 * g(x, y)),
            8: lambda: g(x, y),
        }[model]()

    taps = np.array([[tap(x, y) for x in range(-rights, rights + 1)] for y in range(tops, -tops - 1, -1)])
    return taps / np.linalg.norm(taps)


def learned(models, size, **settings) -> Sigmas:
    """The parametrisation of some models, in double precision, at unit norm."""
    given = {"sigma": 1.5, "amount": 0.5, "gaussian": "density"} | settings
    return Sigmas(torch.tensor(models), torch.ones(len(models), dtype=torch.float64), size, **given)


@pytest.mark.parametrize("size", [3, 7, 9, (5, 7)])
@pytest.mark.parametrize("options", [{}, {"sigma": 0.6, "amount": 0.8, "gaussian": "unit_sum"}])
def test_a_draw_is_the_eight_models_of_the_paper_in_turn(size, options):
    height, width = (size, size) if isinstance(size, int) else size
    kernels = draw_kernels(SCHEME, 11, size, seed=0, **options)
    sigma, more = options.get("sigma", 1.5), {"amount": options.get("amount", 0.5), "unit_sum": "gaussian" in options}
    wanted = [formula(place % 8 + 1, height, width, sigma, sigma, **more) for place in range(11)]
    np.testing.assert_allclose(kernels, wanted, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(kernels, axis=(1, 2)), 1)


def test_the_two_gaussians_differ_in_model_seven_alone():
    density, unit_sum = (draw_kernels(SCHEME, 8, 7, seed=0, gaussian=one) for one in ("density", "unit_sum"))
    differs = np.abs(density - unit_sum).max(axis=(1, 2)) > 1e-9
    assert differs.tolist() == [False] * 6 + [True, False]


def test_models_are_dealt_out_in_turn_or_at_random_by_the_seed():
    turn = draw_kernels(SCHEME, 8, 7, seed=0)
    drawn, again, other = (draw_kernels(SCHEME, 200, 7, seed=seed, choice="random") for seed in (0, 0, 1))
    np.testing.assert_array_equal(drawn, again)
    assert (drawn != other).any()
    index = np.einsum("nij,mij->nm", drawn, turn).argmax(axis=1)
    np.testing.assert_allclose(drawn, turn[index])
    assert set(index) == set(range(8))


@pytest.mark.parametrize("size", [(3, 3), (7, 7), (9, 9), (5, 7)])
def test_learned_kernels_are_the_formula_at_any_scales(size):
    rng = np.random.default_rng(0)
    sigma_x, sigma_y, bias = rng.uniform(0.4, 3, 8), rng.uniform(0.4, 3, 8), rng.normal(0, 0.1, 8)
    raw_x, raw_y = (
        torch.from_numpy(np.log(np.expm1(sigma))) for sigma in (sigma_x, sigma_y)
    )  # softplus, the other way
    kernels = learned(range(8), size)(raw_x, raw_y, torch.from_numpy(bias))[:, 0].numpy()
    wanted = [formula(one + 1, *size, sigma_x[one], sigma_y[one]) + bias[one] for one in range(8)]
    np.testing.assert_allclose(kernels, wanted, atol=1e-12)


@pytest.mark.parametrize("gaussian", ["density", "unit_sum"])
def test_gradients_are_those_of_finite_differences(gaussian):
    given = [torch.linspace(-1, 2, 8, dtype=torch.float64).roll(turn).requires_grad_() for turn in (0, 3, 5)]
    assert torch.autograd.gradcheck(learned(range(8), (5, 5), gaussian=gaussian), given)


def test_kernels_are_exact_under_autocast():
    model, _ = parametrised()
    exact = model[1].weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model[1].weight, exact)


def parametrised(settings=None, **switches) -> tuple[nn.Sequential, dict]:
    """Depthwise layers of three sizes, drawn and parametrised; and what the JSON beside their weights says."""
    model, declared = small((10, 3), (16, 7), (9, 9)), {"scheme": SCHEME} | (settings or {})
    report = init_depthwise_(model, SCHEME, seed=0, **(settings or {}), **switches)
    made = describe(declared, 0) | {"did": [vars(entry) for entry in report]}
    reparameterise_(model, made)
    return model, made


def test_parameters_are_two_scales_and_a_bias_of_each_kernel():
    model, made = parametrised({"sigma": 1.25})
    assert made["sigmas"] == {"sigma": 1.25, "amount": 0.5, "gaussian": "density", "learn": "sigmas_and_bias"}
    for layer in model:
        raw_x, raw_y, bias = layer.parametrizations.weight.parameters()
        assert all(one.shape == (layer.out_channels,) and one.requires_grad for one in (raw_x, raw_y, bias))
        torch.testing.assert_close(nn.functional.softplus(raw_x), torch.full_like(raw_x, 1.25))
        assert torch.equal(raw_x, raw_y) and not bias.any()
    assert sum(one.numel() for one in model.parameters()) == 4 * (10 + 16 + 9)  # with the bias of each layer
    raw_x, raw_y, bias = parametrised({"learn": "bias"})[0][1].parametrizations.weight.parameters()
    assert (raw_x.requires_grad, raw_y.requires_grad, bias.requires_grad) == (False, False, True)


@pytest.mark.parametrize("scale", ["raw", "match_default", 0.3])
def test_parametrised_kernels_start_as_drawn_and_plain_weights_come_back(scale):
    drawn = small((10, 3), (16, 7), (9, 9))
    init_depthwise_(drawn, SCHEME, seed=0, scale=scale)
    model, _ = parametrised(scale=scale)
    for one, other in zip(drawn, model, strict=True):
        torch.testing.assert_close(one.weight, other.weight, rtol=0, atol=1e-6)
    bank = bank_from_model(model, "parametrised")
    plain_(model)
    assert model.state_dict().keys() == drawn.state_dict().keys()
    _, kernels = kernels_of(bank, 7, 7)
    np.testing.assert_array_equal(kernels, model[1].weight.detach().numpy()[:, 0])


def test_layers_that_are_not_drawn_or_frozen_stay_plain():
    model, _ = parametrised(layers=["1"])
    assert [hasattr(layer, "parametrizations") for layer in model] == [False, True, False]
    model, made = parametrised(frozen=True)
    assert not any(hasattr(layer, "parametrizations") for layer in model)
    with pytest.raises(
        EchosError, match=r"layer 0: 10 of 10 kernels are not scale-space models with σ = 1.5; draw all"
    ):
        kaiming = init_depthwise_(model, "kaiming", seed=0, frozen=False)
        reparameterise_(model, made | {"did": [vars(entry) for entry in kaiming]})
    assert describe({"scheme": "dog"}, 0) == {"universal": None}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sigma": 0.0}, "layer 0: scale_space_sigmas: sigma must be a number of taps of at least 0.1, not 0.0"),
        ({"sigma": "1"}, "sigma must be a number, not '1'"),
        ({"amount": -1.0}, "amount must be a number above 0, not -1.0"),
        ({"gaussian": "sampled"}, "gaussian must be one of density, unit_sum, not 'sampled'"),
        ({"choice": "nearest"}, "choice must be one of round_robin, random, not 'nearest'"),
        ({"learn": "gain"}, "learn must be one of sigmas_and_bias, bias, not 'gain'"),
        (
            {"share": 0.5},
            "layer 0: scale_space_sigmas learns the scales of all kernels of a layer, but 2 of 4 would be",
        ),
    ],
)
def test_wrong_options_are_one_sentence_and_change_nothing(settings, said):
    model = small((4, 7))
    before = copy(model)
    with pytest.raises(EchosError, match=said):
        init_depthwise_(model, SCHEME, seed=0, **settings)
    assert same(before, copy(model))


@pytest.mark.parametrize(("size", "said"), [(6, "needs a centre tap.* 6×6"), ((1, 7), "at least 3×3 taps, not 1×7")])
def test_kernels_without_a_middle_or_neighbours_are_refused(size, said):
    with pytest.raises(EchosError, match=said):
        draw_kernels(SCHEME, 4, size, seed=0)
