"""Wrong names, options and values: one sentence, and the model stays as it was."""

import numpy as np
import pytest
from networks import copy, same, small
from torch import nn

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos.errors import EchosError
from neural_echos.initialisations import init_depthwise_


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
        ("box", {"taps": 10}, "layer 2: box cannot set 10 taps: a 3×3 kernel has only 9"),
        ("covariance", {"sigma0": -5.0}, "sigma0 must be a number above 0, not -5"),
        ("covariance", {"velocity": -5.0}, "layer 1: covariance: .* must be above 0 taps, not -1.875"),
        ("dog_fitted", {}, "dog_fitted needs the option fits"),
        ("transfer", {}, "transfer needs the option bank"),
        ("transfer", {"bank": "nowhere.parquet"}, "nowhere.parquet: there is no such bank table"),
        ("master_key", {}, "master_key needs the option filters: the path of master_key_filters_8.txt"),
        (
            "master_key",
            {"filters": np.zeros((2, 7))},
            r"filters must be finite and .*, not \(2, 7\)",
        ),
        (
            "master_key",
            {"filters": np.ones((2, 7, 7))},
            "layer 1: master_key: the filters are 7×7 but the kernels are 9×9",
        ),
        (
            "master_key",
            {"filters": np.ones((2, 7, 7)), "resample": True, "a": "1"},
            "a must be a number, .*not '1'",
        ),
        (
            "gaussian_derivatives",
            {"shares": [1, 1]},
            r"shares must be three non-negative numbers, not all 0, but are \[1, 1\]",
        ),
        ("gaussian_derivatives", {"shares": [0, 0, 0]}, "shares must be three non-negative numbers"),
        ("gaussian_derivatives", {"orientations": []}, "orientations must be a number, a list"),
        ("gaussian_derivatives", {"sigma": -1.0}, "sigma"),
        ("scale_space", {"sigmas": [[1, 1]]}, r"sigmas must be eight pairs, not an array of shape \(1, 2\)"),
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
        ("dog", {"gamma": 0.0}, "layer 0: gamma must lie strictly between 0 and 1, not 0.0"),
        ("dog", {"gamma": 1.0}, "layer 0: gamma must lie strictly between 0 and 1, not 1.0"),
        ("dog", {"gamma": float("nan")}, "layer 0: gamma must lie strictly between 0 and 1, not nan"),
        ("dog", {"gamma": [0.5, 2.0]}, "layer 0: gamma must lie strictly between 0 and 1, not 2.0"),
        ("dog", {"gamma": []}, r"gamma must be a ratio, a list of ratios, .*not \[\]"),
        ("dog", {"gamma": [[0.5, 0.6]]}, r"gamma must be .*not \[\[0.5, 0.6\]\]"),
        ("dog", {"gamma": "4e-1"}, "gamma must be .*not '4e-1'"),
        ("dog", {"gamma": None}, "layer 0: gamma must lie strictly between 0 and 1, not nan"),
        ("dog", {"gamma": {"uniform": [0.7, 0.3]}}, r"gamma must be .*not \{'uniform': \[0.7, 0.3\]\}"),
        ("dog", {"gamma": {"uniform": [0.3]}}, "gamma must be .*low ≤ high"),
        ("dog", {"gamma": {"uniform": ["a", "b"]}}, "gamma must be .*low ≤ high"),
        ("dog", {"gamma": {"uniform": [0, 0.5]}}, "gamma must be .*low ≤ high"),
        ("dog", {"gamma": {"normal": [0.3, 0.5]}}, "gamma must be .*low ≤ high"),
        ("dog", {"gamma": {}}, "gamma must be .*low ≤ high"),
        # the last layer is the one that cannot be drawn: the others must stay too
        ("dog", {"gamma": 0.75}, "layer 2: gamma must be at most 0.7071 at size 3, not 0.75"),
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
        ("universal", {"filters": [1.0, 2.0]}, r"filter set eight must have shape \(m, k, k\), not \(2,\)"),
        ("gaussian_derivatives", {"orientations": 90}, "orientations must be a list of numbers, not 90"),
        ("scale_space", {"sigmas": [[1, 1], [1]]}, "sigmas must be a list of lists of numbers, not"),
        ("dog", {"layers": lambda layer: False}, "layers=… selects none of its 3 depthwise layers"),
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
    ("size", "expected"),
    [(4, "at least 3, not 4"), (1, "choose a model"), ((3, 5), "square kernels only, not 3×5")],
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
