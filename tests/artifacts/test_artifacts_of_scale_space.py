"""Artifacts of the eight master key filters: published values beside ours, slips, and every filter beside its models."""

import numpy as np
import pandas as pd
import pytest

from neural_echos.artifacts.scale_space import filters_of, ideal_models, scales_by_method, slips, spread_by_measure
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import IDEALS, ideal, measure_filters

SIGMA, AMOUNT = 0.6, 0.5
SCALES = [
    {"filter": 1, "method": "D1", "sigma_x": SIGMA, "sigma_y": SIGMA + 0.1},
    {"filter": 7, "method": "C2", "sigma_x": SIGMA, "sigma_y": SIGMA, "amount": 0.6, "residual": 0.2},
]


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Filters that are ideal models at σ = 0.6, and scales that say so; of filter 7 by method A there are none."""
    filters = np.stack([ideal(one, 7, SIGMA, amount=AMOUNT if one == 7 else None) for one in IDEALS])
    rows = [
        {"filter": one, "method": method, "sigma_x": SIGMA, "sigma_y": SIGMA, "amount": AMOUNT if one == 7 else np.nan}
        | {"l1": 0.0, "l2": 0.0, "cosine": 1 - one / 100}
        for one in IDEALS
        for method in ("A", "C2", "D1", "joint A")
        if (one, method) != (7, "A")
    ]
    return {"spread": measure_filters(filters).to_pandas(), "scales": pd.DataFrame(rows)}


def test_spread_shows_published_beside_ours(run_notebook, tables):
    ours = tables["spread"].set_index("filter").v_xx[5]
    published = [{"filter": 5, "v_xx": ours + 0.01}]
    spread = spread_by_measure(tables["spread"], published).set_index(["filter", "measure"])
    assert len(spread) == 8 * 6 + 2 * 2
    assert spread.difference[5, "v_xx"] == pytest.approx(-0.01)
    assert spread.difference.notna().sum() == 1
    ran = run_notebook("scale_space_spread", {"spread": tables["spread"]}, {"published": published})
    cells = ran.content.set_index(["filter", "measure"])
    assert cells.loc[("5", "V_xx"), "difference"] == "−0.010"
    assert cells.loc[("5", "V_xy"), "published"] == "not readable"
    assert len(cells.loc[("7", "C, subtracted"), "ours"].rpartition(".")[2]) == 6
    assert ran.says == "Of 1 published values, the furthest from ours is filter 5's V_xx, by 0.0100."
    assert (
        "Nothing published" in run_notebook("scale_space_spread", {"spread": tables["spread"]}, {"published": []}).says
    )


def test_scales_show_what_the_published_ones_leave(run_notebook, tables):
    scales = scales_by_method(tables["spread"], tables["scales"], SCALES).set_index(["filter", "method"])
    assert len(scales) == 8 * 4 - 1
    left = filters_of(tables["spread"])[1] - ideal(1, 7, SIGMA, SIGMA + 0.1)
    assert scales.residual_there[1, "D1"] == pytest.approx(np.linalg.norm(left))
    assert scales.norm[1, "D1"] == "l2" and scales.norm[7, "C2"] == "l1" and scales.norm[1, "A"] == ""
    (slip,) = slips(scales.reset_index())
    assert slip.startswith(
        "Filter 7, C2: published is σ_x = 0.600, σ_y = 0.600, γ₇ = 0.6000 with an l1 residual of 0.200;"
    )
    assert slip.endswith("and the least, 0.000, at σ_x = 0.600, σ_y = 0.600, γ₇ = 0.5000.")
    ran = run_notebook("scale_space_scales", tables, {"published": SCALES})
    cells = ran.content.set_index(["filter", "method"])
    assert cells.loc[("1", "D1"), ["σ_y", "published σ_y", "γ₇", "published γ₇"]].tolist() == [
        "0.600",
        "0.700",
        "–",
        "–",
    ]
    assert cells.loc[("2", "A"), "published σ_x"] == "not readable"
    assert cells.loc[("2", "joint A (ours)"), "published σ_x"] == "–"
    assert "Of 2 published values, the furthest from ours is filter 1's σ_y (D1), by 0.1000." in ran.says
    assert slip in ran.says


def test_published_entries_name_a_filter(tables):
    for make in (
        lambda entry: spread_by_measure(tables["spread"], [entry]),
        lambda entry: scales_by_method(**tables, published=[entry]),
    ):
        with pytest.raises(EchosError, match="names none of the filters; give the number of one as `filter`"):
            make({"filter": 9, "method": "A"})


def test_the_figure_draws_filters_with_y_up_and_symmetric_limits(run_notebook, tables):
    models = ideal_models(**tables, methods=["C2", "A"])
    assert models.method[:2].tolist() == ["C2", "A"]
    assert np.array_equal(models.taps[0], ideal(1, 7, SIGMA, SIGMA))
    ran = run_notebook("scale_space_filters", tables, {"methods": ["A", "C2"]})
    axes = ran.content.axes
    image = axes[0].images[0]
    assert image.origin == "upper" and image.get_clim() == (-1, 1)
    shown = np.asarray(image.get_array())
    assert np.unravel_index(shown.argmax(), shown.shape) == (4, 3)  # filter 1's peak is below the centre, at y = −1
    drawn = [axis for axis in axes if axis.images]
    assert len(drawn) == 8 * 3 - 1 and ran.content.get_figwidth() == 7.2
    assert "from 0.920 (filter 8, A) to 0.990 (filter 1, A)" in ran.says
