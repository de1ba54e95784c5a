"""Artifacts: what the notebooks in workflow/notebooks draw with: tidy tables, one style, one name table, kernel mosaics, saving."""

from neural_echos.artifacts.comparisons import initialisations_compared
from neural_echos.artifacts.initialisations import initialisation_signals
from neural_echos.artifacts.saving import FORMATS, Artifact, read
from neural_echos.artifacts.sheets import contact_sheet
from neural_echos.artifacts.summaries import ablation_table, accuracy_table

__all__ = [
    "FORMATS",
    "Artifact",
    "ablation_table",
    "accuracy_table",
    "contact_sheet",
    "initialisation_signals",
    "initialisations_compared",
    "read",
]
