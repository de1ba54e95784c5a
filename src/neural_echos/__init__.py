"""Neural Echos, reproduced: depthwise kernels, their receptive fields, and initialisations drawn from them.

The names below are public; each is imported from its room on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {  # in the order of the rooms, as in docs/library.rst
    "EchosError": "errors",
    "read_table": "tables",
    "bank_from_checkpoint": "kernels",
    "bank_from_model": "kernels",
    "layers_of": "kernels",
    "center_norm": "receptive_fields",
    "dog": "receptive_fields",
    "dog_parameters": "receptive_fields",
    "fit": "receptive_fields",
    "fit_bank": "receptive_fields",
    "fit_dog": "receptive_fields",
    "gaussian": "receptive_fields",
    "gaussian_derivative": "receptive_fields",
    "structured_share": "structure.shares",
    "cluster_bank": "structure.kmeans",
    "draw_kernels": "initialisations",
    "init_depthwise_": "initialisations",
    "measure_signals": "initialisations.signal_propagation",
    "inspect": "report.inspection",
    "show_kernels": "report.sheet",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"neural_echos.{_PUBLIC[name]}"), name)
    except ModuleNotFoundError as error:
        told = import_module("neural_echos.errors").missing_package(error, f"neural_echos.{name}")
        raise told or error from None


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
