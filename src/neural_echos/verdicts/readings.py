"""Shared by decision rules: readings, the registry of rules, and paired differences between runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from neural_echos.evaluation import detectable, mean_interval, paired

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_RUN = "supported", "not supported", "inconclusive", "not run at this scale"
LOSS = "no gain: a loss"  # for a difference whose whole interval lies below 0


@dataclass(frozen=True)
class Reading:
    """Result of a rule; `value` is None if there was nothing to evaluate, `diverged` says which runs were excluded."""

    measured: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reading: str = NOT_RUN
    remark: str = ""
    diverged: str = ""


Tables = Mapping[str, pd.DataFrame]


Rule = Callable[..., Reading]


RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a decision rule `(tables, **options) -> Reading` under its own name."""
    RULES[function.__name__] = function
    return function


def rules() -> list[str]:
    """List the decision rules."""
    return sorted(RULES)


def top1_of(difference: str, dataset: str, architectures: Sequence[str], stage: str = "") -> str:
    """Describe a difference in top-1 averaged over these architectures; `stage` is a stage of a replacement."""
    over = architectures[0] if len(architectures) == 1 else f"mean over {len(architectures)} architectures"
    of = f"{stage.replace('_', ' ')} of" if stage else "of"
    return f"top-1 {of} {difference} on {dataset}, paired by seed, {over}"


def runs_of(tables: Tables, dataset: str, architectures: Sequence[str]) -> pd.DataFrame:
    """Select the runs of these architectures on a dataset."""
    runs = tables["runs"]
    return runs[(runs.dataset == dataset) & runs.architecture.isin(architectures)]


def differences_of(
    tables: Tables, dataset: str, architectures: Sequence[str], one: str, other: str
) -> tuple[np.ndarray, str]:
    """Paired differences in top-1, averaged over architectures for each seed that has all of them, and which runs diverged."""
    runs = runs_of(tables, dataset, architectures)
    pairs = paired(runs, one, other)
    pairs = pairs[pairs.groupby("seed").architecture.transform("nunique") == len(set(architectures))]
    return pairs.groupby("seed").difference.mean().to_numpy(), diverged_runs(runs, [one, other])


def over_pairs(runs: pd.DataFrame, pairs: Sequence[Mapping[str, str]], baseline: str) -> pd.DataFrame:
    """Differences in top-1 from a baseline: one row per seed that all pairs have, one column per pair."""
    columns = {}
    for pair in pairs:
        mine = runs[(runs.dataset == pair["dataset"]) & (runs.architecture == pair["architecture"])]
        name = f"{pair['initialisation']} on {pair['dataset']}, {pair['architecture']}"
        columns[name] = paired(mine, pair["initialisation"], baseline).set_index("seed").difference
    return pd.DataFrame(columns).dropna()


def bounded(measured: str, differences: np.ndarray, bound: float, diverged: str) -> Reading:
    """Compare an interval with a bound that it should lie above."""
    if not len(differences):
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(differences)
    reading = SUPPORTED if low > bound else NOT_SUPPORTED if high < bound else INCONCLUSIVE
    return Reading(measured, value, low, high, reading, detectable_effect(differences), diverged)


def against_zero(low: float, high: float) -> str:
    """Compare an interval with 0, which it should lie above."""
    return SUPPORTED if low > 0 else NOT_SUPPORTED if high < 0 else INCONCLUSIVE


def detectable_effect(differences: Sequence[float] | np.ndarray, unit: str = "points") -> str:
    """State the minimum detectable effect of these seeds at 80 % power; "" if it is not defined."""
    smallest = detectable(differences)
    if not np.isfinite(smallest):
        return ""
    return f"minimum detectable effect of {len(differences)} seeds at 80 % power: {100 * smallest:.1f} {unit}"


def diverged_runs(runs: pd.DataFrame, initialisations: Sequence[str]) -> str:
    """Say which runs have no accuracy because they diverged; "" if none did."""
    lost = runs[runs.initialisation.isin(initialisations) & runs.top1.isna()]
    told = [f"{len(some)} of {name}" for name, some in lost.groupby("initialisation")]
    return f"diverged runs are excluded: {', '.join(told)}" if told else ""


def told_of(*parts: str) -> str:
    """Join the non-empty parts of a remark."""
    return "; ".join(part for part in parts if part)
