"""Initialisations as a config declares them: ``{scheme: dog, gamma: 0.5, share: 1.0}``.

A scheme is a function that `@register` enters, or one of two more: `default`, which keeps what the model's own code drew, and
`pointwise`, which sets pointwise weights and no kernels. Commands call `initialise_`; whoever needs to know which options a scheme
has asks `scheme_options`, and which of them are borrowed, `borrowed_options`.
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
        `scheme`, the scheme's own options, and what `init_depthwise_` takes: `share`, `scale`, `layers`, `depths`, `frozen`.
    seed : int
        Of the draw, ≥ 0.
    shared : dict, optional
        Filled with what is computed once for all layers, see `init_depthwise_`.

    Returns
    -------
    list of LayerReport
        Of every layer that the scheme considers; none for `default`, which needs no depthwise layers, unless it freezes them.

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
    """Raise an `EchosError` unless what a config calls `name` names a scheme and leaves to the command what that sets."""
    if not isinstance(declared, Mapping) or not isinstance(declared.get("scheme"), str):
        raise EchosError(f"initialisation {name!r} must be an object with a scheme, not {declared}")
    if taken := {"model", "name", "seed", "shared"} & declared.keys():
        raise EchosError(f"initialisation {name!r}: {min(taken)!r} is set by the command; take it out of the options")


def scheme_options() -> dict[str, dict[str, inspect.Parameter]]:
    """Return the options of every scheme, as its signature declares them.

    Returns
    -------
    dict
        Scheme to option to its parameter: `default` is the default, and `annotation` one of bool, int, float, `Positive`, `Share`,
        `Count`, a `Literal` of names, `Distribution`, a sequence of numbers, or what is borrowed: `Table`, `Filters`, `Weights`.
    """
    drawn = {name: entry for name in names() if (entry := lookup(name, {}))}
    found = {name: {one: _parameters(entry.draw)[one] for one in entry.options} for name, entry in drawn.items()}
    pointwise = {one: _parameters(init_pointwise_)[one] for one in ("weights", "rows")}
    return {"default": {}, "pointwise": pointwise, **found}


def borrowed_options(scheme: str) -> dict[str, str]:
    """Return the options by which a scheme borrows, and of what each is a name in a config: a "model" or an "input".

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
    """Return the files that a declared initialisation is drawn from, by option."""
    options = borrowed_options(declared["scheme"])
    return {option: declared[option] for option in options if isinstance(declared.get(option), str)}


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters
