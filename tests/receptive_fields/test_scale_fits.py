"""Discrete scale space: every optimum against a brute-force search."""

from pathlib import Path

import numpy as np
import pytest

from neural_echos import commands
from neural_echos.design.checked import check, load_artifacts
from neural_echos.design.load import load_preset
from neural_echos.design.references import check_references
from neural_echos.design.schema import Config
from neural_echos.design.yaml import read_yaml
from neural_echos.errors import EchosError
from neural_echos.initialisations.receptive import IDEAL_AMOUNT, IDEAL_SIGMAS
from neural_echos.receptive_fields import (
    IDEALS,
    centred_first_moment,
    compensate_dc,
    difference,
    discrete_gaussian,
    fit_scales,
    ideal,
    laplacian,
    measure_filters,
    normalise_filter,
    read_filters,
    spread,
)
from neural_echos.receptive_fields.master_key import GROUPS, METHODS
from neural_echos.tables import SCHEMAS, read_table

# Fits against brute force -------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
FILTERS = ROOT.parent / "shared" / "data" / "weights" / "master_key_filters_8.txt"


def left(kernels: dict[int, np.ndarray], power: int, *parameters: np.ndarray) -> np.ndarray:
    """Σ |filter − ideal model|^power over some filters; parameters as in `ideal`."""
    return sum(
        (np.abs(kernel - ideal(number, 7, *parameters)) ** power).sum((-2, -1)) for number, kernel in kernels.items()
    )


@pytest.mark.parametrize("number", IDEALS)
@pytest.mark.parametrize(("method", "power"), [("C1", 1), ("D1", 2)])
def test_no_point_of_a_grid_beats_a_separate_fit(scales, normalised, number, method, power):
    ours = scales.loc[(number, method)]
    best = getattr(ours, f"l{power}") ** power
    at = (ours.sigma_x, ours.amount if number == 7 else ours.sigma_y)
    near = [np.clip(np.linspace(value - 0.06, value + 0.06, 241), 0, None) for value in at]
    for first, second in ([np.linspace(0, 3, 201)] * 2, near):
        one, other = np.meshgrid(first, second, indexing="ij", sparse=True)
        parameters = (one, None, other) if number == 7 else (one, other)
        assert best <= left({number: normalised[number]}, power, *parameters).min() + 1e-6


@pytest.mark.parametrize(("method", "power"), [("C", 1), ("D", 2)])
def test_no_point_of_a_grid_beats_a_fit_with_one_scale(scales, normalised, method, power):
    sigmas = np.linspace(0, 3, 6001)
    for number in set(IDEALS) - {7}:
        ours = scales.loc[(number, f"{method}2")]
        assert ours.sigma_x == ours.sigma_y
        assert ours[f"l{power}"] ** power <= left({number: normalised[number]}, power, sigmas).min() + 1e-6
    for group in GROUPS[:2]:
        members = {number: normalised[number] for number in group}
        ours = scales.loc[[(number, f"joint {method}") for number in group]]
        assert ours.sigma_x.nunique() == 1 and (ours.sigma_x == ours.sigma_y).all()
        assert (ours[f"l{power}"] ** power).sum() <= left(members, power, sigmas).min() + 1e-6


def test_matched_variances_match(tables, scales):
    """Method B: put σ back into the ideal model, the other axis at 1, and its weighted variance is the filter's."""
    measured = tables["spread"].set_index("filter")
    for number in set(IDEALS) - {7}:
        ours, weights = scales.loc[(number, "B")], ideal(number, 7, 1.0)
        along_x = spread(ideal(number, 7, ours.sigma_x, 1.0), weights).v_xx
        along_y = spread(ideal(number, 7, 1.0, ours.sigma_y), weights).v_yy
        expected = measured.loc[number, ["weighted_v_xx", "weighted_v_yy"]]
        assert (along_x, along_y) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize("method", ["B", "D1"])
def test_scales_of_the_ideal_sets_are_the_fits(scales, method):
    for number, sigmas in enumerate(IDEAL_SIGMAS[method], start=1):
        ours = scales.loc[(number, "D1" if number == 7 else method)]
        assert sigmas == pytest.approx((ours.sigma_x, ours.sigma_y), abs=6e-4 if method == "B" else 2e-3)
    assert scales.loc[(7, "D1")].amount == pytest.approx(IDEAL_AMOUNT, abs=2e-3)


