"""Models that tests of initialisations share."""

import numpy as np
import torch
from torch import nn

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos.kernels import layers_of

FAMILIES = {"mobilenetv2_035": 3, "convnext_atto": 7, "convmixer_small": 9, "hornet_small_images": 7}


SCHEMES = {"default": {}, "kaiming": {}, "dog": {"gamma": {"uniform": [0.3, 0.7]}}}


State = dict[str, torch.Tensor]


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
