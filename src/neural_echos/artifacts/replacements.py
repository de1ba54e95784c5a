"""Tidy tables of replacing all kernels by a few filters: accuracy cost, error, elimination, and the number of filters needed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neural_echos.artifacts.accuracy import summarised
from neural_echos.errors import EchosError
from neural_echos.evaluation.comparisons import paired
from neural_echos.evaluation.statistics import mean_interval

STAGES = {"replaced": "right after", "batch_norm": "batch norm re-estimated", "fine_tuned": "fine-tuned"}


def of_runs(table: pd.DataFrame, dataset: str, architectures: Sequence[str]) -> pd.DataFrame:
    """The rows of a dataset and some architectures, in the order of the architectures.

    Raises
    ------
    EchosError
        One of the architectures has no row.
    """
    mine = table[(table.dataset == dataset) & table.architecture.isin(architectures)]
    missing = [one for one in architectures if one not in set(mine.architecture)]
    if missing:
        raise EchosError(
            f"{dataset}: there are no rows of {', '.join(missing)}; add these runs to the config, or name other architectures"
        )
    return mine.sort_values("architecture", key=lambda column: column.map(list(architectures).index), kind="stable")


def replacement_stages(
    replacements: pd.DataFrame, *, dataset: str, architectures: Sequence[str], control: str
) -> pd.DataFrame:
    """Top-1 at every stage of a replacement, and the difference from the control, which keeps its kernels.

    Parameters
    ----------
    replacements : DataFrame
        Schema "replacements".
    dataset : str
    architectures : sequence of str
    control : str
        Name of the candidate that keeps the kernels.

    Returns
    -------
    DataFrame
        One row per architecture, set (the control first) and stage: architecture, candidates, stage (key of `STAGES`), filters (NaN
        for the control), trained and top1 (lists of shares before replacement and at this stage; NaN for a diverged run), seeds
        (number of pairs), difference, low, high, detectable (points, paired by seed; NaN for the control).
    """
    table = of_runs(replacements, dataset, architectures)
    rows = []
    for architecture in architectures:
        mine = table[table.architecture == architecture]
        names = [control, *(name for name in dict.fromkeys(mine.candidates) if name != control)]
        for name in names:
            one = mine[mine.candidates == name]
            cell = {"architecture": architecture, "candidates": name, "filters": one.filters.max()}
            for stage in STAGES:
                lost = pd.DataFrame({"difference": 100 * _lost(mine, name, control, stage), "stage": stage})
                found = (
                    summarised(lost, ["stage"]).iloc[0].to_dict() if len(lost) and name != control else {"stage": stage}
                )
                top1 = {"trained": _at(one, "trained"), "top1": _at(one, stage)}
                rows.append(cell | top1 | found)
    numbers = ["seeds", "difference", "low", "high", "detectable"]
    return pd.DataFrame(rows).reindex(
        columns=["architecture", "candidates", "stage", "filters", "trained", "top1", *numbers]
    )


def left_over(errors: pd.DataFrame, *, dataset: str, architectures: Sequence[str]) -> pd.DataFrame:
    """Relative error of each layer's centred kernels after replacement by the best a·x + b of a set, for each seed.

    Returns
    -------
    DataFrame
        architecture, candidates, layer_index, depth (in [0, 1]), seed, error (% of the squared norm); sets by increasing mean
        error.
    """
    table = of_runs(errors, dataset, architectures)
    best = table.groupby("candidates").error.mean().sort_values().index.tolist()
    made = table.assign(error=100 * table.error, place=table.candidates.map(best.index))
    made = made.sort_values(["place", "layer_index", "seed"], kind="stable", ignore_index=True)
    return made[["architecture", "candidates", "layer_index", "depth", "seed", "error"]]


def elimination(eliminations: pd.DataFrame, *, dataset: str, architectures: Sequence[str]) -> pd.DataFrame:
    """Top-1 as a function of the number of filters left.

    Returns
    -------
    DataFrame
        architecture, seed, phase ("trained", "elimination" or "exchange"), filters (left; NaN for the trained model's own kernels),
        top1 (% of the subset of train images), test_top1 (% of all test images, NaN if not checked), elbow (whether this is the
        elbow), images, test_images.
    """
    table = of_runs(eliminations, dataset, architectures)
    made = table.assign(top1=100 * table.top1, test_top1=100 * table.test_top1, elbow=table.elbow.astype(bool))
    return made[
        ["architecture", "seed", "phase", "filters", "top1", "test_top1", "elbow", "images", "test_images"]
    ].reset_index(drop=True)


def elbows(curves: pd.DataFrame) -> pd.DataFrame:
    """Number of filters kept by elimination, gain from exchanges, and how far the subset of images is from all test images.

    Parameters
    ----------
    curves : DataFrame
        From `elimination`.

    Returns
    -------
    DataFrame
        One row per architecture and seed: architecture, seed, filters (in the set), kept (at the elbow), exchanged (gain from
        exchanges in points of test top-1; NaN if none helps), apart (mean absolute difference, in points, between the loss of
        accuracy on the subset and on all test images; NaN if not checked), apart_most, images, test_images.
    """
    rows = []
    for (architecture, seed), one in curves.groupby(["architecture", "seed"], sort=False):
        curve = one[one.phase == "elimination"]
        elbow = curve[curve.elbow].iloc[0]
        tested = curve[curve.test_top1.notna()]
        falls = (tested.top1 - tested.top1.iloc[:1].sum()) - (tested.test_top1 - tested.test_top1.iloc[:1].sum())
        falls = falls.abs().iloc[1:]
        after = one[one.phase.eq("exchange") & one.test_top1.notna()].test_top1
        rows.append(
            {
                "architecture": architecture,
                "seed": seed,
                "filters": int(curve.filters.max()),
                "kept": int(elbow.filters),
                "exchanged": after.iloc[0] - elbow.test_top1 if len(after) else float("nan"),
                "apart": falls.mean(),
                "apart_most": falls.max(),
                "images": int(one.images.iloc[0]),
                "test_images": int(one.test_images.iloc[0]),
            }
        )
    return pd.DataFrame(rows)


def survivors(rows: pd.DataFrame) -> np.ndarray:
    """Filters that survive at the elbow of one run in a table "eliminations", after exchanges; float, shape (n, k, k)."""
    elbow = int(rows[rows.elbow.astype(bool)].filters.iloc[0])
    later = rows[(rows.phase == "elimination") & (rows.filters < elbow)]
    kept = dict(zip(later.removed.astype(int), later.taps, strict=True))
    exchanged = rows[rows.phase == "exchange"]
    for added, removed, taps in zip(exchanged.added, exchanged.removed, exchanged.taps, strict=True):
        kept[int(added)] = taps
        del kept[int(removed)]
    taps = np.stack([kept[place] for place in sorted(kept)])
    side = round(taps.shape[1] ** 0.5)
    return taps.reshape(-1, side, side)


def filters_needed(
    runs: pd.DataFrame,
    *,
    dataset: str,
    architectures: Sequence[str],
    baseline: str,
    series: Mapping[str, Sequence[Sequence[Any]]],
) -> pd.DataFrame:
    """Top-1 of training around n frozen filters, where a gain and a bias per kernel are learned.

    Parameters
    ----------
    runs : DataFrame
        Schema "runs".
    series : mapping of str to sequence of (int, str)
        For each line, its numbers of filters, each with its initialisation.

    Returns
    -------
    DataFrame
        One row per architecture, line and number of filters: architecture, line, filters; top1 (%, mean over seeds); difference,
        low, high (points from the baseline, paired by seed, with its t interval); seeds (pairs).
    """
    table = of_runs(runs, dataset, architectures)
    rows = []
    for architecture in architectures:
        mine = table[table.architecture == architecture]
        for line, cells in series.items():
            for n, name in cells:
                top1 = 100 * mine[mine.initialisation == name].top1.mean()
                differences = 100 * paired(mine, name, baseline).difference.to_numpy()
                row = {
                    "architecture": architecture,
                    "line": line,
                    "filters": n,
                    "top1": top1,
                    "seeds": len(differences),
                }
                ends = zip(("difference", "low", "high"), mean_interval(differences), strict=True)
                rows.append(row | dict(ends))
    return pd.DataFrame(rows)


def _lost(table: pd.DataFrame, name: str, control: str, stage: str) -> np.ndarray:
    """Differences in top-1 between a set and the control at one stage, for each seed; diverged runs are excluded."""
    known = table[table.stage == stage].pivot_table(index="seed", columns="candidates", values="top1", dropna=False)
    if not {name, control} <= set(known):
        return np.empty(0)
    return np.asarray((known[name] - known[control]).dropna().to_numpy())


def _at(table: pd.DataFrame, stage: str) -> list[float]:
    return table[table.stage == stage].top1.tolist()
