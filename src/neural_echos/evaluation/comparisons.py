"""Evaluation: gather finished runs, compare initialisations paired by seed, and measure the structure of banks.

Two runs that differ only in their initialisation share seed, data order and every weight that is not depthwise, so their
difference is taken seed by seed. With the 3 to 5 seeds of a preset, Student's t decides, and the rest stands beside it: a
bootstrap interval, Holm's correction over all that is compared with one baseline, and the smallest difference that so many
seeds could have seen. A run that diverged has no accuracy: it is left out of every pair, and counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import nctdtrinc, stdtr, stdtrit

from neural_echos.errors import EchosError
from neural_echos.files import read_json
from neural_echos.tables import SCHEMAS, read_table

_CELL = ["dataset", "architecture", "initialisation", "seed"]
_SCORES = ["loss", "top1", "top5"]
_SAMPLES = 10_000
BASELINES = ("default", "kaiming", "dog")
MEASURES = ("top1", "area", "epochs_to_target")
TARGET = 0.9


def gather_runs(folders: Iterable[str | Path]) -> pa.Table:
    """Gather the final metrics of finished runs into a table of schema "runs", sorted.

    A run whose metrics say `diverged` has NaN in place of its scores and of the area under its learning curve.

    Raises
    ------
    EchosError
        A run is not finished or broken, or one run is listed twice.
    """
    rows = []
    for folder in map(Path, folders):
        metrics = read_json(folder / "metrics.json")
        history = read_table(folder / "history.parquet", "history", [*_CELL, "top1"])
        wanted = [key for key in SCHEMAS["runs"].names if key not in (*_CELL, "area", "diverged")]
        if not history.num_rows or not isinstance(metrics, dict) or not set(wanted) <= set(metrics):
            raise EchosError(
                f"{folder}: expected a finished run with a history and the metrics {', '.join(wanted)}, found parts of one; "
                "train it again"
            )
        row = history.select(_CELL).slice(0, 1).to_pylist()[0] | {key: metrics[key] for key in wanted}
        row |= {"area": float(np.mean(history["top1"].to_numpy())), "diverged": bool(metrics.get("diverged", False))}
        row |= dict.fromkeys([*_SCORES, "area"] * row["diverged"], np.nan)
        try:
            pa.Table.from_pylist([row], schema=SCHEMAS["runs"])
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            found = str(error).splitlines()[0]
            raise EchosError(
                f"{folder / 'metrics.json'}: expected numbers of the table runs, found others ({found}); train that run again"
            ) from None
        rows.append(row)
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


def bootstrap_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean over 10,000 bootstrap samples; (NaN, NaN) for fewer than two values.

    It is too narrow for a few values: of normal ones the 95 % interval holds the true mean 75 % of the time with 3 (it is then
    their range), 79 % with 4, 83 % with 5, 88 % with 8; and BCa, which corrects for skewness, does no better there. Use it to see
    whether Student's t, which holds 95 % where values are normal, rests on one odd seed.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(values.size, size=(_SAMPLES, values.size))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def paired_p(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p of Student's paired t test; 1 where all differences are 0.

    NaN for fewer than two, and where all are one other number: whole epochs can be so, and then no deviation is seen to judge by.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2 or not np.ptp(values):
        return 1.0 if values.size > 1 and not values.any() else float("nan")
    t = abs(values.mean()) / (values.std(ddof=1) / np.sqrt(values.size))
    return float(2 * stdtr(values.size - 1, -t))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct the p of a family of tests for their number (Holm 1979); NaN stays NaN and does not count.

    The i-th smallest of m, from 0, becomes the largest of (m − j) pⱼ over j ≤ i, and at most 1. Below .05 wherever the result
    is: the chance of a single false finding in the family is at most 5 %, whatever depends on what.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(np.isfinite(p))]
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return corrected


def detectable(differences: Sequence[float] | np.ndarray, *, power: float = 0.8, level: float = 0.05) -> float:
    """Smallest true difference that a two-sided paired t test of so many differences finds with the given power.

    It is δ = s ν / √n, with s the observed deviation, n their number, and ν such that a t variable with n − 1 degrees of
    freedom and non-centrality ν exceeds the test's bound with probability `power`. δ is as uncertain as s, which in 80 % of
    cases lies between .32 and 1.5 of the truth with 3 differences, and between .52 and 1.4 with 5. NaN for fewer than two, and
    where they do not differ at all.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2 or not np.ptp(values):
        return float("nan")
    freedom = values.size - 1
    shift = nctdtrinc(freedom, 1 - power, stdtrit(freedom, 1 - level / 2))
    return float(shift * values.std(ddof=1) / np.sqrt(values.size))


