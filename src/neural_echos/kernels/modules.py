"""Modules: the effective weight of a layer of a model in memory, including wrapped and reparametrised ones."""

from typing import TYPE_CHECKING

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.kernels.layers import Layer

if TYPE_CHECKING:
    from torch import nn


def weight_of(model: "nn.Module", layer: Layer) -> np.ndarray:
    """Read the weight that a layer uses in evaluation mode.

    Parametrised weights are computed without a step of power iteration, so the model is unchanged. Weights that FSDP2
    distributes (DTensor) are gathered; all processes have to call this together.

    Returns
    -------
    ndarray, shape (out, in / groups, kh, kw), float32

    Raises
    ------
    EchosError
        The weight has no values: it is on the meta device.
    """
    import torch

    module = model.get_submodule(layer.name)
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.no_grad():
            for hook in module._forward_pre_hooks.values():
                if type(hook).__module__.startswith("torch.nn.utils."):  # old weight_norm, spectral_norm, pruning
                    hook(module, ())
            weight = module.weight.detach()
    finally:
        for part in training:
            part.training = True
    if hasattr(weight, "full_tensor"):
        weight = weight.full_tensor()
    if weight.is_meta:
        raise EchosError(
            f"layer {layer.name!r} is on the meta device and has no values; load the model's weights first"
        )
    return weight.float().cpu().numpy()
