"""Evaluation: runs gathered from real folders, and differences paired by seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neural_echos.errors import EchosError
from neural_echos.evaluation import (
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
from neural_echos.files import write_json
from neural_echos.tables import SCHEMAS, write_table


def write_run(
    folder: Path, initialisation: str, seed: int, top1: float | None, *, epochs: int = 2, **changes: Any
) -> Path:
    """Write a run's two files as the training room writes them."""
    names = {"dataset": "photographs", "architecture": "convmixer", "initialisation": initialisation, "seed": seed}
    names |= {key: changes.pop(key) for key in ("dataset", "architecture") if key in changes}
    path = folder / f"{names['dataset']}-{names['architecture']}-{initialisation}-{seed}"
    scores = {"learning_rate": 0.1, "train_loss": 1.5, "loss": 1.0, "top5": 1.0}
    rows = [{**names, "epoch": epoch + 1, "top1": epoch / 10, **scores} for epoch in range(epochs)]
    write_table(path / "history.parquet", pa.Table.from_pylist(rows, schema=SCHEMAS["history"]), "history")
    metrics = {"loss": 1.0, "top1": top1, "top5": 1.0, "epochs": epochs, "parameters": 10, "kernel_size": 9}
    write_json(path / "metrics.json", {**metrics, "train_images": 100, "test_images": 50, **changes})
    return path


def runs_of(top1: Mapping[tuple[str, str, int], float], kernel_size: int = 9) -> pd.DataFrame:
    """Make a runs table from {(architecture, initialisation, seed): top1} on the dataset "d"."""
    rows = [
        {"dataset": "d", "architecture": a, "initialisation": i, "seed": s, "kernel_size": kernel_size, "top1": value}
        for (a, i, s), value in top1.items()
    ]
    runs = pd.DataFrame(rows).reindex(columns=SCHEMAS["runs"].names)
    return runs.assign(area=runs.top1 / 2, diverged=runs.top1.isna())


def histories_of(runs: pd.DataFrame, epochs: int = 4) -> pd.DataFrame:
    """Make histories of these runs that rise in equal steps to each run's top-1."""
    steps = [runs.assign(epoch=epoch, top1=runs.top1 * epoch / epochs) for epoch in range(1, epochs + 1)]
    return pd.concat(steps, ignore_index=True).reindex(columns=SCHEMAS["history"].names)


def compared(runs: pd.DataFrame, measure: str = "top1", **options: Any) -> list[dict[str, Any]]:
    """Compare runs with rising histories, and take the rows of one measure."""
    table = compare(runs, histories_of(runs), **options)
    assert table.schema.equals(SCHEMAS["comparisons"], check_metadata=False)
    return [row for row in table.to_pylist() if row["measure"] == measure]


# Intervals


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_is_that_of_scipy(values, confidence):
    mean, low, high = mean_interval(values, confidence)
    assert mean == pytest.approx(np.mean(values), abs=1e-12)
    if np.std(values) > 1e-9:
        expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        np.testing.assert_allclose([low, high], expected, rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_allclose([low, high], mean, atol=1e-7)


def test_one_value_has_a_mean_and_no_interval():
    mean, low, high = mean_interval([0.25])
    assert mean == 0.25
    assert np.isnan([low, high]).all()
    assert np.isnan(mean_interval([])).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8))
def test_the_bootstrap_interval_lies_among_the_values(values):
    low, high = bootstrap_interval(values)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


@pytest.mark.parametrize("n", [5, 8])
def test_the_bootstrap_interval_is_that_of_scipy(n):
    values = np.random.default_rng(n).normal(0, 1, n)
    options = {"method": "percentile", "n_resamples": 9999, "rng": np.random.default_rng(1)}
    expected = stats.bootstrap((values,), np.mean, **options).confidence_interval
    np.testing.assert_allclose(bootstrap_interval(values), expected, atol=0.05)


def test_with_three_values_the_bootstrap_interval_is_their_range():
    assert bootstrap_interval([0.1, 0.5, 0.3]) == pytest.approx((0.1, 0.5))
    assert np.isnan(bootstrap_interval([0.1])).all()


@given(st.lists(st.floats(-1, 1).map(lambda value: round(value, 6)), min_size=2, max_size=8))
def test_p_is_that_of_scipy(differences):
    p = paired_p(differences)
    if np.std(differences) > 1e-9:
        assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-6, abs=1e-12)
    elif np.ptp(differences) == 0:
        assert np.isnan(p) if any(differences) else p == 1
    assert np.isnan(paired_p(differences[:1]))


