"""Kernels as functions of their scales: the ideal models of scale space with a sampled Gaussian, differentiable in σx and σy.

With g(p; σ) = exp(−p² / 2σ²) / (√(2π) σ), and differences along x and y with zeros beyond the border of the taps,

    G(x, y) = g(x; σx) g(y; σy),  F1 δ_y+ G · F2 δ_x− G · F3 δ_y− G · F4 δ_x+ G · F5 δ_x G · F6 δ_y G · F7 1 − γ₇ ∇²₅ G · F8 G
    kernel = scale · F / ‖F‖ + bias,  σ = softplus(raw)

Every model is an impulse (for F7) plus one or two products of a column and a row, each an operator applied to g. Needs torch, so
it is only imported when there is a model.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from neural_echos.errors import EchosError
from neural_echos.initialisations.assignment import OUTSIDE
from neural_echos.receptive_fields.scale_space import IDEALS, Axis, Kind, difference


class Sigmas(nn.Module):
    """Kernels of scale-space models from raw σx, raw σy and bias, for `torch.nn.utils.parametrize`.

    Parameters
    ----------
    models : Tensor of int64, shape (n,)
        The model of each kernel, 0 to 7.
    scale : Tensor of float, shape (n,)
        L2 norm of each kernel without its bias.
    size : (int, int)
        Height and width, odd.
    sigma : float
        Initial σx and σy, taps.
    amount, gaussian
        See `sigmas.scale_space_sigmas`.
    """

    impulses: torch.Tensor
    columns: torch.Tensor
    rows: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        models: torch.Tensor,
        scale: torch.Tensor,
        size: tuple[int, int],
        sigma: float,
        amount: float,
        gaussian: str,
    ) -> None:
        super().__init__()
        self.sigma, self.gaussian = sigma, gaussian
        held = [torch.from_numpy(part).to(scale)[models] for part in _operators(size, amount)]
        for name, buffer in zip(("impulses", "columns", "rows", "scale"), [*held, scale], strict=True):
            self.register_buffer(name, buffer, persistent=False)  # they follow from the initial weights

    def forward(self, raw_x: torch.Tensor, raw_y: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Weight (n, 1, h, w) from raw σx, raw σy and biases, (n,) each."""
        with torch.autocast(raw_x.device.type, enabled=False):  # differences in half precision would be noise
            columns = torch.einsum("njab,nb->nja", self.columns, self._line(raw_y, self.columns.shape[-1]))
            rows = torch.einsum("njab,nb->nja", self.rows, self._line(raw_x, self.rows.shape[-1]))
            kernels = self.impulses + torch.einsum("nja,njb->nab", columns, rows)
            kernels = kernels / torch.linalg.vector_norm(kernels, dim=(1, 2), keepdim=True)
            return (self.scale[:, None, None] * kernels + bias[:, None, None])[:, None]

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Initial raw σx, raw σy and biases, (n,) each; checks that the weight is the initial one."""
        raw = torch.full_like(self.scale, math.log(math.expm1(self.sigma)))
        start = raw, raw.clone(), torch.zeros_like(raw)
        with torch.no_grad():
            error = torch.linalg.vector_norm(weight - self(*start), dim=(1, 2, 3))
            outside = ~(error <= OUTSIDE * torch.linalg.vector_norm(weight, dim=(1, 2, 3)))
        if outside.any():
            raise EchosError(
                f"{int(outside.sum())} of {len(raw)} kernels are not scale-space models with σ = {self.sigma:g}; draw all of them "
                "with the scheme scale_space_sigmas"
            )
        return start

    @staticmethod
    def named(raw_x: torch.Tensor, raw_y: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
        """Learned values of each kernel, in taps and in the unit of the weight, (n,) each."""
        return {"sigma_x": F.softplus(raw_x), "sigma_y": F.softplus(raw_y), "bias": bias}

    def _line(self, raw: torch.Tensor, length: int) -> torch.Tensor:
        """The sampled Gaussian of each kernel along one axis, shape (n, length)."""
        sigma = F.softplus(raw)[:, None]
        places = torch.arange(length, device=raw.device, dtype=raw.dtype) - length // 2
        bell = torch.exp(-0.5 * (places / sigma) ** 2)
        return bell / (bell.sum(1, keepdim=True) if self.gaussian == "unit_sum" else math.sqrt(2 * math.pi) * sigma)


def start_kernels(size: tuple[int, int], sigma: float, amount: float, gaussian: str) -> np.ndarray:
    """The eight models at the initial σ: float64, shape (8, h, w), unit norm."""
    models = Sigmas(torch.arange(8), torch.ones(8, dtype=torch.float64), size, sigma, amount, gaussian)
    raw = torch.full((8,), math.log(math.expm1(sigma)), dtype=torch.float64)
    kernels: np.ndarray = models(raw, raw, torch.zeros_like(raw))[:, 0].numpy()
    return kernels


def parametrise_(module: nn.Module, described: Mapping[str, Any]) -> None:
    """Parametrise the weight of a depthwise layer by σx, σy and bias, parameters of shape (kernels,) each.

    Parameters
    ----------
    module : torch.nn.Module
        Its kernels are multiples of the models at the initial σ.
    described : mapping
        As `sigmas.describe_sigmas` returns it.

    Raises
    ------
    EchosError
        A kernel is not one of the models.
    """
    settings = {name: value for name, value in described.items() if name != "learn"}
    weight = module.weight.detach()
    size = (weight.shape[2], weight.shape[3])
    starts = torch.from_numpy(start_kernels(size, **settings)).to(weight)
    scale, models = torch.einsum("nab,mab->nm", weight[:, 0], starts).max(dim=1)
    parametrize.register_parametrization(module, "weight", Sigmas(models, scale, size, **settings))
    if described["learn"] == "bias":
        module.parametrizations.weight.original0.requires_grad_(False)
        module.parametrizations.weight.original1.requires_grad_(False)


def _operators(size: tuple[int, int], amount: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Build each model from g: impulses (8, h, w), operators along y, (8, 2, h, h), and along x, (8, 2, w, w)."""
    height, width = size
    impulses, columns, rows = (
        np.zeros((8, height, width)),
        np.zeros((8, 2, height, height)),
        np.zeros((8, 2, width, width)),
    )
    for model, derived in enumerate(IDEALS.values()):
        columns[model, 0], rows[model, 0] = np.eye(height), np.eye(width)
        if derived is not None:
            axis, kind = derived
            (columns if axis == "y" else rows)[model, 0] = _matrix(height if axis == "y" else width, axis, kind)
    # The five-point Laplacian is the sum of the second differences along both axes.
    impulses[6, height // 2, width // 2] = 1.0
    columns[6, 0] = -amount * (_matrix(height, "y", "forward") - _matrix(height, "y", "backward"))
    rows[6, 1] = -amount * (_matrix(width, "x", "forward") - _matrix(width, "x", "backward"))
    columns[6, 1] = np.eye(height)
    return impulses, columns, rows


def _matrix(side: int, axis: Axis, kind: Kind) -> np.ndarray:
    """A difference operator with zero borders along an axis, as a matrix (side, side) that multiplies columns of taps."""
    impulses = np.eye(side)[:, :, None] if axis == "y" else np.eye(side)[:, None, :]
    return difference(impulses, axis, kind, border="zeros").reshape(side, side).T
