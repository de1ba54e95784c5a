"""Evaluation: gather finished runs, compare initialisations paired by seed, and measure the structure of banks.

Two runs that differ only in their initialisation share seed, data order and every weight that is not depthwise, so their
difference is taken seed by seed and its interval is Student's t over those differences.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import stdtrit

from neural_echos.errors import EchosError
from neural_echos.files import read_json
from neural_echos.receptive_fields import MATCHED, structured_share
from neural_echos.receptive_fields.banks import layer_interval
from neural_echos.tables import SCHEMAS, kernel_sizes, read_table

_CELL = ["dataset", "architecture", "initialisation", "seed"]
BASELINES = ("default", "kaiming")


def gather_runs(folders: Iterable[str | Path]) -> pa.Table:
    """Gather the final metrics of finished runs into a table of schema "runs", sorted.

    Raises
    ------
    EchosError
        A run is not finished or broken, or one run is listed twice.
    """
    rows = []
    for folder in map(Path, folders):
        metrics = read_json(folder / "metrics.json")
        first = read_table(folder / "history.parquet", "history", _CELL).slice(0, 1).to_pylist()
        wanted = [key for key in SCHEMAS["runs"].names if key not in _CELL]
        if not first or not isinstance(metrics, dict) or not set(wanted) <= set(metrics):
            raise EchosError(
                f"{folder}: expected a finished run with a history and the metrics {', '.join(wanted)}, found parts of one; "
                "train it again"
            )
        rows.append(first[0] | {key: metrics[key] for key in wanted})
    frame = pd.DataFrame(rows, columns=SCHEMAS["runs"].names).sort_values(_CELL, ignore_index=True)
    twice = frame[frame.duplicated(_CELL)]
    if len(twice):
        run = "/".join(map(str, twice.iloc[0][_CELL]))
        raise EchosError(f"runs: expected every run once, found {run} twice; list each folder once")
    return pa.Table.from_pandas(frame, schema=SCHEMAS["runs"], preserve_index=False)


def gather_histories(folders: Iterable[str | Path]) -> pa.Table:
    """Gather the per-epoch histories of runs into one table of schema "history", sorted by run and epoch."""
    table = pa.concat_tables([read_table(Path(folder) / "history.parquet", "history") for folder in folders])
    return table.sort_by([(name, "ascending") for name in [*_CELL, "epoch"]])


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval; the interval is (NaN, NaN) for fewer than two values."""
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if values.size else float("nan")
    if values.size < 2:
        return mean, float("nan"), float("nan")
    half = float(stdtrit(values.size - 1, 0.5 + confidence / 2) * values.std(ddof=1) / np.sqrt(values.size))
    return mean, mean - half, mean + half


def paired(runs: pd.DataFrame, initialisation: str, baseline: str) -> pd.DataFrame:
    """Top-1 of an initialisation beside a baseline's, one row per dataset, architecture and seed that both have.

    Returns
    -------
    DataFrame
        Columns dataset, architecture, seed, kernel_size, top1, baseline_top1, difference (shares, not percent).
    """
    keys = ["dataset", "architecture", "seed"]
    ours = runs[runs.initialisation == initialisation][[*keys, "kernel_size", "top1"]]
    theirs = runs[runs.initialisation == baseline][[*keys, "top1"]].rename(columns={"top1": "baseline_top1"})
    joined = ours.merge(theirs, on=keys).sort_values(keys, ignore_index=True)
    return joined.assign(difference=joined.top1 - joined.baseline_top1)


def compare(runs: pd.DataFrame, baselines: Sequence[str] = BASELINES) -> pa.Table:
    """Compare every initialisation with every baseline, paired by seed, in a table of schema "comparisons"."""
    rows = []
    for initialisation, baseline in itertools.product(sorted(runs.initialisation.unique()), baselines):
        if initialisation == baseline:
            continue
        pairs = paired(runs, initialisation, baseline)
        for (dataset, architecture), cell in pairs.groupby(["dataset", "architecture"]):
            difference, low, high = mean_interval(cell.difference.to_numpy())
            rows.append(
                {
                    "dataset": dataset,
                    "architecture": architecture,
                    "kernel_size": cell.kernel_size.iloc[0],
                    "initialisation": initialisation,
                    "baseline": baseline,
                    "seeds": len(cell),
                    "top1": cell.top1.mean(),
                    "baseline_top1": cell.baseline_top1.mean(),
                    "difference": difference,
                    "low": low,
                    "high": high,
                }
            )
    frame = pd.DataFrame(rows, columns=SCHEMAS["comparisons"].names)
    frame = frame.sort_values(["dataset", "architecture", "initialisation", "baseline"], ignore_index=True)
    return pa.Table.from_pandas(frame, schema=SCHEMAS["comparisons"], preserve_index=False)


