"""Universal filters: kernels that are a·x + b of a few fixed filters, where training learns a and b only.

Paper: Babaiee, Kiasari, Rus, Grosu, "The Quest for Universal Master Key Filters", NeurIPS 2025 (arXiv 2509.11711): eight filters
are frozen, and a bias per kernel is learned. How filters are dealt out to kernels could not be read; it is the option `choice`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.initialisations.candidates import assign, candidate_set, fitted
from neural_echos.initialisations.registry import Count, Filters, Table, register
from neural_echos.kernels import layers_of

if TYPE_CHECKING:
    from torch import nn

_SPAN = 1e-4  # a kernel further from its filter than this share of its own norm is none of a·x + b


@register()
def universal(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    set: Literal["eight", "ideal", "decoded", "centroids", "dog", "random"] = "eight",
    number: Count | None = None,
    filters: Filters | None = None,
    bank: Table | None = None,
    resample: bool = False,
    choice: Literal["round_robin", "nearest"] = "round_robin",
    learn: Literal["gain_and_bias", "bias"] = "gain_and_bias",
    seed: int = 0,
) -> np.ndarray:
    """Draw a·x + b of a set of filters; `echos train` then keeps x and learns a and b (`reparameterise_`).

    Parameters
    ----------
    set : {"eight", "ideal", "decoded", "centroids", "dog", "random"}
        Which filters (`candidates.candidate_set`).
    number : int of at least 1, optional
        How many, for sets of any number.
    filters, bank : path or array, table or path, optional
        Of the published eight; the kernels that decoded samples and centroids summarise.
    resample : bool
        Stretch the filters to kernels of another size; otherwise another size is an error.
    choice : {"round_robin", "nearest"}
        Kernel i takes filter i modulo their number, with a random sign; or normal noise is drawn, and becomes its best a·x + b.
    learn : {"gain_and_bias", "bias"}
        What training may change.
    """
    made = candidate_set(_declared(set, number, filters, bank), seed=seed)
    known = fitted(made, height, width, resample=resample)
    if choice == "round_robin":
        return rng.choice([-1.0, 1.0], n)[:, None, None] * known[np.arange(n) % len(known)]
    found = assign(rng.standard_normal((n, height, width)), known)
    return found.a[:, None, None] * known[found.index] + found.b[:, None, None]


def describe_universal(declared: Mapping[str, Any], seed: int) -> dict[str, Any] | None:
    """What the JSON beside initial weights says, so that training can build the parameterisation: None for other schemes.

    Parameters
    ----------
    declared : mapping
        The initialisation as declared.
    seed : int
        Of the draw.
    """
    if declared["scheme"] != "universal":
        return None
    sources = (declared.get(key) for key in ("number", "filters", "bank"))
    made = candidate_set(_declared(declared.get("set", "eight"), *sources), seed=seed)
    return {
        "filters": made.tolist(),
        "learn": declared.get("learn", "gain_and_bias"),
        "resample": declared.get("resample", False),
    }


def reparameterise_(model: "nn.Module", described: Mapping[str, Any]) -> None:
    """Turn every depthwise weight of a model into a·x + b: x a buffer, a and b parameters of shape (kernels,).

    Parameters
    ----------
    model : torch.nn.Module
        Its kernels are multiples of the filters plus a constant, as `universal` draws them.
    described : mapping
        As `describe_universal` returns it.

    Raises
    ------
    EchosError
        A kernel is no a·x + b of these filters, or its size is another one.
    """
    import torch
    from torch.nn.utils import parametrize

    from neural_echos.initialisations.parameterisation import GainAndBias

    made = np.asarray(described["filters"], dtype=np.float64)
    for layer in layers_of(model):
        if layer.kind != "depthwise":
            continue
        module = model.get_submodule(layer.name)
        filters = fitted(made, layer.kernel_height, layer.kernel_width, resample=described["resample"])
        kernels = module.weight.detach().double().cpu().numpy()[:, 0]
        found = assign(kernels, filters)
        outside = found.error > _SPAN * np.linalg.norm(kernels, axis=(1, 2))
        if outside.any():
            raise EchosError(
                f"layer {layer.name}: {int(outside.sum())} of {len(kernels)} kernels are no a·x + b of the {len(filters)} filters; "
                "draw all of them with the scheme universal and share 1"
            )
        shapes = torch.from_numpy(filters[found.index]).to(module.weight.device, module.weight.dtype)
        parametrize.register_parametrization(module, "weight", GainAndBias(shapes))
        if described["learn"] == "bias":
            module.parametrizations.weight.original0.requires_grad_(False)


def plain_(model: "nn.Module") -> None:
    """Give a reparameterised model its plain depthwise weights back, so that its state dict is that of any other."""
    from torch.nn.utils import parametrize

    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _declared(name: str, number: int | None, filters: Any, bank: Table | None) -> dict[str, Any]:
    given = {"set": name, "number": number, "filters": filters, "bank": bank}
    return {key: value for key, value in given.items() if value is not None}
