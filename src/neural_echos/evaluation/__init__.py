"""Evaluation: finished runs gathered, and compared pair by pair."""

from neural_echos.evaluation.comparisons import (
    bootstrap_interval,
    compare,
    detectable,
    epochs_to_target,
    gather_histories,
    gather_runs,
    holm,
    mean_interval,
    paired,
    paired_p,
)
from neural_echos.structure.measures import explained, structure

__all__ = [
    "bootstrap_interval",
    "compare",
    "detectable",
    "epochs_to_target",
    "explained",
    "gather_histories",
    "gather_runs",
    "holm",
    "mean_interval",
    "paired",
    "paired_p",
    "structure",
]
