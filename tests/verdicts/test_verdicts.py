"""Verdicts: every decision rule reaches every verdict, on tables that were made to deserve it."""

from pathlib import Path

import pandas as pd
import pytest
from claimed import BEYOND, EMPTY, GAIN, REGULAR, UP, claim, networks, runs_of, structure_of, verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neural_echos.design.load import load_preset
from neural_echos.errors import EchosError
from neural_echos.tables import SCHEMAS, write_table
from neural_echos.verdicts import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, SUPPORTED, decide

ROOT = Path(__file__).resolve().parents[2]


# Claims and tables


def test_a_verdict_says_everything_about_its_claim(tmp_path):
    row = verdict("gain", runs_of({"a": [0.1, 0.11, 0.12]}), **GAIN)
    assert row["claim"] == "NE1"
    assert (row["paper"], row["statement"], row["scale"], row["artifact"]) == (
        "Neural Echos",
        "It is so.",
        "tests",
        "figure_01",
    )
    assert row["measured"] == "top-1 of dog − kaiming on d, paired by seed, a"
    none = verdict("gain", runs_of({"a": [0.1, 0.11, 0.12]}), **(GAIN | {"architectures": []}))
    assert (none["verdict"], none["value"]) == ("not run at this scale", None)
    write_table(tmp_path / "x.parquet", decide([claim("gain", **GAIN)], EMPTY, "tests"), "verdicts")
    assert decide([], EMPTY, "tests").num_rows == 0


def test_an_unknown_rule_is_refused_with_the_nearest():
    with pytest.raises(EchosError, match=r"^claim NE1: there is no rule 'gains' \(did you mean 'gain'\?\)"):
        decide([claim("gains")], EMPTY, "tests")


@pytest.mark.parametrize(
    ("rule", "options", "expected"),
    [
        # from Python 3.12 on the sentence says keyword-only, too
        ("gain", {}, "missing a required (keyword-only )?argument: 'dataset'"),
        ("centres_dominate", {"most": 0.5}, "unexpected keyword argument 'most'"),
        ("structure_beats_controls", {"dataset": "d"}, "unexpected keyword argument 'dataset'"),
    ],
)
def test_options_that_a_rule_does_not_take_are_refused(rule, options, expected):
    with pytest.raises(EchosError, match=f"^claim NE1: the rule {rule} does not take the options .*{expected}"):
        decide([claim(rule, **options)], EMPTY, "tests")


@pytest.mark.parametrize("preset", [(), *((path.stem,) for path in sorted(ROOT.glob("config/presets/*.yaml")))])
def test_every_configured_claim_can_be_decided_before_any_run(preset):
    claims = load_preset(ROOT, *preset).model_dump()["claims"]
    rows = decide(claims, EMPTY, "tests").to_pylist()
    assert [row["claim"] for row in rows] == [one["id"] for one in claims]
    assert all(row["verdict"] == NOT_RUN for row in rows)
    assert all(row["value"] is None and row["reason"] for row in rows)


def test_a_claim_about_several_data_sets_is_decided_on_all_of_them():
    options = {"pairs": [{"dataset": name, "architecture": "a", "initialisation": "dog"} for name in ("e", "d")]}
    runs = pd.concat([runs_of({"a": UP})["runs"], runs_of({"a": UP})["runs"].assign(dataset="e")])
    told = {"baseline": "kaiming", "control": "kaiming"}
    assert verdict("transfer_holds", {"runs": runs}, ["e", "d"], **options, **told)["verdict"] == SUPPORTED
    lone = verdict("transfer_holds", {"runs": runs}, "d", **options, **told)
    assert lone["verdict"] == NOT_RUN
    assert lone["reason"].startswith("the claim is about d; at this scale the same rule gives: supported")
    wide = verdict("transfer_holds", {"runs": runs}, ["d", "e", "f"], **options, **told)
    assert wide["reason"].startswith("the claim is about d and e and f; at")


# UU3: shares of kernels with a pattern follow accuracy


def accuracies(*networks: tuple[str, float, float]) -> dict[str, pd.DataFrame]:
    """Make pattern shares and published accuracies of networks, each its family, share and top-1; shuffled taps have .1."""
    usual = {
        "kind": "depthwise",
        "role": "trained",
        "trained_on": "d",
        "by": "kernel",
        "declared": True,
        "kernel_size": 3,
    }
    rows = [
        {**usual, "model": f"m{number}", "shuffled": shuffled, "share": 0.1 if shuffled else share, "kernels": 100}
        for number, (_, share, _) in enumerate(networks)
        for shuffled in (False, True)
    ]
    models = [
        {"model": f"m{number}", "family": family, "top1": top1} for number, (family, _, top1) in enumerate(networks)
    ]
    shares = pd.DataFrame(rows).reindex(columns=SCHEMAS["pattern_shares"].names)
    return {"pattern_shares": shares, "models": pd.DataFrame(models)}


