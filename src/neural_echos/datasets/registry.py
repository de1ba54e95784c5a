"""The registry of datasets: a maker registers itself under the kind that the config names.

A maker is a function `(*files, seed, options…) -> (dataset, facts)`. Its positional parameters, `train_files` and `test_files`,
determine which files it takes; its other keywords are the options of its kind, also in the config.
"""

from collections.abc import Callable
from typing import TypeVar

from neural_echos.datasets.base import Dataset, Facts
from neural_echos.datasets.streamed import StreamedDataset

Maker = Callable[..., tuple[Dataset | StreamedDataset, Facts]]
M = TypeVar("M", bound=Maker)

MAKERS: dict[str, Maker] = {}


def maker(kind: str) -> Callable[[M], M]:
    """Register a maker."""

    def enter(function: M) -> M:
        MAKERS[kind] = function
        return function

    return enter
