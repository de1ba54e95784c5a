"""UU1 and UU2: kernels with a named pattern, by family and by layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from claimed import verdict

from neural_echos.structure.intervals import wilson_interval
from neural_echos.tables import SCHEMAS
from neural_echos.verdicts import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, SUPPORTED

COVER = {"least": {"convnextv2_*": 0.95, "convnext_*": 0.9}, "margin": 0.1, "by": "cluster"}


def shares_of(*banks: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Make a table of shares: a bank is a trained 7×7 one with layers of 100 kernels, `shares` by layer and `null` for all."""
    rows = []
    for bank in banks:
        usual = {"model": "m", "role": "trained", "trained_on": "d", "kernel_size": 7, "null": 0.0}
        bank = usual | bank
        named = {key: bank[key] for key in ("model", "role", "trained_on", "kernel_size")}
        for by in ("cluster", "kernel"):
            for shuffled in (False, True):
                by_layer = [bank["null"]] * len(bank["shares"]) if shuffled else bank["shares"]
                counted = {**named, "kind": "depthwise", "by": by, "shuffled": shuffled, "declared": True}
                for index, share in enumerate([None, *by_layer]):
                    n = 100 if index else 100 * len(by_layer)
                    share = float(np.mean(by_layer)) if share is None else share
                    low, high = wilson_interval(np.array(share), n)
                    where = {"layer": f"l{index}" if index else None, "layer_index": index - 1 if index else np.nan}
                    rows.append(
                        {
                            **counted,
                            **where,
                            "kernels": n,
                            "share": share,
                            "low": low,
                            "high": high,
                            "by_training": [share],
                        }
                    )
    return {"pattern_shares": pd.DataFrame(rows).reindex(columns=SCHEMAS["pattern_shares"].names)}


CONTROL = {"model": "control", "role": "untrained", "trained_on": "nothing", "shares": [0.0, 0.02]}


V2, V1 = {"model": "convnextv2_t", "shares": [0.97, 0.98]}, {"model": "convnext_t", "shares": [0.92, 0.95]}


@pytest.mark.parametrize(
    ("banks", "expected", "value", "told"),
    [
        ([V2, V1, CONTROL], SUPPORTED, 0.975, "points over the control"),
        ([V2 | {"shares": [0.97, 0.9]}, V1, CONTROL], INCONCLUSIVE, 0.935, "convnextv2_* inconclusive"),
        ([V2 | {"shares": [0.8, 0.9]}, V1, CONTROL], NOT_SUPPORTED, 0.85, "convnextv2_* not supported"),
        ([V2, V1 | {"shares": [0.7, 0.8]}, CONTROL], NOT_SUPPORTED, 0.75, "convnext_* not supported"),
        # a procedure that names noise as well proves nothing
        ([V2, V1, CONTROL | {"shares": [0.95, 0.95]}], NOT_SUPPORTED, 0.975, "points over the control"),
        ([V2, V1 | {"null": 0.93}, CONTROL], NOT_SUPPORTED, 0.975, "points over shuffled taps"),
        # without a control of the size, or one of the families, the claim stays open
        ([V2, V1], INCONCLUSIVE, 0.975, "no control of the same kernel size"),
        ([V2, V1, CONTROL | {"kernel_size": 3}], INCONCLUSIVE, 0.975, "no control of the same kernel size"),
        ([V2, CONTROL], INCONCLUSIVE, 0.975, "no bank of convnext_*"),
    ],
)
def test_uu1(banks, expected, value, told):
    row = verdict("patterns_cover_kernels", shares_of(*banks), **COVER)
    assert row["verdict"] == expected, row["reason"]
    assert row["value"] == pytest.approx(value)
    assert row["low"] <= row["value"] <= row["high"]
    assert told in row["reason"]


@pytest.mark.parametrize(("share", "reading"), [(0.95, "supported"), (0.5, "not supported")])
def test_uu1_without_the_families_was_not_run_and_tells_what_the_others_read(share, reading):
    banks = [{"model": "small", "shares": [share, share]}, CONTROL]
    row = verdict("patterns_cover_kernels", shares_of(*banks), **COVER)
    assert (row["verdict"], row["value"]) == (NOT_RUN, pytest.approx(share))
    assert row["reason"].startswith("no bank of convnextv2_* or convnext_*; 1 other trained network against")
    assert f"published share, 90 %: {reading} (" in row["reason"]


@pytest.mark.parametrize(
    ("banks", "expected", "value"),
    [
        ([{"shares": [0.5, 0.2]}, {"model": "n", "shares": [0.9]}, CONTROL], SUPPORTED, 1.0),
        ([{"shares": [0.5, 0.0]}, {"model": "n", "shares": [0.9]}, CONTROL], INCONCLUSIVE, 0.75),
        ([{"shares": [0.5, 0.1]}, CONTROL | {"shares": [0.3, 0.3]}], NOT_SUPPORTED, 0.5),
        ([{"shares": [0.5, 0.6], "null": 0.9}, CONTROL], NOT_SUPPORTED, 0.0),
        ([{"shares": [0.5]}, {"shares": [0.0], "kernel_size": 9, "model": "n"}, CONTROL], SUPPORTED, 1.0),
        # above, but not with the whole interval
        ([{"shares": [0.5, 0.05], "null": 0.04}, CONTROL], INCONCLUSIVE, 1.0),
        # of many layers one lies below by chance
        ([{"shares": [0.5] * 39 + [0.1]}, CONTROL | {"shares": [0.3, 0.3]}], INCONCLUSIVE, 39 / 40),
        ([{"shares": [0.5] * 36 + [0.1] * 4}, CONTROL | {"shares": [0.3, 0.3]}], NOT_SUPPORTED, 36 / 40),
    ],
)
def test_uu2(banks, expected, value):
    row = verdict("patterns_in_all_layers", shares_of(*banks))
    assert row["verdict"] == expected, row["reason"]
    assert row["value"] == pytest.approx(value)
    assert "layers are above" in row["reason"]


@pytest.mark.parametrize(("rule", "options"), [("patterns_cover_kernels", COVER), ("patterns_in_all_layers", {})])
@pytest.mark.parametrize("banks", [[], [CONTROL]])
def test_without_trained_banks_nothing_was_run(rule, options, banks):
    row = verdict(rule, shares_of(*banks) if banks else {}, **options)
    assert (row["verdict"], row["value"]) == (NOT_RUN, None)
    assert row["reason"].startswith("no trained bank")


def test_small_layers_do_not_count():
    tables = shares_of({"shares": [0.5, 0.0]}, CONTROL)
    table = tables["pattern_shares"]
    table.loc[table.layer == "l2", "kernels"] = 8
    assert verdict("patterns_in_all_layers", tables)["verdict"] == SUPPORTED
    assert verdict("patterns_in_all_layers", tables, least_kernels=8)["verdict"] != SUPPORTED
