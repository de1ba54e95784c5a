"""Receptive-field models: formulas against independent references, and the one fit of them all against an optimiser."""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares

from neural_echos.errors import EchosError
from neural_echos.receptive_fields import (
    MODELS,
    discrete_gaussian,
    dog,
    fit,
    fit_dog,
    gaussian,
    gaussian_derivative,
    ideal,
)

GAUSSIANS = ("gaussian", "gaussian_derivative_1", "gaussian_derivative_2")
DISCRETE = tuple(name for name in MODELS if name not in (*GAUSSIANS, "dog"))


def random_kernels(n: int, *size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *size))


def plausible(name: str, n: int, size: tuple[int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Parameters well inside a model's ranges, for which the kernel says what they are."""
    drawn = {
        "gamma": (0.2, 0.65),
        "sigma_u": (1.0, 1.6),
        "sigma_v": (0.6, 0.85),
        "orientation": (0.1, 3.0),
        "offset_x": (-0.5, 0.5),
        "offset_y": (-0.5, 0.5),
        "sigma_x": (0.4, 0.9),
        "sigma_y": (0.4, 0.9),
        "amount": (0.3, 1.5),
    }
    return {key: rng.uniform(*drawn[key], n) for key in MODELS[name].ranges(*size)}


def centred(kernels: np.ndarray) -> np.ndarray:
    return kernels - kernels.mean(axis=(-2, -1), keepdims=True)


def rebuilt(found, size: tuple[int, int]) -> np.ndarray:
    template = MODELS[found.model](size if size[0] != size[1] else size[0], **found.parameters)
    return found.amplitude[:, None, None] * template + found.bias[:, None, None]


# The formulas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "x_order", "y_order"), [(0, 0, 0), (1, 1, 0), (2, 2, 0), (1, 0, 1), (2, 0, 2)])
@pytest.mark.parametrize("size", [(31, 31), (29, 33)])
def test_gaussians_are_scipys_impulse_responses(size, order, x_order, y_order):
    """scipy normalises the sum to 1 and takes rows as y downwards, so its odd derivatives along y have the other sign."""
    impulse = np.zeros(size)
    impulse[size[0] // 2, size[1] // 2] = 1
    along, across = 2.2, 1.6
    sigmas = (across, along) if x_order or not order else (along, across)
    response = gaussian_filter(impulse, sigmas, order=(y_order, x_order), truncate=9)
    kernel = gaussian_derivative(size, order, along, across, np.pi / 2 if y_order else 0.0)
    expected = kernel / gaussian(size, along, across).sum() * (-1) ** y_order
    assert response == pytest.approx(expected, abs=2e-7)


@given(
    st.floats(0.5, 3), st.floats(0.5, 3), st.floats(-4, 4), st.floats(-1, 1), st.floats(-1, 1), st.sampled_from([6, 7])
)
@settings(max_examples=60, deadline=None)
def test_derivatives_are_those_of_the_gaussian_along_its_orientation(u, v, angle, x, y, k):
    step = 1e-4

    def moved(by: float) -> np.ndarray:
        """G at places moved along u is G whose peak is moved back."""
        return gaussian(k, u, v, angle, x - by * np.cos(angle), y - by * np.sin(angle))

    first = (moved(step) - moved(-step)) / (2 * step)
    second = (moved(step) + moved(-step) - 2 * moved(0.0)) / step**2
    assert gaussian_derivative(k, 1, u, v, angle, x, y) == pytest.approx(first, abs=1e-6)
    assert gaussian_derivative(k, 2, u, v, angle, x, y) == pytest.approx(second, abs=1e-6)


def test_x_points_right_and_y_up():
    right, up = gaussian(5, 0.5, offset_x=2.0), gaussian(5, 0.5, offset_y=1.0)
    assert np.unravel_index(right.argmax(), (5, 5)) == (2, 4)
    assert np.unravel_index(up.argmax(), (5, 5)) == (1, 2)
    rising = gaussian(5, 3.0, 0.5, np.pi / 4)
    assert rising[0, 4] > 0.2 > rising[0, 0]
    assert gaussian_derivative(5, 1, 1.0)[2, 1] > 0 > gaussian_derivative(5, 1, 1.0)[2, 3]
    assert gaussian_derivative(5, 1, 1.0, orientation=np.pi / 2)[3, 2] > 0


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("k", [4, 5])
def test_a_turned_gaussian_is_the_turned_kernel(order, k):
    kernel = gaussian_derivative(k, order, 1.3, 0.7, 0.4, 0.3, -0.2)
    turned = gaussian_derivative(k, order, 1.3, 0.7, 0.4 + np.pi / 2, 0.2, 0.3)
    assert turned == pytest.approx(np.rot90(kernel), abs=1e-14)
    assert gaussian_derivative(k, order, 1.3, 0.7, 0.4 + np.pi, 0.3, -0.2) == pytest.approx((-1) ** order * kernel)


def test_peak_is_one_and_even_sides_have_no_centre_tap():
    assert gaussian(7, 0.8)[3, 3] == 1
    even = gaussian(4, 1.0)
    assert even[1, 1] == even[2, 2] == pytest.approx(np.exp(-0.25))
    assert even == pytest.approx(even[::-1]) and even == pytest.approx(even.T)
    assert gaussian((3, 6), 1.0).shape == (3, 6)
    assert gaussian(np.int64(5), 1.0).shape == (5, 5)


def test_models_broadcast_like_numpy():
    sigmas, angles = np.array([[0.6], [1.2]]), np.array([0.1, 0.2, 0.3])
    kernels = gaussian_derivative((4, 5), 1, sigmas, 0.9, angles, offset_y=0.5)
    assert kernels.shape == (2, 3, 4, 5) and kernels.dtype == np.float64
    assert kernels[1, 2] == pytest.approx(gaussian_derivative((4, 5), 1, 1.2, 0.9, 0.3, 0.0, 0.5), abs=1e-15)
    assert gaussian(3, np.empty(0)).shape == (0, 3, 3)
    assert gaussian(3, np.float32(1)).dtype == np.float64


@pytest.mark.parametrize("name", MODELS)
def test_every_registered_model_is_its_formula(name):
    model, size = MODELS[name], (7, 7)
    parameters = plausible(name, 6, size, np.random.default_rng(0))
    kernels = model(7, **{key: values.reshape(2, 3) for key, values in parameters.items()})
    assert model.name == name and kernels.shape == (2, 3, 7, 7) and kernels.dtype == np.float64
    one = {key: float(values[4]) for key, values in parameters.items()}
    expected = {"dog": dog, "gaussian": gaussian, "discrete_gaussian": discrete_gaussian}
    expected |= {
        f"gaussian_derivative_{order}": lambda k, o=order, **p: gaussian_derivative(k, o, **p) for order in (1, 2)
    }
    expected |= {f"scale_space_{number}": lambda k, n=number, **p: ideal(n, k, **p) for number in range(1, 9)}
    assert (kernels[1, 1] == expected[name](7, **one)).all()


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: gaussian(1, 1.0), "not 1"),
        (lambda: gaussian((5, 1), 1.0), r"not \(5, 1\)"),
        (lambda: gaussian((5, 5, 5), 1.0), r"not \(5, 5, 5\)"),
        (lambda: gaussian(5.0, 1.0), "not 5.0"),
        (lambda: gaussian(5, 0.0), "sigma_u must be .* not 0.0"),
        (lambda: gaussian(5, 1.0, [1.0, -2.0]), "sigma_v must be .* not -2.0"),
        (lambda: gaussian(5, np.inf), "not inf"),
        (lambda: gaussian(5, 1.0, orientation=np.nan), "orientation must be .* not nan"),
        (lambda: gaussian(5, 1.0, offset_y=np.inf), "offset_y must be .* not inf"),
        (lambda: gaussian_derivative(5, 3, 1.0), "not 3"),
        (lambda: MODELS["dog"](5, gamma=1.5), "strictly between 0 and 1, not 1.5"),
        (lambda: MODELS["dog"](3, gamma=0.72), "at most 0.7071"),
        (lambda: MODELS["dog"](4, gamma=0.5), "not 4"),
        (lambda: MODELS["discrete_gaussian"](4, sigma_x=1.0), "not 4"),
        (lambda: fit(random_kernels(2, 5, 5), "gausian"), "did you mean 'gaussian'"),
        (lambda: fit(random_kernels(2, 5, 5), "gaussian_derivative_3"), "did you mean 'gaussian_derivative_"),
        (lambda: fit(random_kernels(2, 4, 4), "dog"), r"odd squares .* not \(2, 4, 4\)"),
        (lambda: fit(random_kernels(2, 4, 5), "scale_space_1"), r"odd sides .* not \(2, 4, 5\)"),
        (lambda: fit(random_kernels(2, 1, 5), "gaussian"), r"not \(2, 1, 5\)"),
        (lambda: fit(np.zeros((5, 5)), "gaussian"), r"not \(5, 5\)"),
        (lambda: fit(np.full((3, 5, 5), np.nan), "gaussian"), "3 kernels contain NaN or infinity"),
        (lambda: fit(np.full((3, 5, 5), np.inf), "dog"), "3 kernels contain NaN or infinity"),
    ],
)
def test_bad_inputs_are_one_sentence(call, found):
    with pytest.raises(EchosError, match=found) as raised:
        call()
    assert "\n" not in str(raised.value)


