"""Trainings in which kernels are functions of two scales and a bias: what changes, what is written, and that runs resume."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_runs import FEW, Warn, build, digests
from torch import nn

from neural_echos.datasets import save_dataset
from neural_echos.errors import Preempted
from neural_echos.files import read_json, write_json, write_tensors
from neural_echos.initialisations import initialise_
from neural_echos.initialisations.parametrised import describe, reparameterise_
from neural_echos.kernels import layers_of, layers_to_json
from neural_echos.training import Recipe, runs
from neural_echos.training.cpu_layers import fast_layers
from neural_echos.training.preparation import make_optimizer

KWARGS = {"dim": 16, "depth": 1, "kernel_size": 5, "patch_size": 2}
LAYER, CPU = "blocks.0.0.fn.0", torch.device("cpu")
SIGMAS = {"scheme": "scale_space_sigmas"}
RECIPE = Recipe(epochs=2, batch_size=64, lr=0.02, ema_decay=0.5, channels_last=True)
NAMES = {"dataset": "digits", "architecture": "mixer", "initialisation": "sigmas"}


def start(declared: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """A network with its initial weights, and what the JSON beside them says."""
    model = build(**KWARGS)
    report = initialise_(model, declared, seed=0)
    made = {"model": "convmixer_small", "kwargs": KWARGS, "seed": 0, "layers": layers_to_json(layers_of(model))}
    return model, made | {"did": [vars(entry) for entry in report]} | describe(declared, 0)


def do_run(folder: Path, declared: dict[str, Any], name: str = "run", recipe: Recipe = RECIPE, **options: Any) -> None:
    model, made = start(declared)
    write_tensors(folder / "0.safetensors", model.state_dict())
    write_json(folder / "0.json", made)
    save_dataset(folder / "data.safetensors", FEW, {})
    given = {"data_file": folder / "data.safetensors", "labels": NAMES, "device": "cpu", **options}
    runs.train_run(folder / "0.safetensors", folder / name, FEW, recipe, **given)


def kernels_of_run(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Kernels (n, k, k) before and after training."""
    files = folder / "0.safetensors", folder / "run" / "weights.safetensors"
    before, after = (load_file(file)[f"{LAYER}.weight"][:, 0].double().numpy() for file in files)
    return before, after


def spread(kernels: np.ndarray) -> np.ndarray:
    """Standard deviation over the taps of each kernel."""
    return kernels.std(axis=(1, 2))


@pytest.mark.parametrize("learn", ["sigmas_and_bias", "bias"])
def test_scales_and_biases_move_kernels_and_weights_are_written_as_plain_ones(tmp_path, learn):
    do_run(tmp_path, SIGMAS | {"learn": learn})
    before, after = kernels_of_run(tmp_path)
    assert np.abs((after - before).mean(axis=(1, 2))).min() > 1e-4
    assert (spread(after - before) > 1e-4).all() == (learn == "sigmas_and_bias")
    assert (spread(after - before) < 1e-6).all() == (learn == "bias")
    assert load_file(tmp_path / "run/weights.safetensors").keys() == load_file(tmp_path / "0.safetensors").keys()
    plain, taps = sum(one.numel() for one in build(**KWARGS).parameters()), 16 * 25
    assert read_json(tmp_path / "run/metrics.json")["parameters"] == plain - taps + 3 * 16


def test_the_scales_of_a_run_are_told(tmp_path):
    do_run(tmp_path, SIGMAS | {"sigma": 1.0})
    told = read_json(tmp_path / "run/run.json")["learned"][LAYER]
    assert {name: len(values) for name, values in told.items()} == dict.fromkeys(("sigma_x", "sigma_y", "bias"), 16)
    _, after = kernels_of_run(tmp_path)
    smooth = (
        after[7::8] - np.array(told["bias"])[7::8, None, None]
    )  # the Gaussians: their taps fall off by σ along each axis
    for name, kernels in (("sigma_x", smooth), ("sigma_y", smooth.swapaxes(1, 2))):
        falls = np.log(kernels[:, 2, 2] / kernels[:, 2, 3])
        np.testing.assert_allclose(np.array(told[name])[7::8], 1 / np.sqrt(2 * falls), rtol=1e-4)


@pytest.mark.parametrize("declared", [SIGMAS, {"scheme": "universal", "set": "ideal", "resample": True}])
def test_frozen_kernels_stay_as_drawn(tmp_path, declared):
    do_run(tmp_path, declared | {"frozen": True})
    before, after = kernels_of_run(tmp_path)
    np.testing.assert_array_equal(before, after)


def test_a_run_that_was_stopped_ends_with_the_bytes_of_one_that_was_not(tmp_path):
    do_run(tmp_path, SIGMAS, "whole")
    with pytest.raises(Preempted):
        do_run(tmp_path, SIGMAS, "stopped", watchers=[Warn(signal.SIGTERM, after=7)])
    do_run(tmp_path, SIGMAS, "stopped")
    assert digests(tmp_path / "stopped") == digests(tmp_path / "whole")


def test_scales_and_biases_are_not_decayed():
    model, made = start(SIGMAS)
    reparameterise_(model, made)
    decays = {
        id(parameter): group["weight_decay"]
        for group in make_optimizer(model, RECIPE).param_groups
        for parameter in group["params"]
    }
    module = model.get_submodule(LAYER)
    assert [decays[id(one)] for one in module.parametrizations.weight.parameters()] == [0, 0, 0]
    assert RECIPE.weight_decay in decays.values()


def test_the_fast_weight_gradient_reaches_the_scales():
    model, made = start(SIGMAS)
    reparameterise_(model, made)
    module, found = model.get_submodule(LAYER), []
    images = torch.randn(8, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    for recipe in (RECIPE, replace(RECIPE, fast_layers=False)):
        module.zero_grad()
        with fast_layers(model, recipe, CPU):
            out = module(images)
        assert (type(out.grad_fn).__name__ == "_DepthwiseBackward") == recipe.fast_layers
        (out**3).sum().backward()
        found.append([one.grad.clone() for one in module.parametrizations.weight.parameters()])
    for ours, theirs in zip(*found, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


def test_what_is_learned_is_part_of_the_key_and_other_keys_stay_as_they_were(tmp_path):
    keys = []
    for declared in (SIGMAS, SIGMAS | {"learn": "bias"}, {"scheme": "default"}):
        do_run(tmp_path, declared, recipe=replace(RECIPE, epochs=1))
        keys.append(read_json(tmp_path / "run/run.json")["key"])
        (tmp_path / "run/metrics.json").unlink()
    assert len(set(keys)) == 3
    _, made = start({"scheme": "default"})
    files = tmp_path / "data.safetensors", tmp_path / "0.safetensors"
    identity = runs.run_identity(made, [], RECIPE, *files)
    assert set(identity) == {"training", "model", "kwargs", "seed", "universal", "frozen", "recipe", "data", "initial"}
