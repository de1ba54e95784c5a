"""What `init_depthwise_` changes in a model, what it leaves alone, and what it reports."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import FAMILIES, SCHEMES, copy, depthwise, reset, same, small
from torch import nn
from torch.nn.utils import prune

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos.errors import EchosError
from neural_echos.initialisations import init_depthwise_, names
from neural_echos.kernels import bank_from_model, layers_of
from neural_echos.receptive_fields import dog as dog_kernels


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


def test_a_scale_that_is_not_finite_is_not_matched():
    model = small((6, 3))
    with torch.no_grad():
        model[0].weight[2] = torch.nan
    with pytest.raises(
        EchosError, match="layer 0: its kernels contain NaN or infinity, so their scale cannot be matched"
    ):
        init_depthwise_(model, "dog", seed=0, scale="match_default")
    init_depthwise_(model, "dog", seed=0)
    assert model[0].weight.isfinite().all()


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
    if name == "scale_space_sigmas" and "share" in switches:
        with pytest.raises(EchosError, match="set share to 1"):
            init_depthwise_(model, name, seed=2, **switches)
        return
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
    with pytest.raises(EchosError, match=r"layer 0: .*was created in inference mode .*; create the model outside"):
        init_depthwise_(model, "dog", seed=0)
