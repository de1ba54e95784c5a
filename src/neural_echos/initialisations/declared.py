"""Initialisations as declared in a config: ``{scheme: dog, gamma: 0.5, share: 1.0}``.

A scheme is a function registered with `@register`, or one of two others: `default`, which keeps the weights drawn by the model's
own code, and `pointwise`, which sets pointwise weights and no kernels. Commands call `initialise_`. `scheme_options` lists the
options of every scheme, and `borrowed_options` those that are borrowed.
"""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neural_echos.errors import EchosError, nearest
from neural_echos.initialisations.apply import LayerReport, check_settings, init_depthwise_
from neural_echos.initialisations.pointwise import init_pointwise_
from neural_echos.initialisations.registry import borrowed, lookup, names

if TYPE_CHECKING:
    from torch import nn


def initialise_(
    model: "nn.Module", declared: Mapping[str, Any], *, seed: int, shared: dict[str, Any] | None = None
) -> list[LayerReport]:
    """Initialise a model in place, as a config declares it.

    Parameters
    ----------
    model : torch.nn.Module
    declared : mapping
        `scheme`, the scheme's own options, and arguments of `init_depthwise_`: `share`, `scale`, `layers`, `depths`, `frozen`.
    seed : int
        Seed of the draw, ≥ 0.
    shared : dict, optional
        Filled with values computed once for all layers, see `init_depthwise_`.

    Returns
    -------
    list of LayerReport
        One for every layer that the scheme considers; none for `default` (which needs no depthwise layers) unless it freezes them.

    Raises
    ------
    EchosError
        See `init_depthwise_` and `init_pointwise_`. The model is then unchanged.
    """
    settings = dict(declared)
    scheme = settings.pop("scheme")
    if scheme == "pointwise":
        return init_pointwise_(model, seed=seed, **settings)
    if scheme == "default" and not settings.get("frozen"):
        check_settings("default", seed=seed, **settings)
        return []
    return init_depthwise_(model, scheme, seed=seed, shared=shared, **settings)


def check_declared(name: str, declared: object) -> None:
    """Raise `EchosError` unless the initialisation `name` has a scheme and does not set what the command sets."""
    if not isinstance(declared, Mapping) or not isinstance(declared.get("scheme"), str):
        raise EchosError(f"initialisation {name!r} must be an object with a scheme, not {declared}")
    if taken := {"model", "name", "seed", "shared"} & declared.keys():
        raise EchosError(f"initialisation {name!r}: {min(taken)!r} is set by the command; remove it from the options")


def scheme_options() -> dict[str, dict[str, inspect.Parameter]]:
    """Return the options of every scheme, as declared in its signature.

    Returns
    -------
    dict
        Scheme to option to its parameter: `default` is the default, and `annotation` is bool, int, float, `Positive`, `Share`,
        `Count`, a `Literal` of names, `Distribution`, a sequence of numbers, or a borrowed `Table`, `Filters` or `Weights`.
    """
    drawn = {name: entry for name in names() if (entry := lookup(name, {}))}
    found = {name: {one: _parameters(entry.draw)[one] for one in entry.options} for name, entry in drawn.items()}
    pointwise = {one: _parameters(init_pointwise_)[one] for one in ("weights", "rows")}
    return {"default": {}, "pointwise": pointwise, **found}


def borrowed_options(scheme: str) -> dict[str, str]:
    """Return the borrowed options of a scheme, and what each one names in a config: a "model" or an "input".

    Raises
    ------
    EchosError
        There is no such scheme.
    """
    known = scheme_options()
    if scheme not in known:
        raise EchosError(f"unknown scheme {scheme!r}{nearest(scheme, known)}; known are {', '.join(known)}")
    found = {name: borrowed(one.annotation) for name, one in known[scheme].items()}
    return {name: of for name, of in found.items() if of}


def borrowed_files(declared: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that a declared initialisation reads, by option."""
    options = borrowed_options(declared["scheme"])
    return {option: declared[option] for option in options if isinstance(declared.get(option), str)}


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters
