"""Initialisations as a config declares them: one way to draw any of them, and one place that knows their options."""

import copy
from typing import Literal

import pytest
import torch
from torch import nn

from neural_echos.errors import EchosError
from neural_echos.initialisations import (
    borrowed_files,
    borrowed_options,
    init_depthwise_,
    init_pointwise_,
    initialise_,
    names,
    scheme_options,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 4, 5, groups=4), nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6))


@pytest.mark.parametrize(
    ("declared", "drawn"),
    [
        ({"scheme": "dog", "gamma": 0.4}, lambda model: init_depthwise_(model, "dog", seed=3, gamma=0.4)),
        ({"scheme": "oocs", "share": 0.5}, lambda model: init_depthwise_(model, "oocs", seed=3, share=0.5)),
        ({"scheme": "pointwise", "rows": "own"}, lambda model: init_pointwise_(model, seed=3, rows="own")),
        ({"scheme": "default", "frozen": True}, lambda model: init_depthwise_(model, "default", seed=3, frozen=True)),
    ],
)
def test_a_declared_initialisation_does_what_its_function_does(declared, drawn):
    model, other = network(), network()
    given = copy.deepcopy(declared)
    assert initialise_(model, declared, seed=3) == drawn(other)
    assert declared == given
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.requires_grad == theirs.requires_grad


def test_the_default_needs_no_depthwise_layer_but_its_options_are_checked():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert initialise_(model, {"scheme": "default", "share": 1.0, "scale": "raw"}, seed=0) == []
    with pytest.raises(EchosError, match="no option 'gamma'"):
        initialise_(model, {"scheme": "default", "gamma": 0.5}, seed=0)
    with pytest.raises(EchosError, match="no depthwise convolutions"):
        initialise_(model, {"scheme": "default", "frozen": True}, seed=0)


def test_every_scheme_has_its_options_with_defaults_and_types():
    options = scheme_options()
    assert set(options) == {*names(), "pointwise"}
    assert not options["default"]
    assert list(options["dog"]) == ["gamma", "centres", "p"]
    assert options["dog"]["gamma"].default == 0.5
    assert options["dog"]["centres"].annotation == Literal["excitatory", "inhibitory", "alternating", "random"]
    assert list(options["transfer"]) == ["bank", "by_depth", "by_layer", "taps", "resample"]  # no facts of a layer
    assert options["pointwise"]["rows"].default == "kept"


def test_what_a_scheme_borrows_follows_from_its_signature():
    found = {scheme: borrowed_options(scheme) for scheme in scheme_options()}
    assert {scheme: options for scheme, options in found.items() if options} == {
        "transfer": {"bank": "model"},
        "covariance": {"bank": "model"},
        "dog_fitted": {"fits": "model"},
        "gaussian_derivatives": {"centroids": "model"},
        "pointwise": {"weights": "model"},
        "master_key": {"filters": "input"},
        "universal": {"filters": "input", "bank": "model"},
    }
    with pytest.raises(EchosError, match=r"unknown scheme 'transfr' \(did you mean 'transfer'\?\)"):
        borrowed_options("transfr")


def test_files_are_those_of_borrowed_options_only():
    assert borrowed_files({"scheme": "transfer", "bank": "a.parquet", "taps": "kept"}) == {"bank": "a.parquet"}
    assert borrowed_files({"scheme": "universal", "set": "eight", "filters": "f.txt"}) == {"filters": "f.txt"}
    assert borrowed_files({"scheme": "covariance"}) == {}