RISING = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


@pytest.mark.parametrize(
    ("networks", "expected", "value"),
    [
        ([("f", 0.5 + one / 4, one) for one in RISING], SUPPORTED, 1),
        ([("f", 0.9 - one / 4, one) for one in RISING], NOT_SUPPORTED, -1),
        ([("", one, one) for one in RISING], INCONCLUSIVE, 1),  # no family tells anything
        (
            [(name, one, one) for name, one in zip("aabbcc", RISING, strict=True)],
            INCONCLUSIVE,
            1,
        ),  # three pairs: p = 1/4
        # across families it rises, within them it falls
        (
            [
                (name, 1.2 * one if name == "a" else one, 0.7 if name == "b" else 0.1)
                for name, one in zip("aaabbb", RISING, strict=True)
            ],
            INCONCLUSIVE,
            None,
        ),
        (
            [("f", share, one) for share, one in zip([0.5, 0.2, 0.6, 0.4, 0.3, 0.5], RISING, strict=True)],
            INCONCLUSIVE,
            None,
        ),
    ],
)
def test_uu3(networks, expected, value):
    row = verdict("patterns_follow_accuracy", accuracies(*networks))
    assert row["verdict"] == expected
    shares, top1 = [one[1] for one in networks], [one[2] for one in networks]
    assert row["value"] == pytest.approx(value if value is not None else stats.spearmanr(shares, top1)[0])
    assert -1 <= row["low"] <= row["value"] + 1e-3 and row["value"] - 1e-3 <= row["high"] <= 1
    assert row["reason"].startswith("6 networks; ")


def test_uu3_weighs_sizes_by_their_kernels_and_needs_five_networks():
    tables = accuracies(*(("f", one, one) for one in RISING))
    other = tables["pattern_shares"].assign(kernel_size=7, kernels=900, share=1 - tables["pattern_shares"].share)
    both = {**tables, "pattern_shares": pd.concat([tables["pattern_shares"], other])}
    assert verdict("patterns_follow_accuracy", both)["value"] == pytest.approx(-1)
    lone = verdict("patterns_follow_accuracy", {**tables, "models": tables["models"][:4]})
    assert (lone["verdict"], lone["value"]) == (NOT_RUN, None)
    assert lone["reason"] == "4 trained networks with a published top-1; the rule needs at least 5"


# Of several datasets and roles


def test_banks_of_another_data_set_give_a_remark_and_no_verdict():
    row = verdict("structure_beats_controls", structure_of(*BEYOND), needs="imagenet")
    assert row["verdict"] == NOT_RUN
    assert "the claim is about imagenet; at this scale the same rule gives: supported (7×7: +50.0 [" in row["reason"]


def test_depthwise_banks_of_other_data_sets_do_not_count_beside_those_that_a_claim_is_about():
    elsewhere = [row | {"trained_on": "imagenet"} for row in BEYOND]
    alone = verdict("structure_beats_controls", structure_of(*elsewhere), needs="imagenet")
    beside = [*elsewhere, networks("depthwise", 0.01)[0]]  # it would turn the verdict
    row = verdict("structure_beats_controls", structure_of(*beside), needs="imagenet")
    assert (row["verdict"], row["value"], row["low"]) == (SUPPORTED, alone["value"], alone["low"])
    assert row["reason"] == f"{alone['reason']}; depthwise networks trained on d are not counted"
    regular = [*elsewhere, *REGULAR]  # only the depthwise ones are what the claim is about
    assert verdict("structure_beats_controls", structure_of(*regular), needs="imagenet")["verdict"] == SUPPORTED


def test_the_role_that_a_claim_names_decides_which_banks_are_at_hand():
    rows = [
        *networks("depthwise", 0.8, 0.7, role="trained from dog"),
        *networks("depthwise", 0.1, trained_on="e"),
        *REGULAR,
    ]
    assert verdict("structure_beats_controls", structure_of(*rows), role="trained from dog")["verdict"] == SUPPORTED


# Of all rules


NUMBERS = st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=6)


@settings(deadline=None, max_examples=25)
@given(gains=NUMBERS, margin=st.floats(0, 0.05))
def test_no_gain_is_both_a_gain_and_none(gains, margin):
    tables = runs_of({"a": gains})
    options = GAIN | {"margin": margin}
    positive, none = (
        verdict("gain", tables, **options | {"expect": expect})["verdict"] for expect in ("positive", "none")
    )
    if positive == SUPPORTED and none == SUPPORTED:
        row = verdict("gain", tables, **options)
        assert 0 < row["low"] <= row["high"] < margin  # a gain, and too small to matter
    assert (positive, none) != (NOT_SUPPORTED, NOT_SUPPORTED)
    if len(gains) == 1:
        assert positive == none == INCONCLUSIVE
