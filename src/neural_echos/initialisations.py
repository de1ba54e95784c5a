"""Initialisations: named ways to draw depthwise kernels, and `init_depthwise_`, which puts them into any timm model.

A registry entry draws kernels of shape (n, kh, kw) from a seeded generator; scale and share are orthogonal switches of
`init_depthwise_`. Papers: Difference of Gaussians, Babaiee, Kiasari, Rus, Grosu (Neural Echos, WACV 2024; the equations of
OOCS, ICML 2021); Kaiming, He et al. (ICCV 2015). What Neural Echos leaves open (the distribution of γ, the probability of an
excitatory centre, the share of kernels replaced, any rescaling) is an option here, never a silent choice.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_echos import receptive_fields
from neural_echos.errors import EchosError, nearest
from neural_echos.kernels import Layer, layers_of

if TYPE_CHECKING:
    from torch import nn

Draw = Callable[..., np.ndarray]
GammaOption = float | Sequence[float] | Mapping[str, Sequence[float]]

SCALES = ("raw", "unit_l2", "match_default")
CENTRES = ("excitatory", "inhibitory", "alternating", "random")
_REGISTRY: dict[str, Draw] = {}


@dataclass(frozen=True)
class LayerReport:
    """What `init_depthwise_` did to one layer; standard deviations are over all taps of the layer."""

    layer: str
    kernel_size: tuple[int, int]
    kernels: int
    replaced: int
    std_before: float
    std_after: float
    mean_l2_after: float


def register(draw: Draw) -> Draw:
    """Enter a function `(n, height, width, rng, **options) -> (n, height, width)` in the registry under its own name."""
    _REGISTRY[draw.__name__] = draw
    return draw


def names() -> list[str]:
    """List the known initialisations; `default` keeps what timm drew."""
    return ["default", *sorted(_REGISTRY)]


@register
def kaiming(n: int, height: int, width: int, rng: np.random.Generator, *, distribution: str = "normal") -> np.ndarray:
    """Draw Kaiming kernels for ReLU: variance 2 / fan-in, where the fan-in of a depthwise kernel is height·width.

    Parameters
    ----------
    distribution : {"normal", "uniform"}
        He et al., ICCV 2015, equation 10, in either shape.
    """
    std = np.sqrt(2.0 / (height * width))
    if distribution == "normal":
        return rng.normal(0.0, std, (n, height, width))
    if distribution == "uniform":
        return rng.uniform(-np.sqrt(3.0) * std, np.sqrt(3.0) * std, (n, height, width))
    raise EchosError(
        f"kaiming: expected distribution 'normal' or 'uniform', found {distribution!r}; choose one of the two"
    )


@register
def dog(
    n: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    gamma: GammaOption = 0.5,
    centres: str = "random",
    p: float = 0.5,
) -> np.ndarray:
    """Draw Difference-of-Gaussians kernels (PAPERS: OOCS equations; `receptive_fields.dog`).

    Parameters
    ----------
    gamma : float, sequence of float, or {"uniform": [low, high]}
        The centre-to-surround ratio: fixed, drawn from a list, or drawn uniformly.
    centres : {"excitatory", "inhibitory", "alternating", "random"}
        The sign of the centre; "random" makes it excitatory with probability `p`.
    """
    if height != width:
        raise EchosError(f"dog: expected a square kernel, found {height}×{width}; leave that layer out with layers=…")
    if centres not in CENTRES:
        raise EchosError(
            f"dog: expected centres to be one of {', '.join(CENTRES)}, found {centres!r}{nearest(str(centres), CENTRES)}"
        )
    if not 0.0 <= p <= 1.0:
        raise EchosError(f"dog: expected p, the probability of an excitatory centre, in [0, 1], found {p}; correct it")
    sign = {
        "excitatory": np.ones(n),
        "inhibitory": -np.ones(n),
        "alternating": np.where(np.arange(n) % 2 == 0, 1.0, -1.0),
        "random": np.where(rng.random(n) < p, 1.0, -1.0),
    }[centres]
    return receptive_fields.dog(height, _gammas(gamma, n, rng), sign)


def init_depthwise_(
    model: "nn.Module",
    name: str = "dog",
    *,
    seed: int,
    share: float = 1.0,
    scale: str = "raw",
    layers: Callable[[Layer], bool] | None = None,
    **options: Any,
) -> list[LayerReport]:
    """Draw the depthwise kernels of a model anew, in place, and say layer by layer what was done.

    Everything else in the model stays as it is, bit for bit. Each layer has a generator of its own, made from the seed and
    the layer's index, so that choosing other layers changes none that are kept.

    Parameters
    ----------
    model : torch.nn.Module
        Any model with depthwise convolutions, for instance a timm model.
    name : str
        One of `names()`; `default` leaves the model untouched.
    seed : int
        Seed of the draw, ≥ 0.
    share : float
        Share of each layer's kernels that are replaced, in (0, 1]; which ones is drawn from the seed.
    scale : {"raw", "unit_l2", "match_default"}
        The initialisation's own scale; every kernel at unit L2 norm; or each layer at the standard deviation (over all
        its taps) that it had before.
    layers : callable, optional
        Keeps only the depthwise layers for which it is true.
    **options
        The initialisation's own options, for instance ``gamma={"uniform": [0.3, 0.7]}``.

    Returns
    -------
    list of LayerReport

    Raises
    ------
    EchosError
        Unknown name, option, scale; seed below 0; share outside (0, 1]; no depthwise layer to initialise; a kernel size that the
        initialisation cannot draw (an even one for `dog`). The model is then unchanged.
    """
    _check(name, seed, share, scale, options)
    chosen = [layer for layer in layers_of(model) if layer.kind == "depthwise" and (layers is None or layers(layer))]
    if not chosen:
        raise EchosError(
            f"{type(model).__name__}: expected depthwise convolutions to initialise, found none"
            f"{'' if layers is None else ' that layers=… keeps'}; choose a model or a selection that has some"
        )
    weights = {layer.name: model.get_submodule(layer.name).weight for layer in chosen}
    drawn = {layer.name: _draw(layer, weights[layer.name], name, seed, share, scale, options) for layer in chosen}
    return [_put(layer, weights[layer.name], *drawn[layer.name]) for layer in chosen]


def _check(name: str, seed: int, share: float, scale: str, options: Mapping[str, Any]) -> None:
    if name not in names():
        raise EchosError(f"initialisation {name!r}: expected one of {', '.join(names())}{nearest(name, names())}")
    known = list(inspect.signature(_REGISTRY[name]).parameters)[4:] if name in _REGISTRY else []
    for option in options:
        if option not in known:
            raise EchosError(
                f"initialisation {name!r}: expected options among {known or 'none'}, found {option!r}{nearest(option, known)}"
            )
    if scale not in SCALES:
        raise EchosError(f"scale: expected one of {', '.join(SCALES)}, found {scale!r}{nearest(scale, SCALES)}")
    if seed < 0:
        raise EchosError(f"seed: expected a whole number of at least 0, found {seed}; correct it")
    if not 0.0 < share <= 1.0:
        raise EchosError(f"share: expected the share of kernels to replace, in (0, 1], found {share}; correct it")


def _draw(
    layer: Layer, weight: Any, name: str, seed: int, share: float, scale: str, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one layer's kernels; returns which are replaced, bool (n,), and their new values (replaced, kh, kw)."""
    n = weight.shape[0]
    if name == "default":
        return np.zeros(n, dtype=bool), np.empty((0, layer.kernel_height, layer.kernel_width))
    rng = np.random.default_rng([seed, layer.index])
    replaced = np.zeros(n, dtype=bool)
    replaced[rng.permutation(n)[: max(1, round(share * n))]] = True
    try:
        kernels = _REGISTRY[name](int(replaced.sum()), layer.kernel_height, layer.kernel_width, rng, **options)
    except EchosError as error:
        raise EchosError(f"layer {layer.name}: {error}") from None
    if scale == "unit_l2":
        kernels = kernels / np.linalg.norm(kernels, axis=(1, 2), keepdims=True)
    elif scale == "match_default":
        kernels = kernels * (float(weight.detach().double().std()) / kernels.std(ddof=1))
    return replaced, kernels


