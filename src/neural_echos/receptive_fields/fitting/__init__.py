"""The fit of any receptive-field model to kernels."""

from neural_echos.receptive_fields.fitting.least_squares import Fit, fit, fit_of_dogs

__all__ = ["Fit", "fit", "fit_of_dogs"]
