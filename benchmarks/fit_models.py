"""Kernels per second of `fit`, against scipy.optimize.least_squares kernel by kernel, for one of the models.

Run from the checkout: `OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/fit_models.py [--model gaussian] [--size 7]`.
There are two or three kinds of kernels, reported separately: planted ones with noise of a fifth of their norm, noise alone, and
kernels of that size from banks (`--banks results/zoo/banks/mcunet_in*.parquet`), repeated if there are too few. Both solve
amplitude and bias exactly and search the same parameters between the same bounds. The optimiser has one start: the best matching
template of a few hundred random ones. The time to find it is not counted, which favours the optimiser. Rounds of both
alternate, so that a noisy machine affects both alike. The best round of each counts, and the residuals of both are compared.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from record import record
from scipy.optimize import least_squares

from neural_echos.receptive_fields import MODELS, Model, fit
from neural_echos.tables import kernels_of, read_table


def draw_parameters(model: Model, n: int, k: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw parameters within the bounds: scales up to a third of the side, offsets up to a quarter, any angle."""
    drawn = {}
    for name, one in model.ranges(k, k).items():
        low, high = (one.low, one.high) if np.isfinite(one.high) else (0.0, 2 * np.pi)
        if name.startswith("sigma"):
            low, high = max(low, 0.3), k / 3
        drawn[name] = rng.uniform(low / 2 if low < 0 else low, high / 2 if low < 0 else high, n)
    return drawn


def draw_kernels(model: Model, n: int, k: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    planted = model(k, **draw_parameters(model, n, k, rng))
    planted -= planted.mean(axis=(1, 2), keepdims=True)
    planted /= np.linalg.norm(planted, axis=(1, 2), keepdims=True)
    noise = rng.normal(size=planted.shape)
    return {"planted": (planted + 0.2 / k * noise).astype(np.float32), "noise": noise.astype(np.float32)}


def bank_kernels(banks: list[Path], n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    found = np.concatenate([kernels_of(read_table(bank, "bank"), k, k)[1] for bank in banks])
    return np.resize(rng.permutation(found), (n, k, k)).astype(np.float32)


def best_starts(model: Model, kernels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Parameters of the best matching of 400 random templates for each kernel: (n, p)."""
    parameters = draw_parameters(model, 400, kernels.shape[1], rng)
    templates = unit(model(kernels.shape[1], **parameters))
    best = np.abs(unit(kernels) @ templates.T).argmax(axis=1)
    return np.stack(list(parameters.values()), axis=1)[best]


def unit(kernels: np.ndarray) -> np.ndarray:
    flat = kernels.reshape(len(kernels), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def optimised_residual(model: Model, kernel: np.ndarray, start: np.ndarray) -> float:
    """‖centred − fit‖ / ‖centred‖ after an optimiser's search from one start, amplitude and bias solved exactly."""
    ranges = model.ranges(*kernel.shape)
    centred = unit(kernel[None])[0]

    def misfit(x: np.ndarray) -> np.ndarray:
        template = unit(model(kernel.shape, **dict(zip(ranges, x, strict=True)))[None])[0]
        return centred - (centred @ template) * template

    bounds = [one.low for one in ranges.values()], [one.high for one in ranges.values()]
    return float(np.sqrt(2 * least_squares(misfit, start, bounds=bounds).cost))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gaussian_derivative_2", choices=[name for name in MODELS if name != "dog"])
    parser.add_argument("--size", type=int, default=7, help="side of the kernels, taps")
    parser.add_argument("--kernels", type=int, default=4096, help="kernels of each kind for fit, per process")
    parser.add_argument("--processes", type=int, default=1, help="processes of fit; the optimiser has one")
    parser.add_argument("--banks", type=Path, nargs="*", default=[], help="banks whose kernels are a third kind")
    parser.add_argument(
        "--restarts", type=int, help="maximum number of restarts of fit; by default the model's own number"
    )
    parser.add_argument("--optimised", type=int, default=50, help="kernels of each kind for the optimiser")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model, rng = MODELS[arguments.model], np.random.default_rng(0)
    count, restarts, processes = arguments.kernels * arguments.processes, arguments.restarts, arguments.processes
    kinds = draw_kernels(model, count, arguments.size, rng)
    if arguments.banks:
        kinds["trained"] = bank_kernels(arguments.banks, count, arguments.size, rng)
    for kind, kernels in kinds.items():
        few = kernels[: arguments.optimised]
        starts = best_starts(model, few, rng)
        found = fit(kernels, model, restarts=restarts, processes=processes)  # warms up
        ours, optimiser = [], []
        for _ in range(arguments.rounds):
            began = time.perf_counter()
            fit(kernels, model, restarts=restarts, processes=processes)
            ours.append(len(kernels) / (time.perf_counter() - began))
            began = time.perf_counter()
            pairs = zip(few, starts, strict=True)
            residual = np.array([optimised_residual(model, kernel, start) for kernel, start in pairs])
            optimiser.append(len(few) / (time.perf_counter() - began))
        difference = residual - found.residual[: len(few)]
        ratios = [own / theirs for own, theirs in zip(ours, optimiser, strict=True)]
        searched = "default restarts" if restarts is None else f"{restarts} restarts"
        what = f"{model.name} fit, {kind} kernels of {arguments.size}×{arguments.size}, {searched}, {processes} process(es)"
        record(what, "scipy.optimize.least_squares from one start", ratios, "kernels/s", max(ours), max(optimiser))
        print(
            f"  residual: fit {found.residual[: len(few)].mean():.4f}, least_squares {residual.mean():.4f} (means); "
            f"least_squares better by more than 1e-6 in {(difference < -1e-6).mean():.0%}, worse in "
            f"{(difference > 1e-6).mean():.0%} of {len(few)}"
        )


if __name__ == "__main__":
    main()
