"""NE1 and NE2: structure beyond controls, and centres that dominate."""

from typing import Any

import numpy as np
import pytest
from claimed import BEYOND, REGULAR, networks, shares, structure_of, verdict

from neural_echos.verdicts import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, SUPPORTED

# NE1: structure beats controls


THREE = {"kernel_size": 3}


@pytest.mark.parametrize(
    ("rows", "expected", "value"),
    [
        (BEYOND, SUPPORTED, 0.5),
        ([*networks("depthwise", 0.15, 0.25), *REGULAR], INCONCLUSIVE, -0.05),
        ([*networks("depthwise", 0.1, 0.13, 0.1, 0.12), *REGULAR], NOT_SUPPORTED, -0.1375),
        ([*networks("depthwise", 0.2, 0.9, 0.3), *REGULAR], INCONCLUSIVE, 13 / 60),
        # the least difference over sizes counts
        (
            [*BEYOND, *networks("depthwise", 0.5, 0.51, 0.5, **THREE), *networks("regular", 0.3, 0.3, **THREE)],
            SUPPORTED,
            151 / 300 - 0.3,
        ),
        (
            [*BEYOND, *networks("depthwise", 0.1, 0.11, 0.1, **THREE), *networks("regular", 0.3, 0.3, 0.31, **THREE)],
            NOT_SUPPORTED,
            31 / 300 - 91 / 300,
        ),
        # a bank that chance explains leaves the claim open, and one below chance refutes it; at a size without a control, too
        ([*BEYOND, *networks("depthwise", 0.06, **THREE)], INCONCLUSIVE, 0.5),
        ([*BEYOND, *networks("depthwise", 0.001, **THREE)], NOT_SUPPORTED, 0.5),
        # neither untrained nor drawn banks nor those of other datasets are compared
        (
            [
                *BEYOND,
                *networks("depthwise", 0.01, role="untrained"),
                *networks("depthwise", 0.02, role="drawn"),
                *networks("regular", 0.9, 0.9, trained_on="e"),
                *networks("stem", 0.9, 0.9),
            ],
            SUPPORTED,
            0.5,
        ),
    ],
)
def test_ne1(rows, expected, value):
    row = verdict("structure_beats_controls", structure_of(*rows))
    assert row["verdict"] == expected
    assert row["value"] == pytest.approx(value)
    assert row["low"] < row["value"] < row["high"]
    assert f"{100 * value:+.1f} [".replace("-", "−") in row["reason"]
    assert ("regular networks trained on e are not counted" in row["reason"]) == any(
        "trained_on" in one for one in rows
    )


def test_ne1_names_the_sizes_without_a_control_and_what_regular_kernels_have():
    rows = [
        *networks("depthwise", 0.8, 0.7),
        *networks("depthwise", 0.5, 0.6, **THREE),
        *networks("depthwise", 0.5, 0.6, kernel_size=5),
    ]
    rows += [*REGULAR[:2], *networks("regular", 0.1, kernel_size=5)]
    reason = verdict("structure_beats_controls", structure_of(*rows))["reason"]
    assert reason.startswith("3×3: no regular network to compare with; 5×5: +45.0 points, too few networks")
    assert (
        "(networks: 2 depthwise, 1 regular; mean of the regular ones 10.0 %, 1 of 1 above chance (5 %)); 7×7: +50.0 ["
        in reason
    )
    assert reason.endswith("6 of 6 depthwise banks (one per network and size) have their whole interval above chance")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "no trained depthwise bank"),
        (REGULAR, "no trained depthwise bank"),
        (networks("depthwise", 0.9, 0.8), "7×7: no regular network to compare with"),
        ([*networks("depthwise", 0.9, 0.8), *networks("stem", 0.1, 0.1)], "7×7: no regular network to compare with"),
        ([*networks("depthwise", 0.9, 0.8), *networks("regular", 0.2)], "7×7: +65.0 points, too few networks"),
    ],
)
def test_ne1_without_two_networks_of_each_kind_was_not_run(rows, told):
    row = verdict("structure_beats_controls", structure_of(*rows) if rows else {})
    assert (row["verdict"], row["value"]) == (NOT_RUN, None)
    assert row["reason"].startswith(told)