def test_fits_have_every_method_and_consistent_measures(scales, normalised):
    expected = [(n, m) for n in IDEALS for m in METHODS if n != 7 or m.removeprefix("joint ") not in ("A", "B")]
    assert scales.index.tolist() == expected
    for (number, _), ours in scales.iterrows():
        model = ideal(number, 7, ours.sigma_x, ours.sigma_y, ours.amount if number == 7 else None)
        residual = normalised[number] - model
        assert (ours.l1, ours.l2) == pytest.approx((np.abs(residual).sum(), np.sqrt((residual**2).sum())))
        assert 0.8 < ours.cosine <= 1 and np.isnan(ours.amount) == (number != 7)
    for group, method in ((group, method) for group in GROUPS[:2] for method in "AB"):
        sigmas = scales.loc[[(number, method) for number in group], ["sigma_x", "sigma_y"]].to_numpy()
        joint = scales.loc[(group[0], f"joint {method}")]
        assert joint.sigma_x == joint.sigma_y == pytest.approx(np.prod(sigmas) ** (1 / sigmas.size))


def test_fits_of_ideal_models_find_their_scales(monkeypatch):
    """Method B knows no scale and is exact; C and D are off by what the crop does to the normalisation."""
    monkeypatch.setattr("neural_echos.receptive_fields.master_key._POPULATION", 6)  # enough where there is one minimum
    planted = np.stack([ideal(number, 7, 0.6, 0.5, 0.4 if number == 7 else None) for number in IDEALS])
    found = fit_scales(2 * planted).to_pandas()
    for method, tolerance in (("B", 1e-9), ("C1", 6e-3), ("D1", 6e-3)):
        rows = found[(found.method == method) & (found["filter"] < 7)]
        assert rows.sigma_x.to_numpy() == pytest.approx(0.6, abs=tolerance)
        assert rows.sigma_y.to_numpy() == pytest.approx(0.5, abs=tolerance)
        assert rows.cosine.min() > 1 - 1e-4


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: discrete_gaussian(6, 1), "odd number of taps, not 6"),
        (lambda: discrete_gaussian((7, 0), 1), "odd number of taps, not 0"),
        (lambda: discrete_gaussian(7, -0.1), "sigma_x must be a number of taps of at least 0, not -0.1"),
        (lambda: discrete_gaussian(7, 1, [1, np.nan]), "sigma_y must be .* not nan"),
        (lambda: ideal(9, 7, 1), "the numbers 1 to 8, not 9"),
        (lambda: ideal(7, 7, 1), "filter 7 needs amount, .*, not none"),
        (lambda: ideal(7, 7, 1, amount=np.inf), "filter 7 needs amount, .*, not inf"),
        (lambda: difference(np.ones((3, 3)), "z", "central"), "axis must be 'x' or 'y', not 'z'"),
        (lambda: difference(np.ones((3, 3)), "x", "centred"), "kind must be .*, not 'centred'"),
        (lambda: laplacian(np.ones(3)), r"shape \(…, height, width\), not \(3,\)"),
        (lambda: spread(np.zeros((2, 3, 3))), "2 kernels are all zero"),
        (lambda: spread(np.full((3, 3), np.nan)), "spread: some taps are NaN or infinite"),
        (lambda: spread(np.ones((3, 3)), np.zeros((3, 3))), "1 kernels are all zero .or their weights are"),
        (lambda: compensate_dc(np.ones((3, 3))), "all taps are equal to 1"),
        (lambda: centred_first_moment(np.ones((3, 3)), "z"), "axis must be 'x' or 'y', not 'z'"),
        (lambda: normalise_filter(np.ones((3, 3)), 1), "as master key filter 1: its centred first moment along y is 0"),
        (lambda: normalise_filter(np.ones((3, 3)), 0), "the numbers 1 to 8, not 0"),
        (lambda: measure_filters(np.ones((8, 5, 5))), r"shape \(8, 7, 7\), not \(8, 5, 5\)"),
        (lambda: fit_scales(np.ones((7, 7, 7))), r"shape \(8, 7, 7\), not \(7, 7, 7\)"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(call, says):
    with pytest.raises(EchosError, match=says):
        call()


def filter_text(number: int | str, tap: str = "0.5") -> str:
    return f"Filter {number}:\n" + "".join(" ".join([tap] * 7) + "\n" for _ in range(7)) + "\n"


ALL = "".join(map(filter_text, IDEALS))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has filters none"),
        ("hello\n" + ALL, "has text before the first filter"),
        (ALL.replace("Filter 8:", "Filter 9:"), "has filters 1, 2, 3, 4, 5, 6, 7, 9"),
        (ALL + filter_text(9), "has filters 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (ALL + "1 2 3\n", "filter 8 has 8 lines of 3, 7 numbers, not 7 lines of 7"),
        (ALL.replace("Filter 2:", "Filter 2:\n0.5"), "filter 2 has 8 lines of 1, 7 numbers, not"),
        (ALL.replace(filter_text(3), "Filter 3:\n"), "filter 3 has 0 lines of no numbers"),
        (ALL.replace(filter_text(4), filter_text(4, "x")), "filter 4 contains text that is not a number"),
        (ALL.replace(filter_text(5), filter_text(5, "nan")), "filter 5 contains NaN or infinity"),
        (b"\xff\xfe\x00", "not a text file of eight filters"),
    ],
)
def test_a_bad_file_of_filters_is_told(tmp_path, text, says):
    path = tmp_path / "filters.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EchosError, match=says) as told:
        read_filters(path)
    assert str(path) in str(told.value)


