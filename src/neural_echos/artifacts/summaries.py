"""The tables of accuracy and ablation, as finished cells."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from neural_echos.artifacts.base import Drawn
from neural_echos.artifacts.words import UNREADABLE, compared, mean_and_spread, percent, points, seen
from neural_echos.evaluation import mean_interval, paired

Tables = dict[str, Any]


def accuracy_table(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisations: Sequence[str], scale: str
) -> Drawn:
    """Table 1: top-1 per architecture and initialisation, paired differences of the last one, published beside ours."""
    runs, comparisons = tables["runs"], tables["comparisons"]
    runs = runs[runs.dataset == dataset]
    last, baselines = initialisations[-1], initialisations[:-1]
    comparisons = comparisons[
        (comparisons.dataset == dataset)
        & comparisons.architecture.isin(architectures)
        & (comparisons.initialisation == last)
        & comparisons.baseline.isin(baselines)
        & (comparisons.measure == "top1")
    ]
    rows = []
    for architecture in architectures:
        mine = runs[runs.architecture == architecture]
        row = {"architecture": architecture, "kernel": _size(mine), "seeds": str(mine.seed.nunique())}
        for name in initialisations:
            row[f"{name}, top-1 %"] = mean_and_spread(mine[mine.initialisation == name].top1)
        for baseline in baselines:
            found = comparisons[(comparisons.architecture == architecture) & (comparisons.baseline == baseline)]
            row[f"{last} − {baseline}, points [95 %]; Holm p; detectable"] = compared(found)
        rows.append(row | {"published, ImageNet top-1 %": UNREADABLE, "scale": scale})
    gains = {name: paired(runs[runs.architecture.isin(architectures)], last, name) for name in baselines}
    told = "; ".join(
        f"over {name} {points(*mean_interval(pairs.groupby('seed').difference.mean().to_numpy()))} points"
        for name, pairs in gains.items()
    )
    return Drawn(
        pd.DataFrame(rows),
        f"Gain of {last} on {dataset}, mean over {len(architectures)} architectures: {told} (95 % t interval over seeds). "
        f"{seen(comparisons)} The paper's own numbers are for ImageNet and could not be read.",
    )


def ablation_table(
    tables: Tables,
    *,
    dataset: str,
    architecture: str,
    variants: Mapping[str, Mapping[str, Any]],
    reference: str,
    scale: str,
) -> Drawn:
    """Table 2: the ablation over γ, centre type, share and scale, each variant against `reference`, paired by seed.

    `variants` maps the initialisation's name to its declared options, which become the columns.
    """
    runs, comparisons = (
        table[(table.dataset == dataset) & (table.architecture == architecture)]
        for table in (tables["runs"], tables["comparisons"])
    )
    comparisons = comparisons[
        (comparisons.baseline == reference)
        & comparisons.initialisation.isin(variants)
        & (comparisons.measure == "top1")
    ]
    rows = []
    for name, options in variants.items():
        rows.append(
            {
                "initialisation": name,
                "γ": _gamma(options.get("gamma")),
                "centres": options.get("centres", "–"),
                "share": f"{options['share']:g}" if "gamma" in options else "–",
                "scale": options["scale"] if "gamma" in options else "–",
                "top-1 %": mean_and_spread(runs[runs.initialisation == name].top1),
                f"− {reference}, points [95 %]; Holm p; detectable": compared(
                    comparisons[comparisons.initialisation == name]
                ),
                "published": UNREADABLE,
                "measured at": scale,
            }
        )
    means = runs[runs.initialisation.isin(variants)].groupby("initialisation").top1.mean()
    return Drawn(
        pd.DataFrame(rows),
        f"{architecture} on {dataset}: from {percent(means.min())} ({means.idxmin()}) to {percent(means.max())} ({means.idxmax()}) "
        f"over the variants. {seen(comparisons)}".strip(),
    )


def _size(runs: pd.DataFrame) -> str:
    return f"{runs.kernel_size.iloc[0]}×{runs.kernel_size.iloc[0]}" if len(runs) else "–"


def _gamma(gamma: Any) -> str:
    if gamma is None:
        return "–"
    if isinstance(gamma, Mapping):
        return "uniform {:g} to {:g}".format(*gamma["uniform"])
    return ", ".join(f"{value:g}" for value in gamma) if isinstance(gamma, list | tuple) else f"{gamma:g}"
