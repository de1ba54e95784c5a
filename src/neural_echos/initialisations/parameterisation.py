"""The parameterisation of universal filters, which is a torch module and so loaded only where a model is at hand."""

import torch
from torch import nn


class GainAndBias(nn.Module):
    """Kernels as gain · filter + bias, for `torch.nn.utils.parametrize`.

    Parameters
    ----------
    shapes : Tensor of float, shape (n, h, w)
        The filter of each kernel: zero mean, unit norm; a buffer, so it is saved and never trained.
    """

    def __init__(self, shapes: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("shapes", shapes)

    def forward(self, gain: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Weight (n, 1, h, w) of gains and biases, (n,) each."""
        return (gain[:, None, None] * self.shapes + bias[:, None, None])[:, None]

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gain and bias of a weight by projection: exact where its kernels are gain · filter + bias."""
        kernels = weight[:, 0]
        return (kernels * self.shapes).sum(dim=(1, 2)), kernels.mean(dim=(1, 2))
