"""Figures of trained accuracy: learning curves, gains by architecture, kernel size and number of images."""

import numpy as np
import pandas as pd
import pytest

from neural_echos.artifacts.accuracy import (
    MEAN_ROW,
    accuracy_by_images,
    few_against_many,
    gain_forest,
    gain_slopes,
    gains,
    learning_curves,
    left_out,
    t_interval,
)
from neural_echos.errors import EchosError
from neural_echos.evaluation import detectable, mean_interval

ASKED = {"dataset": "whole", "architectures": ["b", "a"], "initialisations": ["default", "kaiming", "dog"]}
PARTS = {"datasets": ["tenth", "third", "whole"], "architectures": ["a"], "initialisations": ["default", "dog"]}
PARTS |= {"baseline": "default"}


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text")))


def test_learning_curves_are_differences_from_the_first_initialisation_by_seed(experiments):
    curves = learning_curves(experiments()["history"], **ASKED)
    assert list(dict.fromkeys(curves.architecture)) == ["b", "a"]
    assert list(dict.fromkeys(curves.initialisation)) == ["default", "kaiming", "dog"]
    assert len(curves) == 2 * 3 * 3 * 2  # architectures, initialisations, seeds, epochs
    kaiming = curves[(curves.initialisation == "kaiming") & (curves.epoch == 2)]
    np.testing.assert_allclose(kaiming.difference, 1.0, atol=1e-9)
    np.testing.assert_allclose(curves.top1 - curves.baseline_top1, curves.difference)


def test_learning_curves_need_another_initialisation_to_compare_with(experiments):
    history = experiments()["history"].query("initialisation == 'default'")
    with pytest.raises(EchosError, match=r"^there are no learning curves of default and another .* on b and whole"):
        learning_curves(history, **ASKED)


def test_figure_9_draws_one_panel_per_architecture_and_initialisation(experiments, run_notebook):
    ran = run_notebook("figure_09_training_curves", {"history": experiments()["history"]}, ASKED)
    assert len(ran.content.axes) == 2 * 2
    assert [axis.get_title() for axis in ran.content.axes[:2]] == ["", ""]
    assert [axis.get_title(loc="left") for axis in ran.content.axes[:2]] == ["Kaiming", "DoG"]
    assert ran.shown[1].difference.notna().all()
    assert "whole, 3 seeds" in ran.says and "Kaiming +1.0; DoG +2.0 points" in ran.says


def test_figure_9_says_what_every_architecture_reaches_at_its_own_last_epoch(experiments, run_notebook):
    history = experiments()["history"]
    longer = history[(history.architecture == "b") & (history.epoch == 2)]
    longer = longer.assign(epoch=3, top1=longer.top1 + 0.1 * (longer.initialisation == "dog"))
    ran = run_notebook("figure_09_training_curves", {"history": pd.concat([history, longer])}, ASKED)
    assert "At the end" in ran.says and "Kaiming +1.0; DoG +7.0 points. After" in ran.says  # the mean of +12.0 and +2.0


def test_figure_9_says_where_all_seeds_diverged(experiments, run_notebook):
    ran = run_notebook("figure_09_training_curves", {"history": experiments(lost=(0, 1, 2))["history"]}, ASKED)
    assert texts(ran.content).count("all seeds diverged") == 2
    assert "nan" not in ran.says


def test_a_forest_has_each_architecture_and_their_mean_by_seed(experiments):
    runs = experiments()["runs"]
    seeds, summary = gain_forest(runs, **ASKED)
    assert list(dict.fromkeys(summary.row)) == ["b, 7×7", "a, 3×3", MEAN_ROW]
    assert list(dict.fromkeys(summary.baseline)) == ["default", "kaiming"]
    top1 = runs.query("dataset == 'whole'").pivot_table(
        index=["architecture", "seed"], columns="initialisation", values="top1"
    )
    difference = 100 * (top1.dog - top1.kaiming)
    one = summary[(summary.row == "a, 3×3") & (summary.baseline == "kaiming")].iloc[0]
    np.testing.assert_allclose(one[["difference", "low", "high"]].astype(float), mean_interval(difference["a"]))
    np.testing.assert_allclose(one.detectable, detectable(difference["a"].to_numpy()))
    mean = summary[(summary.row == MEAN_ROW) & (summary.baseline == "kaiming")].iloc[0]
    np.testing.assert_allclose(mean.difference, difference.groupby("seed").mean().mean())
    np.testing.assert_allclose(t_interval(difference["a"]), one[["low", "high"]].astype(float))
    assert MEAN_ROW not in set(gain_forest(runs, **ASKED | {"architectures": ["a"]})[0].row)
    assert len(seeds) == 2 * 3 * 3


