"""Tidy tables of trained accuracy: learning curves, paired gains by architecture, by kernel size and by number of images."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from neural_echos.artifacts.names import label
from neural_echos.errors import EchosError
from neural_echos.evaluation.comparisons import paired, slopes_over_size
from neural_echos.evaluation.statistics import detectable, mean_interval
from neural_echos.words import count_of

MEAN_ROW = "mean of architectures"


def t_interval(values: Iterable[float]) -> tuple[float, float]:
    """The 95 % t interval of a mean, for seaborn's `errorbar`; (NaN, NaN) for fewer than two values."""
    _, low, high = mean_interval(np.asarray(list(values)))
    return low, high


def architecture_label(architecture: str, kernel_size: int) -> str:
    """Label of an architecture, with the size of its kernels."""
    size = f"{kernel_size}×{kernel_size}"
    name = label("architecture", architecture)
    return name if size in name else f"{name}, {size}"


def learning_curves(
    history: pd.DataFrame, *, dataset: str, architectures: Sequence[str], initialisations: Sequence[str]
) -> pd.DataFrame:
    """Test accuracy by epoch, and its difference from the first initialisation, seed by seed.

    Parameters
    ----------
    history : DataFrame
        Schema "history".
    dataset : str
    architectures : sequence of str
    initialisations : sequence of str
        The others are compared with the first.

    Returns
    -------
    DataFrame
        One row per architecture, initialisation, seed and epoch, in the order given: architecture, initialisation, seed, epoch,
        top1 (%), baseline_top1 (%), difference (points). An epoch is missing if one of the two runs had diverged or does not exist.

    Raises
    ------
    EchosError
        An architecture has no run of the first initialisation, or none of the others.
    """
    keys = ["architecture", "seed", "epoch"]
    mine = history[(history.dataset == dataset) & history.architecture.isin(architectures) & history.top1.notna()]
    mine = mine.assign(top1=100 * mine.top1)[[*keys, "initialisation", "top1"]]
    first = mine[mine.initialisation == initialisations[0]].drop(columns="initialisation")
    curves = mine[mine.initialisation.isin(initialisations)].merge(
        first.rename(columns={"top1": "baseline_top1"}), on=keys
    )
    curves["difference"] = curves.top1 - curves.baseline_top1
    for architecture in architectures:
        found = set(curves[curves.architecture == architecture].initialisation)
        if len(found) < min(2, len(initialisations)):
            raise EchosError(
                f"there are no learning curves of {initialisations[0]} and another initialisation on {architecture} and "
                f"{dataset} with the same seeds; run them, or exclude {architecture}"
            )
    return _in_order(curves, architecture=architectures, initialisation=initialisations)[
        ["architecture", "initialisation", "seed", "epoch", "top1", "baseline_top1", "difference"]
    ]


def gains(
    runs: pd.DataFrame, *, dataset: str, architectures: Sequence[str], initialisations: Sequence[str]
) -> pd.DataFrame:
    """Gain of the last initialisation over each of the others, seed by seed.

    Parameters
    ----------
    runs : DataFrame
        Schema "runs".
    dataset : str
    architectures : sequence of str
    initialisations : sequence of str
        At least two; the last is compared with each of the others.

    Returns
    -------
    DataFrame
        One row per architecture, baseline and seed, in the order given: architecture, kernel_size (taps of side), baseline, seed,
        difference (points of top-1). Diverged runs have no row.

    Raises
    ------
    EchosError
        No run of the last initialisation shares its seed with a run of another.
    """
    *baselines, last = initialisations
    runs = runs[(runs.dataset == dataset) & runs.architecture.isin(architectures)]
    parts = [paired(runs, last, baseline).assign(baseline=baseline) for baseline in baselines]
    pairs = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if not len(pairs):
        raise EchosError(
            f"on {dataset} no run of {last} that did not diverge shares its seed with a run of {' or '.join(baselines)}; "
            "add seeds, or choose other initialisations"
        )
    pairs["difference"] *= 100
    columns = ["architecture", "kernel_size", "baseline", "seed", "difference"]
    return _in_order(pairs, architecture=architectures, baseline=baselines)[columns]


