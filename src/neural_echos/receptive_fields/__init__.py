"""Receptive fields: formulas with parameters, their fits to kernels, and how much of a bank they explain."""

from neural_echos.receptive_fields.banks import check_threshold, fit_bank, structured_share
from neural_echos.receptive_fields.difference_of_gaussians import (
    DogFit,
    DogParameters,
    DogProfile,
    dog,
    dog_parameters,
    dog_radius,
    dog_sigma,
    fit_dog,
    gamma_limit,
    gaussian_pair_profile,
    has_dog,
)
from neural_echos.receptive_fields.normalisation import center_norm

__all__ = [
    "DogFit",
    "DogParameters",
    "DogProfile",
    "center_norm",
    "check_threshold",
    "dog",
    "dog_parameters",
    "dog_radius",
    "dog_sigma",
    "fit_bank",
    "fit_dog",
    "gamma_limit",
    "gaussian_pair_profile",
    "has_dog",
    "structured_share",
]
