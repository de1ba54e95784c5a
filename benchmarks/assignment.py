"""Kernels per second of `assign`, the best a·x + b over a set of filters, against numpy's least squares for every pair.

Run from the checkout: `OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/assignment.py [--kernels 50000] [--filters 50]`. The
alternative solves [x, 1] (a, b) = y for one filter and all kernels at a time, in double precision like ours. Rounds of both
alternate and the best round of each counts; both must choose the same filters with the same errors.
"""

import argparse
import time

import numpy as np
from record import record

from neural_echos.initialisations.assignment import assign
from neural_echos.initialisations.filter_sets import checked


def least_squares(kernels: np.ndarray, filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best filter of every kernel and its error, from one linear problem for each filter."""
    targets = kernels.reshape(len(kernels), -1).T.astype(np.float64)
    left = []
    for one in filters:
        design = np.stack([one.ravel(), np.ones(one.size)], axis=1)
        left.append(np.linalg.lstsq(design, targets, rcond=None)[1])
    return np.argmin(left, axis=0), np.sqrt(np.min(left, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=int, default=50_000)
    parser.add_argument("--filters", type=int, default=50)
    parser.add_argument("--size", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(options.kernels, options.size, options.size)).astype(np.float32)
    filters = checked("random", rng.normal(size=(options.filters, options.size, options.size)))
    times: dict[str, list[float]] = {"assign": [], "least squares": []}
    for _ in range(options.rounds):
        began = time.perf_counter()
        ours = assign(kernels, filters)
        times["assign"].append(time.perf_counter() - began)
        began = time.perf_counter()
        index, error = least_squares(kernels, filters)
        times["least squares"].append(time.perf_counter() - began)
    assert np.array_equal(ours.index, index) and np.allclose(ours.error, error)
    ratios = [theirs / own for own, theirs in zip(*times.values(), strict=True)]
    what = f"best a·x + b of {options.filters} filters for {options.kernels:,} kernels of {options.size}×{options.size}"
    record(what, "numpy least squares of every pair", ratios, "s", *map(min, times.values()))


if __name__ == "__main__":
    main()
