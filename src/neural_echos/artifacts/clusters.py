"""Artifacts of the clusters at scale: the papers' number of clusters beside the one that the data choose."""

from typing import Any

import numpy as np
import pandas as pd

from neural_echos.artifacts.base import Drawn

Tables = dict[str, Any]


def cluster_numbers(tables: Tables, *, note: str = "") -> Drawn:
    """The papers' number of clusters and the chosen one, by bank and kernel size, with silhouette and stability of both.

    `note`, what the numbers rest on, stands after the sentence.
    """
    size = ["model", "kind", "kernel_height", "kernel_width"]
    choices = tables["choices"].set_index(size)
    both = choices[choices.declared].join(choices[choices.chosen], rsuffix="_free").sort_index().reset_index()
    rows = [
        {
            "bank": row.model,
            "kind": row.kind,
            "kernel": f"{row.kernel_height}×{row.kernel_width}",
            "kernels": f"{row.kernels:,}",
            "papers' k": str(row.clusters),
            "its silhouette": _number(row.silhouette),
            "its stability": _number(row.stability),
            "chosen k": str(row.clusters_free),
            "silhouette of the chosen": _number(row.silhouette_free),
            "stability of the chosen": _number(row.stability_free),
        }
        for row in both.itertuples()
    ]
    same, most = (both.clusters == both.clusters_free).sum(), choices.clusters.max()
    return Drawn(
        pd.DataFrame(rows),
        f"The best silhouette is at the papers' k in {same} of {len(both)} kernel sizes, and at {most}, the largest number "
        f"tried, in {(both.clusters_free == most).sum()}. Median silhouette "
        f"{_number(both.silhouette.median())} at the papers' k and {_number(both.silhouette_free.median())} at the chosen; median "
        f"stability {_number(both.stability.median())} and {_number(both.stability_free.median())}. {note}".strip(),
    )


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if np.isfinite(value) else "–"
