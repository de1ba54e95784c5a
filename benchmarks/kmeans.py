"""k-means at scale: `cluster_kernels` against scikit-learn's restarts over all kernels.

Run from the checkout: `PYTHONPATH=src python benchmarks/kmeans.py [--rows 1000000] [--full 20]`; with `--rows 7000000 --full 0`
only time and peak memory. The kernels are a mixture of noisy Differences of Gaussians of both signs, first and second derivatives
of Gaussians in all directions, and noise. If fewer full restarts than `--restarts` are run, their time is scaled up.
"""

import argparse
import resource
import time

import numpy as np
from record import record
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from neural_echos.receptive_fields import center_norm, dog, gaussian_derivative
from neural_echos.structure.kmeans import Clustering, cluster_kernels

CHUNK = 100_000  # kernels drawn at a time
SHARES = {"on": 0.3, "off": 0.25, "first derivative": 0.15, "second derivative": 0.1}  # the rest is noise


def draw_kernels(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Draw normalised kernels, float32, (n, k, k), from 200 templates of each kind; a fifth of them are pure noise."""
    gamma, sigma, orientation = rng.uniform(0.2, 0.8, 200), rng.uniform(0.8, 1.6, 200), rng.uniform(0, 360, 200)
    kinds = [dog(k, gamma, 1), dog(k, gamma, -1)]
    kinds += [gaussian_derivative(k, order, sigma, orientation=orientation) for order in (1, 2)]
    templates = np.concatenate([center_norm(np.concatenate(kinds))[0], np.zeros((1, k, k))]).astype(np.float32)
    chance = np.append(np.repeat(list(SHARES.values()), 200) / 200, 1 - sum(SHARES.values()))
    kernels = np.empty((n, k, k), np.float32)
    for start in range(0, n, CHUNK):
        part = templates[rng.choice(len(templates), min(CHUNK, n - start), p=chance)]
        noise = rng.uniform(0.02, 0.15, (len(part), 1, 1)) * rng.standard_normal(part.shape, dtype=np.float32)
        kernels[start : start + CHUNK] = center_norm(part + noise, np.float32)[0]
    return kernels


def full_restarts(kernels: np.ndarray, k: int, restarts: int) -> list[tuple[float, float, np.ndarray]]:
    """Time, inertia in float64 and labels of several scikit-learn runs over all kernels."""
    points, random, runs = kernels.reshape(len(kernels), -1), np.random.RandomState(1), []
    for _ in range(restarts):
        began = time.perf_counter()
        labels = KMeans(k, n_init=1, random_state=random).fit(points).labels_
        runs.append((time.perf_counter() - began, inertia(kernels, labels), labels))
    return runs


def inertia(kernels: np.ndarray, labels: np.ndarray) -> float:
    groups = (kernels[labels == cluster].astype(np.float64) for cluster in np.unique(labels))
    return float(sum(((group - group.mean(axis=0)) ** 2).sum() for group in groups))


def compare(kernels: np.ndarray, found: Clustering, seconds: float, arguments: argparse.Namespace) -> None:
    runs = full_restarts(kernels, arguments.clusters, arguments.full)
    total = sum(run[0] for run in runs) * arguments.restarts / len(runs)
    _, least, labels = min(runs, key=lambda run: run[1])
    near = sum(run[1] < least * 1.0001 for run in runs)
    what = f"k-means, {len(kernels):,} kernels, k = {arguments.clusters}, {arguments.restarts} restarts"
    record(what, "scikit-learn's restarts over all kernels", total / seconds, "s", seconds, total)
    print(f"lowest inertia of the full restarts {least:.2f}, reached within 1e-4 by {near} of {len(runs)}")
    print(f"ours {found.inertia:.2f}, relative difference {found.inertia / least - 1:+.1e}")
    print(f"adjusted Rand index of both labellings {adjusted_rand_score(found.labels, labels):.4f}")


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="kernels")
    parser.add_argument("--size", type=int, default=7, help="side of the kernels, taps")
    parser.add_argument("--clusters", type=int, default=8)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--full", type=int, default=20, help="restarts over all kernels; 0 for none")
    arguments = parser.parse_args()
    kernels = draw_kernels(arguments.rows, arguments.size, np.random.default_rng(0))
    before = peak_gb()
    began = time.perf_counter()
    found = cluster_kernels(kernels, arguments.clusters, restarts=arguments.restarts, seed=0)
    seconds = time.perf_counter() - began
    print(f"{len(kernels):,} kernels, {arguments.clusters} clusters, {arguments.restarts} restarts: {seconds:.1f} s")
    print(f"peak memory {peak_gb():.2f} GiB, {before:.2f} of it with the kernels alone", flush=True)
    if arguments.full:
        compare(kernels, found, seconds, arguments)


if __name__ == "__main__":
    main()