def test_ne1_counts_regular_networks_of_the_declared_other_data_sets():
    controls = networks("regular", 0.2, 0.1, trained_on="faces")
    table = structure_of(*networks("depthwise", 0.8, 0.7), *controls)
    assert "trained on faces are not counted" in verdict("structure_beats_controls", table)["reason"]
    row = verdict("structure_beats_controls", table, controls=["faces"])
    assert row["verdict"] == SUPPORTED
    assert row["reason"].endswith("the controls include regular networks trained on faces")


def test_ne1_takes_the_declared_least_number_of_networks():
    table = structure_of(*networks("depthwise", 0.8, 0.7, 0.75), *REGULAR)
    assert verdict("structure_beats_controls", table, least_networks=4)["verdict"] == NOT_RUN


# NE2: centres dominate


def of_models(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a model each."""
    return [{"model": f"m{number}", **row} for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([shares(0.4, 0.3), shares(0.5, 0.25), shares(0.3, 0.42)], SUPPORTED),
        ([shares(0.1, 0.1), shares(0.2, 0.05), shares(0.0, 0.2)], NOT_SUPPORTED),
        ([shares(0.6, 0.3), shares(0.1, 0.1), shares(0.3, 0.3)], INCONCLUSIVE),
        # most banks have one type of centre only
        ([shares(0.7, 0.0), shares(0.72, 0.0), shares(0.4, 0.33)], INCONCLUSIVE),
        # most banks have no cluster of others
        ([shares(0.7, 0.3), shares(0.72, 0.28), shares(0.4, 0.5)], INCONCLUSIVE),
        # one bank has no interval
        ([shares(0.5, 0.4)], INCONCLUSIVE),
    ],
)
def test_ne2(rows, expected):
    table = structure_of(
        *of_models(*rows), shares(1, 0, role="untrained"), shares(0, 0, kind="regular"), {"model": "unclustered"}
    )
    row = verdict("centres_dominate", table)
    joint = [one["excitatory_share"] + one["inhibitory_share"] for one in rows]
    assert row["verdict"] == expected
    assert row["value"] == pytest.approx(np.mean(joint))
    both = sum(one["excitatory_share"] > 0 and one["inhibitory_share"] > 0 for one in rows)
    three = sum(min(one[f"{name}_share"] for name in ("excitatory", "inhibitory", "other")) > 0 for one in rows)
    assert row["reason"] == (
        f"both centre types in {both} of {len(rows)} banks (one per network and size), {three} of them with a cluster of others"
    )


def test_ne2_takes_the_sizes_of_a_bank_together():
    sizes = [shares(0.4, 0.3, model="a"), shares(0.5, 0.4, model="a", kernel_size=5), shares(0.3, 0.2, model="b")]
    row = verdict("centres_dominate", structure_of(*sizes))
    assert row["value"] == pytest.approx((0.8 + 0.5) / 2)
    assert (row["low"], row["high"]) == (0.0, 1.0)  # of two banks, and cut to a share


def test_ne2_takes_the_declared_least_share():
    table = structure_of(*of_models(shares(0.4, 0.3), shares(0.5, 0.25), shares(0.3, 0.42)))
    assert verdict("centres_dominate", table, least=0.8)["verdict"] == NOT_SUPPORTED


@pytest.mark.parametrize("rows", [[], [shares(1, 0, role="untrained")], [{"model": "unclustered"}]])
def test_ne2_without_a_clustered_bank_was_not_run(rows):
    row = verdict("centres_dominate", structure_of(*rows) if rows else {})
    assert (row["verdict"], row["reason"]) == (NOT_RUN, "no clustered trained bank")
