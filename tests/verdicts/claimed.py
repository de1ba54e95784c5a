"""Claims and tables that the tests of verdicts share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from neural_echos.tables import SCHEMAS
from neural_echos.verdicts import decide

EMPTY = {
    name: SCHEMAS[name].empty_table().to_pandas() for name in ("runs", "structure", "pattern_shares", "replacements")
} | {"models": pd.DataFrame(columns=["model", "family", "top1"])}


def claim(rule: str, needs: str = "d", **options: Any) -> dict[str, Any]:
    said = {"id": "NE1", "paper": "Neural Echos", "statement": "It is so.", "artifact": "figure_01"}
    return {**said, "rule": rule, "needs": needs, "options": options}


def verdict(rule: str, tables: Mapping[str, pd.DataFrame], needs: str = "d", **options: Any) -> dict[str, Any]:
    (row,) = decide([claim(rule, needs, **options)], {**EMPTY, **tables}, "tests").to_pylist()
    return row


def runs_of(gains: Mapping[str, Sequence[float]], sizes: Mapping[str, int] | None = None) -> dict[str, pd.DataFrame]:
    """Make runs on dataset "d": kaiming at 0.5 plus noise per seed, and dog above it by the gains, one per seed."""
    rows = []
    for architecture, values in gains.items():
        for seed, gain in enumerate(values):
            base = 0.5 + 0.1 * np.sin(7 * seed)  # seeds differ by far more than initialisations
            size = (sizes or {}).get(architecture, 9)
            cell = {"dataset": "d", "architecture": architecture, "seed": seed, "kernel_size": size}
            rows.append({**cell, "initialisation": "kaiming", "top1": base})
            rows.append({**cell, "initialisation": "dog", "top1": base + gain})
    return {"runs": pd.DataFrame(rows).reindex(columns=SCHEMAS["runs"].names)}


def structure_of(*rows: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Make a structure table; a row is a trained depthwise 7×7 bank but for what it says."""
    usual = {"model": "m", "kind": "depthwise", "role": "trained", "trained_on": "d", "kernel_size": 7, "layers": 4}
    return {"structure": pd.DataFrame([{**usual, **row} for row in rows]).reindex(columns=SCHEMAS["structure"].names)}


def networks(kind: str, *shares: float, spread: float = 0.02, **usual: Any) -> list[dict[str, Any]]:
    """Banks of several networks of one kind, whose bootstrap over layers gave shares that spread so far."""
    return [
        {
            "model": f"{kind}{number}",
            "kind": kind,
            "share": share,
            "low": share - 2 * spread,
            "high": share + 2 * spread,
            "resampled": share + spread * stats.norm.ppf((np.arange(100) + 0.5) / 100),
            **usual,
        }
        for number, share in enumerate(shares)
    ]


REGULAR = networks("regular", 0.2, 0.3, 0.25)
BEYOND = [*networks("depthwise", 0.8, 0.7, 0.75), *REGULAR]


def shares(excitatory: float, inhibitory: float, **more: Any) -> dict[str, Any]:
    rest = 1 - excitatory - inhibitory
    return {"excitatory_share": excitatory, "inhibitory_share": inhibitory, "other_share": round(rest, 9), **more}


GAIN = {"dataset": "d", "architectures": ["a"], "initialisation": "dog", "baseline": "kaiming", "expect": "positive"}


UP, DOWN, FLAT, SMALL = [0.03, 0.04, 0.05], [-0.03, -0.04, -0.05], [-0.04, 0.01, 0.05], [0.0009, 0.001, 0.0011]
