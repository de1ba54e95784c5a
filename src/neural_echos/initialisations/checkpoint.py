"""Start from a checkpoint: load trained weights of the same architecture before an initialisation redraws the kernels."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neural_echos.errors import EchosError
from neural_echos.kernels.formats import open_checkpoint
from neural_echos.kernels.sets import choose_weights

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)
_COUNTER = "num_batches_tracked"  # of batch norm; old files lack it


def start_from(model: "nn.Module", path: str | Path) -> list[str]:
    """Load a checkpoint into a model, in place; a classifier with another number of classes keeps its fresh weights.

    The file is read as data and never unpickled. If it contains several sets of weights, the one that would be
    evaluated is taken, such as EMA weights.

    Parameters
    ----------
    model : torch.nn.Module
        The same architecture, for instance a timm model.
    path : path
        A safetensors or PyTorch file.

    Returns
    -------
    list of str
        Names of the parameters that were not loaded: none, or the classifier's.

    Raises
    ------
    EchosError
        The file cannot be read, belongs to another architecture, or contains NaN or infinity. The model is then unchanged.
    """
    import torch

    checkpoint = open_checkpoint(path)
    stored = choose_weights(checkpoint).names
    own = {name: one for name, one in model.state_dict().items() if name in stored or not name.endswith(_COUNTER)}
    shapes = {name: checkpoint.tensors[key].shape for name, key in stored.items()}
    classifier = _classifier(model)
    kept = [name for name in own if name in classifier and shapes.get(name) != own[name].shape]
    wrong = [
        *(f"{name} is missing" for name in own if name not in shapes and name not in kept),
        *(f"{name} belongs to no layer" for name in shapes if name not in own),
        *(
            f"{name} is {_size(shapes[name])}, not {_size(one.shape)}"
            for name, one in own.items()
            if name in shapes and name not in kept and shapes[name] != one.shape
        ),
    ]
    if wrong:
        more = f", and {len(wrong) - 2} more differences" if len(wrong) > 2 else ""
        raise EchosError(
            f"{path}: not the weights of this {type(model).__name__}: {'; '.join(wrong[:2])}{more}; name the architecture that "
            "they belong to"
        )
    loaded = {name: torch.as_tensor(checkpoint.read(stored[name])) for name in own if name not in kept}
    broken = [name for name, values in loaded.items() if not values.to(own[name].dtype).isfinite().all()]
    if broken:
        raise EchosError(
            f"{path}: {broken[0]} contains NaN or infinity, as after a diverged training ({len(broken)} of {len(loaded)} tensors "
            "do); choose another checkpoint"
        )
    with torch.no_grad():
        for name, values in loaded.items():
            own[name].copy_(values)
    if kept:
        _LOG.info(
            "%s: the classifier has another number of classes and keeps its fresh weights: %s", path, ", ".join(kept)
        )
    return kept


def _classifier(model: "nn.Module") -> set[str]:
    """Names of the parameters of a model's classifier."""
    head = model.get_classifier() if hasattr(model, "get_classifier") else None
    mine = {id(one) for one in head.parameters()} if head is not None else set()
    return {name for name, one in model.named_parameters() if id(one) in mine}


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a number"
