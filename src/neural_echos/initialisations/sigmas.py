"""Learned scales: ideal models of scale space as kernels, of which training learns σx and σy of each kernel, and a bias.

Paper: Lindeberg, Babaiee, Kiasari, JMIV 2026 (arXiv 2509.12746), a second experiment in the released code, of which no result is
published. Kernels are the models of `receptive_fields.scale_space`, with a sampled Gaussian in place of the discrete one and zeros
beyond the borders; see `learned_sigmas` for the formulas. Which model a kernel takes, and whether the taps of the Gaussian are
brought to a sum of 1, is not known; they are the options `choice` and `gaussian`.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.initialisations.registry import Positive, check_size, is_number, register

_MODELS = 8
# In taps: the neighbours of a narrower Gaussian's peak are 0 in single precision, and its slope in σ with them.
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
    """Draw ideal models of a sampled scale space at unit norm; `echos train` then learns σx, σy and a bias only.

    Parameters
    ----------
    sigma : float at least 0.1
        Where σx and σy start, taps.
    amount : float above 0
        γ₇, the amount of Laplacian that model 7 takes off the impulse; it stays as it is.
    gaussian : {"density", "unit_sum"}
        Taps of the Gaussian density, or brought to a sum of 1 (along each axis); it matters for model 7 alone.
    choice : {"round_robin", "random"}
        Kernel i takes model i modulo eight, or each takes one at random.
    learn : {"sigmas_and_bias", "bias"}
        What training may change; with the bias alone, σx and σy stay where they start.
    """
    from neural_echos.initialisations.learned_sigmas import start_kernels

    check_size("scale_space_sigmas", height, width, centred=True)
    if min(height, width) < 3:
        raise EchosError(
            f"scale_space_sigmas needs kernels of at least 3×3 taps, and these are {height}×{width}; leave that layer out with "
            "layers=…"
        )
    if not is_number(sigma) or not _LEAST <= sigma < np.inf:
        raise EchosError(f"scale_space_sigmas: sigma must be a number of taps of at least {_LEAST}, not {sigma!r}")
    if outputs is not None and n < outputs:
        raise EchosError(
            f"scale_space_sigmas learns the scales of all kernels of a layer, and {n} of {outputs} are to be drawn; set share to 1"
        )
    models = np.arange(n) % _MODELS if choice == "round_robin" else rng.integers(_MODELS, size=n)
    return start_kernels((height, width), sigma, amount, gaussian)[models]


def describe_sigmas(declared: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the JSON beside initial weights says, so that training can build the parameterisation: None for other schemes."""
    if declared["scheme"] != "scale_space_sigmas":
        return None
    defaults = scale_space_sigmas.__kwdefaults__ or {}
    return {name: declared.get(name, defaults[name]) for name in ("sigma", "amount", "gaussian", "learn")}
