"""Learned scales: ideal models of scale space as kernels, where training learns σx, σy and a bias for each kernel.

Paper: Lindeberg, Babaiee, Kiasari, JMIV 2026 (arXiv 2509.12746): a second experiment in the released code, with no published
result. Kernels are the models of `receptive_fields.scale_space`, with a sampled Gaussian instead of the discrete one and zeros
beyond the borders; see `learned_sigmas` for the formulas. It is not known which model a kernel takes, nor whether the taps of the
Gaussian are normalised to a sum of 1; these are the options `choice` and `gaussian`.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.initialisations.registry import Positive, check_size, is_number, register

_MODELS = 8
# In taps: the neighbours of a narrower Gaussian's peak are 0 in single precision, and so is its derivative in σ.
_LEAST = 0.1


@register()
def scale_space_sigmas(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    sigma: float = 1.5,
    amount: Positive = 0.5,
    gaussian: Literal["density", "unit_sum"] = "density",
    choice: Literal["round_robin", "random"] = "round_robin",
    learn: Literal["sigmas_and_bias", "bias"] = "sigmas_and_bias",
    outputs: int | None = None,
) -> np.ndarray:
    """Draw ideal models of a sampled scale space at unit norm; `echos train` then learns only σx, σy and a bias.

    Parameters
    ----------
    sigma : float at least 0.1
        Initial σx and σy, taps.
    amount : float above 0
        γ₇, the amount of Laplacian subtracted from the impulse in model 7; it is not trained.
    gaussian : {"density", "unit_sum"}
        Taps of the Gaussian density, or normalised to a sum of 1 along each axis; affects only model 7.
    choice : {"round_robin", "random"}
        Kernel i takes model i modulo eight, or each kernel takes a random model.
    learn : {"sigmas_and_bias", "bias"}
        Parameters that are trained; with "bias", σx and σy keep their initial values.
    """
    from neural_echos.initialisations.learned_sigmas import start_kernels

    check_size("scale_space_sigmas", height, width, centred=True)
    if min(height, width) < 3:
        raise EchosError(
            f"scale_space_sigmas needs kernels of at least 3×3 taps, not {height}×{width}; exclude that layer with "
            "layers=…"
        )
    if not is_number(sigma) or not _LEAST <= sigma < np.inf:
        raise EchosError(f"scale_space_sigmas: sigma must be a number of taps of at least {_LEAST}, not {sigma!r}")
    if outputs is not None and n < outputs:
        raise EchosError(
            f"scale_space_sigmas learns the scales of all kernels of a layer, but {n} of {outputs} would be drawn; set share to 1"
        )
    models = np.arange(n) % _MODELS if choice == "round_robin" else rng.integers(_MODELS, size=n)
    return start_kernels((height, width), sigma, amount, gaussian)[models]


def describe_sigmas(declared: Mapping[str, Any]) -> dict[str, Any] | None:
    """Description in the JSON beside initial weights, from which training builds the parametrisation; None for other schemes."""
    if declared["scheme"] != "scale_space_sigmas":
        return None
    defaults = scale_space_sigmas.__kwdefaults__ or {}
    return {name: declared.get(name, defaults[name]) for name in ("sigma", "amount", "gaussian", "learn")}
