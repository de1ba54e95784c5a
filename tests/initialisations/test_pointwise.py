"""Pointwise weights: taken from another model, shuffled by rows, or kept, and frozen."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mixers import depthwise, network, trainable
from neural_echos.errors import EchosError
from neural_echos.initialisations import init_pointwise_, pointwise_layers
from neural_echos.kernels import layers_of


@pytest.mark.parametrize("model", ["convmixer_small", "convnext_small_images", "mobilenetv2_small_images"])
def test_pointwise_layers_are_all_but_the_spatial_ones_and_the_classifier(model):
    found = network(0, model)
    names = {layer.name for layer in pointwise_layers(found)}
    spatial = {layer.name for layer in layers_of(found)}
    mixing = {name for name, m in found.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    head = next(name for name, module in found.named_modules() if module is found.get_classifier())
    assert names == mixing - spatial - {head}


@pytest.mark.parametrize("rows", ["kept", "shuffled", "own"])
def test_pointwise_weights_are_taken_shuffled_by_rows_or_kept_and_frozen(rows, tmp_path):
    source, target = network(0), network(1)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    before, kernels = {k: v.clone() for k, v in target.state_dict().items()}, depthwise(target)
    report = init_pointwise_(target, seed=0, weights=tmp_path / "weights.safetensors", rows=rows)
    frozen = {f"{entry.layer}.weight" for entry in report}
    assert frozen == {f"blocks.{number}.1.weight" for number in range(4)}
    assert {name for name, _ in target.named_parameters()} - trainable(target) == frozen
    for name in frozen:
        ours, theirs = target.state_dict()[name][:, :, 0, 0], source.state_dict()[name][:, :, 0, 0]
        if rows == "own":
            assert torch.equal(ours, before[name][:, :, 0, 0])
        else:
            assert torch.equal(ours, theirs) == (rows == "kept")
            assert {row.numpy().tobytes() for row in ours} == {row.numpy().tobytes() for row in theirs}
    for mine, ours in zip(kernels, depthwise(target), strict=True):
        np.testing.assert_array_equal(mine, ours)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "pointwise needs the option weights: the weights of a trained model"),
        (
            {"weights": "absent.safetensors"},
            "absent.safetensors cannot be read as the weights of a model (",
        ),
        ({"weights": {}}, "there is no tensor blocks.0.1.weight"),
        (
            {"weights": {"blocks.0.1.weight": np.zeros((2, 2))}},
            "blocks.0.1.weight has shape (2, 2), not (12, 12, 1, 1); use the weights of a model of the same",
        ),
        ({"rows": "mixed"}, "rows must be one of kept, shuffled, own, not 'mixed'"),
        ({"rows": "own", "depths": 0.5}, "depths must be [low, high] with 0 ≤ low ≤ high ≤ 1, not 0.5"),
        ({"rows": "own", "frozen": "no"}, "frozen must be true or false, not 'no'"),
        ({"weights": [1]}, "weights must be a path or a mapping of arrays, not [1]"),
        ({"rows": "own", "share": 0.5}, "has no option 'share'; its options are weights, rows, depths, frozen"),
    ],
)
def test_pointwise_weights_that_do_not_fit_are_one_sentence(options, expected):
    target = network(1)
    before = target.state_dict()["blocks.0.1.weight"].clone()
    with pytest.raises(EchosError) as told:
        init_pointwise_(target, seed=0, **options)
    assert expected in str(told.value)
    assert torch.equal(before, target.state_dict()["blocks.0.1.weight"])


def test_pointwise_weights_of_compiled_and_wrapped_models_are_taken_and_given():
    source, plain, compiled = network(0), network(1), torch.compile(network(1))
    lent = {f"module._orig_mod.{name}": tensor.numpy() for name, tensor in source.state_dict().items()}
    for target in (plain, compiled):
        assert len(init_pointwise_(target, seed=0, weights=lent)) == 4
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, compiled.state_dict()[f"_orig_mod.{name}"])
        assert torch.equal(tensor, source.state_dict()[name]) or not name.endswith(".1.weight")


def test_a_pointwise_weight_computed_from_others_is_refused():
    target = network(1)
    torch.nn.utils.parametrizations.weight_norm(target.get_submodule(pointwise_layers(target)[-1].name))
    with pytest.raises(EchosError, match="its weight is computed from others and cannot be changed in place"):
        init_pointwise_(target, seed=0, rows="own")
    assert trainable(target) == {name for name, _ in target.named_parameters()}