def test_files_of_filters(tmp_path):
    with pytest.raises(EchosError, match=r"cannot be read \(No such file"):
        read_filters(tmp_path / "none.txt")
    path = tmp_path / "filters.txt"
    path.write_text(ALL.replace("\n", "\r\n"), encoding="utf-8", newline="")
    assert read_filters(path).shape == (8, 7, 7)


def test_variances_that_no_ideal_model_has_are_told():
    kernels = np.stack([ideal(number, 7, 0.6, amount=0.5 if number == 7 else None) for number in IDEALS])
    kernels[0] = 0
    kernels[0, 3, 0], kernels[0, 4, [0, 6]] = -1, 1  # at the rims: wider than any discrete Gaussian of the search
    with pytest.raises(
        EchosError, match=r"filter 1: its weighted variance along x is .*, but its ideal models have 0\.000 to"
    ):
        fit_scales(kernels)


# Workflow ----------------------------------------------------------------------------------------------------------


def test_the_command_writes_both_tables(filters, tables, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("neural_echos.receptive_fields.fit_scales", lambda found: SCHEMAS["scales"].empty_table())
    outputs = ["--spread", str(tmp_path / "spread.parquet"), "--output", str(tmp_path / "scales.parquet")]
    assert commands.main(["scales", str(FILTERS), *outputs]) == 0
    assert read_table(tmp_path / "spread.parquet", "spread").to_pandas()["filter"].tolist() == [*IDEALS]
    assert len(read_table(tmp_path / "scales.parquet", "scales")) == 0
    bad = tmp_path / "bad.txt"
    bad.write_text("nothing")
    missing = ["--spread", str(tmp_path / "a.parquet"), "--output", str(tmp_path / "b.parquet")]
    assert commands.main(["scales", str(bad), *missing]) == 1
    assert "bad.txt" in capsys.readouterr().err and not list(tmp_path.glob("[ab].parquet"))


def test_filters_must_be_a_declared_input():
    config = load_preset(ROOT).model_dump()
    declared = load_artifacts(ROOT)
    inputs = read_yaml(ROOT / "config/inputs.yaml")
    check_references(check(config | {"filters": "master_key_filters_8"}, Config), inputs=inputs, artifacts=declared)
    with pytest.raises(EchosError, match="'filters' refers to an undeclared input: 'master_key_filters'"):
        check_references(check(config | {"filters": "master_key_filters"}, Config), inputs=inputs, artifacts=declared)
