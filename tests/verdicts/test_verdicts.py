"""Verdicts: every decision rule reaches every verdict, on tables that were made to deserve it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neural_echos.design.load import load_preset
from neural_echos.errors import EchosError
from neural_echos.tables import SCHEMAS, write_table
from neural_echos.verdicts import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, SUPPORTED, decide

ROOT = Path(__file__).resolve().parents[2]
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
    """Make runs on data set "d": kaiming at 0.5 plus noise per seed, and dog above it by the gains, one per seed."""
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
    assert row["measured"] == "top-1 of dog − kaiming on d, paired by seed, mean over 1 architectures"
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
    assert lone["reason"].startswith("the claim is about d; at this scale the same rule reads: supported")
    wide = verdict("transfer_holds", {"runs": runs}, ["d", "e", "f"], **options, **told)
    assert wide["reason"].startswith("the claim is about d and e and f; at")


# NE1: structure beats controls


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
        # neither untrained nor drawn banks nor those of other data sets are compared
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
    assert ("regular networks trained on e do not count" in row["reason"]) == any("trained_on" in one for one in rows)


def test_ne1_names_the_sizes_without_a_control_and_what_regular_kernels_have():
    rows = [
        *networks("depthwise", 0.8, 0.7),
        *networks("depthwise", 0.5, 0.6, **THREE),
        *networks("depthwise", 0.5, 0.6, kernel_size=5),
    ]
    rows += [*REGULAR[:2], *networks("regular", 0.1, kernel_size=5)]
    reason = verdict("structure_beats_controls", structure_of(*rows))["reason"]
    assert reason.startswith(
        "3×3: no regular network at hand, so the comparison is open; 5×5: +45.0 points, too few networks"
    )
    assert (
        "(2 depthwise, 1 regular networks; regular kernels 10.0%, above the chance of 5% in 1 of 1); 7×7: +50.0 ["
        in reason
    )
    assert reason.endswith("6 of 6 depthwise banks and sizes are above chance with their whole interval")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "no trained depthwise bank"),
        (REGULAR, "no trained depthwise bank"),
        (networks("depthwise", 0.9, 0.8), "7×7: no regular network at hand"),
        ([*networks("depthwise", 0.9, 0.8), *networks("stem", 0.1, 0.1)], "7×7: no regular network at hand"),
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
    assert "trained on faces do not count" in verdict("structure_beats_controls", table)["reason"]
    row = verdict("structure_beats_controls", table, controls=["faces"])
    assert row["verdict"] == SUPPORTED
    assert row["reason"].endswith("regular networks trained on faces are among the controls")


def test_ne1_takes_the_declared_least_number_of_networks():
    table = structure_of(*networks("depthwise", 0.8, 0.7, 0.75), *REGULAR)
    assert verdict("structure_beats_controls", table, least_networks=4)["verdict"] == NOT_RUN


# NE2: centres dominate


def shares(excitatory: float, inhibitory: float, **more: Any) -> dict[str, Any]:
    rest = 1 - excitatory - inhibitory
    return {"excitatory_share": excitatory, "inhibitory_share": inhibitory, "other_share": round(rest, 9), **more}


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
        f"both centre types in {both} of {len(rows)} banks and sizes, a cluster of others besides in {three}"
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


# NE3 and NE5: gains

GAIN = {"dataset": "d", "architectures": ["a"], "initialisation": "dog", "baseline": "kaiming", "expect": "positive"}
UP, DOWN, FLAT, SMALL = [0.03, 0.04, 0.05], [-0.03, -0.04, -0.05], [-0.04, 0.01, 0.05], [0.0009, 0.001, 0.0011]
FAR_DOWN = [-0.04, -0.041, -0.042]


@pytest.mark.parametrize(
    ("gains", "expect", "margin", "expected"),
    [
        (UP, "positive", 0.002, SUPPORTED),
        (DOWN, "positive", 0.002, NOT_SUPPORTED),
        (FLAT, "positive", 0.002, INCONCLUSIVE),
        (SMALL, "positive", 0.002, SUPPORTED),
        ([-0.0001, 0.0, 0.0002], "positive", 0.002, NOT_SUPPORTED),
        ([-0.0001, 0.0, 0.0002], "positive", 0.0, INCONCLUSIVE),
        ([0.05], "positive", 0.0, INCONCLUSIVE),
        (DOWN, "none", 0.005, SUPPORTED),
        (SMALL, "none", 0.005, SUPPORTED),
        (UP, "none", 0.005, NOT_SUPPORTED),
        (FLAT, "none", 0.005, INCONCLUSIVE),
        ([-0.05], "none", 0.005, INCONCLUSIVE),
    ],
)
def test_ne3_and_ne5(gains, expect, margin, expected):
    row = verdict("gain", runs_of({"a": gains, "other": DOWN}), **GAIN | {"expect": expect, "margin": margin})
    assert row["verdict"] == expected
    assert row["value"] == pytest.approx(np.mean(gains))
    if len(gains) > 1:
        interval = stats.ttest_1samp(gains, 0).confidence_interval()
        np.testing.assert_allclose([row["low"], row["high"]], interval)
    else:
        assert np.isnan([row["low"], row["high"]]).all()


def test_gains_are_averaged_over_architectures_seed_by_seed():
    row = verdict(
        "gain", runs_of({"a": [0.1, -0.1, 0.3], "b": [-0.1, 0.12, -0.28]}), **GAIN | {"architectures": ["a", "b"]}
    )
    interval = stats.ttest_1samp([0.0, 0.01, 0.01], 0).confidence_interval()
    assert row["value"] == pytest.approx(0.02 / 3)
    np.testing.assert_allclose([row["low"], row["high"]], interval)


@pytest.mark.parametrize(
    "change", [{"dataset": "e"}, {"architectures": ["z"]}, {"initialisation": "z"}, {"baseline": "z"}]
)
def test_gains_without_runs_were_not_run(change):
    row = verdict("gain", runs_of({"a": UP}), **GAIN | change)
    assert (row["verdict"], row["value"], row["reason"]) == (NOT_RUN, None, "this preset has no such runs")


ASKED = {
    "dataset": "d",
    "architectures": ["a"],
    "initialisation": "dog",
    "baseline": "kaiming",
    "expect": "postive",
}


def test_a_gain_that_expects_something_else_is_refused():
    with pytest.raises(EchosError, match="expect must be 'positive' or 'none', not 'postive'"):
        verdict("gain", runs_of({"a": UP}), **ASKED)


def test_a_gain_tells_what_its_seeds_could_have_seen():
    assert verdict("gain", runs_of({"a": UP}), **GAIN)["reason"] == "3 seeds find 3.3 points with 80 % power"
    assert verdict("gain", runs_of({"a": [0.03, 0.03, 0.03]}), **GAIN)["verdict"] == SUPPORTED
    assert verdict("gain", runs_of({"a": [0.1]}), **GAIN)["reason"] == ""


@pytest.mark.parametrize("expect", ["none", "positive"])
def test_a_loss_is_named_as_one(expect):
    loss = verdict("gain", runs_of({"a": [-0.03, -0.025, -0.035]}), **ASKED | {"expect": expect})
    assert loss["verdict"] == (SUPPORTED if expect == "none" else NOT_SUPPORTED)
    assert loss["reason"].startswith("no gain: a loss; ")
    none = verdict("gain", runs_of({"a": [-0.03, 0.025, 0.0]}), **ASKED | {"expect": expect})
    assert "loss" not in none["reason"]


def test_runs_that_diverged_are_left_out_and_told():
    tables = runs_of({"a": UP, "b": UP})
    runs = tables["runs"]
    runs.loc[(runs.initialisation == "dog") & (runs.seed == 2) & (runs.architecture == "b"), "top1"] = np.nan
    row = verdict("gain", tables, **GAIN | {"architectures": ["a", "b"]})
    assert row["value"] == pytest.approx(0.035)
    assert row["reason"].endswith("with 80 % power; runs that diverged are left out: 1 of dog")
    assert row["verdict"] == INCONCLUSIVE  # what is left may be the better ones
    runs.loc[runs.initialisation == "dog", "top1"] = np.nan
    row = verdict("gain", tables, **GAIN | {"architectures": ["a", "b"]})
    assert (row["verdict"], row["value"]) == (NOT_RUN, None)
    assert row["reason"] == "runs that diverged are left out: 6 of dog"


# NE4: the gain grows with kernel size

SIZES = {"k3": 3, "k5": 5, "k7": 7, "k9": 9}
GROWS = {"dataset": "d", "architectures": list(SIZES), "initialisation": "dog", "baseline": "kaiming"}


@pytest.mark.parametrize(
    ("slopes", "expected"),
    [
        ([0.01, 0.012, 0.014], SUPPORTED),
        ([-0.01, -0.012, -0.014], NOT_SUPPORTED),
        ([0.01, -0.012, 0.004], INCONCLUSIVE),
        ([0.01], INCONCLUSIVE),
    ],
)
def test_ne4(slopes, expected):
    gains = {name: [0.2 + slope * size for slope in slopes] for name, size in SIZES.items()}
    row = verdict("gain_grows_with_size", runs_of(gains | {"other": UP}, SIZES | {"other": 21}), **GROWS)
    assert row["verdict"] == expected
    assert row["value"] == pytest.approx(np.mean(slopes))
    if len(slopes) > 1:
        np.testing.assert_allclose([row["low"], row["high"]], stats.ttest_1samp(slopes, 0).confidence_interval())


@pytest.mark.filterwarnings("error")
def test_ne4_leaves_out_a_seed_that_lacks_a_size():
    gains = {"k3": [0.01, 0.02, 0.03, 0.9], "k9": [0.07, 0.09, 0.11]}
    row = verdict("gain_grows_with_size", runs_of(gains, SIZES), **GROWS | {"architectures": list(gains)})
    assert row["verdict"] == SUPPORTED
    assert row["value"] == pytest.approx(np.mean([0.06, 0.07, 0.08]) / 6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gains", [{}, {"k3": UP}, {"k3": [0.1], "k5": [np.nan, 0.1]}])
def test_ne4_with_one_size_was_not_run(gains):
    tables = runs_of(gains, SIZES) if gains else {}
    if "k5" in gains:  # each seed has another size
        tables["runs"] = tables["runs"].dropna(subset="top1")
    row = verdict("gain_grows_with_size", tables, **GROWS)
    assert (row["verdict"], row["value"]) == (NOT_RUN, None)


# NE6: variety matters

VARIETY = {
    "dataset": "d",
    "architecture": "a",
    "varied": "dog",
    "fixed_gamma": ["dog_0.3", "dog_0.5"],
    "one_centre": ["dog_excitatory"],
}


def variants(**differences: Sequence[float]) -> dict[str, pd.DataFrame]:
    """Make runs of dog, and of variants that it beats by the given differences."""
    rows = []
    for name, values in {"dog": [0.0, 0.0, 0.0], **differences}.items():
        for seed, value in enumerate(values):
            top1 = 0.5 + 0.1 * seed - value
            cell = {"dataset": "d", "architecture": "a", "initialisation": name.replace("_0", "_0."), "seed": seed}
            rows.append({**cell, "kernel_size": 9, "top1": top1})
    return {"runs": pd.DataFrame(rows).reindex(columns=SCHEMAS["runs"].names)}


@pytest.mark.parametrize(
    ("differences", "expected", "least"),
    [
        ({"dog_03": UP, "dog_05": [0.02, 0.021, 0.022], "dog_excitatory": UP}, SUPPORTED, "dog_0.5"),
        ({"dog_03": UP, "dog_05": UP, "dog_excitatory": FAR_DOWN}, NOT_SUPPORTED, "dog_excitatory"),
        # by itself it is below (p .02), but the least of three is below more easily
        ({"dog_03": UP, "dog_05": UP, "dog_excitatory": DOWN}, INCONCLUSIVE, "dog_excitatory"),
        ({"dog_03": FLAT, "dog_05": UP, "dog_excitatory": UP}, INCONCLUSIVE, "dog_0.3"),
        ({"dog_03": FLAT, "dog_05": FAR_DOWN, "dog_excitatory": UP}, NOT_SUPPORTED, "dog_0.5"),
        ({"dog_03": UP, "dog_05": [0.01], "dog_excitatory": UP}, INCONCLUSIVE, "dog_0.5"),
    ],
)
def test_ne6(differences, expected, least):
    row = verdict("variety_matters", variants(**differences), **VARIETY)
    assert row["verdict"] == expected
    assert row["reason"].startswith(f"the least difference is to {least}")
    assert row["value"] == pytest.approx(np.mean(differences[least.replace(".", "")]))


@pytest.mark.parametrize("missing", ["dog_03", "dog_05", "dog_excitatory"])
def test_ne6_without_one_of_the_variants_was_not_run(missing):
    differences = {name: UP for name in ("dog_03", "dog_05", "dog_excitatory") if name != missing}
    row = verdict("variety_matters", variants(**differences), **VARIETY)
    assert (row["verdict"], row["value"]) == (NOT_RUN, None)


# Not run at this scale


@pytest.mark.parametrize("gains", [UP, DOWN, FLAT])
def test_runs_on_another_data_set_give_a_remark_and_no_verdict(gains):
    here = verdict("gain", runs_of({"a": gains}), **GAIN)
    row = verdict("gain", runs_of({"a": gains}), needs="imagenet", **GAIN)
    assert row["verdict"] == NOT_RUN
    told = f"the claim is about imagenet; at this scale the same rule reads: {here['verdict']} ({here['reason']})"
    assert row["reason"] == told
    assert (row["value"], row["low"], row["high"]) == (here["value"], here["low"], here["high"])


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
    assert lone["reason"] == "4 trained networks with a published top-1 at hand, at least 5 are needed"


# Of several data sets and roles


def test_banks_of_another_data_set_give_a_remark_and_no_verdict():
    row = verdict("structure_beats_controls", structure_of(*BEYOND), needs="imagenet")
    assert row["verdict"] == NOT_RUN
    assert "the claim is about imagenet; at this scale the same rule reads: supported (7×7: +50.0 [" in row["reason"]


def test_depthwise_banks_of_other_data_sets_do_not_count_beside_those_that_a_claim_is_about():
    elsewhere = [row | {"trained_on": "imagenet"} for row in BEYOND]
    alone = verdict("structure_beats_controls", structure_of(*elsewhere), needs="imagenet")
    beside = [*elsewhere, networks("depthwise", 0.01)[0]]  # it would turn the verdict
    row = verdict("structure_beats_controls", structure_of(*beside), needs="imagenet")
    assert (row["verdict"], row["value"], row["low"]) == (SUPPORTED, alone["value"], alone["low"])
    assert row["reason"] == f"{alone['reason']}; depthwise networks trained on d do not count"
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
