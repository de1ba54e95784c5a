"""Kernels per second of an autoencoder's training on batches sliced from memory, against the same steps fed by a DataLoader.

Run from the checkout: `PYTHONPATH=src python benchmarks/autoencoder.py [--batch 16384] [--threads 2]`.
Both train the same network from the same seed for the same number of passes. Their rounds alternate, so that a noisy machine
affects both alike, and the best round of each counts. The library's default batch, 256, is also measured: there the steps
themselves dominate.
"""

import argparse
import time

import torch
from record import record
from torch.utils.data import DataLoader, TensorDataset

from neural_echos.structure.autoencoder import Autoencoder, Settings, train_autoencoder


def draw_kernels(n: int, k: int) -> torch.Tensor:
    kernels = torch.randn(n, k * k, generator=torch.Generator().manual_seed(0))
    kernels -= kernels.mean(dim=1, keepdim=True)
    return torch.nn.functional.normalize(kernels, dim=1)


def train_with_loader(kernels: torch.Tensor, settings: Settings) -> None:
    """The loop of `train_autoencoder`, except for the source of its batches."""
    torch.manual_seed(0)
    model = Autoencoder(kernels.shape[1], settings)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=settings.steps)
    loader = DataLoader(TensorDataset(kernels), batch_size=settings.batch, shuffle=True, drop_last=True)
    step = 0
    while step < settings.steps:
        for (part,) in loader:
            loss = 1 - (model(part) * part).sum(dim=1).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            step += 1
            if step == settings.steps:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=7, help="side of the kernels, taps")
    parser.add_argument("--kernels", type=int, default=65_536)
    parser.add_argument("--batch", type=int, nargs="+", default=[16_384, 256])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kernels = draw_kernels(arguments.kernels, arguments.size)
    for batch in arguments.batch:
        settings = Settings(batch=batch, steps=max(2, 4 * arguments.kernels // batch))  # four passes
        rates: dict[str, list[float]] = {"slices": [], "DataLoader": []}
        for _ in range(arguments.rounds):
            for name, rate in rates.items():
                began = time.perf_counter()
                if name == "slices":
                    train_autoencoder(kernels, settings, seed=0)
                else:
                    train_with_loader(kernels, settings)
                rate.append(settings.steps * batch / (time.perf_counter() - began))
        ratios = [own / theirs for own, theirs in zip(*rates.values(), strict=True)]
        what = f"training the autoencoder from slices of memory, batch {batch:,}, {arguments.threads} threads"
        record(what, "a DataLoader", ratios, "kernels/s", *map(max, rates.values()))


if __name__ == "__main__":
    main()
