"""`init_depthwise_`: apply an initialisation to the depthwise layers of any model, and report what was done."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from neural_echos.errors import EchosError, nearest
from neural_echos.initialisations.registry import Initialisation, check_seed, check_switch, is_number, lookup, opened
from neural_echos.initialisations.weights import (
    other_depthwise_layers,
    refuse_other_weights,
    refuse_to_freeze_all,
    set_whole,
    whole,
)
from neural_echos.kernels.layers import Layer, listed_layers
from neural_echos.layouts import bare_name

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)
SCALES = ("raw", "unit_l2", "match_default")
Layers = Callable[[Layer], bool] | str | Iterable[str] | None


class _HasDepth(Protocol):
    @property
    def depth(self) -> float: ...


_Placed = TypeVar("_Placed", bound=_HasDepth)


@dataclass(frozen=True)
class LayerReport:
    """What `init_depthwise_` or `init_pointwise_` did to one layer.

    Attributes
    ----------
    layer : str
        Module path.
    kernel_size : (int, int)
        Height and width.
    kernels, replaced : int
        Number of kernels in the layer (rows, one per output, in a pointwise layer), and how many were replaced.
    frozen : bool
        Whether the layer's kernels are frozen.
    std_before, std_after : float
        Standard deviation over all taps of the layer.
    mean_l2_after : float
        Mean L2 norm of the layer's kernels.
    notes : dict
        Numbers reported by the initialisation, for instance the clipped share of a covariance.
    """

    layer: str
    kernel_size: tuple[int, int]
    kernels: int
    replaced: int
    frozen: bool
    std_before: float
    std_after: float
    mean_l2_after: float
    notes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Drawn:
    """New kernels of one layer: which are replaced, bool (n,), the new ones, (replaced, height, width), and the old deviation."""

    replaced: np.ndarray
    kernels: np.ndarray
    notes: dict[str, float]
    std_before: float


def init_depthwise_(
    model: "nn.Module",
    name: str = "dog",
    *,
    seed: int,
    share: float = 1.0,
    scale: str | float = "raw",
    layers: Layers = None,
    depths: Sequence[float] | None = None,
    frozen: bool | None = None,
    shared: dict[str, Any] | None = None,
    **options: Any,
) -> list[LayerReport]:
    """Redraw the depthwise kernels of a model, in place, and report what was done to each layer.

    Everything else in the model is unchanged, bit for bit, and a second call with the same arguments changes nothing.
    Each layer has its own generator, seeded with `seed` and the layer's index, so a layer's kernels do not depend on which
    other layers are chosen. Layers that share one weight are drawn once, at the first of them. A model distributed with FSDP2 is
    initialised by all processes together and gets the same kernels as an undistributed one. Depthwise layers that are not
    `Conv2d` (conditional and transposed convolutions) are unchanged; a warning names them.

    Parameters
    ----------
    model : torch.nn.Module
        Any model with depthwise convolutions, for instance a timm model.
    name : str
        One of `names()`; `default` keeps the kernels.
    seed : int
        Seed of the draw, ≥ 0.
    share : float
        Share of each layer's kernels to replace, in [0, 1], chosen at random with `seed`. If it is above 0, at least one kernel
        is replaced.
    scale : {"raw", "unit_l2", "match_default"} or float
        The initialisation's own scale; every kernel at unit L2 norm; the replaced kernels of each layer at their previous root
        mean square; or the initialisation's own scale times a positive number.
    layers : callable, str, or list of str, optional
        Which depthwise layers to initialise: those for which the callable returns true, or whose names match a pattern
        ("stages.3.*"). Prefixes added by DataParallel and torch.compile are optional.
    depths : (low, high), optional
        Of these, only layers of this relative depth, in [0, 1], bounds included: (0, 0.5) is the first half.
    frozen : bool, optional
        Freeze the kernels of these layers (`requires_grad`), or make them trainable; biases stay trainable. The default follows
        the initialisation's paper: frozen for `oocs` and `random_frozen`, unchanged for the others.
    shared : dict, optional
        Filled with values computed once for all layers, such as the filters of `universal`.
    **options
        Options of the initialisation, for instance ``gamma={"uniform": [0.3, 0.7]}``.

    Returns
    -------
    list of LayerReport

    Raises
    ------
    EchosError
        Unknown name, option or scale; seed below 0; share outside [0, 1]; no depthwise layer to initialise; a weight that
        cannot be changed in place; a kernel size that the initialisation cannot draw or that is missing in a bank; nothing
        left to train. The model is then unchanged.
    """
    entry = check_settings(name, seed=seed, share=share, scale=scale, depths=depths, frozen=frozen, **options)
    chosen = within(_chosen(model, layers), depths, type(model).__name__)
    refuse_other_weights(model, [layer.name for layer in chosen], dimensions=4)
    modules = [model.get_submodule(layer.name) for layer in chosen]
    given = opened(options)
    shared = {} if shared is None else shared
    drawn: dict[int, _Drawn] = {}  # by the weight's location in memory: tied layers share a weight, which is drawn once
    for layer, module in zip(chosen, modules, strict=True):
        if _place(module.weight) not in drawn:
            drawn[_place(module.weight)] = _draw(entry, layer, module, seed, share, scale, given, shared)
    freeze = True if frozen is None and entry and entry.frozen else frozen
    if freeze:
        refuse_to_freeze_all(model, [module.weight for module in modules])
    for module in modules:
        _put(module.weight, drawn[_place(module.weight)], freeze)
    return [
        _report(layer, module.weight, drawn[_place(module.weight)])
        for layer, module in zip(chosen, modules, strict=True)
    ]


def within(layers: Sequence[_Placed], depths: Sequence[float] | None, where: str) -> list[_Placed]:
    """Keep the layers whose relative depth is in `depths`, bounds included; raises an error if there are none."""
    check_depths(depths)
    if depths is None:
        return list(layers)
    kept = [layer for layer in layers if depths[0] <= layer.depth <= depths[1]]
    if not kept:
        known = ", ".join(f"{layer.depth:.3g}" for layer in layers)
        raise EchosError(f"{where} has no layer at a depth from {depths[0]} to {depths[1]}, only {known}; widen depths")
    return kept


def check_depths(depths: object) -> None:
    """Raise `EchosError` unless `depths` is a range of relative depths, or None."""
    try:
        good = depths is None or 0 <= depths[0] <= depths[1] <= 1 == len(depths) - 1  # type: ignore[index, arg-type]
    except (TypeError, LookupError):
        good = False
    if not good:
        raise EchosError(f"depths must be [low, high] with 0 ≤ low ≤ high ≤ 1, not {depths}")


def check_settings(
    name: str,
    *,
    seed: int,
    share: float = 1.0,
    scale: str | float = "raw",
    layers: Layers = None,
    depths: Sequence[float] | None = None,
    frozen: bool | None = None,
    **options: Any,
) -> Initialisation | None:
    """Find an initialisation and check those arguments of `init_depthwise_` that can be checked without a model.

    Raises
    ------
    EchosError
        Unknown name, option or scale; or a seed, share, range of depths or option of the wrong type or out of range.
    """
    entry = lookup(name, options)
    check_seed(seed)
    named = isinstance(scale, str)
    if not (scale in SCALES if named else is_number(scale) and 0 < scale < np.inf):  # type: ignore[operator]
        guess = nearest(str(scale), SCALES) if named else ""
        raise EchosError(f"scale must be one of {', '.join(SCALES)}, or a factor above 0, not {scale!r}{guess}")
    if not is_number(share) or not 0.0 <= share <= 1.0:
        raise EchosError(f"share, the share of kernels to replace, must be a number from 0 to 1, not {share!r}")
    check_depths(depths)
    check_switch("frozen", frozen)
    return entry


def _chosen(model: "nn.Module", layers: Layers) -> list[Layer]:
    """The depthwise layers that `layers` selects; raises an error if there are none."""
    found = [layer for layer in listed_layers(model) if layer.kind == "depthwise"]
    others = other_depthwise_layers(model)
    unseen = ", ".join(f"{name} ({what})" for name, what in others.items())
    if not found:
        but = f"; these are not supported: {unseen}" if others else "; choose a model that has some"
        raise EchosError(f"{type(model).__name__} has no depthwise convolutions to initialise{but}")
    if others:
        _LOG.warning("%s: %d depthwise layers keep their weights: %s", type(model).__name__, len(others), unseen)
    if layers is None:
        return found
    if callable(layers):
        chosen, said = [layer for layer in found if layers(layer)], "layers=… selects none"
    else:
        patterns = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else [layers]
        if not all(isinstance(pattern, str) for pattern in patterns):
            raise EchosError(f"layers must be a pattern of names or a list of them, not {layers}")
        chosen = [
            layer
            for layer in found
            if any(fnmatchcase(name, pattern) for name in (layer.name, bare_name(layer.name)) for pattern in patterns)
        ]
        said = f"layers={patterns} matches none{nearest(patterns[0], [bare_name(one.name) for one in found]) if patterns else ''}"
    if not chosen:
        raise EchosError(f"{type(model).__name__}: {said} of its {len(found)} depthwise layers; choose other layers")
    return chosen


def _draw(
    entry: Initialisation | None,
    layer: Layer,
    module: Any,
    seed: int,
    share: float,
    scale: str | float,
    options: Mapping[str, Any],
    shared: dict[str, Any],
) -> _Drawn:
    """Draw one layer's kernels; the model is not changed."""
    n, height, width = module.weight.shape[0], layer.kernel_height, layer.kernel_width
    before = whole(module.weight).double()
    deviation = float(before.std())
    replaced = np.zeros(n, dtype=bool)
    if entry is None or share == 0:
        return _Drawn(replaced, np.empty((0, height, width)), {}, deviation)
    rng = np.random.default_rng([seed, layer.index])
    replaced[rng.permutation(n)[: max(1, round(share * n))]] = True
    notes: dict[str, float] = {}
    facts: dict[str, Any] = {"depth": layer.depth, "outputs": n, "multiplier": n // module.in_channels, "seed": seed}
    facts |= {"layer": bare_name(layer.name), "channels": np.flatnonzero(replaced), "report": notes, "shared": shared}
    wanted = {fact: facts[fact] for fact in entry.facts}
    try:
        kernels = entry.draw(int(replaced.sum()), height, width, rng, **options, **wanted)
        kernels = _scaled(kernels, scale, before.cpu().numpy()[replaced])
    except EchosError as error:
        raise EchosError(f"layer {layer.name}: {error}") from None
    return _Drawn(replaced, kernels, notes, deviation)


def _scaled(kernels: np.ndarray, scale: str | float, before: np.ndarray) -> np.ndarray:
    """Bring kernels to the requested scale; all-zero kernels stay zero. `before` are the kernels they replace."""
    if scale == "raw":
        return kernels
    if scale == "unit_l2":
        norms = np.linalg.norm(kernels, axis=(1, 2), keepdims=True)
        return kernels / np.where(norms > 0, norms, 1.0)
    if scale == "match_default":
        if not np.isfinite(before).all():
            raise EchosError(
                "its kernels contain NaN or infinity, so their scale cannot be matched; choose another scale"
            )
        drawn = np.sqrt((kernels**2).mean())
        # Rounded to six digits, so that matching twice gives the same factor.
        return kernels * (float(f"{np.sqrt((before**2).mean()):.5e}") / (drawn if drawn > 0 else 1.0))
    return kernels * float(scale)


def _place(weight: Any) -> int:
    """Location of a weight in memory, which is the same for tied layers."""
    return id(weight) if hasattr(weight, "full_tensor") else int(weight.data_ptr())


def _put(weight: Any, drawn: _Drawn, frozen: bool | None) -> None:
    import torch

    if drawn.replaced.any():
        values = whole(weight).clone()
        kernels = torch.from_numpy(drawn.kernels[:, None]).to(values.device, values.dtype)
        values[torch.from_numpy(drawn.replaced).to(values.device)] = kernels
        set_whole(weight, values)
    if frozen is not None:
        weight.requires_grad_(not frozen)


def _report(layer: Layer, weight: Any, drawn: _Drawn) -> LayerReport:
    after = whole(weight).double()
    return LayerReport(
        layer=layer.name,
        kernel_size=(layer.kernel_height, layer.kernel_width),
        kernels=int(weight.shape[0]),
        replaced=int(drawn.replaced.sum()),
        frozen=not weight.requires_grad,
        std_before=drawn.std_before,
        std_after=float(after.std()),
        mean_l2_after=float(after.flatten(1).norm(dim=1).mean()),
        notes=drawn.notes,
    )
