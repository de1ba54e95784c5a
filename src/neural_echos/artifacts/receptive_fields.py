"""Tables for figures of receptive-field models: the profile of a DoG, its kernels over γ, and a gallery of all models."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neural_echos import receptive_fields
from neural_echos.artifacts.names import label
from neural_echos.receptive_fields import MODELS

SIGNS = {-1: "inhibitory", 1: "excitatory"}  # in the order of the paper's figures
_SYMBOLS = {
    "gamma": r"$\gamma$",
    "sign": "sign",
    "sigma_u": r"$\sigma_u$",
    "sigma_v": r"$\sigma_v$",
    "orientation": r"$\theta$",
    "offset_x": "$o_x$",
    "offset_y": "$o_y$",
    "sigma_x": r"$\sigma_x$",
    "sigma_y": r"$\sigma_y$",
    "amount": r"$\gamma_7$",
}
_ORIENTED: list[dict[str, float]] = [
    {"sigma_u": 0.7},
    {"sigma_u": 1.2},
    {"sigma_u": 2.0, "sigma_v": 0.8},
    {"sigma_u": 0.8, "sigma_v": 2.0},
    {"sigma_u": 1.2, "orientation": np.pi / 4},
    {"sigma_u": 1.2, "sigma_v": 2.0, "orientation": 2 * np.pi / 3},
    {"sigma_u": 0.9, "offset_x": 1.5},
    {"sigma_u": 0.9, "offset_y": -1.5},
]
_SCALES: list[dict[str, float]] = [
    {"sigma_x": 0.0},
    {"sigma_x": 0.5},
    {"sigma_x": 1.0},
    {"sigma_x": 1.5},
    {"sigma_x": 0.5, "sigma_y": 1.0},
    {"sigma_x": 0.5, "sigma_y": 2.0},
    {"sigma_x": 1.0, "sigma_y": 0.5},
    {"sigma_x": 2.0, "sigma_y": 0.0},
]
_DOGS: list[dict[str, float]] = [
    *({"gamma": gamma} for gamma in (0.2, 0.4, 0.6, 0.8)),
    *({"gamma": gamma, "sign": -1} for gamma in (0.2, 0.4, 0.6, 0.8)),
]


def dog_profile(size: int, gamma: float) -> pd.DataFrame:
    """Weights of a Difference of Gaussians and of its two Gaussians along a line through the centre, for both signs.

    Parameters
    ----------
    size : int
        Side of the kernel, taps.
    gamma : float
        Centre-to-surround ratio.

    Returns
    -------
    DataFrame
        `centre` (`inhibitory` or `excitatory`), `part` (`centre`, `surround` or `sum`), `distance` (taps, negative on the left)
        and `weight`; `r` and `sigma` (taps), `a_centre` and `a_surround` are the same in all rows.
    """
    profile = receptive_fields.gaussian_pair_profile(size, gamma)
    parts = {"centre": profile.centre, "surround": profile.surround, "sum": profile.centre + profile.surround}
    rows = [
        pd.DataFrame({"centre": name, "part": part, "distance": profile.distance, "weight": sign * weights})
        for sign, name in SIGNS.items()
        for part, weights in parts.items()
    ]
    found = receptive_fields.dog_parameters(size, gamma)
    return pd.concat(rows, ignore_index=True).assign(
        r=float(found.r),
        sigma=float(found.sigma),
        a_centre=float(found.a_centre),
        a_surround=float(found.a_surround),
    )


def dog_kernels(size: int, gammas: Sequence[float]) -> pd.DataFrame:
    """Kernels of the Difference of Gaussians of one size, for both signs.

    Parameters
    ----------
    size : int
        Side of the kernels, taps.
    gammas : sequence of float
        Centre-to-surround ratios.

    Returns
    -------
    DataFrame
        One row per kernel, those with an inhibitory centre first: `centre`, `gamma`, `r`, `sigma` (taps) and `taps` (ndarray,
        shape (size, size)).
    """
    found = receptive_fields.dog_parameters(size, np.asarray(gammas))
    parameters = {"gamma": list(gammas), "r": np.asarray(found.r), "sigma": np.asarray(found.sigma)}
    rows = [
        pd.DataFrame(parameters).assign(centre=name, taps=list(receptive_fields.dog(size, np.asarray(gammas), sign)))
        for sign, name in SIGNS.items()
    ]
    return pd.concat(rows, ignore_index=True)[["centre", "gamma", "r", "sigma", "taps"]]


def model_gallery(size: int) -> pd.DataFrame:
    """Kernels of every receptive-field model for a few parameter values, eight for each family.

    Parameters
    ----------
    size : int
        Side of the kernels, taps.

    Returns
    -------
    DataFrame
        One row per kernel: `family` (its row in the gallery), `model` (name in the library), `parameters` (as text, one per line;
        lengths in taps, angles in degrees) and `taps` (ndarray, shape (size, size)).
    """
    families: dict[str, list[tuple[str, dict[str, float]]]] = {
        label("model", "dog"): [("dog", choice) for choice in _DOGS],
        **{
            label("model", name): [(name, choice) for choice in _ORIENTED]
            for name in ("gaussian", "gaussian_derivative_1", "gaussian_derivative_2")
        },
        label("model", "discrete_gaussian"): [("discrete_gaussian", choice) for choice in _SCALES],
        "ideal filters 1 to 8": [_ideal(number, 0.5) for number in range(1, 9)],
        "ideal filters 1 to 8, wider": [_ideal(number, 1.0) for number in range(1, 9)],
    }
    rows = [
        {"family": family, "model": model, "parameters": _told(model, choice), "taps": MODELS[model](size, **choice)}
        for family, shown in families.items()
        for model, choice in shown
    ]
    return pd.DataFrame(rows)


def _ideal(number: int, sigma: float) -> tuple[str, dict[str, float]]:
    return f"scale_space_{number}", {"sigma_x": sigma} | ({"amount": 0.5} if number == 7 else {})


def _told(model: str, choice: dict[str, float]) -> str:
    """Write the chosen parameters, one per line; angles in degrees."""
    parts = [
        f"{_SYMBOLS[name]} = {np.degrees(value):.0f}°" if name == "orientation" else f"{_SYMBOLS[name]} = {value:g}"
        for name, value in choice.items()
    ]
    if model.startswith("scale_space"):
        parts[0] = f"{model[-1]}: {parts[0]}"
    return "\n".join(parts).replace("-", "−")
