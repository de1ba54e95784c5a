"""The handwritten digits that ship with scikit-learn; no network needed.

References
----------
- Kaynak 1995; Alpaydin, Kaynak: Cascading classifiers, Kybernetika 1998.
"""

import numpy as np

from neural_echos.datasets.base import Dataset, Facts, measured
from neural_echos.datasets.registry import maker
from neural_echos.errors import EchosError


@maker("digits")
def make_digits(*, size: int = 16, test_share: float = 0.25, seed: int) -> tuple[Dataset, Facts]:
    """Make a dataset of the 1,797 handwritten digits (8 × 8 pixels) that ship with scikit-learn; no network needed.

    Parameters
    ----------
    size : int
        Side of an image, a multiple of 8; pixels are repeated, not interpolated.
    test_share : float
        Share of each digit's images that is used for testing, in (0, 1).
    seed : int
        Determines the split and the order.

    Returns
    -------
    dataset : Dataset
        Grey images, shape (n, 1, size, size); the levels 0–16 become 0–255.
    facts : dict
    """
    from sklearn.datasets import load_digits

    if size < 8 or size % 8 or not 0 < test_share < 1:
        raise EchosError(
            f"digits: size must be a multiple of 8 and test_share between 0 and 1, not {size} and {test_share}"
        )
    source = load_digits()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)
    images = images.repeat(size // 8, axis=1).repeat(size // 8, axis=2)[:, None]
    labels = source.target.astype(np.int64)
    rng = np.random.default_rng(seed)
    test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        test[members[: round(test_share * len(members))]] = True
    train_order, test_order = rng.permutation(np.flatnonzero(~test)), rng.permutation(np.flatnonzero(test))
    facts = {
        "how": "scikit-learn's handwritten digits, pixels repeated, split at random within each digit",
        "options": {"size": size, "test_share": test_share},
        "seed": seed,
        "files": {},
        "licence": "none stated (UCI Machine Learning Repository; distributed with scikit-learn, BSD-3-Clause)",
        "citation": "Alpaydin, Kaynak: Cascading classifiers, Kybernetika, 1998",
    }
    train, held_out = (images[train_order], labels[train_order]), (images[test_order], labels[test_order])
    return measured("digits", [str(digit) for digit in range(10)], train, held_out), facts
