"""Gain and bias: kernels that are gain · filter + bias, where training learns only the gain and the bias.

Needs torch, so it is only imported when there is a model.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from neural_echos.errors import EchosError
from neural_echos.initialisations.assignment import OUTSIDE, assign
from neural_echos.initialisations.filters import at_size


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
        """Weight (n, 1, h, w) from gains and biases, (n,) each."""
        return (gain[:, None, None] * self.shapes + bias[:, None, None])[:, None]

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gain and bias of a weight by projection; exact if its kernels are gain · filter + bias."""
        kernels = weight[:, 0]
        return (kernels * self.shapes).sum(dim=(1, 2)), kernels.mean(dim=(1, 2))

    @staticmethod
    def named(gain: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
        """Learned values of each kernel, in the unit of the weight, (n,) each."""
        return {"gain": gain, "bias": bias}


def parametrise_(module: nn.Module, described: Mapping[str, Any]) -> None:
    """Parametrise the weight of a depthwise layer as a·x + b: x is a buffer, a and b are parameters of shape (kernels,).

    Parameters
    ----------
    module : torch.nn.Module
        Its kernels are multiples of the filters plus a constant, as `universal` draws them.
    described : mapping
        As `universal_filters.describe_universal` returns it.

    Raises
    ------
    EchosError
        A kernel is not an a·x + b of these filters, or its size differs.
    """
    kernels = module.weight.detach().double().cpu().numpy()[:, 0]
    filters = at_size(np.asarray(described["filters"], np.float64), *kernels.shape[1:], resample=described["resample"])
    found = assign(kernels, filters)
    outside = found.error > OUTSIDE * np.linalg.norm(kernels, axis=(1, 2))
    if outside.any():
        raise EchosError(
            f"{int(outside.sum())} of {len(kernels)} kernels are not an a·x + b of the {len(filters)} filters; "
            "draw all of them with the scheme universal and share 1"
        )
    shapes = torch.from_numpy(filters[found.index]).to(module.weight.device, module.weight.dtype)
    parametrize.register_parametrization(module, "weight", GainAndBias(shapes))
    if described["learn"] == "bias":
        module.parametrizations.weight.original0.requires_grad_(False)
