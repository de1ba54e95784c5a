"""Patterns: an autoencoder embeds kernels of one size in one dimension, k-means partitions the codes, templates name the clusters.

Paper: Babaiee, Kiasari, Rus, Grosu, "Unveiling the Unseen", ICLR 2024 (arXiv 2401.14469): k-means on the codes, about ten patterns.
The paper's thresholds are not available, so they are options, chosen on planted kernels.

Such a procedure finds clusters in anything, so it is also run from scratch on the same kernels with their taps shuffled.
The result also depends on the seed of the training, so there are several trainings, each with its own share of kernels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from neural_echos.errors import EchosError
from neural_echos.progress import tracked
from neural_echos.receptive_fields import OTHER, best_pattern, center_norm, check_threshold
from neural_echos.receptive_fields.normalisation import flattened, shuffled_taps
from neural_echos.structure.autoencoder import Settings, train_autoencoder
from neural_echos.structure.kmeans import cluster_kernels, groups
from neural_echos.tables import SCHEMAS

_KERNELS_PER_CLUSTER = 10  # fewer than this are not meaningful
_RESTARTS = 10  # of k-means on the codes
_CHUNK = 65_536  # kernels encoded at a time


@dataclass(frozen=True)
class Described:
    """Codes and clusters of kernels of one size; the c clusters are sorted by count, the largest first.

    Attributes
    ----------
    codes : ndarray of float64, shape (n,)
    labels : ndarray of int64, shape (n,)
        Cluster of each kernel, from 0.
    centres : ndarray of float64, shape (c,)
        Mean code of each cluster.
    counts : ndarray of int64, shape (c,)
    decoded : ndarray of float64, shape (c, k, k)
        Decoded centre of each cluster: zero mean, unit norm.
    patterns : ndarray of str, shape (c,)
        Pattern of each cluster; "other" below the threshold.
    cosine : ndarray of float64, shape (c,)
        Cosine of each decoded centre with its best template.
    loss : float
        1 − the mean cosine between a kernel and its reconstruction.
    """

    codes: np.ndarray
    labels: np.ndarray
    centres: np.ndarray
    counts: np.ndarray
    decoded: np.ndarray
    patterns: np.ndarray
    cosine: np.ndarray
    loss: float


def find_patterns(
    bank: pa.Table, *, clusters: int, threshold: float, seed: int, trainings: int = 1, settings: Settings | None = None
) -> tuple[pa.Table, pa.Table, dict[str, dict[str, Any]]]:
    """Find the patterns of a bank kind by kind and size by size, and of the same kernels with their taps shuffled.

    Parameters
    ----------
    bank : pyarrow.Table
        Schema "bank"; kernels of several models are pooled.
    clusters : int
        Number of clusters of codes, at least 2.
    threshold : float
        Minimum cosine, in [0, 1], between a decoded centroid or a kernel and the template that names it; below it the name is
        "other".
    seed : int
        Seed of every random choice, from 0 to 2³² − 1.
    trainings : int
        Number of trainings, at least 1; the first uses `seed`, the others use seeds derived from it.
    settings : Settings, optional
        Settings of the autoencoder.

    Returns
    -------
    patterns : pyarrow.Table
        Schema "patterns", sorted by `row`, the kernel's row number in `bank`.
    centroids : pyarrow.Table
        Schema "pattern_centroids", from the first training. For a bank of several models, `model` is their names joined by "+".
    report : dict
        Number of kernels per kind and size ("depthwise 7x7"): "described", "dropped" (non-finite, zero or constant) and
        "left_out" (not square, smaller than 3×3, or fewer than ten per cluster). If kernels were described, also
        the "loss" and the "null_loss" of the first training.

    Raises
    ------
    EchosError
        A parameter is outside its range.
    """
    centroids = [SCHEMAS["pattern_centroids"].empty_table()]
    report: dict[str, dict[str, Any]] = {}
    found = pattern_batches(
        lambda: [bank],
        centroids,
        report,
        clusters=clusters,
        threshold=threshold,
        seed=seed,
        trainings=trainings,
        settings=settings,
    )
    patterns = pa.concat_tables(found).combine_chunks()
    return patterns, pa.concat_tables(centroids).combine_chunks(), report


def pattern_batches(
    read: Callable[[], Iterable[pa.Table]],
    centroids: list[pa.Table],
    report: dict[str, dict[str, Any]],
    *,
    clusters: int,
    threshold: float,
    seed: int,
    trainings: int = 1,
    settings: Settings | None = None,
) -> Iterator[pa.Table]:
    """Find the patterns of a bank in parts, as `find_patterns` does; centroids and counts are added to the arguments.

    `read` is called twice and has to return the same parts each time. In between only the taps are kept in memory, as float32.
    """
    check_threshold(threshold)
    if clusters < 2:
        raise EchosError(f"clusters: must be at least 2, not {clusters}; correct it")
    if trainings < 1:
        raise EchosError(f"trainings: must be at least 1, not {trainings}; correct it")
    taps, models = _usable_taps(read(), report)
    found: dict[_Group, _Found] = {}
    for group in sorted(taps):
        kind, height, width = group
        kernels = np.concatenate(taps.pop(group))
        counts = report[f"{kind} {height}x{width}"]
        if len(kernels) < _KERNELS_PER_CLUSTER * clusters:
            counts["left_out"] = len(kernels)
            continue
        found[group] = _trained(kernels, clusters, threshold, _seeds(seed, trainings), settings or Settings())
        first, null = found[group].first, found[group].null_loss
        counts |= {"described": len(kernels), "loss": round(first.loss, 3), "null_loss": round(null, 3)}
        centroids.append(_centroids_table(first, models, kind))
        del kernels  # frees the memory of a large bank
    yield from _tables(read(), found, threshold, seed)


_Group = tuple[str, int, int]  # kind, height, width


@dataclass(frozen=True)
class _Found:
    """Results for kernels of one kind and size: the first training in full, and the clusters' cosines and labels of all."""

    first: Described
    null_loss: float
    own: list[tuple[np.ndarray, np.ndarray]]
    null: list[tuple[np.ndarray, np.ndarray]]


