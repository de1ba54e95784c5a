"""Artifacts of frozen filters that travel, and of a few filters for all kernels: tidy tables, and notebooks on small tables."""

import numpy as np
import pandas as pd
import pytest

from neural_echos.artifacts.replacements import elimination, left_over, of_runs
from neural_echos.artifacts.transfers import (
    frozen_by_depth_and_source,
    frozen_seeds,
    largest_against_smallest,
    ranges,
    transfers,
    zeroed,
)
from neural_echos.errors import EchosError
from neural_echos.evaluation import compare
from neural_echos.tables import SCHEMAS

TOPS = {"default": 0.5, "small": 0.45, "one": 0.49, "two": 0.5, "random": 0.4, "mixed": 0.41, "pw": 0.3, "first": 0.5}
VARIANTS = {
    "default": {"scheme": "default"},
    "first": {"scheme": "transfer", "trained_on": "s3", "of": "m", "depths": [0, 0]},
    "one": {"scheme": "transfer", "trained_on": "s2", "of": "m"},
    "two": {"scheme": "transfer", "trained_on": "s3", "of": "m"},
    "small": {"scheme": "transfer", "trained_on": "s1", "of": "m"},
    "mixed": {"scheme": "transfer", "taps": "shuffled", "trained_on": "s3", "of": "m"},
    "random": {"scheme": "default", "frozen": True},
    "pw": {"scheme": "pointwise", "rows": "kept"},
}
CELL = {"dataset": "b", "architecture": "m", "baseline": "default"}
SETS = {"dataset": "d", "architectures": ["a"]}
WHOLE = {"parameters": 1, "epochs": 1, "test_images": 1}


def chosen(*names: str) -> dict[str, dict[str, object]]:
    return {name: VARIANTS[name] for name in names}


