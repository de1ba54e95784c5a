"""Architectures: every model of timm by its name, and the ones that timm lacks, registered on import.

To add one, write its entry point in a module of this package under timm's `register_model`.
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
    """Name of a model as timm registers it, where it is given as on the hub ("timm/…", "hf-hub:timm/…", "hf_hub:timm/…")."""
    return re.sub(r"^(?:hf[-_]hub:)?timm/", "", model)


def create(model: str, *, num_classes: int, in_chans: int, kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a model with fresh weights, drawn from torch's global generator as timm draws them.

    Parameters
    ----------
    model : str
        A name that `timm.create_model` knows, ours among them ("convmixer_small", "hornet_tiny_7x7", …), also as on the hub
        (`timm_name`).
    num_classes, in_chans : int
        Classes of the head; channels of an image.
    kwargs : mapping of str to Any, optional
        Keywords of the architecture: widths, depths, `kernel_size`, `drop_path_rate`, ….

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
        raise EchosError(f"{model}: {taken[0]!r} is not a keyword of the architecture; take it out of kwargs")
    try:
        return timm.create_model(model, num_classes=num_classes, in_chans=in_chans, **kwargs)
    except (TypeError, ValueError, AssertionError, RuntimeError, IndexError) as error:
        raise EchosError(_explain(model, kwargs, error)) from error


def _explain(model: str, kwargs: dict[str, Any], error: Exception) -> str:
    """Say which keyword a builder refused and the nearest that it takes, or else why the model could not be built."""
    found = re.search(r"(\w+)[\w.]*\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not found:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"{model}: cannot be built with {kwargs} ({why}); correct them"
    known = _keywords(model, found[1], error)
    hint = nearest(found[2], known) or f"; it takes {', '.join(sorted(known))}"
    return f"{model}: there is no keyword {found[2]!r}{hint}; correct the name or take it out"


def _keywords(model: str, builder: str, error: Exception) -> set[str]:
    """Keywords of the builder that refused one and of the functions that led to it, in the model's module or `small`."""
    # A twin of `regular` is built by an entry point of `small`.
    own = {model_entrypoint(model).__module__, small.__name__}
    names: set[str] = set()
    for module in map(sys.modules.__getitem__, own):
        if hasattr(module, builder):
            names.update(inspect.signature(getattr(module, builder)).parameters)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") in own:
            names.update(inspect.getargs(frame.f_code).args)
    return names - {*_RESERVED, "kwargs", "device", "dtype"}
