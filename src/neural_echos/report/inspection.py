"""Inspection: the kernels of one network, layer by layer, compared with shuffled taps and with the same layers untrained."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from neural_echos.errors import EchosError
from neural_echos.kernels import bank_from_model
from neural_echos.kernels.sources import Source, bank_of, untrained
from neural_echos.progress import tracked
from neural_echos.receptive_fields import OTHER, best_pattern, check_threshold, dog_cosine, fit_dog, has_dog
from neural_echos.receptive_fields.normalisation import center_norm, shuffled_taps, usable
from neural_echos.structure.filter_quality import is_sparse
from neural_echos.structure.intervals import wilson_interval
from neural_echos.structure.kmeans import cluster_kernels, groups, name_centroids
from neural_echos.structure.measures import kinds_and_layers
from neural_echos.structure.shares import structured_share
from neural_echos.tables import read_table

CLUSTERS = 3  # the papers' number
_RESTARTS = 10
_UNTRAINED_SHUFFLES = 20_000
PUBLISHED_ZOO = Path(__file__).parents[3] / "results/published/zoo/structure.parquet"


@dataclass(frozen=True)
class Inspection:
    """The findings for one network. `save` writes them as a page, and notebooks display them.

    Attributes
    ----------
    name : str
    kind : {"depthwise", "regular"}
        Kind of the inspected kernels.
    read : str
        What was read and what was skipped.
    threshold : float
        Minimum cosine of a kernel, or of a cluster's average, with the pattern that names it.
    kernels : DataFrame
        One row per kernel, layer by layer, the most typical of each first: `layer`, `layer_index`, `depth` (0 to 1), `size`
        ("5×5", or "7×7 stem" for the regular layer that reads the image), `channel`, `input_channel`, `largest` (|tap|), `state`
        ("usable", "not finite", "zero or constant", "almost dead"), `pattern` and `cosine` (of its best template), `dog` (cosine
        with its best DoG), `gamma` and `sign` of that, `structured`, `offset` (taps, of the centre of mass of |taps| from the
        middle), `cluster` (name of its cluster) and `taps` (ndarray, shape (h, w)).
    layers : DataFrame
        One row per layer: see `_of_layers`.
    sizes : DataFrame
        One row per size: `size`, `kernels`, `layers`, `structured`, `low`, `high`, `untrained` (the share of the same layers
        untrained, or NaN), `named` and `null_named` (share with a named pattern, and with shuffled taps).
    clusters : DataFrame
        One row per size and cluster: `size`, `name`, `kernels`, `share`, `cosine` (with its best DoG), `gamma`, `taps`.
    zoo : DataFrame or None
        Other networks with kernels of the same kind and sizes: `model`, `role`, `size`, `share`, `low`, `high`.
    untrained : str
        Description of the untrained layers, or why there are none.
    left_out : str
        A sentence on kernels of the other kind; empty if there are none.
    """

    name: str
    kind: str
    read: str
    threshold: float
    kernels: pd.DataFrame
    layers: pd.DataFrame
    sizes: pd.DataFrame
    clusters: pd.DataFrame
    zoo: pd.DataFrame | None
    untrained: str
    left_out: str

    def save(self, path: Path, *, index: str = "") -> None:
        """Write the page as one self-contained HTML file; `index` is the address of a page to link back to."""
        from neural_echos.files import write_text
        from neural_echos.report.inspection_page import page

        write_text(path, page(self, index))

    def _repr_html_(self) -> str:
        from neural_echos.report.inspection_page import framed

        return framed(self)


def inspect(
    model: Source,
    *,
    name: str = "",
    timm: str = "",
    weights: str | None = None,
    kind: str | None = None,
    threshold: float = 0.8,
    seed: int = 0,
    zoo: Path | None = None,
) -> Inspection:
    """Inspect the kernels of a network.

    Parameters
    ----------
    model : torch.nn.Module, pyarrow.Table, path or str
        See `bank_of`: a model in memory, a bank, a checkpoint, or a timm model with weights on the hub.
    name : str
        Name to show; by default the one from `bank_of`.
    timm : str
        The timm model of a checkpoint or a bank: its untrained weights are the control.
    weights : str, optional
        The set of weights to use from a checkpoint with several.
    kind : {"depthwise", "regular"}, optional
        Kernels to inspect; by default depthwise ones, if there are any. The layer that reads the image is regular.
    threshold : float
        Minimum cosine, in [0, 1], of a kernel with the pattern that names it.
    seed : int
        Seed of shuffles, k-means and untrained weights.
    zoo : path, optional
        Table of schema "structure" of the networks to compare with; by default the table published with the code, if present.

    Raises
    ------
    EchosError
        The model cannot be read, has no kernels of this kind, or a parameter is out of range.
    """
    check_threshold(threshold)
    bank, read = bank_of(model, name=name, timm=timm, weights=weights)
    if not len(bank):
        raise EchosError(f"{name or model}: it has no kernels; choose another model")
    kind = kind or ("depthwise" if "depthwise" in bank["kind"].unique().to_pylist() else "regular")
    mine = bank.filter(pc.equal(bank["kind"], kind))
    if not len(mine):
        other = "regular" if kind == "depthwise" else "depthwise"
        raise EchosError(f"{bank['model'][0]}: it has only {other} kernels; inspect them with kind {other!r}")
    control, told = _control(model, timm, kind, mine, seed)
    parts: list[pd.DataFrame] = []
    sizes: list[dict[str, Any]] = []
    clusters: list[pd.DataFrame] = []
    found = list(_sizes(mine))
    for size, rows, taps in tracked(found, "kernel sizes", len(found)):
        kernels = (
            mine.select(["layer", "layer_index", "depth", "channel", "input_channel"]).take(pa.array(rows)).to_pandas()
        )
        made = _of_size(kernels.assign(size=size), taps, control, threshold, seed)
        for some, one in zip((parts, sizes, clusters), made, strict=True):
            some.append(one)  # type: ignore[attr-defined]
    kernels = pd.concat(parts).sort_values(["layer_index", "size", "typical"], kind="stable", ignore_index=True)
    shares = {} if control is None else {key: share for one in parts for key, share in one.attrs["untrained"].items()}
    return Inspection(
        name=name or str(bank["model"][0]),
        kind=kind,
        read=read,
        threshold=threshold,
        kernels=kernels.drop(columns="typical"),
        layers=_of_layers(kernels, shares, threshold),
        sizes=pd.DataFrame(sizes),
        clusters=pd.concat([one for one in clusters if len(one)] or clusters, ignore_index=True),
        zoo=_others(zoo, kind, [one["size"] for one in sizes], str(bank["model"][0])),
        untrained=told,
        left_out=""
        if len(mine) == len(bank)
        else f"{len(bank) - len(mine):,} kernels of the other kind are not shown here.",
    )


def _sizes(bank: pa.Table) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each size of a bank's kernels, "7×7 stem" apart, with rows, (n,), and taps, (n, h, w)."""
    stem = kinds_and_layers(bank)[0] == "stem"
    for _, height, width, rows, taps in groups(bank):
        for apart, name in ((~stem[rows], f"{height}×{width}"), (stem[rows], f"{height}×{width} stem")):
            if apart.any():
                yield name, rows[apart], taps[apart]


