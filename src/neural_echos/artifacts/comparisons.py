"""Tables that compare initialisations with a baseline: the numbers, and their short cells, one statistic per column."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neural_echos.artifacts.words import probability
from neural_echos.evaluation.comparisons import paired
from neural_echos.evaluation.statistics import mean_interval
from neural_echos.words import number, numbers

MEASURES = {"top1": "final top-1, %", "area": "area, %", "epochs_to_target": "epochs to target"}
_STATISTICS = ("difference", "low", "high", "detectable")


def beside_baselines(
    runs: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    dataset: str,
    cells: Iterable[tuple[str, str, str]],
    measures: Sequence[str] = ("top1",),
) -> pd.DataFrame:
    """Results of initialisations and of a baseline.

    Parameters
    ----------
    runs, comparisons : DataFrame
        Schemas "runs" and "comparisons".
    dataset : str
    cells : iterable of (str, str, str)
        Architecture, initialisation and baseline of each row; the last two may be the same.
    measures : sequence of str
        Keys of `MEASURES`.

    Returns
    -------
    DataFrame
        One row per measure and cell, in the order given: measure, architecture, kernel_size (taps of side; NaN without runs),
        initialisation, baseline; runs, diverged (numbers of runs of the initialisation); value, deviation (mean and standard
        deviation over the runs that did not diverge), baseline_runs, baseline_diverged, baseline_value, baseline_deviation; seeds
        (pairs); difference, low, high (paired, with 95 % t interval), p (after Holm's correction), detectable (minimum detectable
        effect at 80 % power); target (% of top-1), censored (number of runs that never reach it). Shares are in %, their
        differences in points; epochs are means over pairs, without deviation. Unknown values are NaN.
    """
    runs, comparisons = runs[runs.dataset == dataset], comparisons[comparisons.dataset == dataset]
    rows = []
    for measure in measures:
        found = comparisons[comparisons.measure == measure]
        rows += [{"measure": measure, **_row(runs, found, measure, *cell)} for cell in cells]
    return pd.DataFrame(rows)


def _row(
    runs: pd.DataFrame, comparisons: pd.DataFrame, measure: str, architecture: str, initialisation: str, baseline: str
) -> dict[str, Any]:
    runs, comparisons = (table[table.architecture == architecture] for table in (runs, comparisons))
    against = comparisons[comparisons.baseline == baseline]
    pairs = against[against.initialisation == initialisation]
    row = {
        "architecture": architecture,
        "kernel_size": runs.kernel_size.iloc[0] if len(runs) else np.nan,
        "initialisation": initialisation,
        "baseline": baseline,
    }
    for start, name in (("", initialisation), ("baseline_", baseline)):
        mine = runs[runs.initialisation == name]
        lost = int(mine.top1.isna().sum())
        row |= {
            f"{start}runs": len(mine),
            f"{start}diverged": lost,
            f"{start}value": np.nan,
            f"{start}deviation": np.nan,
        }
        if measure != "epochs_to_target":
            row |= {f"{start}value": 100 * mine[measure].mean(), f"{start}deviation": 100 * mine[measure].std(ddof=1)}
    row |= dict.fromkeys(("seeds", *_STATISTICS, "p", "target", "censored"), np.nan)
    factor = 1 if measure == "epochs_to_target" else 100
    if len(pairs):
        pair = pairs.iloc[0]
        row |= {name: factor * pair[name] for name in _STATISTICS} | {"seeds": pair.seeds, "p": pair.p_holm}
        row["target"] = 100 * pair.target
    if factor == 1:
        row |= _epochs(against, pairs, itself=initialisation == baseline)
    return row


def _epochs(against: pd.DataFrame, pairs: pd.DataFrame, *, itself: bool) -> dict[str, Any]:
    """Epochs to the target; the baseline's own come from the comparison with the most seeds."""
    one = against.sort_values("seeds", kind="stable").tail(1) if itself else pairs
    if not len(one) or not one.seeds.iloc[0]:
        return {}
    start, last = "baseline_" if itself else "", one.iloc[0]
    return {"value": last[f"{start}value"], "censored": last[f"{start}censored"], "target": 100 * last.target}


def mean_gain(runs: pd.DataFrame, initialisation: str, baseline: str) -> tuple[float, float, float]:
    """Gain of an initialisation over a baseline in points, averaged over architectures, with its t interval over seeds."""
    by_seed = paired(runs, initialisation, baseline).groupby("seed").difference.mean()
    return mean_interval(100 * by_seed.to_numpy())


def value_cells(table: pd.DataFrame, start: str = "") -> list[str]:
    """Format values, "55.8 ± 5.7", and count runs that diverged or never arrived; `start` is "baseline_" for the baseline."""
    cells = []
    columns = [table[f"{start}{name}"] for name in ("runs", "diverged", "value", "deviation")]
    never = table.censored if not start else [np.nan] * len(table)
    for runs, diverged, value, deviation, censored in zip(*columns, never, strict=True):
        if not runs:
            cells.append("not run")
        elif diverged == runs:
            cells.append(f"diverged ({diverged} of {runs})")
        else:
            spread = f" ± {number(deviation)}" if np.isfinite(deviation) else ""
            told = [f"{diverged} diverged"] * bool(diverged) + [f"{censored:.0f} never"] * bool(censored > 0)
            cells.append(f"{number(value)}{spread}" + f" ({', '.join(told)})" * bool(told))
    return cells


def statistic_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Format the statistics of `beside_baselines`, one per column: difference, 95 % interval, p, detectable, seeds."""
    return pd.DataFrame(
        {
            "difference": numbers(table.difference, signed=True),
            "95 % interval": [_interval(*one) for one in zip(table.seeds, table.low, table.high, strict=True)],
            "p": [probability(p) for p in table.p],
            "detectable": numbers(table.detectable),
            "seeds": numbers(table.seeds.fillna(table.runs.where(table.runs > 0)), 0),
        }
    )


def _interval(seeds: float, low: float, high: float) -> str:
    if seeds == 1:
        return "one seed"
    if low == high:
        return "all alike"
    return f"{number(low, signed=True)} to {number(high, signed=True)}" if np.isfinite(low) else "–"


def variant_cells(variants: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Format the declared options of DoG initialisations: γ, centres, share, scale; "–" for other schemes."""
    return pd.DataFrame(
        {
            "γ": _gamma(options.get("gamma")),
            "centres": options.get("centres", "–"),
            "share": f"{options['share']:g}" if "gamma" in options else "–",
            "scale": str(options["scale"]).replace("_", " ") if "gamma" in options else "–",
        }
        for options in variants.values()
    )


def _gamma(gamma: Any) -> str:
    if gamma is None:
        return "–"
    if isinstance(gamma, Mapping):
        return "{:g} to {:g}".format(*gamma["uniform"])
    return ", ".join(f"{value:g}" for value in gamma) if isinstance(gamma, list | tuple) else f"{gamma:g}"