def _put(layer: Layer, weight: Any, replaced: np.ndarray, kernels: np.ndarray) -> LayerReport:
    import torch

    before = float(weight.detach().double().std())
    with torch.no_grad():
        if replaced.any():
            where = torch.from_numpy(replaced).to(weight.device)
            weight[where] = torch.from_numpy(kernels[:, None]).to(weight.device, weight.dtype)
        norms = weight.detach().double().flatten(1).norm(dim=1)
    return LayerReport(
        layer=layer.name,
        kernel_size=(layer.kernel_height, layer.kernel_width),
        kernels=int(weight.shape[0]),
        replaced=int(replaced.sum()),
        std_before=before,
        std_after=float(weight.detach().double().std()),
        mean_l2_after=float(norms.mean()),
    )


def _gammas(gamma: GammaOption, n: int, rng: np.random.Generator) -> np.ndarray:
    try:
        if isinstance(gamma, Mapping):
            ((distribution, (low, high)),) = gamma.items()
            if distribution == "uniform" and 0 < low <= high < 1:
                return rng.uniform(low, high, n)
        elif not isinstance(gamma, str):
            ratios = np.asarray(gamma, dtype=np.float64)
            if ratios.ndim == 0:
                return np.full(n, ratios)
            if ratios.ndim == 1 and ratios.size:
                return rng.choice(ratios, n)
    except (TypeError, ValueError):
        pass
    raise EchosError(
        "gamma: expected a ratio, a list of ratios, or {'uniform': [low, high]} with 0 < low ≤ high < 1, "
        f"found {gamma!r}; correct it"
    )