def paired(runs: pd.DataFrame, initialisation: str, baseline: str) -> pd.DataFrame:
    """Top-1 of an initialisation beside a baseline's, one row per dataset, architecture and seed that both have.

    Runs that diverged have no top-1 and no pair.

    Returns
    -------
    DataFrame
        Columns dataset, architecture, seed, kernel_size, train_images, top1, baseline_top1, difference (shares, not percent).
    """
    keys = ["dataset", "architecture", "seed"]
    runs = runs[runs.top1.notna()]
    ours = runs[runs.initialisation == initialisation][[*keys, "kernel_size", "train_images", "top1"]]
    theirs = runs[runs.initialisation == baseline][[*keys, "top1"]].rename(columns={"top1": "baseline_top1"})
    joined = ours.merge(theirs, on=keys).sort_values(keys, ignore_index=True)
    return joined.assign(difference=joined.top1 - joined.baseline_top1)


def epochs_to_target(histories: pd.DataFrame, target: float) -> pd.DataFrame:
    """First epoch of every run whose top-1 reaches `target`; a run that never does is censored at its epochs + 1.

    Returns
    -------
    DataFrame
        One row per run: dataset, architecture, initialisation, seed, epochs_to_target (float64), censored (bool).
    """
    reached = histories.epoch.where(histories.top1 >= target)
    runs = (
        histories.assign(reached=reached)
        .groupby(_CELL, as_index=False)
        .agg(epochs_to_target=("reached", "min"), last=("epoch", "max"))
    )
    censored = runs.epochs_to_target.isna()
    runs["epochs_to_target"] = runs.epochs_to_target.fillna(runs["last"] + 1.0)
    return runs.drop(columns="last").assign(censored=censored)


def compare(
    runs: pd.DataFrame, histories: pd.DataFrame, *, baselines: Sequence[str] = BASELINES, target: float = TARGET
) -> pa.Table:
    """Compare every initialisation with every baseline, paired by seed, in a table of schema "comparisons".

    Parameters
    ----------
    runs, histories : DataFrame
        Tables of schemas "runs" and "history".
    baselines : sequence of str
        Initialisations; one without runs is passed over.
    target : float
        Of `epochs_to_target`: share of the baseline's mean final top-1.

    Raises
    ------
    EchosError
        The target is no share above 0.
    """
    if not 0 < target <= 1:
        raise EchosError(f"comparisons: target: expected a share above 0 and at most 1, found {target}; correct it")
    rows = []
    curves = dict(list(histories.groupby(["dataset", "architecture"])))
    for place, cell in runs.groupby(["dataset", "architecture"]):
        for baseline in baselines:
            goal = target * cell[cell.initialisation == baseline].top1.mean()
            if np.isfinite(goal):
                measured = cell.merge(epochs_to_target(curves[place], goal), on=_CELL)
                measured.loc[measured.diverged, "epochs_to_target"] = np.nan
                others = sorted(set(cell.initialisation) - {baseline})
                rows += [row for name in others for row in _compared(measured, name, baseline, goal)]
    frame = pd.DataFrame(rows, columns=SCHEMAS["comparisons"].names)
    frame["p_holm"] = frame.groupby(["dataset", "baseline", "measure"]).p.transform(
        lambda p: pd.Series(holm(p.to_numpy()), p.index)
    )
    frame = frame.sort_values(
        ["dataset", "architecture", "initialisation", "baseline"], kind="stable", ignore_index=True
    )
    return pa.Table.from_pandas(frame, schema=SCHEMAS["comparisons"], preserve_index=False)


def _compared(cell: pd.DataFrame, initialisation: str, baseline: str, goal: float) -> Iterator[dict[str, Any]]:
    """Yield one row for each measure, where both initialisations have a seed in common; `cell` is of one architecture."""
    ours, theirs = (cell[cell.initialisation == name].set_index("seed") for name in (initialisation, baseline))
    seeds = ours.index.intersection(theirs.index)
    kept = seeds[~(ours.diverged[seeds] | theirs.diverged[seeds]).to_numpy()]
    names = {key: cell[key].iloc[0] for key in ("dataset", "architecture", "kernel_size")}
    for measure in MEASURES if len(seeds) else ():
        values, others = (runs[measure][kept].to_numpy(np.float64) for runs in (ours, theirs))
        counted = measure == "epochs_to_target"
        yield {
            **names,
            "initialisation": initialisation,
            "baseline": baseline,
            "measure": measure,
            "seeds": len(kept),
            "diverged": len(seeds) - len(kept),
            "target": goal if counted else np.nan,
            "censored": int(ours.censored[kept].sum()) * counted,
            "baseline_censored": int(theirs.censored[kept].sum()) * counted,
            "value": values.mean() if len(kept) else np.nan,
            "baseline_value": others.mean() if len(kept) else np.nan,
            **_statistics(values - others),
        }


def _statistics(differences: np.ndarray) -> dict[str, float]:
    difference, low, high = mean_interval(differences)
    bootstrap_low, bootstrap_high = bootstrap_interval(differences)
    return {
        "difference": difference,
        "low": low,
        "high": high,
        "bootstrap_low": bootstrap_low,
        "bootstrap_high": bootstrap_high,
        "p": paired_p(differences),
        "detectable": detectable(differences),
    }
