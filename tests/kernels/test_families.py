"""Every timm family with depthwise kernels takes every initialisation that its kernel sizes allow, and nothing else changes.

The families are those of the shipped survey; of each, the smallest architecture stands for all. Weights are not timm's (drawing
677 million would take minutes) but a fixed pattern of bytes: what must stay has to stay whatever it is.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from neural_echos.errors import EchosError
from neural_echos.initialisations import init_depthwise_
from neural_echos.kernels import Layer, layers_of

SURVEY = Path(__file__).resolve().parents[2] / "config/survey.csv"


def smallest() -> dict[str, str]:
    """Name the architecture with fewest parameters of each family."""
    with SURVEY.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (int(row["parameters"]), row["architecture"]))
    return {row["family"]: row["architecture"] for row in reversed(rows)}


FAMILIES = smallest()


def built(architecture: str) -> nn.Module:
    """Build an architecture with every float of its state set to a value that depends on its place."""
    with torch.device("meta"):
        model = timm.create_model(architecture)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for index, value in enumerate(model.state_dict().values()):
            value.fill_(0.01 * (index % 7 + 1))
            value.view(-1)[: min(3, value.numel())] = index % 5
    return model


def has_centre(layer: Layer) -> bool:
    return layer.kernel_height == layer.kernel_width and layer.kernel_height % 2 == 1


def test_the_survey_has_the_families_of_timm():
    assert len(FAMILIES) >= 50
    assert {"convnext", "convmixer", "efficientnet", "mobilenetv3", "inception_next", "xception"} <= set(FAMILIES)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_is_initialised_and_all_else_stays_bit_for_bit(family):
    model = built(FAMILIES[family])
    layers = [layer for layer in layers_of(model) if layer.kind == "depthwise"]
    names = [layer.name for layer in layers]
    kernels = {f"{name}.weight" for name in names}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainable = {key: parameter.requires_grad for key, parameter in model.named_parameters()}

    reports = init_depthwise_(model, "kaiming", seed=1)
    assert [(one.layer, one.replaced == one.kernels) for one in reports] == [(name, True) for name in names]
    after = model.state_dict()
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed >= kernels
    assert all(after[key].data_ptr() in {after[one].data_ptr() for one in kernels} for key in changed)  # shared modules
    once = {key: after[key].clone() for key in kernels}
    init_depthwise_(model, "kaiming", seed=1)
    assert all(torch.equal(once[key], model.state_dict()[key]) for key in kernels)
    assert {key: parameter.requires_grad for key, parameter in model.named_parameters()} == trainable

    centred = [layer.name for layer in layers if has_centre(layer)]
    if centred:
        reports = init_depthwise_(model, "dog", seed=1, layers=has_centre, gamma={"uniform": [0.3, 0.7]}, frozen=True)
        assert [one.layer for one in reports] == centred
        for name in centred:
            weight = model.get_submodule(name).weight
            np.testing.assert_allclose(weight.detach().sum(dim=(2, 3)), 0, atol=1e-5)
            assert not weight.requires_grad
    if len(centred) < len(layers):
        with pytest.raises(EchosError, match=r"layer .*(draws square kernels only|odd kernel size)"):
            init_depthwise_(model, "dog", seed=1)
