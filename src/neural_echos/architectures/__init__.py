"""Architectures: every timm model by name, and further ones that are registered with timm on import.

To add one, write its entry point in a module of this package and decorate it with timm's `register_model`.
"""

import inspect
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import timm
from timm.models import model_entrypoint
from torch import nn

from neural_echos.architectures import hornet, regular, small
from neural_echos.errors import EchosError, nearest

__all__ = ["create", "hornet", "regular", "small", "timm_name"]

_RESERVED = ("num_classes", "in_chans", "pretrained")


def timm_name(model: str) -> str:
    """Name of a model as registered by timm, without the hub's prefix ("timm/…", "hf-hub:timm/…", "hf_hub:timm/…")."""
    return re.sub(r"^(?:hf[-_]hub:)?timm/", "", model)


def create(model: str, *, num_classes: int, in_chans: int, kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a model with timm's own initial weights, drawn from torch's global generator.

    Parameters
    ----------
    model : str
        A name that `timm.create_model` knows, including ours ("convmixer_small", "hornet_tiny_7x7", …), with or without the hub's
        prefix (`timm_name`).
    num_classes, in_chans : int
        Number of classes; channels of an image.
    kwargs : mapping of str to Any, optional
        Keyword arguments of the architecture: widths, depths, `kernel_size`, `drop_path_rate`, ….

    Raises
    ------
    EchosError
        The name or a keyword is unknown, or the architecture refuses a value.
    """
    kwargs = dict(kwargs or {})
    asked, model = model, timm_name(model)
    if not timm.is_model(model):
        raise EchosError(
            f"architecture: {asked!r} is not a model of timm or of neural_echos.architectures"
            f"{nearest(model, timm.list_models())}; timm.list_models() lists them"
        )
    if taken := [name for name in _RESERVED if name in kwargs]:
        raise EchosError(f"{model}: {taken[0]!r} is not a keyword of the architecture; remove it from kwargs")
    try:
        return timm.create_model(model, num_classes=num_classes, in_chans=in_chans, **kwargs)
    except (TypeError, ValueError, AssertionError, RuntimeError, IndexError) as error:
        raise EchosError(_explain(model, kwargs, error)) from error


def _explain(model: str, kwargs: dict[str, Any], error: Exception) -> str:
    """Name the keyword that a builder refused and the nearest one that it accepts, or say why the model cannot be built."""
    found = re.search(r"(\w+)[\w.]*\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not found:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"{model}: cannot be built with {kwargs} ({why}); correct them"
    known = _keywords(model, found[1], error)
    hint = nearest(found[2], known) or f"; it takes {', '.join(sorted(known))}"
    return f"{model}: there is no keyword {found[2]!r}{hint}; correct the name or remove it"


def _keywords(model: str, builder: str, error: Exception) -> set[str]:
    """Keywords of the builder that refused one and of the functions that called it, in the model's module or `small`."""
    # The twins in `regular` are built by entry points of `small`.
    own = {model_entrypoint(model).__module__, small.__name__}
    names: set[str] = set()
    for module in map(sys.modules.__getitem__, own):
        if hasattr(module, builder):
            names.update(inspect.signature(getattr(module, builder)).parameters)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") in own:
            names.update(inspect.getargs(frame.f_code).args)
    return names - {*_RESERVED, "kwargs", "device", "dtype"}
