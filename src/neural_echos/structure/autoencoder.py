"""An autoencoder with a one-dimensional latent code for kernels of one size.

Papers: Babaiee, Kiasari, Rus, Grosu, "Unveiling the Unseen", ICLR 2024 (arXiv 2401.14469): cosine loss, a latent of one dimension;
a code squashed to [0, 1] is from later work by the same authors (arXiv 2509.11711). The papers' layer sizes and training settings
are not available, so they are options, chosen on planted kernels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from neural_echos.errors import EchosError

_STRETCH = 8.0  # codes in [0, 1] are stretched to [−4, 4], where the decoder's units are nonlinear


@dataclass(frozen=True)
class Settings:
    """Architecture and training of an autoencoder.

    Attributes
    ----------
    hidden : tuple of int
        Layer widths between kernel and code; the decoder has them in reverse.
    squash : bool
        Whether a sigmoid squashes the code to [0, 1].
    steps : int
        Number of optimiser steps, the same for every bank, so that small and large banks are trained equally long.
    batch : int
        Kernels per step, or all of them if there are fewer.
    learning_rate : float
        Peak learning rate of Adam on a one-cycle schedule.

    Raises
    ------
    EchosError
        A number is not positive.
    """

    hidden: tuple[int, ...] = (64, 32)
    squash: bool = True
    steps: int = 500
    batch: int = 256
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        named = {"hidden": min(self.hidden, default=1), "steps": self.steps, "batch": self.batch}
        for name, value in (named | {"learning_rate": self.learning_rate}).items():
            if not value > 0:
                raise EchosError(f"{name}: must be a positive number, not {value}; correct it")


class Autoencoder(nn.Module):
    """A perceptron from a kernel to a single code, and a mirrored one back.

    Parameters
    ----------
    taps : int
        Number of taps of a kernel.
    settings : Settings
    """

    def __init__(self, taps: int, settings: Settings) -> None:
        super().__init__()
        self.squash = settings.squash
        self.gain = taps**0.5  # gives the taps of a unit-norm kernel unit variance
        self.encoder = _perceptron([taps, *settings.hidden, 1])
        self.decoder = _perceptron([1, *reversed(settings.hidden), taps])

    def encode(self, kernels: torch.Tensor) -> torch.Tensor:
        """Codes, shape (n, 1), of kernels with zero mean and unit norm, shape (n, taps)."""
        code = self.encoder(self.gain * kernels)
        return torch.sigmoid(code) if self.squash else code

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Kernels with zero mean and unit norm, shape (n, taps), of codes, shape (n, 1)."""
        kernels = self.decoder(_STRETCH * (codes - 0.5) if self.squash else codes)
        return functional.normalize(kernels - kernels.mean(dim=1, keepdim=True), dim=1)

    def forward(self, kernels: torch.Tensor) -> torch.Tensor:
        """Reconstruct kernels, shape (n, taps)."""
        return self.decode(self.encode(kernels))


def train_autoencoder(kernels: torch.Tensor, settings: Settings, *, seed: int) -> Autoencoder:
    """Train an autoencoder to reconstruct kernels, with a cosine loss.

    Batches are slices of the tensor, reshuffled for every pass. The global random generator is unchanged. On one CPU thread
    the same seed gives the same bits.

    Parameters
    ----------
    kernels : tensor of float32, shape (n, taps)
        Zero mean and unit norm.
    settings : Settings
    seed : int
        Seed of the weights and the order.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Autoencoder(kernels.shape[1], settings)
        optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=max(settings.steps, 2)
        )
        batch = min(settings.batch, len(kernels))
        per_pass = len(kernels) // batch
        for step in range(settings.steps):
            if step % per_pass == 0:
                wanted = min(per_pass, settings.steps - step) * batch
                shuffled = kernels[torch.randperm(len(kernels))[:wanted]]
            part = shuffled[step % per_pass * batch :][:batch]
            loss = 1 - (model(part) * part).sum(dim=1).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    return model


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths with GELUs between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*layers[:-1])
