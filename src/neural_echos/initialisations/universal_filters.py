"""Universal filters: kernels that are a·x + b of a few fixed filters, where training learns a and b only.

Paper: Babaiee, Kiasari, Rus, Grosu, "The Quest for Universal Master Key Filters", NeurIPS 2025 (arXiv 2509.11711): eight filters
are frozen, and a bias per kernel is learned. How filters are dealt out to kernels could not be read; it is the option `choice`.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from neural_echos.initialisations.assignment import assign
from neural_echos.initialisations.filter_sets import at_size, make_filter_set
from neural_echos.initialisations.registry import Count, Filters, Table, register


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
    """Draw a·x + b of a set of filters; `echos train` then keeps x and learns a and b (`gain_and_bias.reparameterise_`).

    Parameters
    ----------
    set : {"eight", "ideal", "decoded", "centroids", "dog", "random"}
        Which filters.
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
    made = make_filter_set(_declared(set, number, filters, bank), seed=seed)
    known = at_size(made, height, width, resample=resample)
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
    made = make_filter_set(_declared(declared.get("set", "eight"), *sources), seed=seed)
    return {
        "filters": made.tolist(),
        "learn": declared.get("learn", "gain_and_bias"),
        "resample": declared.get("resample", False),
    }


def _declared(name: str, number: int | None, filters: Any, bank: Table | None) -> dict[str, Any]:
    given = {"set": name, "number": number, "filters": filters, "bank": bank}
    return {key: value for key, value in given.items() if value is not None}
