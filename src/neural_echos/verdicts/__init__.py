"""Verdicts: decide each claim from the measurements, by the decision rules in the config."""

from neural_echos.verdicts.decide import decide
from neural_echos.verdicts.readings import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, RULES, SUPPORTED, rules

__all__ = ["INCONCLUSIVE", "NOT_RUN", "NOT_SUPPORTED", "RULES", "SUPPORTED", "decide", "rules"]