def structure(models: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Measure how much receptive-field structure each bank has, in a table of schema "structure".

    The measure is the share of kernels whose best Difference of Gaussians (by cosine) beats the 95th percentile of the same
    kernels with their taps shuffled. A bank without structure has 5 %, whatever its scale and tap distribution.

    Parameters
    ----------
    models : sequence of mappings
        Each with `model`, `role`, `trained_on`, and the paths `fits` and `centroids`.
    """
    rows = []
    for entry in models:
        fits = read_table(entry["fits"], "fits")
        centroids = read_table(entry["centroids"], "centroids").to_pandas()
        kinds = fits["kind"].unique().to_pylist()
        for kind, (height, width) in itertools.product(sorted(kinds), kernel_sizes(fits)):
            chosen = fits.filter((pa.compute.field("kind") == kind) & (pa.compute.field("kernel_height") == height))
            if chosen.num_rows:
                measured = structured_share(chosen)
                shares = _cluster_shares(centroids, kind, height, width)
                names = {key: entry[key] for key in ("model", "role", "trained_on")}
                rows.append({**names, "kind": kind, "kernel_size": height, **measured, **shares})
    return pa.Table.from_pylist(rows, schema=SCHEMAS["structure"])


def explained(models: Sequence[Mapping[str, Any]], *, samples: int = 2000, seed: int = 0) -> pa.Table:
    """Measure how much of its kernels' variance receptive-field models explain in each bank, in a table of schema "explained".

    Parameters
    ----------
    models : sequence of mappings
        Each with `model`, `role`, `trained_on`, and the path `matches`.
    samples : int
        Number of bootstrap samples over layers.
    seed : int
        Of the bootstrap.
    """
    rows = []
    for entry in models:
        matches = read_table(entry["matches"], "matches").to_pandas()
        for (kind, height, width), mine in matches.groupby(["kind", "kernel_height", "kernel_width"]):
            by_layer = (mine.cosine**2).groupby(mine.layer).agg(["sum", "size"])
            repeated = len(by_layer) > 1
            interval = (
                layer_interval(*by_layer.to_numpy().T, samples=samples, seed=seed) if repeated else (np.nan, np.nan)
            )
            rows.append(
                {
                    **{key: entry[key] for key in ("model", "role", "trained_on")},
                    "kind": kind,
                    "kernel_height": height,
                    "kernel_width": width,
                    "kernels": len(mine),
                    "layers": len(by_layer),
                    "explained": (mine.cosine**2).mean(),
                    "low": interval[0],
                    "high": interval[1],
                    "null_explained": (mine.null_cosine**2).mean(),
                    "null_dog": (mine.null_cosine_dog**2).mean(),
                    **{name: (mine[f"cosine_{name}"] ** 2).mean() for name in MATCHED},
                    **{f"best_{name}": (mine.best == name).mean() for name in MATCHED},
                    "offset": np.hypot(mine.offset_x, mine.offset_y).median(),
                }
            )
    frame = pd.DataFrame(rows, columns=SCHEMAS["explained"].names)
    return pa.Table.from_pandas(frame, schema=SCHEMAS["explained"], preserve_index=False)


def _cluster_shares(centroids: pd.DataFrame, kind: str, height: int, width: int) -> dict[str, float | None]:
    """Share of a bank's kernels in clusters of each name, for the clustering with the declared k."""
    mine = centroids[
        (centroids.kind == kind)
        & (centroids.kernel_height == height)
        & (centroids.kernel_width == width)
        & (centroids.clustering != "free")
    ]
    counts = mine.groupby("name")["count"].sum()
    names = ("excitatory", "inhibitory", "other")
    if not len(mine):
        return {f"{name}_share": None for name in names}
    return {f"{name}_share": float(counts.get(name, 0) / counts.sum()) for name in names}
