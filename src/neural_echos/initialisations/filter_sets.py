"""Filter sets: named sets of a few filters that can replace thousands of kernels.

Papers: Babaiee, Kiasari, Rus, Grosu, "The Quest for Universal Master Key Filters", NeurIPS 2025 (arXiv 2509.11711); Lindeberg,
Babaiee, Kiasari, JMIV 2026 (arXiv 2509.12746).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neural_echos import receptive_fields
from neural_echos.errors import EchosError, nearest
from neural_echos.initialisations.borrowed import chosen_kernels
from neural_echos.initialisations.filters import checked
from neural_echos.initialisations.receptive import IDEAL_AMOUNT, IDEAL_SIGMAS
from neural_echos.initialisations.registry import Table

SIZE = 7  # side of the published filters
_GRID = 4096  # codes at which the decoded curve is sampled
_SETTINGS = {"set", "method", "number", "seed", "size", "filters", "bank"}


def make_filter_set(declared: Mapping[str, Any], *, seed: int = 0) -> np.ndarray:
    """Make a declared set of filters.

    Parameters
    ----------
    declared : mapping
        `set`, one of `SETS`; `size` (7); and, if the set needs them, `number` of filters, `filters` (path of the eight published
        ones, or an array) and `bank` (a table of schema "bank" or its path, whose depthwise kernels of that size are summarised).
        The set ideal may have a `method`, the fit that its scales come from: "D1" (default) or "B".
    seed : int
        Seed of random filters, the autoencoder and the starts of k-means.

    Returns
    -------
    ndarray of float64, shape (m, size, size)
        Each with zero mean and unit norm, and no two equal up to sign.

    Raises
    ------
    EchosError
        The set or one of its settings is unknown or missing, or a filter is zero, constant or a duplicate.
    """
    name = declared.get("set")
    if name not in SETS:
        raise EchosError(f"unknown filter set {name!r}{nearest(str(name), SETS)}; known are {', '.join(SETS)}")
    for key in declared:
        if key not in _SETTINGS:
            raise EchosError(
                f"filter set {name} has no setting {key!r}{nearest(key, _SETTINGS)}; "
                f"settings are {', '.join(sorted(_SETTINGS))}"
            )
    make, needs = SETS[name]
    given = {key: declared[key] for key in needs if declared.get(key) is not None}
    if missing := [key for key in needs if key not in given]:
        raise EchosError(f"filter set {name} needs the setting {missing[0]!r}; add it")
    if given.get("number", 1) < 1:
        raise EchosError(f"filter set {name}: number must be at least 1, not {given['number']}")
    if declared.get("method") is not None:
        if name != "ideal":
            raise EchosError(f"filter set {name} has no method, only the set ideal has one; remove it")
        given["method"] = declared["method"]
    return checked(f"filter set {name}", make(declared.get("size", SIZE), declared.get("seed", seed), **given))


def _eight(size: int, seed: int, filters: str | Path | np.ndarray) -> np.ndarray:
    published = receptive_fields.read_filters(filters) if isinstance(filters, str | Path) else np.asarray(filters)
    if published.ndim == 3 and published.shape[1:] != (size, size):
        raise EchosError(f"filter set eight: the filters have size {published.shape[1]}, not {size}; correct size")
    return published


def _ideal(size: int, seed: int, method: str = "D1") -> np.ndarray:
    """The paper's ideal models at the scales of a fit.

    The released code differs from the paper, and so from these models, in three ways: its filters 1 and 3 are mirrored, the
    impulse of filter 7 is smoothed, and differences are one-sided at the border.
    """
    if method not in IDEAL_SIGMAS:
        raise EchosError(f"filter set ideal: method must be {' or '.join(IDEAL_SIGMAS)}, not {method!r}")
    return np.stack(
        [
            receptive_fields.ideal(number, size, *pair, IDEAL_AMOUNT if number == 7 else None)
            for number, pair in enumerate(IDEAL_SIGMAS[method], start=1)
        ]
    )


def _dog(size: int, seed: int, number: int) -> np.ndarray:
    """DoGs with `number` ratios γ, evenly spaced from .2 to .9 or the size's limit; both signs count as one."""
    return receptive_fields.dog(size, np.linspace(0.2, min(0.9, 0.98 * receptive_fields.gamma_limit(size)), number))


def _random(size: int, seed: int, number: int) -> np.ndarray:
    return np.random.default_rng([seed, size]).standard_normal((number, size, size))


def _centroids(size: int, seed: int, number: int, bank: Table) -> np.ndarray:
    """K-means centroids of normalised kernels."""
    from neural_echos.structure.kmeans import cluster_kernels

    kernels = _normalised("centroids", bank, size, number)
    centroids = cluster_kernels(kernels, number, restarts=3, seed=seed).centroids
    if len(centroids) < number:
        raise EchosError(
            f"filter set centroids: the bank's {size}×{size} kernels form only {len(centroids)} clusters, not {number}, because "
            "many of them are the same; lower number"
        )
    return centroids


def _decoded(size: int, seed: int, number: int, bank: Table) -> np.ndarray:
    """Decoded samples of an autoencoder with one latent, evenly spaced along the curve traced by its decoder.

    Even steps of the code itself would repeat the same filter where the sigmoid is flat.
    """
    import torch

    from neural_echos.structure.autoencoder import Settings, train_autoencoder

    taps = torch.tensor(_normalised("decoded", bank, size, number).reshape(-1, size * size), dtype=torch.float32)
    model = train_autoencoder(taps, Settings(), seed=seed)
    with torch.no_grad():
        codes = model.encode(taps)
        grid = torch.linspace(float(codes.min()), float(codes.max()), _GRID)[:, None]
        curve = model.decode(grid).double().numpy()
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    places = np.searchsorted(walked, np.linspace(0.0, walked[-1], number) if number > 1 else walked[-1:] / 2)
    return curve[np.minimum(places, _GRID - 1)].reshape(-1, size, size)


def _normalised(name: str, bank: Table, size: int, number: int) -> np.ndarray:
    kernels, _ = receptive_fields.center_norm(chosen_kernels(f"filter set {name}", bank, size, size, None)[0])
    if len(kernels) < number:
        raise EchosError(
            f"filter set {name}: the bank has only {len(kernels)} usable {size}×{size} kernels, fewer than {number}; "
            "lower number"
        )
    return kernels


_Maker = Callable[..., np.ndarray]
SETS: dict[str, tuple[_Maker, tuple[str, ...]]] = {
    "eight": (_eight, ("filters",)),
    "ideal": (_ideal, ()),
    "decoded": (_decoded, ("number", "bank")),
    "centroids": (_centroids, ("number", "bank")),
    "dog": (_dog, ("number",)),
    "random": (_random, ("number",)),
}
