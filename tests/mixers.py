"""Small networks that several tests make, and what they look at in them."""

import numpy as np
import torch
from torch import nn

from neural_echos.architectures import create
from neural_echos.kernels import layers_of

SMALL = {"dim": 12, "depth": 4, "kernel_size": 5, "patch_size": 2}


def network(seed: int, model: str = "convmixer_small", **kwargs: int) -> nn.Module:
    torch.manual_seed(seed)
    return create(model, num_classes=4, in_chans=1, kwargs={**SMALL, **kwargs} if "mixer" in model else kwargs)


def depthwise(model: nn.Module) -> list[np.ndarray]:
    names = [layer.name for layer in layers_of(model) if layer.kind == "depthwise"]
    return [model.get_submodule(name).weight.detach().numpy().copy() for name in names]


def trainable(model: nn.Module) -> set[str]:
    return {name for name, one in model.named_parameters() if one.requires_grad}
