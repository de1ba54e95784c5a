"""Artifacts of the experiments: what tables and figures say of initialisations, of few seeds, and of runs that diverged."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neural_echos import artifacts
from neural_echos.artifacts.words import mean_and_spread, probability
from neural_echos.evaluation import compare
from neural_echos.tables import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"tenth": 1000, "third": 3000, "whole": 10_000}
TABLE = {"dataset": "whole", "architectures": ["a", "b"], "baseline": "default", "scale": "tests"}


def tables_of(seeds: int = 3, lost: tuple[int, ...] = (), gain: float = 0.02) -> dict[str, pd.DataFrame]:
    """Make runs on nested parts of a data set; dog is above default by `gain` for each factor of 10 in images below 10,000.

    `lost` are the seeds of dog that diverged on the whole data set.
    """
    rng = np.random.default_rng(0)
    rows = []
    for name, images in PARTS.items():
        for architecture in ("a", "b"):
            for seed in range(seeds):
                base = 0.1 * np.log10(images) + rng.normal(0, 0.01)
                dog = base + gain * (4 - np.log10(images)) + rng.normal(0, 0.001)
                for initialisation, top1 in (("default", base), ("dog", dog)):
                    gone = name == "whole" and initialisation == "dog" and seed in lost
                    cell = {"dataset": name, "architecture": architecture, "initialisation": initialisation}
                    score = np.nan if gone else top1
                    cell |= {"seed": seed, "kernel_size": 7, "train_images": images, "diverged": gone}
                    rows.append(cell | {"top1": score, "area": score / 2})
    runs = pd.DataFrame(rows).reindex(columns=SCHEMAS["runs"].names)
    history = runs.assign(epoch=1).reindex(columns=SCHEMAS["history"].names)
    return {"runs": runs, "history": history, "comparisons": compare(runs, history, baselines=["default"]).to_pandas()}


def cells(table: pd.DataFrame, architecture: str, initialisation: str) -> dict[str, Any]:
    rows = table[(table.architecture == architecture) & (table.initialisation == initialisation)]
    return rows.iloc[0].to_dict()


def test_all_initialisations_are_told_by_three_measures():
    tables = tables_of()
    made = artifacts.initialisations_compared(tables, **TABLE)
    assert made.content[["architecture", "initialisation"]].values.tolist() == [
        [a, i] for a in ("a", "b") for i in ("default", "dog")
    ]
    comparison = tables["comparisons"].query("dataset == 'whole' and architecture == 'a' and measure == 'top1'").iloc[0]
    told = cells(made.content, "a", "dog")["final top-1 − default, points [95 %]; Holm p; detectable"]
    difference, p, detectable = told.replace("−", "-").split("; ")
    numbers = [float(part) for part in difference.replace("[", "").replace("]", "").replace(",", "").split()]
    np.testing.assert_allclose(numbers, 100 * comparison[["difference", "low", "high"]].astype(float), atol=0.051)
    assert p == probability(comparison.p_holm)
    assert float(detectable) == pytest.approx(100 * comparison.detectable, abs=0.051)
    assert cells(made.content, "a", "default")["final top-1 − default, points [95 %]; Holm p; detectable"] == "–"
    assert "0 of 2 in final top-1" in made.says
    assert "With 3 seeds a difference" in made.says


def test_tables_say_which_runs_diverged_and_which_are_missing():
    some, all_lost = (artifacts.initialisations_compared(tables_of(lost=lost), **TABLE) for lost in ((1,), (0, 1, 2)))
    assert cells(some.content, "a", "dog")["final top-1 %"].endswith(", diverged (1 of 3)")
    row = cells(all_lost.content, "a", "dog")
    assert row["final top-1 %"] == "diverged (3 of 3)"
    assert row["final top-1 − default, points [95 %]; Holm p; detectable"] == "diverged (3 of 3)"
    options = {"dataset": "whole", "architectures": ["a", "c"], "initialisations": ["default", "dog"], "scale": "tests"}
    table = artifacts.accuracy_table(tables_of(lost=(0, 1, 2)), **options).content
    heading = "dog − default, points [95 %]; Holm p; detectable"
    assert table[heading].tolist() == ["diverged (3 of 3)", "–"]
    assert table["dog, top-1 %"].tolist() == ["diverged (3 of 3)", "not run at this scale"]
    assert mean_and_spread(pd.Series([0.5])) == "50.0"


def test_one_seed_or_equal_differences_have_no_interval():
    made = artifacts.initialisations_compared(tables_of(seeds=1), **TABLE)
    told = cells(made.content, "a", "dog")["final top-1 − default, points [95 %]; Holm p; detectable"]
    assert told.endswith("[one seed]; –; –")
    alike = artifacts.initialisations_compared(tables_of(gain=0.5), **TABLE | {"dataset": "tenth"})
    told = cells(alike.content, "a", "dog")["epochs to target − default, epochs [95 %]; Holm p; detectable"]
    assert told == "+0.0 [all alike]; 1; –"
    assert "found with 80 %" not in made.says


@pytest.mark.parametrize(
    ("p", "told"), [(0.0001, "<.001"), (0.0123, ".012"), (0.5, ".5"), (0.999, "1"), (1, "1"), (np.nan, "–")]
)
def test_probabilities_are_short(p, told):
    assert probability(p) == told