def _seeds(seed: int, trainings: int) -> list[int]:
    """The declared seed, and others derived from it."""
    more = [int(np.random.SeedSequence((seed, one)).generate_state(1)[0]) for one in range(1, trainings)]
    return [seed, *more]


def _usable_taps(
    batches: Iterable[pa.Table], report: dict[str, dict[str, Any]]
) -> tuple[dict[_Group, list[np.ndarray]], str]:
    """Normalised kernels of each kind and size that can have patterns, as float32 parts, and the models' names."""
    taps: dict[_Group, list[np.ndarray]] = {}
    models: set[str] = set()
    for batch in batches:
        models.update(batch["model"].unique().to_pylist())
        for kind, height, width, _, kernels in groups(batch):
            normalised, kept = center_norm(kernels, np.float32)
            counts = report.setdefault(f"{kind} {height}x{width}", {"described": 0, "dropped": 0, "left_out": 0})
            counts["dropped"] += int((~kept).sum())
            if height == width and height >= 3:
                taps.setdefault((kind, height, width), []).append(normalised)
            else:
                counts["left_out"] += len(normalised)
    return taps, "+".join(sorted(models))


def _trained(kernels: np.ndarray, clusters: int, threshold: float, seeds: Sequence[int], settings: Settings) -> _Found:
    """Describe kernels, (n, k, k), once per seed; then shuffle their taps in place and describe them again."""

    def described() -> tuple[Described, list[tuple[np.ndarray, np.ndarray]]]:
        first, kept = None, []
        for seed in tracked(seeds, f"autoencoders of {len(kernels):,} kernels", len(seeds)):
            one = describe(kernels, clusters=clusters, threshold=threshold, seed=seed, settings=settings)
            first = first or one
            kept.append((one.cosine, one.labels.astype(np.int16)))
        assert first is not None
        return first, kept

    first, own = described()
    flat = flattened(kernels)
    _shuffles(seeds[0], kernels.shape[1]).permuted(flat, axis=1, out=flat)
    shuffled, null = described()
    return _Found(first, shuffled.loss, own, null)


def _shuffles(seed: int, side: int) -> np.random.Generator:
    return np.random.default_rng((seed, side))


