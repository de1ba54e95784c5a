"""Weights: reading and setting the weight of a layer, wherever it lies, and refusing one that cannot be set."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from neural_echos.errors import EchosError

if TYPE_CHECKING:
    from torch import Tensor, nn


def whole(weight: Any) -> "Tensor":
    """Return the values of a weight, detached; of one that FSDP2 distributes (DTensor), gathered from all processes."""
    values = weight.detach()
    return values.full_tensor() if hasattr(values, "full_tensor") else values


def set_whole(weight: Any, values: "Tensor") -> None:
    """Set a weight to values of its whole shape; of one that FSDP2 distributes, every process sets its own part."""
    import torch

    if hasattr(weight, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        values = distribute_tensor(values, weight.device_mesh, weight.placements)
    with torch.no_grad():
        weight.copy_(values)


def refuse_other_weights(model: "nn.Module", layers: Iterable[str], dimensions: int | None = None) -> None:
    """Raise an `EchosError` unless the weight of each layer is a parameter of its own, in memory, that can be changed in place.

    Parameters
    ----------
    model : torch.nn.Module
    layers : iterable of str
    dimensions : int, optional
        How many a weight must have: frameworks that distribute a model flatten it or leave it empty.
    """
    for name in layers:
        weight = model.get_submodule(name)._parameters.get("weight")
        if weight is None:
            found, remedy = "is computed from others", "remove the parametrisation first"
        elif weight.is_meta:
            found, remedy = "is on the meta device", "move the model with to_empty first"
        elif weight.is_inference():
            found, remedy = "was made in inference mode", "make the model outside torch.inference_mode"
        elif dimensions is not None and weight.ndim != dimensions:
            found, remedy = (
                f"has been flattened to shape {tuple(weight.shape)}",
                "initialise the model before it is wrapped",
            )
        else:
            continue
        raise EchosError(f"layer {name}: its weight {found} and cannot be changed in place; {remedy}")


def refuse_to_freeze_all(model: "nn.Module", weights: Sequence[Any]) -> None:
    """Raise an `EchosError` where nothing in the model is left to train once these weights are frozen."""
    frozen = {id(weight) for weight in weights}
    if not any(one.requires_grad and id(one) not in frozen for one in model.parameters()):
        raise EchosError(
            f"{type(model).__name__}: all parameters would be frozen, and nothing left to train; freeze fewer layers with depths=… "
            "or layers=…"
        )


def other_depthwise_layers(model: "nn.Module") -> dict[str, str]:
    """Name the layers that filter every channel on its own and are no `Conv2d`, so that no initialisation reaches them, and why."""
    from torch import nn

    found = {}
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if isinstance(module, nn.Conv2d) or weight is None:
            continue
        if hasattr(module, "num_experts") and getattr(module, "groups", 1) == getattr(module, "in_channels", 0) > 1:
            found[name] = "conditional convolution"
        elif weight.ndim == 4 and weight.shape[0] > 1 == weight.shape[1] and weight.shape[2] * weight.shape[3] > 1:
            transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
            found[name] = "transposed convolution" if transposed else f"{type(module).__name__}, which is no Conv2d"
    return found