# Families of tests


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, and a larger p never becomes the smaller one
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.03, np.nan, 0.01]), [0.03, np.nan, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p):
    corrected, order = holm(p), np.argsort(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(np.asarray(p) * len(p), 1) + 1e-12).all()
    assert (np.diff(corrected[order]) >= 0).all()


def test_holm_finds_nothing_in_nothing_in_95_of_100_families():
    p = np.random.default_rng(0).random((2000, 10))
    assert np.mean([holm(family).min() < 0.05 for family in p]) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("n", [3, 5])
def test_the_detectable_difference_is_found_in_80_of_100_experiments(n):
    rng = np.random.default_rng(0)
    unit = np.linspace(-1, 1, n)
    smallest = detectable(unit / unit.std(ddof=1))  # of a deviation of 1
    found = stats.ttest_1samp(rng.normal(smallest, 1, (20_000, n)), 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert detectable(0.3 + 0.02 * unit / unit.std(ddof=1)) == pytest.approx(0.02 * smallest)


def test_one_difference_or_equal_ones_tell_nothing_of_what_could_be_seen():
    assert np.isnan([detectable([0.1]), detectable([]), detectable([0.1, 0.1])]).all()


# Pairs


def test_differences_are_paired_by_seed_and_by_nothing_else():
    dogs, kaimings = {0: 0.9, 1: 0.5, 2: 0.7, 7: 0.1}, {2: 0.6, 1: 0.2, 0: 0.85, 8: 0.9}
    runs = runs_of(
        {("a", "dog", seed): value for seed, value in dogs.items()}
        | {("a", "kaiming", seed): value for seed, value in kaimings.items()}
        | {("a", "default", 0): 0.0, ("b", "dog", 0): 0.3, ("b", "kaiming", 1): 0.3}
    )
    for frame in (runs, runs.sample(frac=1, random_state=0)):
        pairs = paired(frame, "dog", "kaiming")
        assert pairs[["architecture", "seed"]].values.tolist() == [["a", 0], ["a", 1], ["a", 2]]
        np.testing.assert_allclose(pairs.difference, [0.05, 0.3, 0.1])
        np.testing.assert_allclose(pairs.top1 - pairs.baseline_top1, pairs.difference)
    # that pairing matters here: the unpaired interval is another
    _, low, high = mean_interval(pairs.difference.to_numpy())
    apart = stats.ttest_ind(pairs.top1, pairs.baseline_top1).confidence_interval()
    assert high - low < 0.7 * (apart.high - apart.low)


def test_initialisations_that_share_no_seed_have_no_pair():
    assert paired(runs_of({("a", "dog", 0): 0.5, ("a", "kaiming", 1): 0.5}), "dog", "kaiming").empty
    assert paired(SCHEMAS["runs"].empty_table().to_pandas(), "dog", "kaiming").empty


def test_every_initialisation_is_compared_with_every_baseline():
    rng = np.random.default_rng(0)
    tops = {
        (a, i, s): rng.random() for a in ("a", "b") for i in ("default", "kaiming", "dog", "dog_half") for s in range(4)
    }
    rows = compared(runs_of(tops), baselines=("kaiming", "default", "absent"))
    pairs = [("default", "kaiming"), ("dog", "default"), ("dog", "kaiming")]
    pairs += [("dog_half", "default"), ("dog_half", "kaiming"), ("kaiming", "default")]
    found = [(row["architecture"], row["initialisation"], row["baseline"]) for row in rows]
    assert found == [(a, *pair) for a in ("a", "b") for pair in pairs]
    for row in rows:
        ours, theirs = (
            np.array([tops[row["architecture"], row[name], seed] for seed in range(4)])
            for name in ("initialisation", "baseline")
        )
        test = stats.ttest_rel(ours, theirs)
        np.testing.assert_allclose([row["low"], row["high"]], test.confidence_interval(0.95), rtol=1e-9)
        np.testing.assert_allclose([row["difference"], row["p"]], [(ours - theirs).mean(), test.pvalue])
        np.testing.assert_allclose([row["value"], row["baseline_value"]], [ours.mean(), theirs.mean()])
        assert row["bootstrap_low"] <= row["difference"] <= row["bootstrap_high"]
        assert row["detectable"] == detectable(ours - theirs)
        assert (row["seeds"], row["diverged"], row["kernel_size"], row["dataset"]) == (4, 0, 9, "d")
    for baseline in ("default", "kaiming"):  # a family: all architectures and initialisations against one baseline
        family = [row for row in rows if row["baseline"] == baseline]
        np.testing.assert_allclose([row["p_holm"] for row in family], holm([row["p"] for row in family]))


def test_the_area_is_compared_as_top1_is():
    runs = runs_of({("a", name, seed): 0.5 + 0.1 * seed for name in ("dog", "kaiming") for seed in range(3)})
    runs["area"] = [0.4, 0.5, 0.6, 0.3, 0.3, 0.3]
    (row,) = compared(runs, "area", baselines=["kaiming"])
    assert (row["value"], row["baseline_value"], row["difference"]) == pytest.approx((0.5, 0.3, 0.2))
    assert row["target"] is None


def test_one_seed_gives_a_difference_without_an_interval():
    (row,) = compared(runs_of({("a", "dog", 0): 0.5, ("a", "kaiming", 0): 0.25}), baselines=["kaiming"])
    assert (row["difference"], row["seeds"]) == (0.25, 1)
    assert all(row[name] is None for name in ("low", "high", "bootstrap_low", "p", "p_holm", "detectable"))


def test_without_a_baseline_nothing_is_compared(tmp_path):
    runs = runs_of({("a", "dog", 0): 0.5, ("a", "dog_half", 0): 0.25})
    table = compare(runs, histories_of(runs), baselines=["kaiming"])
    assert table.num_rows == 0
    write_table(tmp_path / "x.parquet", table, "comparisons")


# Epochs to a target


def test_epochs_to_target_by_hand():
    tops = {0: [0.1, 0.5, 0.4, 0.6], 1: [0.1, 0.2, 0.3, 0.49], 2: [0.7, 0.1, 0.1, 0.1]}
    cell = {"dataset": "d", "architecture": "a", "initialisation": "dog"}
    rows = [
        {**cell, "seed": seed, "epoch": epoch, "top1": top1}
        for seed, curve in tops.items()
        for epoch, top1 in enumerate(curve, 1)
    ]
    found = epochs_to_target(pd.DataFrame(rows).sample(frac=1, random_state=0), 0.5)
    assert found[["seed", "epochs_to_target", "censored"]].values.tolist() == [
        [0, 2, False],
        [1, 5, True],
        [2, 1, False],
    ]


def test_a_run_that_never_reaches_the_target_counts_as_its_epochs_and_one():
    tops = {("a", "kaiming", seed): 0.8 for seed in range(3)} | {("a", "dog", seed): 0.5 for seed in range(3)}
    runs = runs_of(tops | {("a", "dog", 2): 0.9})
    (row,) = compared(runs, "epochs_to_target", baselines=["kaiming"])  # of 4 epochs, in equal steps
    assert row["target"] == pytest.approx(0.72)
    assert (row["baseline_value"], row["baseline_censored"]) == (4, 0)
    assert (row["value"], row["censored"]) == (pytest.approx((5 + 5 + 4) / 3), 2)
    (row,) = compared(runs, "epochs_to_target", baselines=["kaiming"], target=0.25)
    assert (row["target"], row["value"], row["censored"]) == (pytest.approx(0.2), pytest.approx((2 + 2 + 1) / 3), 0)


@pytest.mark.parametrize("target", [0, -0.5, 1.5, float("nan")])
def test_a_target_that_is_no_share_is_refused(target):
    with pytest.raises(EchosError, match=r"^comparisons: target must be a share above 0 and at most 1, not"):
        compared(runs_of({("a", "kaiming", 0): 0.5}), target=target)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1))