def _tables(
    batches: Iterable[pa.Table], found: dict[_Group, _Found], threshold: float, seed: int
) -> Iterator[pa.Table]:
    """Tables of schema "patterns", part by part, each sorted by row."""
    shuffles = {group: _shuffles(seed, group[1]) for group in found}
    done = dict.fromkeys(found, 0)
    first = 0
    for batch in batches:
        parts = [SCHEMAS["patterns"].empty_table()]
        for *group, rows, kernels in groups(batch):
            key = (group[0], group[1], group[2])
            if key not in found:
                continue
            normalised, kept = center_norm(kernels)
            shuffled = shuffled_taps(normalised, shuffles[key])
            here = slice(done[key], done[key] + len(normalised))
            done[key] = here.stop
            parts.append(_patterns_table(batch, rows[kept], normalised, shuffled, found[key], here, threshold))
        made = pa.concat_tables(parts).sort_by("row")
        yield made.set_column(0, SCHEMAS["patterns"].field("row"), pc.add(made["row"], first))
        first += batch.num_rows


def describe(kernels: np.ndarray, *, clusters: int, threshold: float, seed: int, settings: Settings) -> Described:
    """Train an autoencoder on kernels of one size, cluster their codes, and name the decoded centres.

    Parameters
    ----------
    kernels : ndarray of float32 or float64, shape (n, k, k)
        Zero mean and unit norm, k at least 3, n at least `clusters`.
    clusters, threshold, seed, settings
        As in `find_patterns`.
    """
    taps = torch.from_numpy(flattened(kernels).astype(np.float32, copy=False))
    model = train_autoencoder(taps, settings, seed=seed)
    with torch.no_grad():
        codes = torch.cat([model.encode(part) for part in taps.split(_CHUNK)])
        similar = torch.cat([(model.decode(code) * part).sum(1) for code, part in _pairs(codes, taps)])
        codes = codes.double().numpy()
        found = cluster_kernels(codes[:, :, None], clusters, restarts=_RESTARTS, seed=seed)
        centres = found.centroids.reshape(-1, 1)
        decoded = model.decode(torch.tensor(centres, dtype=torch.float32)).double().numpy()
    decoded = decoded.reshape(-1, *kernels.shape[1:])
    names, cosine = best_pattern(decoded)
    return Described(
        codes=codes[:, 0],
        labels=found.labels,
        centres=centres[:, 0],
        counts=found.counts,
        decoded=decoded,
        patterns=np.where(cosine >= threshold, names, OTHER),
        cosine=cosine,
        loss=1 - float(similar.double().mean()),
    )


def _pairs(codes: torch.Tensor, taps: torch.Tensor) -> Any:
    return zip(codes.split(_CHUNK), taps.split(_CHUNK), strict=True)


def _patterns_table(
    bank: pa.Table,
    rows: np.ndarray,
    kernels: np.ndarray,
    shuffled: np.ndarray,
    found: _Found,
    here: slice,
    threshold: float,
) -> pa.Table:
    names, cosine = best_pattern(kernels)
    labels = found.first.labels[here]
    columns = {name: bank[name].take(pa.array(rows)) for name in SCHEMAS["patterns"].names if name in bank.column_names}
    columns |= {
        "row": rows,
        "code": found.first.codes[here],
        "cluster": labels,
        "cluster_pattern": found.first.patterns[labels],
        "cluster_cosines": _listed([cosines[labels[here]] for cosines, labels in found.own]),
        "pattern": np.where(cosine >= threshold, names, OTHER),
        "cosine": cosine,
        "null_cluster_cosines": _listed([cosines[labels[here]] for cosines, labels in found.null]),
        "null_cosine": best_pattern(shuffled)[1],
    }
    return pa.table({name: columns[name] for name in SCHEMAS["patterns"].names}).cast(SCHEMAS["patterns"])


def _listed(columns: Sequence[np.ndarray]) -> pa.ListArray:
    """One list per kernel, with its values from several columns, (n,) each."""
    values = np.stack(columns, axis=1)
    ends = np.arange(len(values) + 1, dtype=np.int32) * len(columns)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values.ravel()))


def _centroids_table(found: Described, models: str, kind: str) -> pa.Table:
    n, height, width = found.decoded.shape
    columns = {
        "model": [models] * n,
        "kind": [kind] * n,
        "kernel_height": np.full(n, height),
        "kernel_width": np.full(n, width),
        "cluster": np.arange(n),
        "code": found.centres,
        "count": found.counts,
        "pattern": found.patterns,
        "cosine": found.cosine,
        "taps": found.decoded.reshape(n, -1).astype(np.float32).tolist(),
    }
    return pa.table(columns).cast(SCHEMAS["pattern_centroids"])
