"""Initialisations: named ways to draw depthwise kernels, and `init_depthwise_`, which puts them into any timm model.

Each is a small function in `noise`, `receptive`, `borrowed` or `universal`, entered in the registry by `@register()`. Share, scale
and freezing are switches of `init_depthwise_`, whatever the initialisation.
"""

from neural_echos.initialisations import borrowed, candidates, noise, receptive, universal
from neural_echos.initialisations.apply import SCALES, LayerReport, init_depthwise_
from neural_echos.initialisations.registry import draw_kernels, names, register

__all__ = [
    "SCALES",
    "LayerReport",
    "borrowed",
    "candidates",
    "draw_kernels",
    "init_depthwise_",
    "names",
    "noise",
    "receptive",
    "register",
    "universal",
]
