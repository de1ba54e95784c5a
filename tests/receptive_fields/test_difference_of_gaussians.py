"""Receptive fields: the equations against published and derived values, the fit against an optimiser, the null of shuffles."""

import math
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from made import make_bank, random_kernels
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import (
    center_norm,
    dog,
    dog_parameters,
    dog_radius,
    dog_sigma,
    fit_bank,
    fit_dog,
    gamma_limit,
    gaussian_pair_profile,
)
from neural_echos.tables import SCHEMAS

WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights"
SIZES = (3, 5, 7, 9, 11)


@st.composite
def sizes_and_ratios(draw: st.DrawFn) -> tuple[int, float]:
    k = draw(st.sampled_from(SIZES))
    return k, draw(st.floats(0.01, min(0.99, gamma_limit(k))))


def squared_distances(k: int) -> np.ndarray:
    line = np.arange(k) - k // 2
    return line[:, None] ** 2 + line**2


# The equations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "gamma", "r", "sigma", "a_centre", "a_surround", "taps", "centre", "least", "norm"),
    [
        (5, 0.30, 0.90, 1.304, 0.1023, -0.1363, 1, 1.000, -0.0741, 1.025),
        (5, 0.50, 1.50, 1.560, 0.1801, -0.2235, 9, 0.497, -0.0714, 0.620),
        (7, 0.20, 0.80, 1.545, 0.0431, -0.0765, 1, 1.000, -0.0564, 1.017),
        (7, 0.40, 1.60, 1.915, 0.0778, -0.0889, 9, 0.398, -0.0381, 0.506),
        (7, 0.60, 2.40, 2.239, 0.1351, -0.1698, 21, 0.205, -0.0391, 0.414),
        (7, 0.80, 3.20, 2.540, 0.6947, -0.8410, 37, 0.245, -0.0857, 0.642),
        (9, 0.50, 2.50, 2.601, 0.0581, -0.0689, 21, 0.164, -0.0214, 0.336),
    ],
)
def test_reference_table(k, gamma, r, sigma, a_centre, a_surround, taps, centre, least, norm):
    parameters, kernel = dog_parameters(k, gamma), dog(k, gamma)
    assert parameters.r == pytest.approx(r, abs=1e-12)
    assert parameters.sigma == pytest.approx(sigma, abs=6e-4)
    assert parameters.a_centre == pytest.approx(a_centre, abs=6e-5)
    assert parameters.a_surround == pytest.approx(a_surround, abs=6e-5)
    assert parameters.positive_taps == taps
    assert kernel[k // 2, k // 2] == pytest.approx(centre, abs=6e-4)
    assert kernel.min() == pytest.approx(least, abs=6e-5)
    assert np.linalg.norm(kernel) == pytest.approx(norm, abs=6e-4)


def test_oocs_kernel_of_size_5():
    """The kernel of the OOCS paper: r = 2 lies on a ring of taps, which must stay out of P."""
    parameters, kernel = dog_parameters(5, 2 / 3), dog(5, 2 / 3)
    assert parameters.r == 2
    assert parameters.sigma == pytest.approx(1.755813, abs=6e-7)
    assert parameters.a_centre == pytest.approx(0.301493, abs=6e-7)
    assert parameters.a_surround == pytest.approx(-0.393527, abs=6e-7)
    assert parameters.positive_taps == 9
    assert kernel[2, 2] == pytest.approx(0.2848, abs=6e-5)
    assert kernel[0, 0] == pytest.approx(-0.0709, abs=6e-5)
    assert kernel[0, 2] == pytest.approx(-0.0481, abs=6e-5)


@pytest.mark.parametrize(
    ("k", "gamma", "ties", "taps"), [(3, 1 / 2, 4, 5), (5, 2 / 3, 4, 9), (7, 1 / 2, 4, 13), (7, 2 / 3, 0, 21)]
)
def test_ties_at_r_are_in_p_where_the_released_code_has_them(k, gamma, ties, taps):
    """Its two sums are taken over the taps where C > S as floats, computed here as it computes them."""
    r = gamma * (k + 1) / 2
    sigma = (r / (2 * gamma)) * math.sqrt((1 - gamma**2) / (-math.log(gamma)))
    squared = squared_distances(k)
    assert (np.abs(np.sqrt(squared) - r) < 1e-9).sum() == ties
    centre = np.vectorize(lambda d: (1 / (gamma**2)) * math.exp(-1 * d / (2 * ((gamma * sigma) ** 2))))(squared)
    surround = np.vectorize(lambda d: math.exp(-1 * d / (2 * (sigma**2))))(squared)
    inside = centre > surround
    assert inside.sum() == taps
    kernel = dog(k, gamma, as_released=True)
    assert kernel[inside].sum() == pytest.approx(1)
    assert kernel[~inside].sum() == pytest.approx(-1)
    ours = dog(k, gamma)
    assert kernel / kernel[k // 2, k // 2] == pytest.approx(ours / ours[k // 2, k // 2])


@pytest.mark.parametrize(("k", "gamma", "norm"), [(5, 0.5, 2.071463), (7, 0.6, 2.147830), (7, 0.8, 3.775717)])
def test_l1_norm_beyond_2_where_signs_leave_p(k, gamma, norm):
    assert np.abs(dog(k, gamma)).sum() == pytest.approx(norm, abs=6e-7)


@pytest.mark.parametrize("squared", [1, 2, 4, 5, 8])
def test_taps_at_the_radius_stay_out_of_p(squared):
    """r² is a whole number up to rounding: the ring at r belongs to the rest, on either side of the rounding."""
    at = 2 * np.sqrt(squared) / 8
    gammas = np.array([np.nextafter(at, 0), at, np.nextafter(at, 1)])
    assert (dog_parameters(7, gammas).positive_taps == (squared_distances(7) < squared).sum()).all()


@given(sizes_and_ratios())
@settings(max_examples=150, deadline=None)
def test_dog_keeps_its_sums_signs_and_symmetry(case):
    k, gamma = case
    parameters, kernel = dog_parameters(k, gamma), dog(k, gamma)
    inside = np.sqrt(squared_distances(k)) < parameters.r * (1 - 1e-12)
    assert kernel.sum() == pytest.approx(0, abs=1e-9)
    assert kernel[inside].sum() == pytest.approx(1, abs=1e-9)
    assert kernel[~inside].sum() == pytest.approx(-1, abs=1e-9)
    assert inside.sum() == parameters.positive_taps
    assert parameters.a_centre > 0 > parameters.a_surround
    norm = np.abs(kernel).sum()
    if ((kernel > 0) == inside).all():
        assert norm == pytest.approx(2, abs=1e-9)
    else:
        assert norm >= 2 - 1e-9
    assert (dog(k, gamma, -1) == -kernel).all()
    for turned in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        assert (turned == kernel).all()


@given(sizes_and_ratios())
@settings(max_examples=100, deadline=None)
def test_gaussians_are_equal_at_the_radius(case):
    k, gamma = case
    r = dog_radius(k, gamma)
    sigma = dog_sigma(r, gamma)
    log_centre = -2 * np.log(gamma) - r**2 / (2 * (gamma * sigma) ** 2)
    assert log_centre == pytest.approx(-(r**2) / (2 * sigma**2), rel=1e-9, abs=1e-9)


def test_dog_broadcasts_like_numpy():
    gammas = np.array([[0.2, 0.4, 0.6], [0.3, 0.5, 0.7]])
    kernels = dog(7, gammas, np.array([1, -1, 1]))
    assert kernels.shape == (2, 3, 7, 7)
    assert kernels[1, 1] == pytest.approx(dog(7, 0.5, -1), abs=1e-15)
    assert dog(7, 0.5, np.ones(4)).shape == (4, 7, 7)
    assert dog(7, np.full(4, 0.5)).shape == (4, 7, 7)
    assert dog(7, 0.5).shape == (7, 7)
    assert dog(7, np.empty(0)).shape == (0, 7, 7)


def test_limits_and_vanishing_centre():
    assert gamma_limit(3) == pytest.approx(0.7071, abs=6e-5)
    assert gamma_limit(5) == pytest.approx(0.9428, abs=6e-5)
    assert gamma_limit(7) == gamma_limit(11) == 1
    for k in (3, 5):
        assert dog_parameters(k, gamma_limit(k)).positive_taps == k * k - 4  # the corners are left
    assert dog_parameters(11, 0.999999).positive_taps == 121 - 4 - 8  # (5, 5) and (5, 4) are beyond r = 6
    point = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]) / 4
    assert dog(3, np.array([1e-300, 1e-100])) == pytest.approx(np.stack([point, point]), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: dog(5, 0.0), "between 0 and 1, not 0.0"),
        (lambda: dog(5, 1.0), "between 0 and 1, not 1.0"),
        (lambda: dog(5, np.array([0.5, np.nan])), "between 0 and 1, not nan"),
        (lambda: dog(5, -0.5), "between 0 and 1, not -0.5"),
        (lambda: dog(3, 0.72), "at most 0.7071 at size 3"),
        (lambda: dog_parameters(5, 0.95), "at most 0.9428 at size 5"),
        (lambda: dog(4, 0.5), "not 4"),
        (lambda: dog(1, 0.5), "not 1"),
        (lambda: gamma_limit(6), "not 6"),
        (lambda: dog_radius(7, 2.0), "between 0 and 1, not 2.0"),
        (lambda: dog_sigma(-1.0, 0.5), "not -1.0"),
        (lambda: dog(5, 0.5, 0), "not 0"),
        (lambda: dog(5, 0.5, np.array([1, np.nan])), "not nan"),
        (lambda: fit_dog(np.zeros((2, 3, 5))), r"not \(2, 3, 5\)"),
        (lambda: fit_dog(np.zeros((2, 4, 4))), "not 4"),
        (lambda: fit_dog(np.full((2, 3, 3), np.inf)), "2 kernels contain NaN or infinity"),
        (lambda: fit_bank(SCHEMAS["bank"].empty_table(), seed=0, threshold=1.5), "not 1.5"),
    ],
)
def test_bad_inputs_are_one_sentence(call, found):
    with pytest.raises(EchosError, match=found) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("k", "gamma"), [(5, 2 / 3), (9, 0.5)])
