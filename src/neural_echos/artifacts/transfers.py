"""Tidy tables of transferred frozen filters: between datasets, by depth, by size of the source, and layer by layer.

Paper: Babaiee, Kiasari, Rus, Grosu, "The Master Key Filters Hypothesis", AAAI 2025 (arXiv 2412.16751); none of its numbers could be
read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from neural_echos.artifacts.accuracy import summarised
from neural_echos.errors import EchosError
from neural_echos.evaluation.comparisons import paired

Variants = Mapping[str, Mapping[str, Any]]
_TAKEN = {"kept": "transferred", "shuffled": "transferred, shuffled", "own": "random"}


def condition(declared: Mapping[str, Any]) -> str:
    """Name what an initialisation freezes: "trained" (nothing), "random", "transferred", "transferred, shuffled", or its scheme."""
    if declared["scheme"] == "default":
        return "random" if declared.get("frozen") else "trained"
    if declared["scheme"] == "transfer":
        return _TAKEN[declared.get("taps", "kept")]
    if declared["scheme"] == "pointwise":
        return _TAKEN[declared.get("rows", "kept")]
    return str(declared["scheme"]).replace("dog", "DoG")


def frozen_seeds(
    runs: pd.DataFrame, *, dataset: str, architecture: str, baseline: str, variants: Variants
) -> pd.DataFrame:
    """Difference between runs with frozen weights and training from scratch, for each seed.

    Parameters
    ----------
    runs : DataFrame
        Schema "runs".
    dataset, architecture, baseline : str
        Dataset and architecture of the runs, and the initialisation that is trained from scratch.
    variants : mapping
        The config of each initialisation, with its source (`trained_on`, `of`).

    Returns
    -------
    DataFrame
        One row per initialisation and seed that the baseline also has: initialisation; condition (see `condition`); part
        (what is frozen, "depthwise" or "pointwise"); depth (relative depth up to which it is frozen); trained_on (dataset of the
        source); source_images (train images of the source, NaN if it has no run here); seed; top1 (%); difference (points).

    Raises
    ------
    EchosError
        There is no such pair of runs.
    """
    images = runs.groupby("dataset").train_images.first()
    mine = runs[(runs.dataset == dataset) & (runs.architecture == architecture)]
    rows = []
    for name, declared in variants.items():
        pairs = paired(mine, name, baseline)
        source = declared.get("trained_on")
        rows.append(
            pd.DataFrame(
                {
                    "initialisation": name,
                    "condition": condition(declared),
                    "part": "pointwise" if declared["scheme"] == "pointwise" else "depthwise",
                    "depth": float(declared.get("depths", [0, 1])[1]),
                    "trained_on": source,
                    "source_images": images.get(source, float("nan")),
                    "seed": pairs.seed,
                    "top1": 100 * pairs.top1,
                    "difference": 100 * pairs.difference,
                }
            )
        )
    seeds = pd.concat([one for one in rows if len(one)], ignore_index=True) if any(map(len, rows)) else pd.DataFrame()
    if not len(seeds):
        raise EchosError(
            f"{dataset}, {architecture}: no run of {', '.join(variants)} has the same seed as a run of {baseline}; "
            "choose others, or add them to an experiment"
        )
    return seeds


def frozen_by_depth_and_source(
    runs: pd.DataFrame, *, dataset: str, architecture: str, baseline: str, variants: Variants, sources: Variants
) -> pd.DataFrame:
    """Difference from training from scratch by the depth of freezing and by the size of the source, for each seed.

    Parameters
    ----------
    runs, dataset, architecture, baseline
        See `frozen_seeds`.
    variants : mapping
        Initialisations that freeze kernels up to several depths.
    sources : mapping
        Initialisations that freeze kernels of sources of several sizes; those without a source are controls.

    Returns
    -------
    DataFrame
        As `frozen_seeds`, with two more columns: panel ("depth" for `variants`, "source" for `sources`), and place (text on the
        panel's horizontal axis: the relative depth, or the source's train images and, for controls, the condition). Rows are in the
        order of the axis: increasing, with controls last.

    Raises
    ------
    EchosError
        The sources have fewer than two sizes, or see `frozen_seeds`.
    """
    cell = {"dataset": dataset, "architecture": architecture, "baseline": baseline}
    depths = frozen_seeds(runs, variants=variants, **cell).sort_values(["depth", "seed"], kind="stable")
    sizes = frozen_seeds(runs, variants=sources, **cell).sort_values(["source_images", "seed"], kind="stable")
    if sizes.source_images.nunique() < 2:
        raise EchosError(
            f"`sources` needs frozen kernels of sources with at least two numbers of train images, but {', '.join(sources)} have "
            f"{sizes.source_images.nunique()}; add one whose source was trained on fewer images"
        )
    known = sizes.source_images.notna()
    depths = depths.assign(panel="depth", place=[f"{depth:.2g}" for depth in depths.depth])
    sizes = sizes.assign(panel="source", place=sizes.source_images.map("{:,.0f}".format).where(known, sizes.condition))
    return pd.concat([depths, sizes], ignore_index=True)


def largest_against_smallest(seeds: pd.DataFrame) -> pd.Series:
    """Advantage of the largest source over the smallest, paired by seed: a row of `summarised`.

    Parameters
    ----------
    seeds : DataFrame
        From `frozen_by_depth_and_source`.
    """
    sizes = seeds[(seeds.panel == "source") & seeds.source_images.notna()]
    wide = sizes.pivot_table(index="seed", columns="source_images", values="difference").sort_index(axis=1)
    more = (wide.iloc[:, -1] - wide.iloc[:, 0]).dropna()
    return summarised(pd.DataFrame({"difference": more, "panel": "source"}), ["panel"]).iloc[0]


def transfers(
    runs: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    datasets: Sequence[str],
    architectures: Sequence[str],
    baseline: str,
    variants: Variants,
) -> pd.DataFrame:
    """Final top-1 with kernels frozen from another dataset and architecture, compared with training from scratch.

    Parameters
    ----------
    runs, comparisons : DataFrame
        Tables of these schemas.
    datasets, architectures : sequence of str
    baseline : str
    variants : mapping
        See `frozen_seeds`.

    Returns
    -------
    DataFrame
        One row per dataset, architecture and initialisation that was run: dataset, architecture, initialisation, condition,
        from_dataset and from_architecture (None if nothing is transferred), top1 (list of shares, NaN for a diverged run),
        seeds (number of pairs), difference, low, high, detectable (points), p_holm; NaN for the baseline.
    """
    against = comparisons[(comparisons.baseline == baseline) & (comparisons.measure == "top1")]
    rows = []
    for dataset, architecture in [(one, other) for one in datasets for other in architectures]:
        mine = runs[(runs.dataset == dataset) & (runs.architecture == architecture)]
        for name in [name for name in variants if name in set(mine.initialisation)]:
            declared = variants[name]
            row: dict[str, Any] = {"dataset": dataset, "architecture": architecture, "initialisation": name}
            row |= {"condition": condition(declared), "top1": mine[mine.initialisation == name].top1.tolist()}
            row |= {"from_dataset": declared.get("trained_on"), "from_architecture": declared.get("of")}
            of = against[
                (against.dataset == dataset) & (against.architecture == architecture) & (against.initialisation == name)
            ]
            if len(of):
                found = of.iloc[0]
                row |= {"seeds": found.seeds, "p_holm": found.p_holm}
                row |= {key: 100 * found[key] for key in ("difference", "low", "high", "detectable")}
            rows.append(row)
    numbers = ["seeds", "difference", "low", "high", "p_holm", "detectable"]
    columns = ["dataset", "architecture", "initialisation", "condition", "from_dataset", "from_architecture", "top1"]
    return pd.DataFrame(rows).reindex(columns=columns + numbers)


def ranges(table: pd.DataFrame) -> pd.DataFrame:
    """Smallest and largest mean difference of each condition; kernels from the same dataset are listed separately.

    Parameters
    ----------
    table : DataFrame
        From `transfers`.

    Returns
    -------
    DataFrame
        condition, same (whether source and target are the same dataset), least and most (points), count; in the order of `table`.
    """
    known = table[table.difference.notna()]
    known = known.assign(same=known.from_dataset == known.dataset)
    grouped = known.groupby(["condition", "same"], sort=False).difference
    return grouped.agg(least="min", most="max", count="size").reset_index()


def zeroed(ablated: pd.DataFrame, *, dataset: str, architecture: str, variants: Variants) -> pd.DataFrame:
    """Top-1 lost when the kernels of one depthwise layer are set to 0, for each seed.

    Returns
    -------
    DataFrame
        initialisation, condition (see `condition`), layer, depth (in [0, 1]), seed, difference (points of top-1 lost; positive is
        a loss); in the order of `variants` and depth.

    Raises
    ------
    EchosError
        No such run was evaluated with layers zeroed.
    """
    mine = ablated[(ablated.dataset == dataset) & (ablated.architecture == architecture)]
    mine = mine[mine.initialisation.isin(variants)]
    if not len(mine):
        raise EchosError(
            f"{dataset}, {architecture}: no run of {', '.join(variants)} was evaluated with zeroed layers; list one under `zeroed` "
            "in the config"
        )
    made = mine.assign(
        difference=100 * (mine.intact_top1 - mine.top1),
        condition=[condition(variants[one]) for one in mine.initialisation],
        place=mine.initialisation.map(list(variants).index),
    )
    made = made.sort_values(["place", "depth", "seed"], ignore_index=True)
    return made[["initialisation", "condition", "layer", "depth", "seed", "difference"]]
