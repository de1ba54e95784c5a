"""Kernels per second of `fit_dog`, against scipy.optimize.least_squares kernel by kernel.

Run from the checkout: `OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/fit_dog.py [--size 7] [--kernels 40960]`.
Half of the kernels are noisy DoGs and half are noise. The optimiser starts at γ = .4 with the sign found by fit_dog, which
favours it: alone it would need several starts. Rounds of both alternate, so that a noisy machine affects both alike. The
best round of each counts, and the residuals of both are compared.
"""

import argparse
import time

import numpy as np
from record import record
from scipy.optimize import least_squares

from neural_echos.receptive_fields import dog, fit_dog, gamma_limit


def draw_kernels(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    planted = dog(k, rng.uniform(0.1, min(0.9, gamma_limit(k)), n), rng.choice([-1, 1], n))
    planted += 0.05 * np.linalg.norm(planted, axis=(1, 2))[:, None, None] * rng.normal(size=planted.shape)
    kernels = np.where(rng.random(n)[:, None, None] < 0.5, planted, rng.normal(size=planted.shape))
    return kernels.astype(np.float32)


def optimised_residual(kernel: np.ndarray, sign: int) -> float:
    """‖centred − fit‖ / ‖centred‖ after an optimiser's search from γ = .4 with a known sign."""
    k = len(kernel)
    centred = kernel.astype(np.float64)
    centred -= centred.mean()
    scale = np.linalg.norm(centred)
    bounds = ([-np.inf, 1e-3], [np.inf, min(0.999, gamma_limit(k))])
    found = least_squares(lambda x: (x[0] * dog(k, x[1]) - centred / scale).ravel(), (sign, 0.4), bounds=bounds)
    return float(np.sqrt(2 * found.cost))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=7, help="side of the kernels, taps")
    parser.add_argument("--kernels", type=int, default=40_960, help="kernels for fit_dog")
    parser.add_argument("--optimised", type=int, default=100, help="kernels for the optimiser")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    kernels = draw_kernels(arguments.kernels, arguments.size, np.random.default_rng(0))
    fit = fit_dog(kernels)  # warms up, and gives the optimiser its signs
    ours, optimiser = [], []
    for _ in range(arguments.rounds):
        began = time.perf_counter()
        fit_dog(kernels)
        ours.append(len(kernels) / (time.perf_counter() - began))
        few = list(zip(kernels[: arguments.optimised], fit.sign, strict=False))
        began = time.perf_counter()
        residual = np.array([optimised_residual(kernel, int(sign)) for kernel, sign in few])
        optimiser.append(len(few) / (time.perf_counter() - began))
    difference = residual - fit.residual[: len(residual)]
    ratios = [own / theirs for own, theirs in zip(ours, optimiser, strict=True)]
    what = f"fit of a DoG to kernels of {arguments.size}×{arguments.size}"
    record(what, "scipy.optimize.least_squares", ratios, "kernels/s", max(ours), max(optimiser))
    print(
        f"residual: fit_dog {fit.residual[: len(residual)].mean():.4f}, least_squares {residual.mean():.4f} (means); "
        f"least_squares better by at most {max(0.0, -difference.min()):.1e}, worse by more than 1e-6 in "
        f"{(difference > 1e-6).mean():.0%} of {len(residual)}"
    )


if __name__ == "__main__":
    main()
