"""Initialisations: the draws are the ones declared, nothing else in a model changes, and mistakes change nothing."""

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos.errors import EchosError
from neural_echos.initialisations import dog, init_depthwise_, kaiming, names
from neural_echos.kernels import layers_of
from neural_echos.receptive_fields import dog as dog_kernels

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
        np.testing.assert_allclose(matched.std(ddof=1), before.astype(np.float64).std(ddof=1), rtol=1e-6)
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


def test_match_default_keeps_the_reported_deviation_of_a_whole_layer():
    for one in init_depthwise_(small((6, 3), (10, 7)), "kaiming", seed=0, scale="match_default"):
        assert one.std_after == pytest.approx(one.std_before, rel=1e-6)


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
        ("dogg", {}, r"initialisation 'dogg': .*default, dog, kaiming \(did you mean 'dog'\?\)"),
        ("", {}, "initialisation ''"),
        ("dog", {"gama": 0.5}, r"found 'gama' \(did you mean 'gamma'\?\)"),
        ("dog", {"distribution": "normal"}, "expected options among .*'gamma', 'centres', 'p'.*found 'distribution'"),
        ("default", {"gamma": 0.5}, "expected options among none, found 'gamma'"),
        (
            "kaiming",
            {"distribution": "cauchy"},
            "layer 0: kaiming: expected distribution 'normal' or 'uniform', found 'cauchy'",
        ),
        ("dog", {"scale": "unit-l2"}, r"scale: .*found 'unit-l2' \(did you mean 'unit_l2'\?\)"),
        ("dog", {"share": 0}, r"share: .*\(0, 1\], found 0"),
        ("dog", {"share": 1.5}, "share: .*found 1.5"),
        ("dog", {"share": float("nan")}, "share: .*found nan"),
        ("dog", {"seed": -1}, "seed: .*at least 0, found -1"),
        ("dog", {"centres": "excitatry"}, r"layer 0: dog: .*found 'excitatry' \(did you mean 'excitatory'\?\)"),
        ("dog", {"centres": True}, "found True"),
        ("dog", {"p": 1.1}, r"p, the probability of an excitatory centre, in \[0, 1\], found 1.1"),
        ("dog", {"gamma": 0.0}, "layer 0: gamma: .*found 0.0"),
        ("dog", {"gamma": 1.0}, "layer 0: gamma: .*found 1.0"),
        ("dog", {"gamma": float("nan")}, "layer 0: gamma: .*found nan"),
        ("dog", {"gamma": [0.5, 2.0]}, "layer 0: gamma: .*found 2.0"),
        ("dog", {"gamma": []}, r"gamma: expected a ratio, a list of ratios, .*found \[\]"),
        ("dog", {"gamma": [[0.5, 0.6]]}, r"gamma: .*found \[\[0.5, 0.6\]\]"),
        ("dog", {"gamma": "4e-1"}, "gamma: .*found '4e-1'"),
        ("dog", {"gamma": None}, "layer 0: gamma: .*found nan"),
        ("dog", {"gamma": {"uniform": [0.7, 0.3]}}, r"gamma: .*found \{'uniform': \[0.7, 0.3\]\}"),
        ("dog", {"gamma": {"uniform": [0.3]}}, "gamma: .*low ≤ high"),
        ("dog", {"gamma": {"uniform": ["a", "b"]}}, "gamma: .*low ≤ high"),
        ("dog", {"gamma": {"uniform": [0, 0.5]}}, "gamma: .*low ≤ high"),
        ("dog", {"gamma": {"normal": [0.3, 0.5]}}, "gamma: .*low ≤ high"),
        ("dog", {"gamma": {}}, "gamma: .*low ≤ high"),
        # the last layer is the one that cannot be drawn: the others must stay too
        ("dog", {"gamma": 0.75}, r"layer 2: gamma: expected at most 0.7071 at size 3"),
        ("dog", {"layers": lambda layer: False}, "found none that layers=… keeps"),
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
    ("size", "expected"), [(4, "found 4"), (1, "choose a model"), ((3, 5), "a square kernel, found 3×5")]
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
    with pytest.raises(EchosError, match="expected depthwise convolutions to initialise, found none; choose a model"):
        init_depthwise_(model, "dog", seed=0)


def test_the_registry_lists_its_names():
    assert names() == ["default", "dog", "kaiming"]