@pytest.mark.parametrize("name", ["figure_11_second_data_set", "gain_forest"])
def test_forests_of_gains_are_drawn_and_summed_up(experiments, run_notebook, name):
    ran = run_notebook(name, {"runs": experiments()["runs"]}, ASKED)
    assert [tick.get_text() for tick in ran.content.axes[0].get_yticklabels()] == ["b, 7×7", "a, 3×3", MEAN_ROW]
    assert "Gain of DoG on whole in points, mean of architectures: +2.0 [" in ran.says
    assert {"← worse", "better →"} <= {text.get_text().strip() for text in ran.content.axes[0].texts}
    assert "n = 3 seeds" in texts(ran.content)


def test_a_forest_of_one_seed_or_diverged_runs_says_so(experiments, run_notebook):
    ran = run_notebook("gain_forest", {"runs": experiments(seeds=1)["runs"]}, ASKED)
    assert "[one seed]" in ran.says and "nan" not in ran.says and "80 %" not in ran.says
    runs = experiments(lost=(1,))["runs"]
    assert left_out(runs, **ASKED) == " Left out: 2 diverged runs excluded."
    gone = runs.assign(top1=runs.top1.where((runs.architecture == "a") | (runs.initialisation == "default")))
    ran = run_notebook("gain_forest", {"runs": gone}, ASKED)
    assert "no pair of runs on b" in ran.says
    assert "b, 7×7" not in set(ran.shown[1].row)


def test_runs_without_a_shared_seed_are_refused(experiments):
    runs = experiments()["runs"].query("initialisation != 'dog'")
    with pytest.raises(
        EchosError, match=r"^on whole no run of dog that did not diverge shares its seed with a run of default"
    ):
        gains(runs, **ASKED)


def test_slopes_are_fitted_to_seeds_that_have_every_architecture(experiments):
    seeds = gains(experiments(lost=(2,))["runs"], **ASKED)
    extra = seeds[seeds.seed == 0].assign(seed=7, architecture="a", kernel_size=3).drop_duplicates("baseline")
    slopes = gain_slopes(pd.concat([seeds, extra], ignore_index=True), 2)
    wide = seeds[seeds.baseline == "default"].pivot_table(index="seed", columns="kernel_size", values="difference")
    by_seed = (wide[7] - wide[3]) / 4
    assert slopes.seeds.tolist() == [2, 2]
    np.testing.assert_allclose(slopes[["slope", "low", "high"]].iloc[0].astype(float), mean_interval(by_seed))
    assert gain_slopes(seeds, 3).slope.isna().all()


def test_figure_10_draws_the_tested_slope(experiments, run_notebook):
    options = {
        "dataset": "whole",
        "architectures": ["a", "b"],
        "initialisation": "dog",
        "baselines": ["default", "kaiming"],
    }
    ran = run_notebook("figure_10_gain_by_kernel_size", {"runs": experiments()["runs"]}, options)
    assert "over Kaiming +1.0" in ran.says and "points per tap" in ran.says
    assert [axis.get_title(loc="left") for axis in ran.content.axes] == ["DoG minus default", "DoG minus Kaiming"]
    assert any(line.get_linestyle() == "--" for line in ran.content.axes[0].lines)
    assert {"seeds", "difference", "slope"} <= set(ran.shown[1])


def test_few_images_are_compared_with_many_by_seed(experiments):
    seeds = accuracy_by_images(experiments(seeds=5, lost=(3,))["runs"], **PARTS)
    assert seeds[seeds.initialisation == "default"].difference.eq(0).all()
    pairs = seeds[seeds.initialisation == "dog"]
    more = few_against_many(pairs).iloc[0]
    assert more.seeds == 4  # a seed that diverged on the whole dataset has no difference of differences
    wide = pairs.pivot_table(index="seed", columns="train_images", values="difference")
    np.testing.assert_allclose(more.difference, (wide[1000] - wide[10_000]).dropna().mean())


def test_data_efficiency_says_how_much_more_few_images_gain(experiments, run_notebook):
    ran = run_notebook("data_efficiency", {"runs": experiments(seeds=5)["runs"]}, PARTS)
    assert "DoG on a +2.0 [" in ran.says and "more with few (n = 5 seeds)" in ran.says
    top, bottom = ran.content.axes
    assert top.get_title(loc="left") == "a, n = 5 seeds"
    assert [tick.get_text() for tick in bottom.get_xticklabels()] == ["1,000", "3,000", "10,000"]


def test_data_efficiency_needs_two_numbers_of_images(experiments):
    with pytest.raises(
        EchosError, match=r"^data_efficiency needs runs on at least two numbers of train images, but those on"
    ):
        accuracy_by_images(experiments()["runs"], **PARTS | {"datasets": ["whole"]})
