"""Parametrised kernels: learn a few parameters of a kernel instead of its taps, and convert the network back to plain weights.

Two schemes are more than a draw. With `universal`, training learns a gain and a bias per kernel; with `scale_space_sigmas`, two
scales and a bias. The JSON file beside initial weights describes the parametrisation under a key of `_KINDS`.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from neural_echos.errors import EchosError
from neural_echos.initialisations import gain_and_bias, learned_sigmas
from neural_echos.initialisations.sigmas import describe_sigmas
from neural_echos.initialisations.universal_filters import describe_universal

_KINDS = {"universal": gain_and_bias.parametrise_, "sigmas": learned_sigmas.parametrise_}


def describe(declared: Mapping[str, Any], seed: int, shared: dict[str, Any] | None = None) -> dict[str, Any]:
    """Description of a declared initialisation, by kind, for the JSON beside initial weights; see `describe_universal`."""
    sigmas = describe_sigmas(declared)
    return {"universal": describe_universal(declared, seed, shared)} | ({"sigmas": sigmas} if sigmas else {})


def reparameterise_(model: nn.Module, made: Mapping[str, Any]) -> None:
    """Parametrise the layers that an initialisation has drawn and not frozen; does nothing for schemes that only draw.

    Parameters
    ----------
    model : torch.nn.Module
        Model with its initial weights.
    made : mapping
        Content of the JSON file beside the weights.

    Raises
    ------
    EchosError
        A layer's kernels do not match the description.
    """
    for kind, parametrise_ in _KINDS.items():
        for done in made["did"] if made.get(kind) else ():
            if done["frozen"] or not done["replaced"]:
                continue
            try:
                parametrise_(model.get_submodule(done["layer"]), made[kind])
            except EchosError as error:
                raise EchosError(f"layer {done['layer']}: {error}") from None


def plain_(model: nn.Module) -> dict[str, dict[str, list[float]]]:
    """Convert a reparameterised model back to plain depthwise weights, so that its state dict is an ordinary one.

    Returns
    -------
    dict
        Learned values: layer to name (such as sigma_x) to one value per kernel.
    """
    learned = {}
    for name, module in list(model.named_modules()):
        if parametrize.is_parametrized(module, "weight"):
            known = module.parametrizations.weight
            values = known[0].named(*(getattr(known, f"original{place}") for place in range(known.ntensors)))
            learned[name] = {what: one.detach().tolist() for what, one in values.items()}
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return learned
