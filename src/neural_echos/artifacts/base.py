"""What figures that are still drawn by functions of the library share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from neural_echos.artifacts.style import drawing

# Okabe and Ito's palette, which survives the common kinds of colour blindness; one colour a name, everywhere.
COLOURS = {
    "default": "#000000",
    "kaiming": "#E69F00",
    "dog": "#0072B2",
    "excitatory": "#D55E00",
    "inhibitory": "#0072B2",
    "other": "#999999",
    "trained": "#0072B2",
    "untrained": "#999999",
    "regular": "#E69F00",
}
MARKERS = {"default": "o", "kaiming": "s", "dog": "^"}
_SPARE = (("#009E73", "D"), ("#CC79A7", "v"), ("#56B4E9", "P"), ("#F0E442", "X"))  # for other initialisations


@dataclass(frozen=True)
class Drawn:
    """A figure, or a table of finished cells, with a sentence or two, computed from its numbers, that say what it shows."""

    content: Figure | pd.DataFrame
    says: str


@contextmanager
def own_style() -> Iterator[None]:
    """Draw in the project's style; also a decorator."""
    with drawing():
        yield


def looks(initialisations: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give each initialisation its colour and marker: its own where it has one, else the next spare ones."""
    others = [name for name in initialisations if name not in MARKERS]
    spare = {name: _SPARE[place % len(_SPARE)] for place, name in enumerate(others)}
    return {name: spare.get(name) or (COLOURS[name], MARKERS[name]) for name in initialisations}


def finished(figure: Figure, says: str, note: str) -> Drawn:
    """Make the artifact of a figure; `note`, what the numbers rest on, stands below it and after its sentence."""
    if note:
        figure.supxlabel(note, fontsize=7, color="#444444")
    return Drawn(figure, f"{says} {note}".strip())
