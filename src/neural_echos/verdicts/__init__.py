"""Verdicts: what the numbers say about each claim, by the decision rules of the config."""

from neural_echos.verdicts.decide import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, SUPPORTED, decide, rules

__all__ = ["INCONCLUSIVE", "NOT_RUN", "NOT_SUPPORTED", "SUPPORTED", "decide", "rules"]
