"""Initialisations: the draws are the ones declared, nothing else in a model changes, and mistakes change nothing."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos import receptive_fields
from neural_echos.errors import EchosError
from neural_echos.initialisations import draw_kernels, init_depthwise_, names
from neural_echos.initialisations.noise import kaiming, model_covariance, unclipped_covariance
from neural_echos.initialisations.receptive import dog
from neural_echos.kernels import bank_from_model, layers_of
from neural_echos.receptive_fields import dog as dog_kernels
from neural_echos.structure.kmeans import cluster_bank
from neural_echos.tables import kernels_of

MASTER_KEYS = Path(__file__).parents[2] / "shared" / "data" / "weights" / "master_key_filters_8.txt"

FAMILIES = {"mobilenetv2_035": 3, "convnext_atto": 7, "convmixer_small": 9, "hornet_small_images": 7}
SCHEMES = {"default": {}, "kaiming": {}, "dog": {"gamma": {"uniform": [0.3, 0.7]}}}

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def fresh() -> dict[str, tuple[nn.Module, State]]:
    """One model of each family, and its state as timm drew it; `reset` puts that back."""
    torch.manual_seed(0)
    models = {name: timm.create_model(name) for name in FAMILIES}
    return {name: (model, copy(model)) for name, model in models.items()}


def copy(model: nn.Module) -> State:
    return {key: value.clone() for key, value in model.state_dict().items()}


def reset(fresh: dict[str, tuple[nn.Module, State]], name: str) -> nn.Module:
    model, state = fresh[name]
    model.load_state_dict(state)
    return model


def depthwise(model: nn.Module) -> dict[str, np.ndarray]:
    """Kernels (n, k, k) of each depthwise layer."""
    return {
        layer.name: model.get_submodule(layer.name).weight.detach()[:, 0].numpy().copy()
        for layer in layers_of(model)
        if layer.kind == "depthwise"
    }


def same(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def small(*layers: tuple[int, int]) -> nn.Module:
    """Make depthwise layers of (channels, kernel size)."""
    torch.manual_seed(1)
    return nn.Sequential(*[nn.Conv2d(channels, channels, size, groups=channels) for channels, size in layers])


# What changes and what does not


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_only_depthwise_kernels_change_and_the_seed_decides_them(fresh, family, scheme):
    model, before = reset(fresh, family), fresh[family][1]
    report = init_depthwise_(model, scheme, seed=3, **SCHEMES[scheme])
    first = copy(model)
    changed = {key for key in before if not torch.equal(before[key], first[key])}
    layers = [layer for layer in layers_of(model) if layer.kind == "depthwise"]
    assert changed == (set() if scheme == "default" else {f"{layer.name}.weight" for layer in layers})
    assert {one.kernel_size for one in report} == {(FAMILIES[family],) * 2}
    assert all(torch.isfinite(value).all() for value in first.values())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())

    init_depthwise_(model, scheme, seed=4, **SCHEMES[scheme])
    assert same(first, copy(model)) == (scheme == "default")
    init_depthwise_(model, scheme, seed=3, **SCHEMES[scheme])
    assert same(first, copy(model))


def test_the_global_generators_are_neither_used_nor_moved():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  (the legacy generator is what must stay)
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    model = small((4, 3))
    torch.manual_seed(5)
    init_depthwise_(model, "kaiming", seed=0)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


def test_layers_of_one_size_get_draws_of_their_own():
    model = small((8, 5), (8, 5))
    init_depthwise_(model, "kaiming", seed=0)
    first, second = depthwise(model).values()
    assert not np.isin(first, second).any()


def test_choosing_layers_changes_no_draw_of_the_others(fresh):
    model = reset(fresh, "mobilenetv2_035")
    default = depthwise(model)
    init_depthwise_(model, "dog", seed=7, share=0.5)
    everywhere = depthwise(model)
    reset(fresh, "mobilenetv2_035")
    report = init_depthwise_(model, "dog", seed=7, share=0.5, layers=lambda layer: layer.index % 3 == 1)
    chosen = depthwise(model)
    kept = list(default)[1::3]
    assert [one.layer for one in report] == kept
    for name in default:
        np.testing.assert_array_equal(chosen[name], everywhere[name] if name in kept else default[name])


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 60), share=st.floats(0.01, 1.0), seed=st.integers(0, 2**32))
def test_share_replaces_exactly_that_many_kernels(n, share, seed):
    model = small((n, 3))
    before = depthwise(model)["0"]
    (report,) = init_depthwise_(model, "kaiming", seed=seed, share=share)
    changed = (depthwise(model)["0"] != before).all(axis=(1, 2))
    touched = (depthwise(model)["0"] != before).any(axis=(1, 2))
    assert changed.sum() == touched.sum() == report.replaced == max(1, round(share * n))
    assert report.kernels == n


def test_which_kernels_a_share_replaces_depends_on_the_seed():
    replaced = []
    for seed in range(5):
        model = small((40, 3))
        before = depthwise(model)["0"]
        init_depthwise_(model, "kaiming", seed=seed, share=0.25)
        replaced.append(tuple(np.flatnonzero((depthwise(model)["0"] != before).all(axis=(1, 2)))))
    assert len(set(replaced)) == 5
    assert all(chosen != tuple(range(10)) for chosen in replaced)


def test_a_channel_multiplier_and_half_precision_are_served():
    model = nn.Sequential(nn.Conv2d(4, 12, 5, groups=4)).to(torch.bfloat16)
    (report,) = init_depthwise_(model, "dog", seed=0, gamma=0.5, centres="excitatory")
    assert (report.kernels, report.replaced) == (12, 12)
    expected = torch.from_numpy(dog_kernels(5, 0.5)).to(torch.bfloat16)
    assert torch.equal(model[0].weight[:, 0], expected.expand(12, 5, 5))


# Scale


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("scheme", ["kaiming", "dog"])
@pytest.mark.parametrize("family", ["convnext_atto", "convmixer_small"])
def test_each_scale_does_what_its_name_says(fresh, family, scheme, share):
    model = reset(fresh, family)
    default = depthwise(model)
    drawn = {}
    for scale in ("raw", "unit_l2", "match_default"):
        reset(fresh, family)
        init_depthwise_(model, scheme, seed=0, scale=scale, share=share, **SCHEMES[scheme])
        drawn[scale] = {name: kernels.astype(np.float64) for name, kernels in depthwise(model).items()}
    for name, before in default.items():
        replaced = (drawn["raw"][name] != before).any(axis=(1, 2))
        assert replaced.sum() == round(share * len(before))
        raw, unit, matched = (drawn[scale][name][replaced] for scale in ("raw", "unit_l2", "match_default"))
        norms = np.linalg.norm(raw, axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(unit, raw / norms, rtol=1e-5, atol=1e-7)
        rms = [np.sqrt((kernels.astype(np.float64) ** 2).mean()) for kernels in (matched, before[replaced])]
        np.testing.assert_allclose(rms[0], rms[1], rtol=1e-5)
        factors = np.linalg.norm(matched, axis=(1, 2)) / norms[:, 0, 0]
        np.testing.assert_allclose(factors, factors[0], rtol=1e-5)  # one factor a layer: relative scales stay


def test_the_report_says_what_was_done():
    model = small((6, 3), (10, 7))
    before = depthwise(model)
    reports = init_depthwise_(model, "dog", seed=0, share=0.5, scale="match_default")
    after = depthwise(model)
    assert [(one.layer, one.kernel_size, one.kernels, one.replaced) for one in reports] == [
        ("0", (3, 3), 6, 3),
        ("1", (7, 7), 10, 5),
    ]
    for one in reports:
        taps = after[one.layer].astype(np.float64)
        np.testing.assert_allclose(one.std_before, before[one.layer].astype(np.float64).std(ddof=1), rtol=1e-12)
        np.testing.assert_allclose(one.std_after, taps.std(ddof=1), rtol=1e-12)
        np.testing.assert_allclose(one.mean_l2_after, np.linalg.norm(taps, axis=(1, 2)).mean(), rtol=1e-12)


def test_a_number_scales_what_the_initialisation_draws():
    drawn = []
    for scale in ("raw", 0.25):
        model = small((6, 5))
        init_depthwise_(model, "dog", seed=0, scale=scale)
        drawn.append(depthwise(model)["0"])
    np.testing.assert_array_equal(drawn[1], drawn[0] / 4)


def test_default_reports_that_nothing_was_replaced():
    (report,) = init_depthwise_(small((6, 3)), "default", seed=0)
    assert (report.kernels, report.replaced) == (6, 0)
    assert report.std_before == report.std_after


# Kaiming


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


# Difference of Gaussians


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


# Mistakes


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("dogg", {}, r"unknown initialisation 'dogg' \(did you mean 'dog'\?\); known are default, .*kaiming"),
        ("", {}, "unknown initialisation ''; known are "),
        ("dog", {"gama": 0.5}, r"no option 'gama' \(did you mean 'gamma'\?\)"),
        ("dog", {"distribution": "normal"}, "'dog' has no option 'distribution'; its options are gamma, centres, p$"),
        ("default", {"gamma": 0.5}, "'default' has no option 'gamma'; it has none$"),
        (
            "kaiming",
            {"distribution": "cauchy"},
            "initialisation 'kaiming': distribution must be one of normal, uniform, not 'cauchy'$",
        ),
        ("dog", {"scale": "unit-l2"}, r"scale must be .*not 'unit-l2' \(did you mean 'unit_l2'\?\)"),
        ("dog", {"share": -0.1}, "share, .* must be a number from 0 to 1, not -0.1"),
        ("dog", {"scale": 0.0}, "scale must be .*, or a factor above 0, not 0.0"),
        ("dog", {"layers": "stages.*"}, r"layers=\['stages.\*'\] matches none of its 3 depthwise layers"),
        ("dog", {"depth": 0.5}, "no option 'depth'"),
        ("kaiming", {"mode": "fan_inn"}, r"mode must be one of .*, not 'fan_inn' \(did you mean 'fan_in'\?\)"),
        ("trunc_normal", {"std": 0.0}, "std must be a number above 0, not 0.0"),
        ("box", {"taps": 0}, "taps must be a whole number of at least 1, not 0"),
        ("box", {"taps": 10}, "layer 2: box cannot set 10 taps: a kernel of 3×3 has only 9"),
        ("covariance", {"sigma0": -5.0}, "sigma0 must be a number above 0, not -5"),
        ("covariance", {"velocity": -5.0}, "layer 1: covariance: .* must stay above 0 taps, and is -1.875"),
        ("dog_fitted", {}, "dog_fitted needs fits=…"),
        ("transfer", {}, "transfer needs bank=…"),
        ("transfer", {"bank": "nowhere.parquet"}, "nowhere.parquet: expected a bank table, found no file"),
        ("master_key", {}, "master_key needs filters=…, the path of master_key_filters_8.txt"),
        (
            "master_key",
            {"filters": np.zeros((2, 7))},
            r"filters must be finite and .*, and are of shape \(2, 7\)",
        ),
        (
            "master_key",
            {"filters": np.ones((2, 7, 7))},
            "layer 1: master_key: the filters are 7×7 and these kernels 9×9",
        ),
        (
            "master_key",
            {"filters": np.ones((2, 7, 7)), "resample": True, "a": "1"},
            "a must be a number, .*not '1'",
        ),
        ("gaussian_derivatives", {"shares": [1, 1]}, r"shares must be three numbers .*, not all 0, and are \[1, 1\]"),
        ("gaussian_derivatives", {"shares": [0, 0, 0]}, "shares must be three numbers"),
        ("gaussian_derivatives", {"orientations": []}, "orientations must be a number, a list"),
        ("gaussian_derivatives", {"sigma": -1.0}, "sigma"),
        ("scale_space", {"sigmas": [[1, 1]]}, r"sigmas must be eight pairs, not of shape \(1, 2\)"),
        ("scale_space", {"b": {"cauchy": [0, 1]}}, "b must be a number"),
        ("dog", {"share": 1.5}, "share, .*, not 1.5"),
        ("dog", {"share": float("nan")}, "share, .*, not nan"),
        ("dog", {"seed": -1}, "seed must be .*at least 0, not -1"),
        (
            "dog",
            {"centres": "excitatry"},
            r"centres must be one of .*, not 'excitatry' \(did you mean 'excitatory'\?\)",
        ),
        ("dog", {"centres": True}, "not True"),
        ("dog", {"p": 1.1}, "p must be a number from 0 to 1, not 1.1"),
        ("dog", {"gamma": 0.0}, "layer 0: gamma: .*found 0.0"),
        ("dog", {"gamma": 1.0}, "layer 0: gamma: .*found 1.0"),
        ("dog", {"gamma": float("nan")}, "layer 0: gamma: .*found nan"),
        ("dog", {"gamma": [0.5, 2.0]}, "layer 0: gamma: .*found 2.0"),
        ("dog", {"gamma": []}, r"gamma must be a ratio, a list of ratios, .*not \[\]"),
        ("dog", {"gamma": [[0.5, 0.6]]}, r"gamma must be .*not \[\[0.5, 0.6\]\]"),
        ("dog", {"gamma": "4e-1"}, "gamma must be .*not '4e-1'"),
        ("dog", {"gamma": None}, "layer 0: gamma: .*found nan"),
        ("dog", {"gamma": {"uniform": [0.7, 0.3]}}, r"gamma must be .*not \{'uniform': \[0.7, 0.3\]\}"),
        ("dog", {"gamma": {"uniform": [0.3]}}, "gamma must be .*low ≤ high"),
        ("dog", {"gamma": {"uniform": ["a", "b"]}}, "gamma must be .*low ≤ high"),
        ("dog", {"gamma": {"uniform": [0, 0.5]}}, "gamma must be .*low ≤ high"),
        ("dog", {"gamma": {"normal": [0.3, 0.5]}}, "gamma must be .*low ≤ high"),
        ("dog", {"gamma": {}}, "gamma must be .*low ≤ high"),
        # the last layer is the one that cannot be drawn: the others must stay too
        ("dog", {"gamma": 0.75}, r"layer 2: gamma: expected at most 0.7071 at size 3"),
        # values of another type
        ("dog", {"seed": None}, "seed must be a whole number of at least 0, not None"),
        ("dog", {"seed": 0.5}, "seed must be .*not 0.5"),
        ("dog", {"seed": True}, "seed must be .*not True"),
        ("dog", {"share": "0.5"}, "share, .*, not '0.5'"),
        ("dog", {"share": None}, "share, .*, not None"),
        ("dog", {"scale": None}, "or a factor above 0, not None"),
        ("dog", {"scale": [1]}, r"or a factor above 0, not \[1\]"),
        ("dog", {"depths": 0.5}, r"depths must be \[low, high\] with .*, not 0.5"),
        ("dog", {"depths": ["a", "b"]}, r"depths must be .*not \['a', 'b'\]"),
        ("dog", {"depths": [0, 0.5, 1]}, r"depths must be .*not \[0, 0.5, 1\]"),
        ("dog", {"depths": {"a": 1, "b": 2}}, "depths must be .*not {'a': 1, 'b': 2}"),
        ("dog", {"layers": 5}, "layers must be a pattern of names or a list of them, not 5"),
        ("dog", {"layers": [5]}, r"layers must be .*not \[5\]"),
        ("dog", {"frozen": "no"}, "frozen must be true or false, not 'no'"),
        ("dog", {"p": "a"}, "initialisation 'dog': p must be a number from 0 to 1, not 'a'"),
        ("dog", {"p": np.ones((30, 30))}, "p must be a number from 0 to 1, not array"),
        ("dog", {"centres": ["random"]}, r"centres must be one of .*, not \['random'\]"),
        ("box", {"taps": 2.0}, "taps must be a whole number of at least 1, not 2.0"),
        ("trunc_normal", {"std": "0.02"}, "std must be a number above 0, not '0.02'"),
        ("covariance", {"bank": [1]}, r"bank must be a table or the path of one, not \[1\]"),
        ("transfer", {"bank": "x", "by_layer": "yes"}, "by_layer must be true or false, not 'yes'"),
        ("master_key", {"filters": 5}, "filters must be a path or an array, not 5"),
        ("universal", {"set": "dog", "number": "8"}, "number must be a whole number of at least 1, not '8'"),
        ("universal", {"filters": [1.0, 2.0]}, r"expected filters of shape \(m, k, k\), found \(2,\)"),
        ("gaussian_derivatives", {"orientations": 90}, "orientations must be a list of numbers, not 90"),
        ("scale_space", {"sigmas": [[1, 1], [1]]}, "sigmas must be a list of lists of numbers, not"),
        ("dog", {"layers": lambda layer: False}, "layers=… keeps none of its 3 depthwise layers"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(name, options, expected):
    model = small((4, 7), (4, 9), (4, 3))
    before = copy(model)
    with pytest.raises(EchosError, match=expected) as caught:
        init_depthwise_(model, name, **{"seed": 0, **options})
    assert "\n" not in str(caught.value)
    assert same(before, copy(model))


@pytest.mark.parametrize(
    ("size", "expected"), [(4, "found 4"), (1, "choose a model"), ((3, 5), "square kernels only, and these are 3×5")]
)
def test_kernels_without_a_dog_are_refused_by_name(size, expected):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 4, size, groups=4))
    if size == 1:
        model = model[2:]
    before = copy(model)
    with pytest.raises(EchosError, match=expected) as caught:
        init_depthwise_(model, "dog", seed=0)
    assert size == 1 or "layer 2" in str(caught.value)
    assert same(before, copy(model))


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.Conv2d(3, 8, 3))])
def test_a_model_without_depthwise_layers_is_refused(model):
    with pytest.raises(EchosError, match="has no depthwise convolutions to initialise; choose a model"):
        init_depthwise_(model, "dog", seed=0)


# The registry

PLAIN = [name for name in names() if name not in ("default", "dog_fitted", "transfer", "master_key", "universal")]
NAMES = (
    "box covariance dirac dog dog_fitted gaussian_derivatives impulse kaiming master_key oocs random_frozen scale_space"
)


def test_the_registry_lists_its_names():
    assert names() == ["default", *NAMES.split(), "transfer", "trunc_normal", "universal"]


@pytest.fixture(scope="module")
def lent() -> dict[str, dict[str, object]]:
    """What borrowing initialisations borrow: tables of a small bank with every size that `small` networks below have."""
    rng = np.random.default_rng(0)
    kernels = {k: receptive_fields.dog(k, rng.uniform(0.2, 0.6, 60), rng.choice([-1, 1], 60)) for k in (3, 5, 7, 9)}
    model = small(*[(60, k) for k in kernels])
    with torch.no_grad():
        for module, drawn in zip(model, kernels.values(), strict=True):
            noise = rng.normal(0, 0.02, drawn.shape)
            module.weight.copy_(
                torch.from_numpy((drawn / np.linalg.norm(drawn, axis=(1, 2))[:, None, None] + noise)[:, None])
            )
    bank = bank_from_model(model, "lender")
    fits, _ = receptive_fields.fit_bank(bank, seed=0, threshold=0.7)
    centroids = cluster_bank(bank, k=3, restarts=2, seed=0, threshold=0.7)[1]
    filters = rng.normal(size=(8, 7, 7))
    return {
        "dog_fitted": {"fits": fits},
        "transfer": {"bank": bank},
        "universal": {"set": "ideal", "resample": True},
        "master_key": {"filters": filters, "resample": True, "a": [-1, 1], "b": {"normal": [0, 0.1]}},
        "clustered": {"centroids": centroids},
    }


SWITCHES = [
    {},
    {"share": 0.5, "scale": "match_default"},
    {"scale": "match_default", "frozen": True},
    {"scale": "unit_l2", "layers": "1"},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("name", names())
def test_every_initialisation_is_idempotent_and_touches_only_what_it_says(lent, name, switches):
    model = small((16, 3), (24, 7), (16, 5))
    before = copy(model)
    reports = [init_depthwise_(model, name, seed=2, **lent.get(name, {}), **switches) for _ in range(2)]
    after = [copy(model)]
    init_depthwise_(model, name, seed=2, **lent.get(name, {}), **switches)
    assert same(after[0], copy(model))
    chosen = {"1.weight"} if "layers" in switches else {"0.weight", "1.weight", "2.weight"}
    assert {key for key in before if not torch.equal(before[key], after[0][key])} == (
        chosen if name != "default" else set()
    )
    assert all(torch.isfinite(value).all() for value in after[0].values())
    frozen = switches.get("frozen", name in ("oocs", "random_frozen"))
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad == (key not in chosen or not frozen)
    assert [(one.layer, one.kernels, one.frozen) for one in reports[0]] == [
        (key.split(".")[0], len(before[key]), frozen) for key in sorted(chosen)
    ]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("k", [3, 5, 7, 9])
def test_kernels_are_drawn_without_a_model_too(name, k):
    kernels = draw_kernels(name, 50, k, seed=0)
    assert kernels.shape == (50, k, k)
    assert np.isfinite(kernels).all()
    np.testing.assert_array_equal(kernels, draw_kernels(name, 50, k, seed=0))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *[(name, size) for name in ("kaiming", "impulse", "box", "random_frozen") for size in (2, 4, (1, 11), (3, 5))],
        *[(name, size) for name in ("trunc_normal", "gaussian_derivatives") for size in (2, 4, (3, 5))],
    ],
)
def test_even_and_rectangular_kernels_are_drawn_where_that_makes_sense(name, size):
    options = {"taps": 2} if name == "box" else {}
    assert draw_kernels(name, 5, size, seed=0, **options).shape == (5, *np.broadcast_to(size, 2))


@pytest.mark.parametrize("name", ["dog", "oocs", "dirac", "scale_space"])
@pytest.mark.parametrize("k", [2, 6])
def test_an_even_size_is_refused_where_a_centre_is_needed(name, k):
    with pytest.raises(EchosError, match=f"found {k}|are {k}×{k}"):
        draw_kernels(name, 5, k, seed=0)


@pytest.mark.parametrize("name", PLAIN)
def test_a_single_tap_is_no_kernel(name):
    with pytest.raises(EchosError, match="at least two taps, and these are 1×1"):
        draw_kernels(name, 5, 1, seed=0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("default", 5, 3), "keeps what a model has"),
        (("dog_fited", 5, 3), r"did you mean 'dog_fitted'"),
    ],
)
def test_what_cannot_be_drawn_without_a_model_is_said(arguments, expected):
    with pytest.raises(EchosError, match=expected):
        draw_kernels(*arguments, seed=0)
    with pytest.raises(EchosError, match="'dog' does not ask for the fact 'depth' of a layer, none at all"):
        draw_kernels("dog", 5, 3, seed=0, depth=0.5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"seed": None}, "seed must be a whole number of at least 0, not None"),
        ({"seed": -1}, "seed must be .*not -1"),
        ({"seed": 0.5}, "seed must be .*not 0.5"),
        ({"n": -1}, "n must be a whole number of kernels, not -1"),
        ({"n": 2.0}, "n must be .*not 2.0"),
        ({"k": "7"}, r"k must be a whole number or \(height, width\), not '7'"),
        ({"k": 7.0}, "k must be .*not 7.0"),
        ({"k": (7,)}, r"k must be .*not \(7,\)"),
        ({"k": (7, None)}, r"k must be .*not \(7, None\)"),
    ],
)
def test_a_number_size_or_seed_that_is_none_is_one_sentence(given, expected):
    with pytest.raises(EchosError, match=expected):
        draw_kernels("dog", **{"n": 5, "k": 7, "seed": 0, **given})


def test_integers_of_numpy_are_numbers_sizes_and_seeds_too():
    expected = draw_kernels("dog", 5, 7, seed=3)
    five, seven, three = np.array([5, 7, 3])
    np.testing.assert_array_equal(draw_kernels("dog", five, seven, seed=three), expected)
    np.testing.assert_array_equal(draw_kernels("dog", five, np.array([7, 7]), seed=three), expected)


def test_freezing_can_be_lifted_again_and_keeps_biases_trainable():
    model = small((6, 3))
    init_depthwise_(model, "oocs", seed=0)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True]
    (report,) = init_depthwise_(model, "dog", seed=0)
    assert report.frozen  # another draw leaves the switch where it is
    init_depthwise_(model, "dog", seed=0, frozen=False)
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, True]
    init_depthwise_(model, "default", seed=0, frozen=True)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True]


def test_share_0_replaces_nothing():
    model = small((6, 3))
    before = copy(model)
    (report,) = init_depthwise_(model, "dog", seed=0, share=0.0)
    assert report.replaced == 0
    assert same(before, copy(model))


def test_layers_are_chosen_by_patterns_of_their_names(fresh):
    model = reset(fresh, "convnext_atto")
    by_pattern = [
        one.layer for one in init_depthwise_(model, "dirac", seed=0, layers=["stages.0.*", "stages.3.blocks.1.*"])
    ]
    assert by_pattern == ["stages.0.blocks.0.conv_dw", "stages.0.blocks.1.conv_dw", "stages.3.blocks.1.conv_dw"]


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_patterns_choose_layers_of_a_compiled_or_wrapped_model_by_their_own_names(wrap):
    plain, model = small((4, 7), (4, 9), (4, 7)), small((4, 7), (4, 9), (4, 7))
    assert len(init_depthwise_(plain, "dog", seed=0, layers=["1*", "2"])) == 2
    assert len(init_depthwise_(wrap(model), "dog", seed=0, layers=["1*", "2"])) == 2
    assert same(copy(plain), copy(model.cpu()))
    bank = bank_from_model(plain, "lender")
    init_depthwise_(wrap(model), "transfer", seed=0, bank=bank, by_layer=True)
    assert same(copy(plain), copy(model.cpu()))


def test_a_model_without_weights_in_memory_is_refused():
    with torch.device("meta"):
        model = nn.Conv2d(4, 4, 3, groups=4)
    with pytest.raises(EchosError, match="is on the meta device"):
        init_depthwise_(model, "dog", seed=0)


@pytest.mark.parametrize(
    "change",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.spectral_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ],
    ids=["weight_norm", "spectral_norm", "old spectral_norm", "prune"],
)
@pytest.mark.parametrize("frozen", [None, True])
def test_a_weight_computed_from_others_is_refused_before_any_change(change, frozen):
    model = small((4, 7), (4, 9))
    change(model[1])
    before = copy(model)
    with pytest.raises(EchosError, match=r"layer 1: its weight is computed from others .*the parametrisation first"):
        init_depthwise_(model, "dog", seed=0, frozen=frozen)
    assert same(before, copy(model))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert [one.replaced for one in init_depthwise_(model, "dog", seed=0, frozen=frozen, layers="0")] == [4]


def test_a_weight_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        model = small((4, 7))
    with pytest.raises(EchosError, match=r"layer 0: .*was made in inference mode .*; make the model outside"):
        init_depthwise_(model, "dog", seed=0)


# Single initialisations, against what their papers say


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
    with pytest.raises(EchosError, match="depthwise kernels of 11×11, only of 3×3, 5×5, 7×7, 9×9"):
        draw_kernels("covariance", 5, 11, seed=0, bank=bank)


@pytest.mark.parametrize(("k", "gamma"), [(3, 0.5), (5, 2 / 3), (7, 2 / 3)])
def test_oocs_alternates_its_fixed_kernels(k, gamma):
    kernels = draw_kernels("oocs", 4, k, seed=0)
    on = receptive_fields.dog(k, gamma)
    np.testing.assert_array_equal(kernels, [on, -on, on, -on])


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
        EchosError, match=r"11×11 that is a centre \(0 kernels of that size; the sizes are 3×3, 5×5, 7×7, 9×9\)"
    ):
        draw_kernels("dog_fitted", 5, 11, seed=0, **lent["dog_fitted"])


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
        EchosError, match="depthwise kernels of 11×11, only of 3×3, 5×5, 7×7, 9×9; take another bank, resample"
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
    with pytest.raises(EchosError, match="there are no clusters of depthwise kernels of 11×11"):
        draw_kernels("gaussian_derivatives", 5, 11, seed=0, centroids=lent["clustered"]["centroids"])
    with pytest.raises(EchosError, match=r"a cosine of 1\.0; the best is 0\.99"):
        draw_kernels("gaussian_derivatives", 5, 7, seed=0, centroids=lent["clustered"]["centroids"], least=1.0)
