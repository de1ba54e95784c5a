"""Universal filters: kernels that are a·x + b of a few fixed filters, where training learns only a and b.

Paper: Babaiee, Kiasari, Rus, Grosu, "The Quest for Universal Master Key Filters", NeurIPS 2025 (arXiv 2509.11711): eight filters
are frozen, and a bias per kernel is learned. How the paper assigns filters to kernels is not known, so it is the option `choice`.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from neural_echos.initialisations.assignment import assign
from neural_echos.initialisations.filter_sets import make_filter_set
from neural_echos.initialisations.filters import at_size
from neural_echos.initialisations.registry import Count, Filters, Table, register


@register()
def universal(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    set: Literal["eight", "ideal", "decoded", "centroids", "dog", "random"] = "eight",
    method: Literal["D1", "B"] | None = None,
    number: Count | None = None,
    filters: Filters | None = None,
    bank: Table | None = None,
    resample: bool = False,
    choice: Literal["round_robin", "nearest"] = "round_robin",
    learn: Literal["gain_and_bias", "bias"] = "gain_and_bias",
    seed: int = 0,
    shared: dict[str, Any] | None = None,
) -> np.ndarray:
    """Draw a·x + b from a set of filters; `echos train` then keeps x and learns a and b (`gain_and_bias`).

    Parameters
    ----------
    set : {"eight", "ideal", "decoded", "centroids", "dog", "random"}
        Set of filters.
    method : {"D1", "B"}, optional
        Fit that the scales of the set ideal come from, by default D1; the paper's released code uses B.
    number : int of at least 1, optional
        Number of filters, for sets of variable size.
    filters, bank : path or array, table or path, optional
        The eight published filters; the bank that decoded samples and centroids summarise.
    resample : bool
        Resample the filters to kernels of another size; otherwise another size is an error.
    choice : {"round_robin", "nearest"}
        Kernel i takes filter i modulo their number, with a random sign; or normal noise is drawn and replaced by its best a·x + b.
    learn : {"gain_and_bias", "bias"}
        Parameters that are trained.
    """
    declared = {"set": set, "method": method, "number": number, "filters": filters, "bank": bank}
    made = _made_once({} if shared is None else shared, seed, **declared)
    known = at_size(made, height, width, resample=resample)
    if choice == "round_robin":
        return rng.choice([-1.0, 1.0], n)[:, None, None] * known[np.arange(n) % len(known)]
    found = assign(rng.standard_normal((n, height, width)), known)
    return found.a[:, None, None] * known[found.index] + found.b[:, None, None]


def describe_universal(
    declared: Mapping[str, Any], seed: int, shared: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Description in the JSON beside initial weights, from which training builds the parametrisation; None for other schemes.

    Parameters
    ----------
    declared : mapping
        The declared initialisation.
    seed : int
        Seed of the draw.
    shared : dict, optional
        The dictionary filled by the draw; without it the filters are recomputed.
    """
    if declared["scheme"] != "universal":
        return None
    sources = {key: declared.get(key) for key in ("method", "number", "filters", "bank")}
    made = _made_once({} if shared is None else shared, seed, set=declared.get("set", "eight"), **sources)
    return {
        "filters": made.tolist(),
        "learn": declared.get("learn", "gain_and_bias"),
        "resample": declared.get("resample", False),
    }


def _made_once(shared: dict[str, Any], seed: int, **declared: Any) -> np.ndarray:
    """The set of filters of a draw, shared by all its layers."""
    if "filters" not in shared:
        given = {key: value for key, value in declared.items() if value is not None}
        shared["filters"] = make_filter_set(given, seed=seed)
    filters: np.ndarray = shared["filters"]
    return filters
