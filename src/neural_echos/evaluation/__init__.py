"""Evaluation: gather finished runs and compare them, paired by seed."""

from neural_echos.evaluation.comparisons import compare, epochs_to_target, paired, slopes_over_size
from neural_echos.evaluation.runs import gather_histories, gather_runs
from neural_echos.evaluation.statistics import bootstrap_interval, detectable, holm, mean_interval, paired_p
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
    "slopes_over_size",
    "structure",
]
