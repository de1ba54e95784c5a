"""Analyse a synthetic bank of millions of kernels: wall time and peak memory of each command.

Run from the checkout: `python benchmarks/scale.py [--kernels 7000000] [--folder FOLDER] [--rooms extract cluster …]`. Each room's
`echos` command runs in its own process, so that peak memory is the command's. The kernels are 7×7: Differences of Gaussians
and derivatives with noise in every second layer, noise alone in the others; 1.4 GB of taps for 7 million kernels.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import record
from safetensors.numpy import save_file

from neural_echos.receptive_fields import dog, gaussian_derivative

PER_LAYER = 5_000


def checkpoint(path: Path, kernels: int) -> None:
    """Write layers of 5,000 depthwise 7×7 kernels as safetensors."""
    rng = np.random.default_rng(0)
    n = PER_LAYER // 2
    angle, sigma = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.7, 1.5, n)
    shaped = np.concatenate(
        [dog(7, rng.uniform(0.2, 0.7, n), rng.choice([-1, 1], n)), gaussian_derivative(7, 1, sigma, None, angle)]
    )
    shaped = (shaped / np.linalg.norm(shaped, axis=(1, 2))[:, None, None]).astype(np.float32)
    layers = {}
    for number in range(-(-kernels // PER_LAYER)):
        noise = rng.normal(
            0, 0.03 if number % 2 else 0.14, (min(PER_LAYER, kernels - number * PER_LAYER), 7, 7)
        ).astype(np.float32)
        layers[f"layers.{number}.weight"] = (noise + shaped[: len(noise)] * (number % 2))[:, None]
    save_file(layers, path)


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command; return its wall time in seconds and its peak memory in GB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "neural_echos", *command], env=os.environ)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{command[0]} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1e6


def commands_of(options: argparse.Namespace, weights: Path, bank: Path) -> dict[str, list[str]]:
    """Return the command of each room."""
    folder = bank.parent
    return {
        "extract": ["extract", str(weights), "--model", "synthetic", "--output", str(bank)],
        "cluster": [
            *["cluster", str(bank), "--centroids", f"{folder}/centroids.parquet"],
            *["--output", f"{folder}/clusters.parquet"],
        ],
        "fit": ["fit", str(bank), "--output", f"{folder}/fits.parquet"],
        "patterns": [
            *["patterns", str(bank), "--trainings", str(options.trainings)],
            *["--centroids", f"{folder}/patterns.c.parquet", "--output", f"{folder}/patterns.parquet"],
        ],
        "match": [
            *["match", str(bank), "--null-every", str(options.null_every), "--restarts", str(options.restarts)],
            *["--threads", "2", "--output", f"{folder}/matches.parquet"],
        ],
    }


def main() -> None:
    """Measure the rooms one after another and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kernels", type=int, default=7_000_000)
    parser.add_argument("--folder", type=Path, help="keep the files there; by default a temporary folder")
    parser.add_argument(
        "--rooms",
        nargs="+",
        default=["extract", "cluster", "fit", "patterns"],
        help="rooms to measure; there is also match, which takes half an hour with --restarts 0, and longer otherwise",
    )
    parser.add_argument("--null-every", type=int, default=10, help="match fits shuffled taps for every n-th row")
    parser.add_argument("--restarts", type=int, default=6, help="restarts of match's fits")
    parser.add_argument("--trainings", type=int, default=5, help="trainings of the autoencoder in patterns")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="echos-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    weights, bank = folder / "synthetic.safetensors", folder / "bank.parquet"
    if not weights.exists():
        checkpoint(weights, options.kernels)
    commands = commands_of(options, weights, bank)
    print(f"{options.kernels:,} kernels of 7×7, {os.cpu_count()} cores")
    for room in options.rooms:
        seconds, memory = measured(commands[room])
        record(f"echos {room}, {options.kernels:,} kernels of 7×7", "24 GiB of memory", 24 / memory, "GB", memory, None)
        print(f"{room}: {seconds:.0f} s, {options.kernels / seconds:,.0f} kernels/s", flush=True)
    print(
        f"peak memory of this script itself: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB (kernels)"
    )
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
