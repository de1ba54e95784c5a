"""The fit of any receptive-field model to kernels."""

from neural_echos.receptive_fields.fitting.least_squares import Fit, fit

__all__ = ["Fit", "fit"]
