"""Receptive fields: formulas with parameters, their fits to kernels, and how much of a bank they explain."""

from neural_echos.receptive_fields.banks import (
    KNOWN_DOG,
    MATCHED,
    check_threshold,
    fit_bank,
    fit_batches,
    match_bank,
    match_batches,
)
from neural_echos.receptive_fields.difference_of_gaussians import (
    DogParameters,
    DogProfile,
    dog,
    dog_parameters,
    dog_radius,
    dog_sigma,
    gamma_limit,
    gaussian_pair_profile,
    has_dog,
)
from neural_echos.receptive_fields.dog_fit import DogFit, dog_cosine, fit_dog
from neural_echos.receptive_fields.fitting import Fit, fit
from neural_echos.receptive_fields.gaussians import gaussian, gaussian_derivative
from neural_echos.receptive_fields.master_key import fit_scales, measure_filters, read_filters
from neural_echos.receptive_fields.models import MODELS, Model
from neural_echos.receptive_fields.normalisation import center_norm
from neural_echos.receptive_fields.scale_space import (
    IDEALS,
    Spread,
    centred_first_moment,
    compensate_dc,
    difference,
    discrete_gaussian,
    ideal,
    laplacian,
    normalise_filter,
    spread,
)
from neural_echos.receptive_fields.templates import OTHER, PATTERNS, Pattern, best_pattern, templates

__all__ = [
    "IDEALS",
    "KNOWN_DOG",
    "MATCHED",
    "MODELS",
    "OTHER",
    "PATTERNS",
    "DogFit",
    "DogParameters",
    "DogProfile",
    "Fit",
    "Model",
    "Pattern",
    "Spread",
    "best_pattern",
    "center_norm",
    "centred_first_moment",
    "check_threshold",
    "compensate_dc",
    "difference",
    "discrete_gaussian",
    "dog",
    "dog_cosine",
    "dog_parameters",
    "dog_radius",
    "dog_sigma",
    "fit",
    "fit_bank",
    "fit_batches",
    "fit_dog",
    "fit_scales",
    "gamma_limit",
    "gaussian",
    "gaussian_derivative",
    "gaussian_pair_profile",
    "has_dog",
    "ideal",
    "laplacian",
    "match_bank",
    "match_batches",
    "measure_filters",
    "normalise_filter",
    "read_filters",
    "spread",
    "templates",
]