def test_the_target_is_reached_at_that_epoch_and_not_before(curve, target):
    names = {"dataset": "d", "architecture": "a", "initialisation": "dog", "seed": 0}
    rows = [{**names, "epoch": epoch, "top1": top1} for epoch, top1 in enumerate(curve, 1)]
    (found,) = epochs_to_target(pd.DataFrame(rows), target).itertuples()
    epoch = int(found.epochs_to_target)
    assert all(top1 < target for top1 in curve[: epoch - 1])
    assert found.censored == (epoch == len(curve) + 1)
    assert found.censored or curve[epoch - 1] >= target


# Runs that diverged


def test_a_run_that_diverged_has_no_pair_and_is_counted():
    tops = {("a", "kaiming", seed): 0.5 for seed in range(4)}
    tops |= {("a", "dog", seed): value for seed, value in enumerate([0.6, np.nan, 0.8, 0.7])}
    for measure in ("top1", "area", "epochs_to_target"):
        (row,) = compared(runs_of(tops), measure, baselines=["kaiming"])
        assert (row["seeds"], row["diverged"]) == (3, 1)
        assert np.isfinite([row["value"], row["difference"], row["low"]]).all()
    assert len(paired(runs_of(tops), "dog", "kaiming")) == 3
    (row,) = compared(runs_of(tops | {("a", "dog", seed): np.nan for seed in range(4)}), baselines=["kaiming"])
    assert (row["seeds"], row["diverged"], row["value"], row["difference"], row["p"]) == (0, 4, None, None, None)
    # against a baseline that diverged in all runs there is nothing to compare with
    assert compared(runs_of(tops | {("a", "kaiming", seed): np.nan for seed in range(4)}), baselines=["kaiming"]) == []


