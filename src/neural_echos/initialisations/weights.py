"""Weights: read and set the weight of a layer, also of a distributed one, and refuse weights that cannot be set."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from neural_echos.errors import EchosError

if TYPE_CHECKING:
    from torch import Tensor, nn


def whole(weight: Any) -> "Tensor":
    """Return the values of a weight, detached; weights distributed by FSDP2 (DTensor) are gathered from all processes."""
    values = weight.detach()
    return values.full_tensor() if hasattr(values, "full_tensor") else values


def set_whole(weight: Any, values: "Tensor") -> None:
    """Set a weight from values of its full shape; for weights distributed by FSDP2, every process sets its own part."""
    import torch

    if hasattr(weight, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        values = distribute_tensor(values, weight.device_mesh, weight.placements)
    with torch.no_grad():
        weight.copy_(values)


def refuse_other_weights(model: "nn.Module", layers: Iterable[str], dimensions: int | None = None) -> None:
    """Raise `EchosError` unless the weight of each layer is a parameter in memory that can be changed in place.

    Parameters
    ----------
    model : torch.nn.Module
    layers : iterable of str
    dimensions : int, optional
        Required number of dimensions: frameworks that distribute a model may flatten weights or leave them empty.
    """
    for name in layers:
        weight = model.get_submodule(name)._parameters.get("weight")
        if weight is None:
            found, remedy = "is computed from others", "remove the parametrisation first"
        elif weight.is_meta:
            found, remedy = "is on the meta device", "move the model with to_empty first"
        elif weight.is_inference():
            found, remedy = "was created in inference mode", "create the model outside torch.inference_mode"
        elif dimensions is not None and weight.ndim != dimensions:
            found, remedy = (
                f"has been flattened to shape {tuple(weight.shape)}",
                "initialise the model before it is wrapped",
            )
        else:
            continue
        raise EchosError(f"layer {name}: its weight {found} and cannot be changed in place; {remedy}")


def refuse_to_freeze_all(model: "nn.Module", weights: Sequence[Any]) -> None:
    """Raise `EchosError` if freezing these weights leaves nothing in the model to train."""
    frozen = {id(weight) for weight in weights}
    if not any(one.requires_grad and id(one) not in frozen for one in model.parameters()):
        raise EchosError(
            f"{type(model).__name__}: all parameters would be frozen, leaving nothing to train; freeze fewer layers with depths=… "
            "or layers=…"
        )


def other_depthwise_layers(model: "nn.Module") -> dict[str, str]:
    """Name the depthwise layers that no initialisation can set because they are not `Conv2d`, with the reason."""
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
            found[name] = "transposed convolution" if transposed else f"{type(module).__name__}, which is not a Conv2d"
    return found
