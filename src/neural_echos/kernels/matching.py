"""Matching: assign a checkpoint's weights to a model's layers by name, by name after a common prefix, or by order and shape."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from neural_echos.errors import EchosError, nearest
from neural_echos.kernels.layers import Layer, natural
from neural_echos.kernels.weights import Contents, Weight
from neural_echos.layouts import bare_name, kind_of


@dataclass(frozen=True)
class Matched:
    """Layers of a model, each with its weight, and how they were matched if not by name alone."""

    layers: list[Layer]
    weights: dict[str, Weight]
    note: str | None = None


def match(
    path: Path, layers: Sequence[Layer], contents: Contents, fused: Callable[[], Sequence[Layer]] | None = None
) -> Matched:
    """Find the weight of each layer.

    Parameters
    ----------
    path : path
        Names the checkpoint in errors.
    layers : sequence of Layer
        The model's layers.
    contents : Contents
        What the checkpoint contains.
    fused : callable, optional
        Returns the same model's layers after its branches were fused (MobileOne, RepVGG), for checkpoints of fused models.

    Raises
    ------
    EchosError
        Weights are missing or have other shapes; the message names them and what was found instead.
    """
    wanted = _bare(layers)
    for form, said in ((wanted, ""), (_bare(fused()) if fused else [], "branches are fused")):
        if form and (named := _by_name(path, form, contents)) is not None:
            _check(path, form, named)
            return Matched(form, named, said or None)
        if form and (ordered := _by_order(form, contents)) is not None:
            layer, weight = next(iter(ordered.items()))
            note = f"names matched by order and shape (for instance {weight.name!r} is {layer!r})"
            return Matched(form, ordered, f"{note}; {said}" if said else note)
    _refuse(path, wanted, contents)


def _bare(layers: Sequence[Layer]) -> list[Layer]:
    names = [bare_name(layer.name) for layer in layers]
    return [
        layer if layer.name == name else replace(layer, name=name) for layer, name in zip(layers, names, strict=True)
    ]


def _by_name(path: Path, layers: Sequence[Layer], contents: Contents) -> dict[str, Weight] | None:
    """Look layers up by name, with or without a prefix that all share ("backbone.")."""
    weights = contents.weights
    names = [layer.name or "weight" for layer in layers]
    if all(name in weights for name in names):
        return {layer.name: weights[name] for layer, name in zip(layers, names, strict=True)}
    ends = sorted(name.removesuffix(names[0]) for name in weights if name.endswith(f".{names[0]}"))
    fitting = [prefix for prefix in ends if all(prefix + name in weights for name in names)]
    if len(fitting) > 1:
        listed = ", ".join(prefix.rstrip(".") for prefix in fitting)
        raise EchosError(
            f"{path}: the same layers appear under several prefixes ({listed}); choose one with --weights, "
            f"for instance --weights {fitting[0].rstrip('.')}"
        )
    if not fitting:
        return None
    return {layer.name: weights[fitting[0] + name] for layer, name in zip(layers, names, strict=True)}


def _check(path: Path, layers: Sequence[Layer], weights: dict[str, Weight]) -> None:
    """Refuse weights whose names match but whose shapes do not."""
    for layer in layers:
        shape = weights[layer.name].shape
        size = (layer.kernel_height, layer.kernel_width)
        if shape[2:] != size or (layer.kind == "depthwise" and shape[1] != 1):
            raise EchosError(
                f"{path}: layer {layer.name!r} of the model has {layer.kind} {size[0]}×{size[1]} kernels, but its weight in the "
                f"file has shape {shape}; name the architecture that the checkpoint was trained with"
            )


def _by_order(layers: Sequence[Layer], contents: Contents) -> dict[str, Weight] | None:
    """Pair layers and weights in order, if both have the same shapes in the same order and none is left over."""
    if any(layer.shape is None for layer in layers):
        return None
    spatial = [weight for weight in contents.weights.values() if weight.kind]
    found: dict[str, Weight] = {}
    for kind in ("depthwise", "regular"):
        mine = [layer for layer in layers if kind_of(layer.shape or ()) == kind]
        theirs = [weight for weight in spatial if kind_of(weight.shape) == kind]
        if [layer.shape for layer in mine] != [weight.shape for weight in theirs] or _unordered(contents, theirs):
            return None
        found |= {layer.name: weight for layer, weight in zip(mine, theirs, strict=True)}
    return {layer.name: found[layer.name] for layer in layers}


def _unordered(contents: Contents, weights: Sequence[Weight]) -> bool:
    """Whether alphabetical names leave open which of two weights of equal shape comes first in the network."""
    names = list(contents.weights)
    if names != sorted(names, key=natural):
        return False  # the file keeps the order of the model it was saved from
    for first, second in pairwise(weights):
        parts = zip(*(re.split(r"(\d+)", weight.name) for weight in (first, second)), strict=False)
        differing = next((pair for pair in parts if pair[0] != pair[1]), ("", ""))
        if first.shape == second.shape and not all(part.isdigit() for part in differing):
            return True
    return False


def _refuse(path: Path, layers: Sequence[Layer], contents: Contents) -> NoReturn:
    """Report which layers have no weight, which weights the file has, and what to do."""
    missing = [layer.name for layer in layers if layer.name not in contents.weights]
    spare = [
        weight.name
        for weight in contents.weights.values()
        if weight.kind and weight.name not in {one.name for one in layers}
    ]
    there = f"there are weights for {_some(spare)}{nearest(missing[0], spare)}" if spare else "there are no others"
    raise EchosError(
        f"{path}: no weights for {len(missing)} of the model's {len(layers)} layers ({_some(missing)}); {there}. "
        "Check the name of the architecture and its keywords, or omit it (--timm, --layers) to use the file's own names"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(repr, names[:3])) + more
