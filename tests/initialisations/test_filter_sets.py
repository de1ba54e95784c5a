"""Filter sets, and the best filter of each kernel."""

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neural_echos import architectures
from neural_echos.errors import EchosError
from neural_echos.initialisations import initialise_, universal_filters
from neural_echos.initialisations.assignment import assign
from neural_echos.initialisations.filter_sets import SETS, make_filter_set
from neural_echos.initialisations.filters import checked
from neural_echos.initialisations.parametrised import reparameterise_
from neural_echos.initialisations.universal_filters import describe_universal
from neural_echos.kernels import bank_from_model
from neural_echos.receptive_fields import ideal
from neural_echos.structure.autoencoder import Settings

SMALL = {"dim": 12, "depth": 2, "kernel_size": 7, "patch_size": 4}


def network(kind: str = "convmixer_small", **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    return architectures.create(kind, num_classes=3, in_chans=1, kwargs=SMALL | kwargs).eval()


@pytest.fixture(scope="module")
def filters() -> np.ndarray:
    return make_filter_set({"set": "random", "number": 5}, seed=3)


def test_the_best_filter_of_each_kernel_is_that_of_brute_force(filters):
    kernels = np.random.default_rng(1).normal(2, 3, (40, 7, 7)).astype(np.float32)
    found = assign(kernels, filters)
    for place, kernel in enumerate(kernels.astype(np.float64).reshape(40, -1)):
        solved = [np.linalg.lstsq(np.stack([x.ravel(), np.ones(49)], 1), kernel, rcond=None) for x in filters]
        best = min(range(5), key=lambda one: solved[one][1][0])
        assert found.index[place] == best
        np.testing.assert_allclose([found.a[place], found.b[place]], solved[best][0], rtol=1e-9)
        assert found.error[place] == pytest.approx(np.sqrt(solved[best][1][0]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x[:0], "must have shape (m, k, k), not (0, 7, 7)"),
        (lambda x: np.concatenate([x, np.zeros((1, 7, 7))]), "filter 5 is zero"),
        (lambda x: np.concatenate([x, np.full((1, 7, 7), 0.3)]), "filter 5 is constant"),
        (lambda x: np.concatenate([x, x[1:2]]), "filters 1 and 5 are the same"),
        (lambda x: np.concatenate([x, 0.2 - 3 * x[2:3]]), "filters 2 and 5 are the same"),
        (lambda x: np.where(np.arange(7) == 3, np.nan, x), "NaN or infinity"),
    ],
)
def test_a_set_that_is_none_is_one_sentence(filters, change, said):
    with pytest.raises(EchosError, match=re.escape(said)):
        checked("candidates", change(filters))


def test_every_set_is_centred_of_unit_norm_and_the_same_again(monkeypatch):
    monkeypatch.setattr("neural_echos.structure.autoencoder.Settings", partial(Settings, steps=20))
    bank = bank_from_model(network(dim=40), "m")
    more = {"number": 4, "bank": bank, "filters": np.random.default_rng(0).normal(size=(8, 7, 7))}
    for name, (_, needs) in SETS.items():
        declared = {"set": name, **{key: more[key] for key in needs}}
        made = make_filter_set(declared, seed=1)
        assert len(made) == (4 if "number" in needs else 8)
        np.testing.assert_allclose(made.mean(axis=(1, 2)), 0, atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(made, axis=(1, 2)), 1)
        assert (make_filter_set(declared, seed=1) == made).all()
        assert checked(name, made).shape == made.shape
    assert not np.allclose(*(make_filter_set({"set": "random", "number": 2}, seed=seed) for seed in (0, 1)))


def test_ideal_filters_come_at_the_scales_of_both_methods():
    default, published, released = (
        make_filter_set({"set": "ideal", **method}) for method in ({}, {"method": "D1"}, {"method": "B"})
    )
    np.testing.assert_array_equal(default, published)
    alike = np.einsum("nij,nij->n", published, released)
    assert alike[6] == pytest.approx(1)  # filter 7 has no fit B
    assert (alike > 0.97).all()
    assert (np.delete(alike, 6) < 0.99999).all()
    np.testing.assert_allclose(released[4], checked("δ_x T", ideal(5, 7, 1.107, 0.945)[None])[0])


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"set": "radnom", "number": 8}, "did you mean 'random'?"),
        ({"set": "random"}, "filter set random needs the setting 'number'"),
        ({"set": "ideal", "method": "A"}, "method must be D1 or B, not 'A'"),
        ({"set": "random", "number": 2, "method": "B"}, "filter set random has no method"),
        ({"set": "random", "number": 0}, "number must be at least 1, not 0"),
        ({"set": "random", "nmber": 8}, "did you mean 'number'?"),
        ({"set": "eight", "filters": "absent.txt"}, "absent.txt: the file of eight filters cannot be read"),
    ],
)
def test_a_set_that_cannot_be_made_is_one_sentence(declared, said):
    with pytest.raises(EchosError, match=re.escape(said)):
        make_filter_set(declared)


def test_all_layers_and_the_description_share_one_set(monkeypatch):
    made = []
    monkeypatch.setattr(
        universal_filters,
        "make_filter_set",
        lambda *given, **more: made.append(make_filter_set(*given, **more)) or made[0],
    )
    declared = {"scheme": "universal", "set": "centroids", "number": 3, "bank": bank_from_model(network(), "m")}
    model, shared = network(), {}
    did = initialise_(model, declared, seed=1, shared=shared)
    described = describe_universal(declared, 1, shared)
    assert len(made) == 1
    assert described == describe_universal(declared, 1) and len(made) == 2
    reparameterise_(model, {"universal": described, "did": [vars(entry) for entry in did]})