# The fit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, size) for name in GAUSSIANS for size in [(7, 7), (6, 6), (5, 8)]]
    + [(name, size) for name in DISCRETE for size in [(7, 7), (5, 9)]]
    + [("dog", (5, 5)), ("dog", (9, 9))],
)
def test_fit_recovers_what_was_planted(name, size):
    rng = np.random.default_rng(len(name))
    parameters = plausible(name, 40, size, rng)
    amplitude, bias = rng.choice([-1, 1], 40) * rng.uniform(0.1, 3, 40), rng.normal(size=40)
    template = MODELS[name](size if size[0] != size[1] else size[0], **parameters)
    found = fit(amplitude[:, None, None] * template + bias[:, None, None], name)
    if name == "gaussian_derivative_1":  # the sign is told by the orientation
        parameters["orientation"] = np.mod(parameters["orientation"] + np.where(amplitude < 0, np.pi, 0), 2 * np.pi)
        amplitude = np.abs(amplitude)
    assert found.cosine == pytest.approx(1, abs=1e-9)
    assert found.residual.max() < 1e-4
    for key, values in parameters.items():
        assert found.parameters[key] == pytest.approx(values, abs=2e-4), key
    assert found.amplitude == pytest.approx(amplitude, rel=2e-3)
    assert found.bias == pytest.approx(bias, abs=5e-3)
    assert not np.any(list(found.at_bound.values()))


