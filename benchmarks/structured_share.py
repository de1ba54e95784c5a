"""Coverage of the 95 % interval of the structured share, and the share of untrained banks.

Run from the checkout: `OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/structured_share.py [--banks 500] [--size 3]`; it prints
a Markdown table. The layers of simulated banks differ in size, in the tails of their taps and, if trained, in the share of noisy
DoGs among their kernels (a beta distribution). The true share is computed over 1,500 such layers. Our interval is compared with
the percentiles of the same bootstrap.
"""

import argparse

import numpy as np

from neural_echos.receptive_fields import dog, dog_cosine
from neural_echos.structure.shares import structured_share

# name: (kernels in the smallest and the largest layer, layers, mean share of DoGs, its standard deviation between layers)
CASES = {
    "untrained, 2 layers of 36": ((36, 36), 2, 0.0, 0.0),
    "untrained, 2 layers of 320": ((320, 320), 2, 0.0, 0.0),
    "untrained, 6 layers of 32 to 1,000": ((32, 1000), 6, 0.0, 0.0),
    "untrained, 17 layers of 16 to 500": ((16, 500), 17, 0.0, 0.0),
    "trained, 2 layers of 100 to 300": ((100, 300), 2, 0.5, 0.2),
    "trained, 4 layers of 50 to 900": ((50, 900), 4, 0.5, 0.2),
    "trained, 6 layers of 50 to 500": ((50, 500), 6, 0.5, 0.2),
    "trained, 17 layers of 16 to 500": ((16, 500), 17, 0.5, 0.2),
    "well trained, 6 layers of 50 to 500": ((50, 500), 6, 0.85, 0.1),
}


def draw(
    rng: np.random.Generator, counts: np.ndarray, size: int, mean: float, deviation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kernels of one bank, (n, size, size), and the layer number of each, (n,)."""
    layers = []
    for count in counts:
        spread = mean * (1 - mean) / deviation**2 - 1 if deviation else 0
        share = rng.beta(mean * spread, (1 - mean) * spread) if spread else 0.0
        noise = rng.normal(size=(count, size, size))
        kernels = np.sign(noise) * np.abs(noise) ** rng.uniform(1, 2)
        kernels /= np.linalg.norm(kernels, axis=(1, 2), keepdims=True)
        planted = np.flatnonzero(rng.random(count) < share)
        if len(planted):
            dogs = dog(size, rng.uniform(0.3, 0.65, len(planted)), rng.choice([-1, 1], len(planted)))
            dogs /= np.linalg.norm(dogs, axis=(1, 2), keepdims=True)
            kernels[planted] = dogs + rng.uniform(0.1, 2, len(planted))[:, None, None] * kernels[planted]
        layers.append(kernels)
    return np.concatenate(layers), np.repeat(np.arange(len(counts)), counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--banks", type=int, default=500)
    parser.add_argument("--size", type=int, default=3)
    parser.add_argument("--shuffles", type=int, default=5000)
    options = parser.parse_args()
    print("| bank | truth | mean share | covers | width | percentiles cover |\n|---|---|---|---|---|---|")
    for name, ((smallest, largest), layers, mean, deviation) in CASES.items():
        counts = np.round(np.geomspace(smallest, largest, layers)).astype(int)
        rng = np.random.default_rng(1)
        kernels, _ = draw(rng, np.full(1500, 100), options.size, mean, deviation)
        null = dog_cosine(
            np.random.default_rng(2).permuted(kernels.reshape(len(kernels), -1), axis=1).reshape(kernels.shape)
        )
        truth = float((dog_cosine(kernels) > np.quantile(null, 0.95)).mean())
        found = []
        for seed in range(options.banks):
            kernels, layer_of = draw(rng, counts, options.size, mean, deviation)
            found.append(structured_share(kernels, layer_of, shuffles=options.shuffles, seed=seed))
        covers = np.mean([one.low <= truth <= one.high for one in found])
        width = np.mean([one.high - one.low for one in found])
        ends = [np.quantile(one.resampled, [0.025, 0.975]) for one in found]
        plain = np.mean([low <= truth <= high for low, high in ends])
        share = np.mean([one.share for one in found])
        print(
            f"| {name} | {truth:.1%} | {share:.1%} | {covers:.1%} | {100 * width:.0f} points | {plain:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