def _control(model: Source, timm: str, kind: str, bank: pa.Table, seed: int) -> tuple[pa.Table | None, str]:
    """The same network's untrained kernels, if available, and a description of them."""
    import torch

    if isinstance(model, torch.nn.Module):
        fresh, told = copy.deepcopy(model), "the same layers with PyTorch's default initialisation"
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for part in fresh.modules():
                if isinstance(part, torch.nn.modules.conv._ConvNd):
                    part.reset_parameters()
    else:
        known = timm or (str(model) if isinstance(model, str) and not Path(model).exists() else "")
        if not known:
            return None, "none, because the architecture is unknown; name its timm model"
        fresh, told = untrained(known, seed), f"{known} with timm's initial weights"
    control = bank_from_model(fresh, "untrained")
    control = control.filter(pc.equal(control["kind"], kind))
    if set(control["layer"].unique().to_pylist()).isdisjoint(bank["layer"].unique().to_pylist()):
        return None, "none, because the untrained model has other layer names than the file"
    return control, told


def _of_size(
    kernels: pd.DataFrame, taps: np.ndarray, control: pa.Table | None, threshold: float, seed: int
) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame]:
    """Kernels of one size with the columns of `Inspection.kernels`, the row of their size, and their clusters."""
    finite, varied = usable(taps)
    kept = finite & varied
    kernels = kernels.assign(
        largest=np.abs(taps).max(axis=(1, 2)), state=_states(kernels.layer, taps, finite, kept), taps=list(taps)
    )
    numbers = {"cosine": np.nan, "dog": np.nan, "gamma": np.nan, "sign": 0.0, "offset": np.nan, "typical": np.inf}
    kernels = kernels.assign(pattern="", cluster="", structured=False, **numbers)
    size = {"size": kernels["size"].iloc[0], "kernels": len(kernels), "layers": kernels.layer.nunique()}
    size |= dict.fromkeys(("structured", "low", "high", "untrained", "named", "null_named"), np.nan)
    clusters = pd.DataFrame(columns=["size", "name", "kernels", "share", "cosine", "gamma", "taps"])
    kernels.attrs["untrained"] = {}
    height, width = taps.shape[1:]
    if not kept.any():
        return kernels, size, clusters
    good, rng = taps[kept], np.random.default_rng(seed)
    kernels.loc[kept, "offset"] = offsets(good)
    if height == width and height >= 3:
        names, cosine = best_pattern(center_norm(good)[0])
        kernels.loc[kept, ["pattern", "cosine"]] = [
            *zip(np.where(cosine >= threshold, names, OTHER), cosine, strict=True)
        ]
        null = best_pattern(center_norm(shuffled_taps(good, rng))[0])[1]
        size |= {"named": (cosine >= threshold).mean(), "null_named": (null >= threshold).mean()}
    if has_dog(height, width):
        layer_of = kernels.layer_index[kept].to_numpy()
        measured = structured_share(good, layer_of, seed=seed)
        fit = fit_dog(good)
        columns = {
            "dog": fit.cosine,
            "gamma": fit.gamma,
            "sign": fit.sign,
            "structured": dog_cosine(good) > measured.threshold,  # as `structured_share` counts them
        }
        for column, values in columns.items():
            kernels.loc[kept, column] = values
        size |= {"structured": measured.share, "low": measured.low, "high": measured.high}
        if control is not None:
            size["untrained"], kernels.attrs["untrained"] = _untrained_shares(control, size["size"], seed)
        labels, clusters = _clusters(good, size["size"], threshold, seed)
        kernels.loc[kept, ["cluster", "typical"]] = labels
    return kernels, size, clusters


