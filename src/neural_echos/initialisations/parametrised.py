"""Parametrised kernels: what training learns of a kernel in place of its taps, and how a network gets plain weights back.

Two schemes are more than a draw: training learns a gain and a bias of each kernel of `universal`, and two scales and a bias of each
of `scale_space_sigmas`. The JSON beside initial weights describes which, under the key that `_KINDS` gives.
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
    """What the JSON beside initial weights says of a declared initialisation, by kind; see `describe_universal`."""
    sigmas = describe_sigmas(declared)
    return {"universal": describe_universal(declared, seed, shared)} | ({"sigmas": sigmas} if sigmas else {})


def reparameterise_(model: nn.Module, made: Mapping[str, Any]) -> None:
    """Parametrise the layers that an initialisation has drawn and not frozen; does nothing where it is a draw only.

    Parameters
    ----------
    model : torch.nn.Module
        With its initial weights.
    made : mapping
        The JSON beside them.

    Raises
    ------
    EchosError
        A layer's kernels are not those that the description says.
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
    """Give a reparameterised model its plain depthwise weights back, so that its state dict is that of any other.

    Returns
    -------
    dict
        What was learned: layer to name (such as sigma_x) to a value of each kernel.
    """
    learned = {}
    for name, module in list(model.named_modules()):
        if parametrize.is_parametrized(module, "weight"):
            known = module.parametrizations.weight
            values = known[0].named(*(getattr(known, f"original{place}") for place in range(known.ntensors)))
            learned[name] = {what: one.detach().tolist() for what, one in values.items()}
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return learned
