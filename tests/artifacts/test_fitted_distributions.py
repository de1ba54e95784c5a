"""Fits at scale: tidy tables hold what was fitted, ends of γ's range are counted, and the notebooks say so."""

import numpy as np
import pandas as pd
import pytest

from neural_echos.artifacts.fits import (
    THIRDS,
    explained_by_bank,
    explained_by_depth,
    fitted_parameters,
    gamma_ends,
    parameters_by_family,
    signs_by_depth,
    signs_by_family,
)
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import gamma_limit
from neural_echos.structure.intervals import wilson_interval
from neural_echos.tables import SCHEMAS

EACH = 40  # kernels of a model and size
OPTIONS = {"models": ["net", "control"], "control": "control"}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Fits and matches of a net and a control of 3×3 and 5×5: a quarter of the net's centres lie at the upper end of γ's range."""
    rng = np.random.default_rng(0)
    parts = []
    for model in ("net", "control"):
        for size in (3, 5):
            gamma = rng.uniform(0.2, 0.6, EACH)
            gamma[: EACH // 4] = gamma_limit(size)
            rows = {
                "model": model,
                "kind": "depthwise",
                "layer": "a",
                "layer_index": 0,
                "depth": np.linspace(0, 1, EACH),
            }
            rows |= {"kernel_height": size, "kernel_width": size, "pattern": "excitatory", "gamma": gamma}
            rows |= {"sign": np.where(np.arange(EACH) % 4, 1, -1), "cosine": 0.9 if model == "net" else 0.3}
            parts.append(pd.DataFrame(rows))
    fits = pd.concat(parts, ignore_index=True)
    fits = fits.assign(row=fits.groupby("model").cumcount(), null_cosine=0.3)
    best = np.where(fits.row % 2, "dog", "gaussian")
    offset = pd.Series(np.where(fits.row % 2, np.nan, 0.3))
    matches = fits.assign(best=best, offset_x=offset, offset_y=offset * 4 / 3, cosine=0.95, null_cosine=0.6)
    made = {"fits": fits, "matches": matches}
    return {name: table.reindex(columns=SCHEMAS[name].names) for name, table in made.items()}


def test_fitted_parameters_hold_what_each_kernel_has(tables):
    kernels = fitted_parameters(tables["fits"], tables["matches"], threshold=0.7, control="control")
    assert len(kernels) == 4 * EACH
    assert kernels.groupby("role").centre.mean().to_dict() == {"trained": 1, "untrained": 0}
    assert kernels[kernels.role == "untrained"][["gamma", "excitatory"]].isna().all(axis=None)
    assert kernels.offset.dropna().unique() == pytest.approx([0.5])
    assert kernels.offset.isna().mean() == 0.5
    assert kernels.explained.unique() == pytest.approx([0.95**2])


def test_a_kernel_without_a_dog_is_kept_as_not_fitted(tables):
    kernels = fitted_parameters(tables["fits"].iloc[:-5], tables["matches"], threshold=0.7, control="control")
    assert len(kernels) == 4 * EACH
    assert (~kernels.fitted).sum() == 5


def test_centres_at_the_ends_of_the_range_are_counted(tables):
    ends = gamma_ends(fitted_parameters(tables["fits"], tables["matches"], threshold=0.7, control="control"))
    assert ends.kernel_size.tolist() == [3, 5]
    assert ends.upper.tolist() == pytest.approx([gamma_limit(3), gamma_limit(5)])
    assert ends.at_upper.tolist() == [0.25, 0.25]
    assert ends.at_lower.tolist() == [0, 0]
    assert ends.centres.tolist() == [EACH, EACH]


def test_signs_and_explained_variance_are_told_by_depth(tables):
    kernels = fitted_parameters(tables["fits"], tables["matches"], threshold=0.7, control="control")
    signs = signs_by_depth(kernels, least=8)
    assert signs.n.sum() == 2 * EACH
    assert (signs.share == 0.75).all()
    low, high = wilson_interval(signs.share, signs.n)
    assert (signs.low == low).all() and (signs.high == high).all()
    assert not len(signs_by_depth(kernels, least=EACH))
    depths = explained_by_depth(kernels)
    assert depths.n.sum() == 2 * 2 * EACH  # of 5×5, as they are and shuffled
    assert depths.groupby("taps").explained.mean().to_dict() == pytest.approx({"as they are": 0.9025, "shuffled": 0.36})


def test_families_keep_their_order_and_small_groups_show_nothing(tables):
    kernels = fitted_parameters(tables["fits"], tables["matches"], threshold=0.7)
    grouped = parameters_by_family(kernels, {"Other": "x*", "Ours": "n*", "random": "control"}, least=10)
    assert grouped.group.unique().tolist() == ["Ours, 3×3", "Ours, 5×5", "random, 3×3", "random, 5×5"]
    assert grouped.third.unique().tolist() == [*THIRDS]
    assert grouped[grouped.family == "random"].gamma.isna().all()
    signs = signs_by_family(grouped)
    assert signs.groupby("group").n.sum().to_dict() == {"Ours, 3×3": EACH, "Ours, 5×5": EACH}
    assert parameters_by_family(kernels, {"Ours": "n*"}, least=EACH).gamma.isna().all()
    with pytest.raises(EchosError, match=r"there are no fits of x\*, y; choose other families"):
        parameters_by_family(kernels, {"Other": "x*", "More": "y"}, least=10)


def test_the_notebook_draws_the_ends_of_the_range(run_notebook, tables):
    ran = run_notebook("fit_distributions", tables, OPTIONS)
    assert len(ran.shown[1]) == 4 * EACH
    assert "80 of 80 trained depthwise kernels have a centre" in ran.says
    assert "25.0 % of 3×3 centres at the upper end of the range, γ = 0.71" in ran.says
    gammas = ran.content.axes[0]
    assert [text.get_text().strip() for text in gammas.texts] == [
        "3×3: 25 % at γ = 0.71",
        "5×5: 25 % at γ = 0.94",
    ]
    dotted = {
        round(line.get_xdata()[0], 4) for line in gammas.lines if line.get_linestyle() == ":" and len(line.get_xdata())
    }
    assert {round(gamma_limit(3), 4), round(gamma_limit(5), 4)} <= dotted


def test_the_notebook_by_family_has_a_row_for_each_family_and_size(run_notebook, tables):
    ran = run_notebook(
        "fit_distributions_by_family", tables, {"families": {"Ours": "net", "random": "control"}, "least": 5}
    )
    labels = [label.get_text() for label in ran.content.axes[0].get_yticklabels()]
    assert labels == [
        f"{family}\n{EACH} kernels" for family in ("Ours, 3×3", "Ours, 5×5", "random, 3×3", "random, 5×5")
    ]
    assert "Ours γ " in ran.says and "75 % excitatory (80 centres)" in ran.says
    assert "random" not in ran.says
    assert [text.get_text() for text in ran.content.axes[1].texts] == ["fewer than 5 centres"] * 2


def test_explained_variance_stands_beside_shuffled_taps(run_notebook):
    bank = {
        "model": "net",
        "kind": "depthwise",
        "role": "trained",
        "kernel_height": 7,
        "kernel_width": 7,
        "kernels": 1200,
    }
    numbers = {
        "layers": 2,
        "explained": 0.8,
        "low": 0.7,
        "high": 0.9,
        "null_explained": 0.5,
        "dog": 0.6,
        "null_dog": 0.05,
    }
    rows = [bank | numbers, bank | numbers | {"model": "control", "role": "untrained", "explained": 0.49}]
    rows.append(bank | numbers | {"kind": "regular", "low": np.nan, "high": np.nan})
    explained = pd.DataFrame(rows).reindex(columns=SCHEMAS["explained"].names)
    banks = explained_by_bank(explained)
    assert banks.kernel.tolist() == ["7×7", "7×7 regular", "7×7"]
    assert banks.gain.tolist() == pytest.approx([0.3, 0.3, -0.01])
    ran = run_notebook("explained_variance", {"explained": explained}, {})
    assert ran.content["gain, points"].tolist() == ["+30.0", "+30.0", "−1.0"]
    assert ran.content["95 % interval"].tolist() == ["70.0 to 90.0", "–", "70.0 to 90.0"]
    assert ran.content["kernels"][0] == "1,200"
    assert not ran.content.map(lambda cell: "nan" in cell).any(axis=None)
    assert "trained banks +30.0, untrained control −1.0 (percentage points)" in ran.says
