"""Artifacts: what the notebooks in workflow/notebooks draw with: tidy tables, one style, one name table, kernel mosaics, saving."""

from neural_echos.artifacts.clusters import cluster_numbers
from neural_echos.artifacts.comparisons import initialisations_compared
from neural_echos.artifacts.figures import (
    cluster_shares_by_depth,
    clusters_with_averages,
    dog_kernels_by_ratio,
    dog_profile,
    kernel_samples,
    kernels_before_and_after,
    kernels_beside_dogs,
    regular_kernels_as_control,
)
from neural_echos.artifacts.fits import explained_variance_table, fit_distributions, fit_distributions_by_family
from neural_echos.artifacts.galleries import receptive_field_gallery
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
    "cluster_numbers",
    "cluster_shares_by_depth",
    "clusters_with_averages",
    "contact_sheet",
    "dog_kernels_by_ratio",
    "dog_profile",
    "explained_variance_table",
    "filters_beside_ideals",
    "fit_distributions",
    "fit_distributions_by_family",
    "initialisation_signals",
    "initialisations_compared",
    "kernel_samples",
    "kernels_before_and_after",
    "kernels_beside_dogs",
    "pattern_gallery",
    "pattern_shares",
    "pattern_shares_by_depth",
    "pattern_threshold_curves",
    "read",
    "receptive_field_gallery",
    "regular_kernels_as_control",
    "scales_table",
    "spread_table",
    "structure_table",
    "verdict_table",
]