def _states(layer: pd.Series, taps: np.ndarray, finite: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """State of each kernel before it is measured: see `Inspection.kernels`."""
    dead = np.zeros(len(taps), bool)
    for _, mine in layer.groupby(layer).indices.items():
        whole = np.asarray(mine)[finite[mine]]
        if len(whole):
            dead[whole] = is_sparse(taps[whole])
    return np.select([~finite, ~kept, dead], ["not finite", "zero or constant", "almost dead"], "usable")


def offsets(kernels: np.ndarray) -> np.ndarray:
    """Distance of the centre of mass of |taps| from the middle, taps; kernels (n, h, w), none of them zero."""
    weight = np.abs(kernels.astype(np.float64))
    y, x = np.mgrid[: weight.shape[1], : weight.shape[2]]
    total = weight.sum(axis=(1, 2))
    middle = [(side - 1) / 2 for side in weight.shape[1:]]
    return np.hypot(*((weight * (axis - at)).sum(axis=(1, 2)) / total for axis, at in zip((y, x), middle, strict=True)))


def _untrained_shares(control: pa.Table, size: str, seed: int) -> tuple[float, dict[tuple[str, str], float]]:
    """Structured share of the untrained kernels of one size, overall and per layer."""
    for name, rows, taps in _sizes(control):
        kept = np.logical_and(*usable(taps))
        if name == size and kept.any():
            layer = control["layer"].take(pa.array(rows[kept])).to_pandas()
            codes = layer.astype("category").cat.codes.to_numpy()
            share = structured_share(taps[kept], codes, shuffles=_UNTRAINED_SHUFFLES, seed=seed)
            beyond = pd.Series(dog_cosine(taps[kept]) > share.threshold)
            return share.share, {
                (str(layer_name), size): float(mean) for layer_name, mean in beyond.groupby(layer).mean().items()
            }
    return np.nan, {}


def _clusters(
    kernels: np.ndarray, size: str, threshold: float, seed: int
) -> tuple[list[tuple[str, float]], pd.DataFrame]:
    """Name of each kernel's cluster with its distance to the centroid, and the clusters of one size."""
    normalised, _ = center_norm(kernels)
    if len(normalised) < CLUSTERS:
        return [("", float(at)) for at in range(len(normalised))], pd.DataFrame()
    found = cluster_kernels(normalised, CLUSTERS, restarts=_RESTARTS, seed=seed)
    names, cosine, gamma = name_centroids(found.centroids, threshold)
    clusters = pd.DataFrame(
        {
            "size": size,
            "name": names,
            "kernels": found.counts,
            "share": found.counts / len(normalised),
            "cosine": cosine,
            "gamma": gamma,
            "taps": list(found.centroids),
        }
    )
    return [(names[label], far) for label, far in zip(found.labels, found.distance, strict=True)], clusters


def _of_layers(kernels: pd.DataFrame, shares: dict[tuple[str, str], float], threshold: float) -> pd.DataFrame:
    """One row per layer and size.

    Columns: `layer`, `layer_index`, `depth`, `size`, `kernels`, `structured` with its interval `low` to `high` (Wilson, at the
    threshold of all kernels of the size), `untrained`, `named` (share with a named pattern), `on_centre` (share among kernels
    with a DoG cosine of at least the threshold), `gamma` (their median), `offset` (median, taps), `almost_dead` and
    `dropped` (not finite, zero or constant).
    """
    rows = []
    for (index, layer, depth, size), mine in kernels.groupby(["layer_index", "layer", "depth", "size"], sort=True):
        good = mine[mine.state.isin(["usable", "almost dead"])]
        measured, centres = good[good.dog.notna()], good[good.dog >= threshold]
        share = measured.structured.mean() if len(measured) else np.nan
        low, high = wilson_interval(np.array(share), len(measured)) if len(measured) else (np.nan, np.nan)
        rows.append(
            {
                "layer": layer,
                "layer_index": index,
                "depth": depth,
                "size": size,
                "kernels": len(mine),
                "structured": share,
                "low": float(low),
                "high": float(high),
                "untrained": shares.get((str(layer), str(size)), np.nan),
                "named": (good.pattern != OTHER).mean() if good.cosine.notna().any() else np.nan,
                "on_centre": (centres["sign"] > 0).mean() if len(centres) else np.nan,
                "gamma": centres.gamma.median() if len(centres) else np.nan,
                "offset": good.offset.median(),
                "almost_dead": int((mine.state == "almost dead").sum()),
                "dropped": len(mine) - len(good),
            }
        )
    return pd.DataFrame(rows)


def _others(path: Path | None, kind: str, sizes: list[str], own: str) -> pd.DataFrame | None:
    """Other networks' kernels of this kind and these sizes, or None if there is no such table."""
    if path is None and not PUBLISHED_ZOO.exists():
        return None
    zoo = read_table(path or PUBLISHED_ZOO, "structure").to_pandas()
    stem = np.where(zoo.kind == "stem", " stem", "")
    zoo = zoo.assign(size=[f"{side}×{side}{name}" for side, name in zip(zoo.kernel_size, stem, strict=True)])
    kinds = ["regular", "stem"] if kind == "regular" else [kind]
    mine = zoo[zoo.kind.isin(kinds) & zoo["size"].isin(sizes) & (zoo.model != own)]
    return mine[["model", "role", "size", "share", "low", "high"]].reset_index(drop=True)