def gain_forest(
    runs: pd.DataFrame, *, dataset: str, architectures: Sequence[str], initialisations: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables for a forest plot of gains, by seed and summarised: a row for every architecture, and one for their mean.

    See `gains` for parameters and errors.

    Returns
    -------
    seeds : DataFrame
        `gains`, with a column `row` that names the architecture and its kernel size. If there are several architectures, each
        seed's mean over them follows, with `MEAN_ROW` as architecture and row, and kernel size 0.
    summary : DataFrame
        One row per row of the plot and baseline: row, baseline, and the columns of `summarised`.
    """
    seeds = gains(runs, dataset=dataset, architectures=architectures, initialisations=initialisations)
    seeds["row"] = [
        architecture_label(one, size) for one, size in zip(seeds.architecture, seeds.kernel_size, strict=True)
    ]
    if len(architectures) > 1:
        means = seeds.groupby(["baseline", "seed"], sort=False, as_index=False).difference.mean()
        means = means.assign(architecture=MEAN_ROW, kernel_size=0, row=MEAN_ROW)
        seeds = pd.concat([seeds, means[seeds.columns]], ignore_index=True)
    return seeds, summarised(seeds, ["row", "baseline"])


def left_out(runs: pd.DataFrame, *, dataset: str, architectures: Sequence[str], initialisations: Sequence[str]) -> str:
    """Say which runs and architectures a comparison lacks, in a sentence that starts with a space; "" if it has all."""
    mine = runs[(runs.dataset == dataset) & runs.initialisation.isin(initialisations)]
    lost = int(mine[mine.architecture.isin(architectures)].top1.isna().sum())
    left = mine[mine.top1.notna()].groupby("architecture").initialisation.nunique()
    absent = [label("architecture", one) for one in architectures if left.get(one, 0) < 2]
    told = [f"{count_of(lost, 'diverged run')} excluded"] * bool(lost) + [f"no pair of runs on {one}" for one in absent]
    return f" Left out: {'; '.join(told)}." if told else ""


def summarised(seeds: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean of paired differences with its t interval, and the minimum detectable effect at this number of seeds.

    Parameters
    ----------
    seeds : DataFrame
        Column difference (points), one row per pair of runs.
    by : sequence of str
        Columns to group by; groups keep the order in which they appear.

    Returns
    -------
    DataFrame
        One row per group: the columns of `by`; seeds (number of pairs); difference, low, high (points; low and high NaN for one
        seed); detectable (points, at 80 % power; NaN for one seed or if all differences are the same).
    """
    rows = []
    for key, group in seeds.groupby(list(by), sort=False):
        values = group.difference.to_numpy()
        mean, low, high = mean_interval(values)
        rows.append((*key, len(values), mean, low, high, detectable(values)))
    return pd.DataFrame(rows, columns=[*by, "seeds", "difference", "low", "high", "detectable"])


def gain_slopes(seeds: pd.DataFrame, architectures: int) -> pd.DataFrame:
    """Slope of the gain over kernel size, fitted for each seed, as tested by the claim's verdict.

    Parameters
    ----------
    seeds : DataFrame
        See `gains`.
    architectures : int
        Number of architectures that a seed must have to count.

    Returns
    -------
    DataFrame
        One row per baseline: baseline; seeds (number with every architecture); slope, low, high (points per tap of side, with
        t interval; NaN if no seed has two sizes); intercept (points, at kernel size 0).
    """
    rows = []
    for baseline, pairs in seeds.groupby("baseline", sort=False):
        fits = slopes_over_size(pairs, architectures)
        rows.append((baseline, len(fits), *mean_interval(fits.slope.to_numpy()), fits.intercept.mean()))
    return pd.DataFrame(rows, columns=["baseline", "seeds", "slope", "low", "high", "intercept"])


def accuracy_by_images(
    runs: pd.DataFrame,
    *,
    datasets: Sequence[str],
    architectures: Sequence[str],
    initialisations: Sequence[str],
    baseline: str,
) -> pd.DataFrame:
    """Top-1 on nested parts of a dataset, and the difference from a baseline, seed by seed.

    Parameters
    ----------
    runs : DataFrame
        Schema "runs".
    datasets : sequence of str
        Nested parts of the same images.
    architectures, initialisations : sequence of str
    baseline : str

    Returns
    -------
    DataFrame
        One row per architecture, initialisation, number of images and seed: architecture, initialisation, train_images, seed,
        top1 (%), difference (points; NaN if the baseline has no run of that seed, 0 for the baseline itself). Diverged runs have no
        row.

    Raises
    ------
    EchosError
        The runs are on fewer than two numbers of images.
    """
    names = [baseline, *(name for name in initialisations if name != baseline)]
    mine = runs[
        runs.dataset.isin(datasets)
        & runs.architecture.isin(architectures)
        & runs.initialisation.isin(names)
        & runs.top1.notna()
    ]
    if mine.train_images.nunique() < 2:
        raise EchosError(
            f"data_efficiency needs runs on at least two numbers of train images, but those on {', '.join(datasets)} have "
            f"{mine.train_images.nunique()}; add datasets with another train_share"
        )
    keys = ["architecture", "train_images", "seed"]
    first = mine[mine.initialisation == baseline][[*keys, "top1"]].rename(columns={"top1": "baseline_top1"})
    made = mine.merge(first, on=keys, how="left").assign(
        top1=lambda table: 100 * table.top1, difference=lambda table: table.top1 - 100 * table.baseline_top1
    )
    made = made.sort_values(["train_images", "seed"], kind="stable")
    columns = ["architecture", "initialisation", "train_images", "seed", "top1", "difference"]
    return _in_order(made, architecture=architectures, initialisation=names)[columns]


def few_against_many(seeds: pd.DataFrame) -> pd.DataFrame:
    """Compare a difference at the smallest number of images with the largest number, paired by seed.

    Parameters
    ----------
    seeds : DataFrame
        See `accuracy_by_images`; rows without a difference are ignored.

    Returns
    -------
    DataFrame
        One row per architecture and initialisation: architecture, initialisation, seeds, difference, low, high (points; positive
        if the initialisation helps more with few images), detectable (points).
    """
    kept = seeds[seeds.train_images.isin([seeds.train_images.min(), seeds.train_images.max()])]
    wide = kept.pivot_table(
        index=["architecture", "initialisation", "seed"], columns="train_images", values="difference", sort=False
    )
    wide = wide.sort_index(axis=1)
    more = (wide.iloc[:, 0] - wide.iloc[:, -1]).dropna().rename("difference").reset_index()
    return summarised(more, ["architecture", "initialisation"])


def _in_order(table: pd.DataFrame, **orders: Sequence[str]) -> pd.DataFrame:
    """Sort a table's rows by columns of names in a given order; the first column is the primary key."""
    places = pd.DataFrame({name: table[name].map({one: i for i, one in enumerate(orders[name])}) for name in orders})
    return table.loc[places.sort_values(list(orders), kind="stable").index].reset_index(drop=True)