def runs_of(tops: dict[str, float], seeds: int = 3, lost: tuple[str, ...] = ()) -> pd.DataFrame:
    """Runs on "b" with a mean top-1 each, and of sources "s1" to "s3" with 100 to 10,000 images; those of `lost` diverged."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        usual = {"architecture": "m", "seed": seed, "kernel_size": 5, "area": 0.5, **WHOLE}
        for name, top1 in tops.items():
            score = np.nan if name in lost else top1 + 0.05 * seed + rng.normal(0, 0.002)
            run = {**usual, "dataset": "b", "initialisation": name, "train_images": 1000, "diverged": name in lost}
            rows.append(run | {"top1": score})
        for number in range(1, 4):
            source = {**usual, "dataset": f"s{number}", "initialisation": "default", "diverged": False, "top1": 0.5}
            rows.append(source | {"train_images": 10 ** (number + 1)})
    return pd.DataFrame(rows).reindex(columns=SCHEMAS["runs"].names)


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    history = runs.assign(epoch=1).reindex(columns=SCHEMAS["history"].names)
    return compare(runs, history, baselines=["default"]).to_pandas()


def replacements() -> pd.DataFrame:
    """A control that keeps its kernels, and a set that loses 10 points at every stage."""
    rows = [
        {"dataset": "d", "architecture": "a", "initialisation": "default", "seed": seed, "candidates": name}
        | {
            "filters": filters,
            "stage": stage,
            "test_images": 100,
            "loss": 1.0,
            "top1": 0.8 + 0.05 * seed - lost,
            "top5": 1.0,
        }
        for name, filters, lost in (("eight", 8, 0.1), ("kept", None, 0.0))
        for seed in range(3)
        for stage in ("trained", "replaced", "batch_norm", "fine_tuned")
    ]
    return pd.DataFrame(rows).astype({"filters": "Int16"}).reindex(columns=SCHEMAS["replacements"].names)


def errors() -> pd.DataFrame:
    rows = [
        {
            "dataset": "d",
            "architecture": "a",
            "initialisation": "default",
            "seed": seed,
            "candidates": name,
            "filters": 8,
        }
        | {
            "layer": f"l{place}",
            "layer_index": place,
            "depth": float(place),
            "kernels": 4,
            "filters_used": 2,
            "error": error,
        }
        for name, error in (("random", 0.9), ("eight", 0.2))
        for seed in range(2)
        for place in range(2)
    ]
    return pd.DataFrame(rows).reindex(columns=SCHEMAS["replacement_errors"].names)


def eliminations() -> pd.DataFrame:
    """A set of three 3×3 filters: the trained model, three removals with the elbow at two, and one exchange that gains a point."""
    usual = {"dataset": "d", "architecture": "a", "initialisation": "default", "seed": 0, "candidates": "set"}
    usual |= {
        "images": 12,
        "test_images": 20,
        "loss": 1.0,
        "elbow": False,
        "taps": None,
        "removed": None,
        "added": None,
    }
    taps = [np.eye(3).ravel() * (place + 1) for place in range(4)]
    rows = [
        {"phase": "trained", "filters": None, "top1": 0.9, "test_top1": 0.8},
        {"phase": "elimination", "filters": 3, "top1": 0.8, "test_top1": 0.7},
        {
            "phase": "elimination",
            "filters": 2,
            "top1": 0.75,
            "test_top1": 0.66,
            "removed": 0,
            "taps": taps[0],
            "elbow": True,
        },
        {"phase": "elimination", "filters": 1, "top1": 0.5, "test_top1": None, "removed": 1, "taps": taps[1]},
        {"phase": "elimination", "filters": 0, "top1": 0.1, "test_top1": None, "removed": 2, "taps": taps[2]},
        {"phase": "exchange", "filters": 2, "top1": 0.76, "test_top1": 0.67, "removed": 1, "added": 3, "taps": taps[3]},
    ]
    table = pd.DataFrame([usual | row for row in rows]).reindex(columns=SCHEMAS["eliminations"].names)
    return table.astype({"filters": "Int16", "removed": "Int16", "added": "Int16"})


def test_frozen_runs_are_paired_with_training_from_scratch_by_seed():
    seeds = frozen_seeds(runs_of(TOPS), **CELL, variants=chosen("first", "two", "mixed", "pw"))
    means = seeds.groupby("initialisation", sort=False)
    np.testing.assert_allclose(means.difference.mean(), [0, 0, -9, -20], atol=0.5)
    assert means.depth.first().tolist() == [0, 1, 1, 1]
    assert means.part.first().tolist() == ["depthwise"] * 3 + ["pointwise"]
    assert means.condition.first().tolist() == ["transferred", "transferred", "transferred, shuffled", "transferred"]
    assert means.source_images.first().tolist()[:3] == [10_000] * 3
    with pytest.raises(EchosError, match=r"^b, m: no run of absent has the same seed as a run of default"):
        frozen_seeds(runs_of(TOPS), **CELL, variants={"absent": {"scheme": "default"}})
    with pytest.raises(EchosError, match=r"at least two numbers of train images, but small, random have 1"):
        frozen_by_depth_and_source(runs_of(TOPS), **CELL, variants=chosen("first"), sources=chosen("small", "random"))


def test_the_table_says_from_where_and_against_what(run_notebook):
    variants = chosen("default", "one", "two", "mixed", "random")
    runs = runs_of({name: TOPS[name] for name in variants})
    made = run_notebook(
        "transfer_matrix",
        {"runs": runs, "comparisons": compared(runs)},
        {"datasets": ["b"], "architectures": ["m"], "baseline": "default", "variants": variants, "scale": "tests"},
    )
    rows = made.content.set_index("initialisation")
    kinds = ["trained", "transferred", "transferred", "transferred, shuffled", "random"]
    assert rows["depthwise kernels"].tolist() == kinds
    assert rows["from dataset"].tolist() == ["–", "s2", "s3", "s3", "–"]
    assert rows["difference, points"]["default"] == "–" and rows["Holm p"]["default"] == "–"
    assert rows["difference, points"]["random"].startswith(("−10.", "−9."))
    assert "transferred, shuffled −9" in made.says or "transferred, shuffled −8" in made.says
    assert "Measured at: tests." in made.says


def test_a_condition_whose_runs_diverged_has_no_difference():
    runs = runs_of({name: TOPS[name] for name in ("default", "one")}, lost=("one",))
    table = transfers(
        runs, compared(runs), datasets=["b"], architectures=["m"], baseline="default", variants=chosen("default", "one")
    )
    assert np.isnan(table.difference).all() and np.isnan(table.top1.iloc[1]).all() and not len(ranges(table))


def test_frozen_filters_by_depth_and_by_size_of_the_source_share_a_figure(run_notebook):
    options = {
        "variants": chosen("two", "first", "mixed", "random"),
        "sources": chosen("random", "two", "small", "one"),
    }
    seeds = frozen_by_depth_and_source(runs_of(TOPS), **CELL, **options)
    assert seeds.groupby("panel").place.unique().map(list).to_dict() == {
        "depth": ["0", "1"],
        "source": ["100", "1,000", "10,000", "random"],
    }
    np.testing.assert_allclose(largest_against_smallest(seeds).difference, 5, atol=0.5)
    made = run_notebook("transfer_by_depth_and_source", {"runs": runs_of(TOPS)}, CELL | options)
    depth, source = made.content.axes
    assert depth.get_title(loc="left") == "m, s3 → b, n = 3 seeds" and depth.get_ylim() == source.get_ylim()
    for axis, texts in ((depth, ["0", "1"]), (source, ["100", "1,000", "10,000", "random"])):
        assert [tick.get_text() for tick in axis.get_xticklabels()] == texts
    assert "frozen up to depth 1, transferred, frozen" in made.says and "random −" in made.says
    assert "Largest − smallest source: +5." in made.says or "Largest − smallest source: +4." in made.says


def test_frozen_pointwise_weights(run_notebook):
    made = run_notebook(
        "pointwise_against_depthwise", {"runs": runs_of(TOPS)}, CELL | {"variants": chosen("two", "random", "pw")}
    )
    assert "pointwise, transferred, frozen −20" in made.says or "pointwise, transferred, frozen −19" in made.says
    assert made.shown[1].seeds.tolist() == [3, 3, 3]


def test_zeroed_layers(run_notebook):
    names = {
        "dataset": "b",
        "architecture": "m",
        "initialisation": "one",
        "kernels": 4,
        "test_images": 9,
        "layer_index": 0,
    }
    rows = [
        {
            **names,
            "seed": seed,
            "layer": f"l{place}",
            "depth": float(place),
            "top1": 0.3 + 0.2 * place,
            "intact_top1": 0.6,
        }
        for seed in range(3)
        for place in range(2)
    ]
    table = pd.DataFrame(rows)
    table = table.assign(**{name: 0.0 for name in SCHEMAS["ablated"].names if name not in table})
    options = {"dataset": "b", "architecture": "m", "variants": chosen("one")}
    made = run_notebook("zeroed_layers", {"ablated": table}, options)
    assert "transferred, frozen most in l0 (30.0), least in l1 (10.0)" in made.says
    with pytest.raises(EchosError, match=r"list one under `zeroed` in the config"):
        zeroed(table, dataset="b", architecture="m", variants=chosen("two"))


def test_replacement_is_paired_with_the_control_by_seed(run_notebook):
    options = SETS | {"control": "kept", "published": {"eight": "82.7 %"}, "scale": "tests"}
    made = run_notebook("replacement_accuracy", {"replacements": replacements()}, options)
    assert made.content.set.tolist() == ["kept"] * 3 + ["eight"] * 3
    assert made.content["difference, points"].tolist() == ["–"] * 3 + ["−10.0"] * 3
    assert made.content["95 % interval"].tolist()[3:] == ["−10.0 to −10.0"] * 3
    assert made.content["filters"].tolist() == ["–"] * 3 + ["8"] * 3
    assert "on a eight, −10.0 [−10.0, −10.0] points from kept" in made.says and "Published: eight: 82.7 %" in made.says


def test_what_a_set_leaves_over_is_shown_layer_by_layer_best_first(run_notebook):
    assert left_over(errors(), **SETS).candidates.unique().tolist() == ["eight", "random"]
    made = run_notebook("replacement_error_by_layer", {"replacement_errors": errors()}, SETS)
    assert "a: eight 20.0 %, random 90.0 %" in made.says
    with pytest.raises(EchosError, match=r"^d: there are no rows of b; "):
        of_runs(errors(), "d", ["a", "b"])


def test_elimination_keeps_the_filters_of_the_elbow_and_what_exchanges_gain(run_notebook):
    assert elimination(eliminations(), **SETS).top1.max() == 90
    made = run_notebook("elimination_curve", {"eliminations": eliminations()}, SETS)
    assert made.shown[1].kept.tolist() == [2]
    assert "a keeps 2 of 3 filters at the elbow, exchanges change test top-1 by +1.0 points" in made.says
    assert (
        "on the 12 train images differs from that on all 20 test images by 1.0 points on average, 1.0 at most"
        in made.says
    )


def test_how_many_filters_are_needed(run_notebook):
    runs = runs_of({"default": 0.5, "one": 0.52, "two": 0.54})
    series = {"x": [[1, "one"], [2, "two"]], "lone": [[8, "two"]]}
    options = {"dataset": "b", "architectures": ["m"], "baseline": "default", "series": series, "published": {}}
    made = run_notebook("accuracy_by_number_of_filters", {"runs": runs}, options)
    np.testing.assert_allclose(made.shown[1].difference, [2, 4, 4], atol=0.4)
    assert made.says.startswith("Points from default, paired by seed: m: x 1: +") and made.says.endswith(
        "not readable."
    )