def test_profile_passes_through_the_taps(k, gamma):
    along = np.arange(k) - k // 2
    profile = gaussian_pair_profile(k, gamma, along)
    assert profile.dog == pytest.approx(dog(k, gamma)[k // 2], abs=1e-12)
    assert profile.dog == pytest.approx(profile.centre + profile.surround)
    assert (profile.centre > 0).all() and (profile.surround < 0).all()
    assert gaussian_pair_profile(k, gamma).distance[[0, 200, -1]] == pytest.approx([-(k + 1) / 2, 0, (k + 1) / 2])


# The fit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", SIZES)
def test_fit_recovers_what_was_planted(k):
    rng = np.random.default_rng(k)
    gamma, sign = rng.uniform(0.05, min(0.98, gamma_limit(k)), 2000), rng.choice([-1, 1], 2000)
    amplitude, mean = rng.uniform(0.01, 5, 2000), rng.normal(size=2000)
    fit = fit_dog(amplitude[:, None, None] * dog(k, gamma, sign) + mean[:, None, None])
    assert fit.gamma == pytest.approx(gamma, abs=2e-5)
    assert (fit.sign == sign).all()
    assert fit.sigma == pytest.approx(dog_sigma(dog_radius(k, gamma), gamma), abs=2e-4)
    assert fit.r == pytest.approx(dog_radius(k, gamma), abs=2e-4)
    assert fit.cosine == pytest.approx(1, abs=1e-8)
    assert fit.residual.max() < 1e-4
    same_taps = dog_parameters(k, fit.gamma).positive_taps == dog_parameters(k, gamma).positive_taps
    assert same_taps.mean() > 0.99
    assert fit.amplitude[same_taps] == pytest.approx(amplitude[same_taps], rel=1e-3)


def test_fit_recovers_under_noise():
    rng = np.random.default_rng(1)
    gamma, sign = rng.uniform(0.25, 0.75, 500), rng.choice([-1, 1], 500)
    kernels = dog(7, gamma, sign)
    noise = 0.1 * np.linalg.norm(kernels, axis=(1, 2))[:, None, None] / 7 * rng.normal(size=kernels.shape)
    fit = fit_dog(kernels + noise)
    assert (fit.sign == sign).all()
    assert np.abs(fit.gamma - gamma).mean() < 0.03
    assert fit.cosine.min() > 0.97


def test_fit_describes_itself():
    """The record rebuilds the fit: amplitude · sign · dog(k, γ) leaves the residual and has the cosine that it says."""
    kernels = random_kernels(200, 5)
    fit = fit_dog(kernels)
    centred = kernels - kernels.mean(axis=(1, 2), keepdims=True)
    rebuilt = fit.amplitude[:, None, None] * dog(5, fit.gamma, fit.sign)
    norm = np.linalg.norm(centred, axis=(1, 2))
    assert np.linalg.norm(centred - rebuilt, axis=(1, 2)) / norm == pytest.approx(fit.residual, abs=1e-12)
    cosine = (centred * rebuilt).sum(axis=(1, 2)) / norm / np.linalg.norm(rebuilt, axis=(1, 2))
    assert cosine == pytest.approx(fit.cosine, abs=1e-12)
    assert fit.residual**2 + fit.cosine**2 == pytest.approx(1, abs=1e-12)
    assert (fit.amplitude >= 0).all()


@pytest.mark.parametrize("k", [3, 7])
def test_fit_is_no_worse_than_an_optimiser(k):
    kernels = random_kernels(12, k, seed=k)
    fit = fit_dog(kernels)

    def misfit(x: np.ndarray, centred: np.ndarray) -> np.ndarray:
        return (x[0] * dog(k, x[1]) - centred).ravel()

    for kernel, residual in zip(kernels, fit.residual, strict=True):
        centred = kernel - kernel.mean()
        bounds = ([-np.inf, 0.01], [np.inf, min(0.99, gamma_limit(k))])
        found = [
            least_squares(misfit, (a, g), bounds=bounds, args=(centred,))
            for a in (-1, 1)
            for g in (0.1, 0.3, 0.5, 0.65)
        ]
        assert residual <= np.sqrt(2 * min(one.cost for one in found)) / np.linalg.norm(centred) + 1e-9


def test_fit_is_the_same_in_any_unit_and_company():
    kernels = random_kernels(5000, 3)
    fit = fit_dog(kernels)
    for scale in (1e-200, 1e200):
        scaled = fit_dog(kernels[:50] * scale)
        assert scaled.gamma == pytest.approx(fit.gamma[:50], abs=1e-4)
        assert scaled.cosine == pytest.approx(fit.cosine[:50], abs=1e-9)
        assert scaled.amplitude / scale == pytest.approx(fit.amplitude[:50], rel=1e-3)
    assert fit_dog(kernels[4990:]).cosine == pytest.approx(fit.cosine[4990:], abs=1e-9)  # across chunks
    assert (fit_dog(-kernels[:50]).sign == -fit.sign[:50]).all()


def test_fit_of_a_constant_and_of_nothing():
    fit = fit_dog(np.stack([np.zeros((5, 5)), np.full((5, 5), np.float32(0.1)), dog(5, 0.5)]))
    assert fit.sign.tolist() == [0, 0, 1] and fit.sign.dtype == np.int8
    assert fit.cosine == pytest.approx([0, 0, 1])
    assert fit.amplitude == pytest.approx([0, 0, 1], abs=1e-4)
    for values in (fit.gamma, fit.r, fit.sigma, fit.residual):
        assert np.isnan(values).tolist() == [True, True, False]
    assert fit_dog(np.empty((0, 7, 7))).gamma.shape == (0,)


# Banks --------------------------------------------------------------------------------------------------------------


def test_center_norm_drops_and_normalises():
    kernels = random_kernels(6, 5).astype(np.float32)
    kernels[1, 0, 0] = np.nan
    kernels[2] *= 1e-6
    kernels[3] = 0.1
    kernels[4, 2, 2] = np.inf
    normalised, kept = center_norm(kernels)
    assert kept.tolist() == [True, False, False, False, False, True]
    assert normalised.dtype == np.float64 and normalised.shape == (2, 5, 5)
    assert normalised.mean(axis=(1, 2)) == pytest.approx(0, abs=1e-15)
    assert np.linalg.norm(normalised, axis=(1, 2)) == pytest.approx(1)
    assert center_norm(np.ones((4, 1, 1)))[0].shape == (0, 1, 1)
    assert center_norm(random_kernels(4, 5)[:, :, :3])[0].shape == (4, 5, 3)


def test_fit_bank_has_a_row_per_kernel_that_can_be_fitted():
    sevens = np.concatenate([dog(7, 0.5, [1, -1]), random_kernels(3, 7)])
    sevens[2, 0, 0], sevens[3] = np.nan, 1e-5
    bank = make_bank(
        {
            "a": sevens,
            "b": random_kernels(4, 3),
            "even": random_kernels(2, 4),
            "wide": random_kernels(2, 5)[:, :3],
            "point": random_kernels(2, 1),
            "constant": np.ones((2, 7, 7)),
            "c": dog(7, 0.4, np.ones(2)),
        }
    )
    fits, report = fit_bank(bank, seed=0, threshold=0.9)
    nothing = {"fitted": 0, "dropped_not_finite": 0, "dropped_zero": 0, "no_fit": 0}
    assert report == {
        "1x1": nothing | {"no_fit": 2},
        "3x3": nothing | {"fitted": 4},
        "3x5": nothing | {"no_fit": 2},
        "4x4": nothing | {"no_fit": 2},
        "7x7": nothing | {"fitted": 5, "dropped_not_finite": 1, "dropped_zero": 3},
    }
    assert fits.schema == SCHEMAS["fits"]
    assert fits["row"].to_pylist() == [0, 1, 4, 5, 6, 7, 8, 17, 18]
    assert fits["layer"].to_pylist() == bank["layer"].take(fits["row"]).to_pylist()
    assert fits["pattern"].to_pylist()[:3] == ["on-centre", "off-centre", "other"]
    assert fits["sign"].to_pylist()[:2] == [1, -1]
    assert fits["gamma"].to_pylist()[-1] == pytest.approx(0.4, abs=1e-4)
    assert fits["sigma_x"].equals(fits["sigma_y"]) and fits["orientation"].null_count == len(fits)
    assert pc.min(fits["null_cosine"]).as_py() > 0
    empty, nothing_counted = fit_bank(SCHEMAS["bank"].empty_table(), seed=0, threshold=0.7)
    assert empty.schema == SCHEMAS["fits"] and len(empty) == 0 and nothing_counted == {}


def test_fit_bank_is_deterministic_and_its_null_follows_the_seed():
    bank = make_bank({"a": random_kernels(50, 5), "b": random_kernels(50, 3)})
    first, again, other = (fit_bank(bank, seed=seed, threshold=0.7)[0] for seed in (1, 1, 2))
    assert first.equals(again)
    assert first.drop(["null_cosine"]).equals(other.drop(["null_cosine"]))
    assert not first["null_cosine"].equals(other["null_cosine"])
    alone = fit_bank(make_bank({"a": random_kernels(50, 5)}), seed=1, threshold=0.7)[0]
    assert alone["null_cosine"].to_pylist() == pytest.approx(first["null_cosine"].to_pylist()[:50], abs=1e-12)
