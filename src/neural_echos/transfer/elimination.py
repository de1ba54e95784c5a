"""Elimination: remove filters from a set one by one, the least useful first, then exchange survivors for their neighbours.

Paper: Babaiee, Kiasari, Rus, Grosu, "The Quest for Universal Master Key Filters", NeurIPS 2025 (arXiv 2509.11711).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from neural_echos.errors import EchosError
from neural_echos.initialisations.assignment import projections
from neural_echos.initialisations.filters import at_size
from neural_echos.training import score_sums
from neural_echos.transfer.layers import depthwise_layers, kernels_of_layer, set_kernels
from neural_echos.transfer.replacement import reestimate_batch_norm_

_LOG = logging.getLogger(__name__)
_IMAGES = 512  # images of the subset that pass through the model at a time
Score = tuple[float, float]  # loss, top1


class Substitute:
    """A model whose depthwise kernels can be replaced from any subset of a set of filters, at the cost of a copy.

    Each kernel's projection on every filter is computed once; a subset only selects among them.

    Parameters
    ----------
    model : nn.Module
        Already on its device; its kernels are overwritten by `use`.
    filters : ndarray of float, shape (m, k, k)
    resample : bool
        See `replacement.replace_`.
    """

    def __init__(self, model: nn.Module, filters: np.ndarray, *, resample: bool = False) -> None:
        self.model = model
        self.parts = []
        for layer in depthwise_layers(model):
            own = at_size(filters, layer.kernel_height, layer.kernel_width, resample=resample)
            gains, mean, _ = projections(kernels_of_layer(model, layer), own)
            where = model.get_submodule(layer.name).weight.device
            self.parts.append((layer, *(torch.from_numpy(one).to(where) for one in (gains, mean, own))))

    def use(self, active: Sequence[int]) -> set[int]:
        """Replace every kernel by its best active filter (by its mean if none is active); return the filters in use."""
        used: set[int] = set()
        chosen = list(active)
        for layer, gains, mean, filters in self.parts:
            kernels = mean[:, None, None].expand(-1, *filters.shape[1:])
            if chosen:
                best = gains[:, chosen].abs().argmax(dim=1, keepdim=True)
                index = torch.tensor(chosen, device=gains.device)[best[:, 0]]
                kernels = gains.gather(1, index[:, None])[:, :, None] * filters[index] + kernels
                used |= set(index.unique().tolist())
            set_kernels(self.model, layer, kernels)
        return used


def eliminate(
    model: nn.Module,
    filters: np.ndarray,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    elbow: float,
    neighbours: int = 2,
    checks: Sequence[int] = (),
    test: Callable[[nn.Module], Score],
    resample: bool = False,
) -> list[dict[str, Any]]:
    """Remove filters from a set one by one, greedily, then exchange survivors for their neighbours ("The Quest", NeurIPS 2025).

    Each step removes the filter without which accuracy on a subset of images is highest; loss breaks ties. The elbow is the
    smallest number of filters down to which accuracy never falls more than `elbow` below the accuracy of the whole set. One round
    of local search follows there: each survivor is exchanged for the neighbour that raises accuracy most, if one does. If the
    model has batch norm, its statistics are re-estimated on the subset for every set of filters.

    Parameters
    ----------
    model : nn.Module
        Trained, on its device; it ends with the survivors' kernels.
    filters : ndarray of float, shape (m, k, k)
    images, labels : Tensor of float32, shape (n, c, h, w), and int64, shape (n,)
        The subset, normalised, from the train split, so that no test image affects which filters survive.
    elbow : float
        Share of images, in [0, 1).
    neighbours : int
        Number of nearest filters of the set, by |cosine|, that a survivor may be exchanged for.
    checks : sequence of int
        Numbers of filters at which `test` is also evaluated; it always is for the whole set, the elbow and the survivors.
    test : callable
        Returns loss and top1 of a model on the images that are reported.
    resample : bool
        See `replacement.replace_`.

    Returns
    -------
    list of dict
        `phase` ("trained", "elimination", "exchange"), `filters` left, `removed` and `added` (indices in the set, or None), `loss`
        and `top1` on the subset, `test_loss` and `test_top1` or None, `elbow`, and `taps` of the filter added, else removed.
    """
    if not 0 <= elbow < 1:
        raise EchosError(f"elbow must be a share of images from 0 to below 1, not {elbow}")
    substitute = Substitute(model, filters, resample=resample)
    score = _Scorer(substitute, images, labels)
    rows = [_row("trained", None, score.current(), test(model))]
    active = list(range(len(filters)))
    found = score(active)
    rows.append(_row("elimination", len(active), found, test(model)))
    while active:
        found, out = score.best([[one for one in active if one != out] for out in active], active, found)
        removed = active.pop(out)
        taps = filters[removed].ravel()
        checked = test(_with(score, active)) if len(active) in checks else None
        rows.append(_row("elimination", len(active), found, checked, removed=removed, taps=taps))
        _LOG.info("%d filters: top-1 %.3f of the subset", len(active), found[1])
    least = _elbow(rows[1:], elbow)
    at = next(row for row in rows[1:] if row["filters"] == least)
    removed_before = {row["removed"] for row in rows[1:] if row["filters"] >= least}
    active = [one for one in range(len(filters)) if one not in removed_before]
    found = score(active)
    at["elbow"], (at["test_loss"], at["test_top1"]) = True, test(model)
    return rows + _exchange(score, filters, active, found, neighbours, test)


class _Scorer:
    """Loss and top1 on the images, of a model with any subset of the filters."""

    def __init__(self, substitute: Substitute, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.substitute, self.images, self.labels = substitute, images, labels
        self.model, self.used = substitute.model, set[int]()

    def __call__(self, active: Sequence[int]) -> Score:
        self.used = self.substitute.use(active)
        reestimate_batch_norm_(self.model, self.images.split(_IMAGES))
        return self.current()

    def current(self) -> Score:
        batches = zip(self.images.split(_IMAGES), self.labels.split(_IMAGES), strict=True)
        sums = score_sums(self.model, batches, self.images.device)
        loss, top1, _ = (sums / len(self.labels)).tolist()
        return loss, top1

    def best(self, parts: Sequence[Sequence[int]], whole: Sequence[int], known: Score) -> tuple[Score, int]:
        """Score and index of the best of several parts of `whole`; part i lacks filter i.

        `known` is the score of the whole: removing a filter that no kernel uses changes nothing.
        """
        used = self.substitute.use(whole)
        scores = [self(part) if out in used else known for part, out in zip(parts, whole, strict=True)]
        place = min(range(len(parts)), key=lambda one: _worse(scores[one]))
        return scores[place], place


def _with(score: _Scorer, active: Sequence[int]) -> nn.Module:
    """The model with these filters, its batch norm re-estimated."""
    score(active)
    return score.model


def _exchange(
    score: _Scorer,
    filters: np.ndarray,
    survivors: Sequence[int],
    found: Score,
    neighbours: int,
    test: Callable[[nn.Module], Score],
) -> list[dict[str, Any]]:
    """The round of local search: one row per exchange made; the last is also scored by `test`."""
    flat = filters.reshape(len(filters), -1)
    alike = np.abs(flat @ flat.T)
    active, rows = list(survivors), []
    for survivor in survivors:
        near = [one for one in np.argsort(-alike[survivor], kind="stable").tolist() if one not in active][:neighbours]
        tried = [[one if other == survivor else other for other in active] for one in near]
        scores = [score(part) for part in tried]
        if not tried or min(map(_worse, scores)) >= _worse(found):
            continue
        place = min(range(len(tried)), key=lambda one: _worse(scores[one]))
        active, found = tried[place], scores[place]
        taps = filters[near[place]].ravel()
        rows.append(_row("exchange", len(active), found, None, removed=survivor, added=near[place], taps=taps))
    model = _with(score, active)
    if rows:
        rows[-1]["test_loss"], rows[-1]["test_top1"] = test(model)
    return rows


def _worse(score: Score) -> tuple[float, float]:
    """Sort key: the best score first."""
    return -score[1], score[0]


def _elbow(rows: Sequence[dict[str, Any]], margin: float) -> int:
    """Smallest number of filters, at least 1, down to which no row is more than `margin` below the first."""
    least: int = rows[0]["filters"]
    for row in rows:
        if row["top1"] < rows[0]["top1"] - margin or row["filters"] < 1:
            break
        least = row["filters"]
    return least


def _row(phase: str, left: int | None, subset: Score, tested: Score | None, **more: Any) -> dict[str, Any]:
    loss, top1 = tested or (None, None)
    row = {"phase": phase, "filters": left, "removed": None, "added": None, "loss": subset[0], "top1": subset[1]}
    return row | {"test_loss": loss, "test_top1": top1, "elbow": False, "taps": None} | more
