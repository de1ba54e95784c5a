"""`init_pointwise_`: freeze the pointwise weights of a model, either another model's or its own.

Paper: Babaiee, Kiasari, Rus, Grosu, "The Master Key Filters Hypothesis", AAAI 2025 (arXiv 2412.16751). Its claim MK4 is that
freezing pointwise weights hurts accuracy, whereas freezing depthwise ones does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neural_echos.errors import EchosError, nearest
from neural_echos.initialisations.apply import LayerReport, within
from neural_echos.initialisations.registry import Weights, check_option, check_seed, check_switch, unknown_option
from neural_echos.initialisations.weights import refuse_other_weights, refuse_to_freeze_all, set_whole, whole
from neural_echos.layouts import bare_name

if TYPE_CHECKING:
    from torch import nn

_NEUTRAL = {"share": 1.0, "scale": "raw"}  # a config's defaults for every initialisation


@dataclass(frozen=True)
class PointwiseLayer:
    """A layer that mixes channels at each position: its module path, and its depth in [0, 1] among the pointwise layers."""

    name: str
    depth: float


def pointwise_layers(model: "nn.Module") -> list[PointwiseLayer]:
    """List the pointwise layers of a model: 1×1 convolutions with one group, and linear layers except the classifier.

    The 1×1 convolutions of squeeze-and-excitation are excluded, because they see a single pooled position.
    """
    from timm.layers import SqueezeExcite
    from torch import nn

    head = model.get_classifier() if hasattr(model, "get_classifier") else None
    gates = {one for module in model.modules() if isinstance(module, SqueezeExcite) for one in module.modules()}
    found = [
        name
        for name, module in model.named_modules()
        if module is not head and module not in gates and _is_pointwise(module, nn)
    ]
    return [PointwiseLayer(name, place / max(len(found) - 1, 1)) for place, name in enumerate(found)]


def _is_pointwise(module: Any, nn: Any) -> bool:
    if isinstance(module, nn.Conv2d):
        return bool(module.kernel_size == (1, 1) and module.groups == 1)
    return isinstance(module, nn.Linear)


def init_pointwise_(
    model: "nn.Module",
    *,
    seed: int,
    weights: Weights | None = None,
    rows: Literal["kept", "shuffled", "own"] = "kept",
    depths: Sequence[float] | None = None,
    frozen: bool = True,
    **others: Any,
) -> list[LayerReport]:
    """Copy pointwise weights from another model of the same architecture, in place, and freeze them; biases stay trainable.

    Parameters
    ----------
    model : torch.nn.Module
        Any model with pointwise layers.
    seed : int
        Seed of the shuffled rows.
    weights : path of a .safetensors file, or mapping of names to float arrays, optional
        State dict of the other model; not needed for `rows` "own".
    rows : {"kept", "shuffled", "own"}
        The other model's weights; the same with the rows of each matrix (one per output) shuffled, which keeps every row but not
        its connections; or the model's own initial weights, the random control.
    depths : (low, high), optional
        Only layers of this relative depth among the pointwise ones, in [0, 1], bounds included.
    frozen : bool
        Freeze these weights.
    **others
        Options of `init_depthwise_`; only their neutral values are accepted.

    Returns
    -------
    list of LayerReport
        Kernel size 1×1; rows are counted as kernels.

    Raises
    ------
    EchosError
        No pointwise layers; a weight that cannot be changed in place; weights that are missing, broken, from another
        architecture or not finite; nothing left to train. The model is then unchanged.
    """
    for name, value in {"weights": weights, "rows": rows}.items():
        check_option("pointwise", name, init_pointwise_.__annotations__[name], value)
    check_seed(seed)
    check_switch("frozen", frozen)
    for name, value in others.items():
        if value != _NEUTRAL.get(name):
            raise unknown_option("pointwise", name, ["weights", "rows", "depths", "frozen"])
    layers = pointwise_layers(model)
    if not layers:
        raise EchosError(f"{type(model).__name__} has no pointwise layers; choose a model that has some")
    chosen = within(layers, depths, type(model).__name__)
    refuse_other_weights(model, [layer.name for layer in chosen])
    modules = [model.get_submodule(layer.name) for layer in chosen]
    if frozen:
        refuse_to_freeze_all(model, [module.weight for module in modules])
    if rows == "own":
        return [_put(layer, module, None, frozen) for layer, module in zip(chosen, modules, strict=True)]
    lent = {bare_name(name): weight for name, weight in _opened(weights).items()}
    taken = [
        _weight_of(lent, bare_name(layer.name), tuple(m.weight.shape)) for layer, m in zip(chosen, modules, strict=True)
    ]
    if rows == "shuffled":
        draws = (np.random.default_rng([seed, place]) for place in range(len(taken)))
        taken = [rng.permutation(weight, axis=0) for rng, weight in zip(draws, taken, strict=True)]
    return [_put(*parts, frozen) for parts in zip(chosen, modules, taken, strict=True)]


def _opened(weights: Weights | None) -> Mapping[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if weights is None:
        raise EchosError(
            "pointwise needs the option weights: the weights of a trained model, such as a run's weights.safetensors"
        )
    if isinstance(weights, Mapping):
        return weights
    try:
        return {name: tensor.float().numpy() for name, tensor in load_file(weights).items()}
    except (SafetensorError, OSError) as error:
        raise EchosError(
            f"{weights} cannot be read as the weights of a model ({error}); train that run first"
        ) from None


def _weight_of(lent: Mapping[str, np.ndarray], layer: str, shape: tuple[int, ...]) -> np.ndarray:
    weight = lent.get(f"{layer}.weight")
    if weight is not None and weight.shape == shape and np.isfinite(weight).all():
        return weight
    if weight is None:
        found = f"there is no tensor {layer}.weight{nearest(f'{layer}.weight', lent)}"
    else:
        found = f"{layer}.weight has shape {weight.shape}, not {shape}"
        found = f"{layer}.weight is not finite" if weight.shape == shape else found
    raise EchosError(f"pointwise: {found}; use the weights of a model of the same architecture")


def _put(layer: PointwiseLayer, module: Any, weight: np.ndarray | None, frozen: bool) -> LayerReport:
    import torch

    before = whole(module.weight)
    deviation = float(before.double().std())
    if weight is not None:
        set_whole(module.weight, torch.from_numpy(np.ascontiguousarray(weight)).to(before.device, before.dtype))
    module.weight.requires_grad_(not frozen)
    matrix = whole(module.weight).double().flatten(1)
    return LayerReport(
        layer=layer.name,
        kernel_size=(1, 1),
        kernels=len(matrix),
        replaced=0 if weight is None else len(matrix),
        frozen=frozen,
        std_before=deviation,
        std_after=float(matrix.std()),
        mean_l2_after=float(matrix.norm(dim=1).mean()),
    )
