"""Initialisations: named ways to draw depthwise kernels, and `init_depthwise_`, which applies them to any timm model.

Each is a small function in `noise`, `receptive`, `borrowed`, `universal_filters` or `sigmas`, registered with `@register()`.
Share, scale, depths and freezing are arguments of `init_depthwise_` and apply to every initialisation. `init_pointwise_` does
for pointwise weights what transfer does for kernels. `initialise_` applies an initialisation declared in a config.
"""

from neural_echos.initialisations import borrowed, noise, receptive, sigmas, universal_filters
from neural_echos.initialisations.apply import SCALES, LayerReport, check_settings, init_depthwise_
from neural_echos.initialisations.checkpoint import start_from
from neural_echos.initialisations.declared import (
    borrowed_files,
    borrowed_options,
    check_declared,
    initialise_,
    scheme_options,
)
from neural_echos.initialisations.pointwise import init_pointwise_, pointwise_layers
from neural_echos.initialisations.registry import draw_kernels, names, register

__all__ = [
    "SCALES",
    "LayerReport",
    "borrowed",
    "borrowed_files",
    "borrowed_options",
    "check_declared",
    "check_settings",
    "draw_kernels",
    "init_depthwise_",
    "init_pointwise_",
    "initialise_",
    "names",
    "noise",
    "pointwise_layers",
    "receptive",
    "register",
    "scheme_options",
    "sigmas",
    "start_from",
    "universal_filters",
]
