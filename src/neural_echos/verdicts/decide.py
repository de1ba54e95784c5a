"""Verdicts: compare each claim of a paper with the measurements, by a decision rule declared in the config beforehand.

A rule turns tables into a value, its 95 % interval, and a reading (supported, not supported, inconclusive). If the claim is
about another dataset than the available one, the verdict is "not run at this scale", and the reading is only a remark.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from neural_echos.discovery import import_modules
from neural_echos.errors import EchosError, nearest
from neural_echos.tables import SCHEMAS
from neural_echos.verdicts.readings import (
    INCONCLUSIVE,
    NOT_RUN,
    RULES,
    SUPPORTED,
    Tables,
    rules,
    told_of,
)

import_modules("neural_echos.verdicts")  # their rules


def decide(claims: Sequence[Mapping[str, Any]], tables: Tables, scale: str) -> pa.Table:
    """Give every claim its verdict, in a table of schema "verdicts".

    Parameters
    ----------
    claims : sequence of mappings
        Each has id, paper, statement, rule, needs (the dataset that the claim is about, or a list of them), options, artifact
        and, if known, the value printed in the paper (published).
    tables : mapping of DataFrames
        "runs", "structure", "pattern_shares" and "replacements", any of which may be empty, and "models", with columns model,
        family and top1, for networks with a published accuracy.
    scale : str
        A phrase that describes the scale of this preset.

    Raises
    ------
    EchosError
        A claim names an unknown rule, or options that its rule does not accept.
    """
    rows = []
    for claim in claims:
        if claim["rule"] not in RULES:
            raise EchosError(
                f"claim {claim['id']}: there is no rule {claim['rule']!r}{nearest(claim['rule'], rules())}; rules are "
                f"{', '.join(rules())}"
            )
        rule_of = RULES[claim["rule"]]
        try:
            inspect.signature(rule_of).bind(tables, **claim["options"])
        except TypeError as error:
            raise EchosError(
                f"claim {claim['id']}: the rule {claim['rule']} does not take the options {claim['options']} ({error}); "
                "correct them"
            ) from None
        about = {claim["needs"]} if isinstance(claim["needs"], str) else set(claim["needs"])
        mine, others = _about(claim["options"], tables, about)
        measured = rule_of(mine, **claim["options"])
        reading, told = measured.reading, told_of(measured.remark, others, measured.diverged)
        if measured.diverged and reading == SUPPORTED:
            reading = INCONCLUSIVE  # the remaining runs may be the better ones
        verdict, reason = reading, told
        if measured.value is None:
            verdict, reason = NOT_RUN, told or "this preset has no such runs"
        elif _at_hand(claim["options"], mine) != about:
            verdict = NOT_RUN
            reason = f"the claim is about {' and '.join(sorted(about))}; at this scale the same rule gives: {reading}"
            reason += f" ({told})" if told else ""
        rows.append(
            {
                "claim": claim["id"],
                "paper": claim["paper"],
                "statement": claim["statement"],
                "published": claim.get("published"),
                "measured": measured.measured,
                "value": measured.value,
                "low": measured.low,
                "high": measured.high,
                "scale": scale,
                "verdict": verdict,
                "reason": reason,
                "artifact": claim["artifact"],
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMAS["verdicts"])


def _about(options: Mapping[str, Any], tables: Tables, about: set[str]) -> tuple[Tables, str]:
    """Exclude depthwise networks trained on datasets that a claim is not about, if others were trained on those it is about.

    Returns the tables, and a remark on what was excluded.
    """
    if options.keys() & {"dataset", "pairs"}:
        return tables, ""
    kept, left = dict(tables), set()
    for name in ("structure", "pattern_shares"):
        table = tables[name]
        mine = (table.role == options.get("role", "trained")) & (table.kind == "depthwise")
        others = mine & ~table.trained_on.isin(about)
        if (mine & ~others).any() and others.any():
            left |= set(table[others].trained_on)
            kept[name] = table[~others]
    return kept, f"depthwise networks trained on {' and '.join(sorted(left))} are not counted" if left else ""


def _at_hand(options: Mapping[str, Any], tables: Tables) -> set[str]:
    """The datasets that a claim's numbers come from: those of its runs, or of the depthwise networks whose banks are used."""
    if "dataset" in options:
        return {options["dataset"]}
    if "pairs" in options:
        return {pair["dataset"] for pair in options["pairs"]}
    banks = pd.concat([tables[name][["role", "kind", "trained_on"]] for name in ("structure", "pattern_shares")])
    return set(banks[(banks.role == options.get("role", "trained")) & (banks.kind == "depthwise")].trained_on)