@given(st.sampled_from(GAUSSIANS), st.sampled_from([(3, 3), (4, 4), (5, 5), (3, 7), (8, 6)]), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_fit_describes_itself_and_stays_in_its_ranges(name, size, seed):
    kernels = random_kernels(4, *size, seed=seed)
    found = fit(kernels, name)
    misfit = np.linalg.norm(kernels - rebuilt(found, size), axis=(1, 2)) / np.linalg.norm(centred(kernels), axis=(1, 2))
    assert misfit == pytest.approx(found.residual, abs=1e-9)
    assert found.residual**2 + found.cosine**2 == pytest.approx(1, abs=1e-9)
    for key, one in MODELS[name].ranges(*size).items():
        values, met = found.parameters[key], found.at_bound[key]
        assert values.dtype == np.float64 and ((values >= one.low) & (values <= one.high)).all()
        beyond = np.minimum(values - one.low, one.high - values)
        assert (beyond[met] < 1e-7).all() and (beyond[~met] > 0).all()
    angle = found.parameters["orientation"]
    assert ((angle >= 0) & (angle < (2 * np.pi if name.endswith("_1") else np.pi))).all()
    if name == "gaussian":
        assert (found.parameters["sigma_u"] >= found.parameters["sigma_v"]).all()
    if name == "gaussian_derivative_1":
        assert (found.amplitude >= 0).all()


def optimised(kernel: np.ndarray, name: str, starts: list[dict[str, float]]) -> float:
    """Least residual that scipy's optimiser reaches from several starts, with amplitude and bias solved exactly."""
    ranges = MODELS[name].ranges(*kernel.shape)
    unit = centred(kernel) / np.linalg.norm(centred(kernel))

    def misfit(x: np.ndarray) -> np.ndarray:
        template = centred(MODELS[name](kernel.shape, **dict(zip(ranges, x, strict=True))))
        return (unit - (unit * template).sum() / (template**2).sum() * template).ravel()

    bounds = [one.low for one in ranges.values()], [one.high for one in ranges.values()]
    found = [least_squares(misfit, [start[key] for key in ranges], bounds=bounds) for start in starts]
    return min(float(np.sqrt(2 * one.cost)) for one in found)


@pytest.mark.parametrize("name", [*GAUSSIANS, "discrete_gaussian", "scale_space_3", "scale_space_6", "scale_space_7"])
def test_fit_of_noisy_kernels_is_no_worse_than_an_optimisers(name):
    """Started at the truth, too, which alone no optimiser knows."""
    rng = np.random.default_rng(7)
    parameters = plausible(name, 30, (7, 7), rng)
    kernels = MODELS[name]((7, 7), **parameters)
    kernels += 0.3 / 7 * np.linalg.norm(centred(kernels), axis=(1, 2))[:, None, None] * rng.normal(size=kernels.shape)
    residual = fit(kernels, name).residual
    middle = {key: float(np.mean(values)) for key, values in parameters.items()}
    for index, kernel in enumerate(kernels):
        truth = {key: float(values[index]) for key, values in parameters.items()}
        assert residual[index] <= optimised(kernel, name, [truth, middle]) + 1e-6


@pytest.mark.parametrize("name", ["gaussian", "gaussian_derivative_2", "scale_space_1"])
def test_fit_of_noise_is_rarely_worse_than_an_optimisers(name):
    """Noise has many local optima, of which neither side is sure to find the best: ours is, nearly always, the better."""
    kernels = random_kernels(30, 5, 5, seed=3)
    rng = np.random.default_rng(3)
    residual = fit(kernels, name).residual
    starts = [plausible(name, 1, (5, 5), rng) for _ in range(2)]
    theirs = np.array(
        [optimised(kernel, name, [{k: v[0] for k, v in s.items()} for s in starts]) for kernel in kernels]
    )
    assert (residual <= theirs + 1e-6).mean() >= 0.9
    assert residual.mean() <= theirs.mean()


def test_a_fit_ends_at_an_optimum_on_its_bounds_too():
    """Most Gaussians nearest to noise are as narrow as they may be; an optimiser that goes on from there gains nothing."""
    kernels = random_kernels(100, 7, 7, seed=4)
    found, ranges = fit(kernels, "gaussian"), MODELS["gaussian"].ranges(7, 7)
    assert found.at_bound["sigma_v"].mean() > 0.5
    inside = {key: np.clip(values, ranges[key].low, ranges[key].high) for key, values in found.parameters.items()}
    starts = [dict(zip(inside, row, strict=True)) for row in zip(*inside.values(), strict=True)]
    further = [optimised(kernel, "gaussian", [start]) for kernel, start in zip(kernels, starts, strict=True)]
    assert (found.residual - further > 1e-7).mean() <= 0.02


@pytest.mark.parametrize("name", [*GAUSSIANS, "scale_space_6"])
def test_more_restarts_fit_better(name):
    """Nearly always: now and then a restart that was ahead ends lower than a climb that was given up for it."""
    kernels = random_kernels(200, 5, 5, seed=5)
    none, some, all_of_them = (fit(kernels, name, restarts=restarts) for restarts in (0, 1, None))
    for more in (some, all_of_them):
        assert (more.cosine >= none.cosine - 1e-6).mean() >= 0.98
    assert none.cosine.mean() < some.cosine.mean() <= all_of_them.cosine.mean()
    template = MODELS[name](5, **plausible(name, 20, (5, 5), np.random.default_rng(0)))
    assert fit(template, name, restarts=0).cosine == pytest.approx(1.0, abs=1e-6)


def test_a_single_start_is_rarely_worse_than_an_optimisers():
    kernels = random_kernels(30, 5, 5, seed=3)
    rng = np.random.default_rng(3)
    starts = [{key: values[0] for key, values in plausible("gaussian", 1, (5, 5), rng).items()} for _ in kernels]
    theirs = [optimised(kernel, "gaussian", [start]) for kernel, start in zip(kernels, starts, strict=True)]
    residual = fit(kernels, "gaussian", restarts=0).residual
    assert (residual <= np.array(theirs) + 1e-6).mean() >= 0.7 and residual.mean() < np.mean(theirs)


def test_more_restarts_than_there_are_templates_are_as_many_as_these():
    kernels = random_kernels(3, 3, 3)
    found, usual = (fit(kernels, "gaussian", restarts=restarts).cosine for restarts in (2**32 - 1, None))
    assert (found >= usual - 1e-6).all()


@pytest.mark.parametrize("restarts", [-1, 2.5, "2"])
def test_what_is_no_number_of_restarts_is_refused(restarts):
    with pytest.raises(EchosError, match=f"restarts must be a whole number of at least 0, not {restarts}"):
        fit(random_kernels(2, 3, 3), "dog", restarts=restarts)


@pytest.mark.parametrize("name", MODELS)
def test_fit_follows_amplitude_and_bias(name):
    rng = np.random.default_rng(0)
    kernels = MODELS[name](7, **plausible(name, 20, (7, 7), rng)) + 0.05 * rng.normal(size=(20, 7, 7))
    found, scaled = fit(kernels, name), fit(1e3 - 1e6 * kernels, name)
    assert scaled.cosine == pytest.approx(found.cosine, abs=1e-9)
    assert np.abs(scaled.amplitude) == pytest.approx(1e6 * np.abs(found.amplitude), rel=1e-3)
    assert rebuilt(scaled, (7, 7)) == pytest.approx(1e3 - 1e6 * rebuilt(found, (7, 7)), abs=1e3)
    tiny = fit(kernels * 1e-200, name)
    assert tiny.cosine == pytest.approx(found.cosine, abs=1e-9)


@pytest.mark.parametrize("name", ["gaussian_derivative_2", "scale_space_7"])
def test_fit_is_the_same_in_any_company(name):
    kernels = random_kernels(150, 5, 5)
    together, alone = fit(kernels, name), fit(kernels[140:], MODELS[name])
    assert alone.cosine == pytest.approx(together.cosine[140:], abs=1e-9)
    assert (fit(kernels, name).cosine == together.cosine).all()
    assert fit(kernels.astype(np.float32), name).cosine.dtype == np.float64


def test_fit_does_not_depend_on_its_processes():
    kernels = MODELS["gaussian_derivative_1"](3, orientation=np.linspace(0, 6, 4500), sigma_u=0.8)
    alone, together = (fit(kernels, "gaussian_derivative_1", processes=processes) for processes in (1, 2))
    for key, values in alone.parameters.items():
        np.testing.assert_array_equal(together.parameters[key], values)
    np.testing.assert_array_equal(together.cosine, alone.cosine)


def test_processes_of_a_killed_fit_end(tmp_path):
    script = tmp_path / "fits.py"
    script.write_text(
        "import multiprocessing, time\nimport numpy as np\nfrom neural_echos.receptive_fields import fit\n"
        "if __name__ == '__main__':\n"
        "    fit(np.random.default_rng(0).normal(size=(4100, 3, 3)), 'gaussian', processes=2)\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(600)\n"
    )
    run = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = [Path(f"/proc/{number}") for number in run.stdout.readline().split()]
    assert len(workers) == 2 and all(worker.exists() for worker in workers)
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 60
    while any(worker.exists() for worker in workers):
        assert time.monotonic() < deadline, (
            "expected the processes of a killed fit to end, found them running after a minute"
        )
        time.sleep(0.05)


def test_a_killed_process_of_a_fit_is_one_sentence_and_the_next_fit_has_others():
    kernels = random_kernels(4500, 3, 3)
    others = {child.pid for child in multiprocessing.active_children()}
    expected = fit(kernels, "gaussian", processes=3).cosine
    workers = [child for child in multiprocessing.active_children() if child.pid not in others]
    assert workers
    for worker in workers:
        worker.kill()
    with pytest.raises(EchosError, match="one of 3 processes was killed, probably because memory ran out"):
        fit(kernels, "gaussian", processes=3)
    np.testing.assert_array_equal(fit(kernels, "gaussian", processes=3).cosine, expected)


def test_dog_is_fitted_by_its_own_solver():
    kernels = random_kernels(20, 5, 5)
    ours, own = fit(kernels, "dog"), fit_dog(kernels)
    assert (ours.parameters["gamma"] == own.gamma).all() and (ours.cosine == own.cosine).all()
    assert (ours.amplitude == own.sign * own.amplitude).all()
    assert fit(dog(5, [1e-60, 0.3, 0.94]), "dog").at_bound["gamma"].tolist() == [True, False, False]


@pytest.mark.parametrize("name", MODELS)
def test_fit_of_a_constant_and_of_nothing(name):
    found = fit(np.stack([np.full((5, 5), 2.5), np.zeros((5, 5)), random_kernels(1, 5, 5)[0]]), name)
    assert found.model == name
    assert found.amplitude[:2].tolist() == found.cosine[:2].tolist() == [0, 0]
    assert found.bias[:2] == pytest.approx([2.5, 0])
    for values in (found.residual, *found.parameters.values()):
        assert np.isnan(values).tolist() == [True, True, False]
    assert not any(met[:2].any() for met in found.at_bound.values())
    nothing = fit(np.empty((0, 5, 5)), name)
    assert nothing.cosine.shape == (0,) and list(nothing.parameters) == list(MODELS[name].ranges(5, 5))
