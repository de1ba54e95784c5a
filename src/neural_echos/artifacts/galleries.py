"""Galleries: what the library's formulas look like over their parameters."""

from typing import Any

import numpy as np

from neural_echos.artifacts.base import Drawn, own_style
from neural_echos.artifacts.mosaics import colour_bar, draw_kernels
from neural_echos.artifacts.style import canvas
from neural_echos.receptive_fields import MODELS

Tables = dict[str, Any]
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


@own_style()
def receptive_field_gallery(tables: Tables, *, size: int) -> Drawn:
    """Every receptive-field model over a few of its parameters, one of the eight ideal filters a column, at two scales."""
    rows = {
        "dog": [("dog", choice) for choice in _DOGS],
        "gaussian": [("gaussian", choice) for choice in _ORIENTED],
        "gaussian_\nderivative_1": [("gaussian_derivative_1", choice) for choice in _ORIENTED],
        "gaussian_\nderivative_2": [("gaussian_derivative_2", choice) for choice in _ORIENTED],
        "discrete_\ngaussian": [("discrete_gaussian", choice) for choice in _SCALES],
        "scale_space_1\nto 8": [_ideal(number, 0.5) for number in range(1, 9)],
        "the same,\nwider": [_ideal(number, 1.0) for number in range(1, 9)],
    }
    figure, axes = canvas(len(rows), 8, (7.2, 1.03 * len(rows)))
    for line, (name, shown) in zip(axes, rows.items(), strict=True):
        line[0].text(-0.15, 0.5, name, ha="right", va="center", transform=line[0].transAxes)
        for axis, (model, choice) in zip(line, shown, strict=True):
            image = draw_kernels(axis, MODELS[model](size, **choice)[None], 1)
            axis.text(0.5, -0.04, _label(model, choice), fontsize=6, ha="center", va="top", transform=axis.transAxes)
    colour_bar(figure, image, axes)
    return Drawn(
        figure,
        f"All {len(MODELS)} receptive-field models at {size}×{size}, each kernel scaled by its largest tap; x points right, y up.",
    )


def _ideal(number: int, sigma: float) -> tuple[str, dict[str, float]]:
    return f"scale_space_{number}", {"sigma_x": sigma} | ({"amount": 0.5} if number == 7 else {})


def _label(model: str, choice: dict[str, float]) -> str:
    """Name the ideal filter and the parameters that are chosen, two a line; angles in degrees."""
    parts = [
        f"{_SYMBOLS[name]} {np.degrees(value):.0f}°" if name == "orientation" else f"{_SYMBOLS[name]} {value:g}"
        for name, value in choice.items()
    ]
    if model.startswith("scale_space"):
        parts[0] = f"{model[-1]}: {parts[0]}"
    lines = [", ".join(parts[at : at + 2]) for at in range(0, len(parts), 2)]
    return "\n".join(lines).replace("-", "−")
