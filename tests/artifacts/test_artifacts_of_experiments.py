"""Tables of the experiments: initialisations beside a baseline, one statistic a column; few seeds, and runs that diverged."""

import numpy as np
import pandas as pd
import pytest

from neural_echos.artifacts.comparisons import beside_baselines, mean_gain, statistic_cells, value_cells, variant_cells
from neural_echos.artifacts.words import probability
from neural_echos.words import estimate

TABLE = {"dataset": "whole", "architectures": ["a", "b"], "baseline": "default", "scale": "tests"}
ACCURACY = {"dataset": "whole", "architectures": ["a", "c"], "initialisations": ["default", "dog"], "scale": "tests"}


def beside(tables, *cells, dataset="whole", **asked):
    return beside_baselines(tables["runs"], tables["comparisons"], dataset=dataset, cells=cells, **asked)


def test_an_initialisation_stands_beside_its_baseline_with_every_statistic(experiments):
    tables = experiments()
    row = beside(tables, ("a", "dog", "default")).iloc[0]
    top1 = tables["runs"].query("dataset == 'whole' and architecture == 'a'").groupby("initialisation").top1
    np.testing.assert_allclose(
        row[["value", "baseline_value"]].astype(float), 100 * top1.mean()[["dog", "default"]].to_numpy()
    )
    np.testing.assert_allclose(row.deviation, 100 * top1.std(ddof=1)["dog"])
    query = "dataset == 'whole' and architecture == 'a' and initialisation == 'dog' and baseline == 'default'"
    one = tables["comparisons"].query(f"{query} and measure == 'top1'").iloc[0]
    names = ["difference", "low", "high", "detectable"]
    np.testing.assert_allclose(row[names].astype(float), 100 * one[names].astype(float))
    assert (row.p, row.seeds, row.kernel_size) == (one.p_holm, 3, 3)


def test_cells_hold_one_statistic_each(experiments):
    table = beside(experiments(), ("b", "dog", "default"), ("b", "default", "default"))
    table = table.assign(difference=[-0.04, np.nan], low=[-1.26, np.nan], high=[1.0, np.nan], p=[0.0123, np.nan])
    cells = statistic_cells(table.assign(detectable=[2.0, np.nan]))
    assert cells.iloc[0].tolist() == ["+0.0", "−1.3 to +1.0", ".012", "2.0", "3"]
    assert cells.iloc[1].tolist() == ["–", "–", "–", "–", "3"]


def test_cells_say_which_runs_diverged_and_which_are_missing(experiments):
    some, gone = (experiments(lost=lost) for lost in ((1,), (0, 1, 2)))
    assert value_cells(beside(some, ("a", "dog", "default")))[0].endswith(" (1 diverged)")
    lost = beside(gone, ("a", "dog", "default"), ("c", "dog", "default"))
    assert value_cells(lost) == ["diverged (3 of 3)", "not run"]
    assert statistic_cells(lost).iloc[0].tolist() == ["–", "–", "–", "–", "0"]
    assert statistic_cells(lost).iloc[1].tolist() == ["–"] * 5


def test_one_seed_or_equal_differences_have_no_interval(experiments):
    one = statistic_cells(beside(experiments(seeds=1), ("a", "dog", "default"))).iloc[0]
    assert one.tolist()[1:] == ["one seed", "–", "–", "1"]
    epochs = beside(experiments(), ("a", "kaiming", "default"), measures=["epochs_to_target"])
    assert statistic_cells(epochs).iloc[0].tolist() == ["+0.0", "all alike", "1", "–", "3"]


def test_epochs_to_target_tell_the_runs_that_never_arrive(experiments):
    tables = experiments(gain=-0.5)
    epochs = beside(
        tables, ("a", "dog", "default"), ("a", "default", "default"), dataset="tenth", measures=["epochs_to_target"]
    )
    assert value_cells(epochs) == ["3.0 (3 never)", "2.0"]
    target = (
        90
        * tables["runs"].query("dataset == 'tenth' and architecture == 'a' and initialisation == 'default'").top1.mean()
    )
    np.testing.assert_allclose(epochs.target, target)


