"""Artifacts: what the notebooks in workflow/notebooks draw with: tidy tables, one style, one name table, kernel mosaics, saving."""

from neural_echos.artifacts.comparisons import initialisations_compared
from neural_echos.artifacts.fits import explained_variance_table, fit_distributions, fit_distributions_by_family
from neural_echos.artifacts.initialisations import initialisation_signals
from neural_echos.artifacts.patterns import (
    pattern_gallery,
    pattern_shares,
    pattern_shares_by_depth,
    pattern_threshold_curves,
)
from neural_echos.artifacts.saving import FORMATS, Artifact, read
from neural_echos.artifacts.scale_space import filters_beside_ideals, scales_table, spread_table
from neural_echos.artifacts.sheets import contact_sheet
from neural_echos.artifacts.summaries import ablation_table, accuracy_table, structure_table, verdict_table

__all__ = [
    "FORMATS",
    "Artifact",
    "ablation_table",
    "accuracy_table",
    "contact_sheet",
    "explained_variance_table",
    "filters_beside_ideals",
    "fit_distributions",
    "fit_distributions_by_family",
    "initialisation_signals",
    "initialisations_compared",
    "pattern_gallery",
    "pattern_shares",
    "pattern_shares_by_depth",
    "pattern_threshold_curves",
    "read",
    "scales_table",
    "spread_table",
    "structure_table",
    "verdict_table",
]
