"""Comparisons of initialisations, paired by seed.

Two runs that differ only in their initialisation share the seed, the data order and all weights that are not depthwise, so
differences are taken seed by seed. With the 3 to 5 seeds of a preset, Student's t decides. Also reported are a bootstrap
interval, Holm's correction over all comparisons with one baseline, and the minimum detectable effect at this number of
seeds. A diverged run has no accuracy: it is excluded from all pairs, and counted.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from neural_echos.errors import EchosError
from neural_echos.evaluation.runs import RUN
from neural_echos.evaluation.statistics import bootstrap_interval, detectable, holm, mean_interval, paired_p
from neural_echos.tables import SCHEMAS

BASELINES = ("default", "kaiming", "dog")


MEASURES = ("top1", "area", "epochs_to_target")


TARGET = 0.9


def paired(runs: pd.DataFrame, initialisation: str, baseline: str) -> pd.DataFrame:
    """Top-1 of an initialisation and of a baseline, one row per dataset, architecture and seed that both have.

    Diverged runs have no top-1 and form no pair.

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


def slopes_over_size(pairs: pd.DataFrame, architectures: int) -> pd.DataFrame:
    """Fit a straight line of the difference over kernel size for each seed.

    Parameters
    ----------
    pairs : DataFrame
        Columns architecture, seed, kernel_size (taps of side) and difference, see `paired`.
    architectures : int
        Required number of architectures per seed; seeds with fewer, or with only one kernel size, are excluded.

    Returns
    -------
    DataFrame
        One row per seed: seed, slope (unit of the difference, per tap of side), intercept (same unit, at size 0).
    """
    rows = [
        (seed, *np.polyfit(one.kernel_size, one.difference, 1))
        for seed, one in pairs.groupby("seed")
        if one.architecture.nunique() == architectures and one.kernel_size.nunique() > 1
    ]
    return pd.DataFrame(rows, columns=["seed", "slope", "intercept"]).astype({"slope": float, "intercept": float})


def epochs_to_target(histories: pd.DataFrame, target: float) -> pd.DataFrame:
    """First epoch at which each run's top-1 reaches `target`; a run that never does is censored at its epochs + 1.

    Returns
    -------
    DataFrame
        One row per run: dataset, architecture, initialisation, seed, epochs_to_target (float64), censored (bool).
    """
    reached = histories.epoch.where(histories.top1 >= target)
    runs = (
        histories.assign(reached=reached)
        .groupby(RUN, as_index=False)
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
        Initialisations; those without runs are skipped.
    target : float
        Target of `epochs_to_target`, as a share of the baseline's mean final top-1.

    Raises
    ------
    EchosError
        The target is not in (0, 1].
    """
    if not 0 < target <= 1:
        raise EchosError(f"comparisons: target must be a share above 0 and at most 1, not {target}")
    rows = []
    curves = dict(list(histories.groupby(["dataset", "architecture"])))
    for place, cell in runs.groupby(["dataset", "architecture"]):
        for baseline in baselines:
            goal = target * cell[cell.initialisation == baseline].top1.mean()
            if np.isfinite(goal):
                measured = cell.merge(epochs_to_target(curves[place], goal), on=RUN)
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
    """Yield one row per measure if the two initialisations share a seed; `cell` has the runs of one architecture."""
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