# Runs


def test_runs_are_gathered_sorted_and_writable(tmp_path):
    folders = [write_run(tmp_path, name, seed, seed / 4) for seed in (1, 0, 2) for name in ("kaiming", "dog")]
    folders.append(write_run(tmp_path, "dog", 0, 0.5, dataset="digits", kernel_size=3))
    table = gather_runs(folders)
    assert table.equals(gather_runs(map(str, reversed(folders))))
    rows = table.to_pylist()
    assert [(row["dataset"], row["initialisation"], row["seed"]) for row in rows] == [
        ("digits", "dog", 0),
        *[("photographs", name, seed) for name in ("dog", "kaiming") for seed in range(3)],
    ]
    assert [row["top1"] for row in rows] == [0.5, *[0, 0.25, 0.5] * 2]
    assert [row["kernel_size"] for row in rows] == [3, *[9] * 6]
    assert (rows[0]["train_images"], rows[0]["test_images"], rows[0]["epochs"], rows[0]["parameters"]) == (
        100,
        50,
        2,
        10,
    )
    write_table(tmp_path / "runs.parquet", table, "runs")


def test_runs_have_the_area_under_their_learning_curves_unless_they_diverged(tmp_path):
    whole = write_run(tmp_path, "dog", 0, 0.5, epochs=3)  # top-1 of 0, .1, .2
    said = write_run(tmp_path, "dog", 1, 0.5, epochs=3, diverged=False)
    lost = write_run(tmp_path, "dog", 2, None, epochs=2, diverged=True, loss=None, top5=None)
    table = gather_runs([whole, said, lost])
    rows = table.to_pylist()
    assert [row["diverged"] for row in rows] == [False, False, True]
    assert [row["area"] for row in rows] == [pytest.approx(0.1), pytest.approx(0.1), None]
    assert [rows[2][name] for name in ("loss", "top1", "top5")] == [None] * 3
    write_table(tmp_path / "runs.parquet", table, "runs")
    assert gather_histories([lost]).num_rows == 2


def test_histories_are_gathered_by_run_and_epoch(tmp_path):
    folders = [write_run(tmp_path, name, seed, 0.5, epochs=3) for seed in (1, 0) for name in ("kaiming", "dog")]
    rows = gather_histories(folders).to_pylist()
    expected = [(name, seed, epoch) for name in ("dog", "kaiming") for seed in (0, 1) for epoch in (1, 2, 3)]
    assert [(row["initialisation"], row["seed"], row["epoch"]) for row in rows] == expected


def test_a_run_that_is_listed_twice_is_refused_by_name(tmp_path):
    first, other = write_run(tmp_path / "a", "dog", 3, 0.5), write_run(tmp_path / "b", "dog", 3, 0.6)
    for folders in ([first, first], [first, other]):
        with pytest.raises(EchosError, match="photographs/convmixer/dog/3 is listed twice"):
            gather_runs(folders)


def test_a_run_that_is_not_finished_is_refused_by_name(tmp_path):
    run = write_run(tmp_path, "dog", 0, 0.5)
    (run / "metrics.json").unlink()
    with pytest.raises(EchosError, match=f"{run}/metrics.json: there is no such file"):
        gather_runs([run])
    run = write_run(tmp_path, "dog", 0, 0.5)
    (run / "history.parquet").unlink()
    for gather in (gather_runs, gather_histories):
        with pytest.raises(EchosError, match=f"{run}/history.parquet: there is no such history table"):
            gather([run])


@pytest.mark.parametrize("metrics", [{}, {"top1": 0.5}, [], "text", None])
def test_a_run_with_other_metrics_is_refused_by_name(tmp_path, metrics):
    run = write_run(tmp_path, "dog", 0, 0.5)
    write_json(run / "metrics.json", metrics)
    with pytest.raises(
        EchosError, match=f"^{run}: the run is not finished: its history or one of the metrics kernel_size, "
    ):
        gather_runs([run])


def test_a_run_without_an_epoch_is_refused_by_name(tmp_path):
    with pytest.raises(EchosError, match="the run is not finished"):
        gather_runs([write_run(tmp_path, "dog", 0, 0.5, epochs=0)])