@pytest.mark.parametrize(
    ("p", "told"), [(0.0001, "<.001"), (0.0123, ".012"), (0.5, ".5"), (0.999, "1"), (1, "1"), (np.nan, "–")]
)
def test_probabilities_are_short(p, told):
    assert probability(p) == told


def test_options_of_variants_are_their_columns():
    dog = {
        "scheme": "dog",
        "gamma": {"uniform": [0.3, 0.7]},
        "centres": "random",
        "share": 0.5,
        "scale": "match_default",
    }
    cells = variant_cells({"default": {}, "dog": dog, "fixed": dog | {"gamma": [0.3, 0.5]}})
    assert cells.iloc[0].tolist() == ["–"] * 4
    assert cells.iloc[1].tolist() == ["0.3 to 0.7", "random", "0.5", "match default"]
    assert cells["γ"][2] == "0.3, 0.5"


def test_table_1_compares_the_last_initialisation_with_each_baseline(experiments, run_notebook):
    tables = experiments()
    inputs = {name: tables[name] for name in ("runs", "comparisons")}
    options = ACCURACY | {"architectures": ["a", "b"], "initialisations": ["default", "kaiming", "dog"]}
    ran = run_notebook("table_1_accuracy", inputs, options)
    assert list(ran.content)[2:] == [
        *("DoG, %", "baseline", "baseline, %", "difference", "95 % interval", "p", "detectable", "seeds")
    ]
    assert ran.content[["architecture", "kernel", "baseline"]].values.tolist() == [
        *(["a", "3×3", "default"], ["a", "3×3", "Kaiming"], ["b", "7×7", "default"], ["b", "7×7", "Kaiming"])
    ]
    whole = tables["runs"].query("dataset == 'whole'")
    assert f"over Kaiming {estimate(*mean_gain(whole, 'dog', 'kaiming'))} points" in ran.says
    assert "With 3 seeds a difference" in ran.says and ran.says.endswith("Scale: tests.")


def test_table_1_is_made_where_all_runs_diverged(experiments, run_notebook):
    tables = experiments(lost=(0, 1, 2))
    ran = run_notebook("table_1_accuracy", {name: tables[name] for name in ("runs", "comparisons")}, ACCURACY)
    assert ran.content["DoG, %"].tolist() == ["diverged (3 of 3)", "not run"]
    assert "over default – points" in ran.says


def test_table_2_ranks_its_variants(experiments, run_notebook):
    tables = experiments()
    options = {"dataset": "whole", "architecture": "b", "reference": "default", "scale": "tests"}
    variants = {"default": {}, "kaiming": {}, "dog": {"gamma": 0.5, "centres": "random", "share": 1, "scale": "raw"}}
    ran = run_notebook(
        "table_2_ablation", {name: tables[name] for name in ("runs", "comparisons")}, options | {"variants": variants}
    )
    assert ran.content.initialisation.tolist() == ["default", "Kaiming", "DoG"]
    assert ran.content["γ"].tolist() == ["–", "–", "0.5"]
    assert "b on whole: from 39.7 % (default) to" in ran.says and "% (DoG)" in ran.says


def test_all_initialisations_are_told_by_three_measures(experiments, run_notebook):
    tables = experiments()
    ran = run_notebook("initialisations_compared", {name: tables[name] for name in ("runs", "comparisons")}, TABLE)
    assert ran.content.groupby("measure", sort=False).size().to_dict() == dict.fromkeys(
        ("final top-1, %", "area, %", "epochs to target"), 6
    )
    assert ran.content.initialisation[:3].tolist() == ["default", "Kaiming", "DoG"]
    p = tables["comparisons"].query("dataset == 'whole' and baseline == 'default' and measure == 'top1'").p_holm
    assert f"{(p < 0.05).sum()} of {p.notna().sum()} in final top-1" in ran.says
    assert isinstance(ran.shown[1], pd.DataFrame) and set(ran.shown[1].measure) == {"top1", "area", "epochs_to_target"}
