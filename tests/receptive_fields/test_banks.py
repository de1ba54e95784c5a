"""Matches: the best of four receptive-field models per kernel, its null, and what is explained of a bank."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from made import make_bank
from neural_echos.commands import main
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import (
    MATCHED,
    dog,
    fit_bank,
    gaussian,
    gaussian_derivative,
    match_bank,
    match_batches,
)
from neural_echos.structure.measures import explained
from neural_echos.tables import read_table, write_table


def planted(k: int, n: int, seed: int) -> dict[str, np.ndarray]:
    """Noisy kernels (n, k, k) of each model."""
    rng = np.random.default_rng(seed)
    sigma, across = rng.uniform(0.8, 1.3, (2, n))
    angle, (right, up) = rng.uniform(0, np.pi, n), rng.uniform(-0.8, 0.8, (2, n))
    places = {"orientation": angle, "offset_x": right, "offset_y": up}
    clean = {
        "dog": dog(k, rng.uniform(0.35, 0.5, n), rng.choice([-1, 1], n)),
        "gaussian": gaussian(k, 2.2 * sigma, 0.5 * across, **places),
        "gaussian_derivative_1": gaussian_derivative(k, 1, sigma, 1.3 * across, **places),
        "gaussian_derivative_2": gaussian_derivative(k, 2, sigma, 1.3 * across, **places),
    }
    return {
        name: kernels / np.linalg.norm(kernels, axis=(1, 2))[:, None, None] + rng.normal(0, 0.01, kernels.shape)
        for name, kernels in clean.items()
    }


@pytest.fixture(scope="module")
def matched() -> tuple[pa.Table, dict[str, dict[str, int]], pa.Table]:
    kernels = np.concatenate(list(planted(7, 15, 0).values())).astype(np.float32)
    broken = np.stack([np.full((7, 7), np.nan), np.zeros((7, 7)), np.full((7, 7), 0.3)]).astype(np.float32)
    bank = make_bank({"a": kernels[::2], "b": kernels[1::2], "c": broken})
    return *match_bank(bank, seed=0), bank


def test_planted_models_are_found_again(matched):
    table, report, _ = matched
    assert report == {"7x7": {"fitted": 60, "dropped_not_finite": 1, "dropped_zero": 2, "no_fit": 0}}
    frame = table.to_pandas()
    every = np.repeat(MATCHED, 15)
    expected = np.concatenate([every[::2], every[1::2]])
    assert (frame.best == expected).mean() > 0.9
    assert (frame.cosine > 0.98).all()
    assert (frame.null_cosine < frame.cosine).all()
    assert frame.gamma.notna().equals(frame.best == "dog")
    assert frame.sigma_u.isna().equals(frame.best == "dog")


def test_the_best_model_has_the_largest_cosine(matched):
    frame = matched[0].to_pandas()
    cosines = frame[[f"cosine_{name}" for name in MATCHED]].to_numpy()
    np.testing.assert_array_equal(frame.cosine, cosines.max(axis=1))
    assert (np.array(MATCHED)[cosines.argmax(axis=1)] == frame.best).all()
    nulls = frame[[f"null_cosine_{name}" for name in MATCHED]].to_numpy()
    np.testing.assert_array_equal(frame.null_cosine, nulls.max(axis=1))


def test_the_dog_is_that_of_the_fits_and_so_are_the_shuffled_taps(matched):
    table, _, bank = matched
    fits, _ = fit_bank(bank, seed=0, threshold=0.7)
    np.testing.assert_array_equal(table["cosine_dog"], fits["cosine"])
    np.testing.assert_array_equal(table["null_cosine_dog"], fits["null_cosine"])


def test_dogs_of_an_earlier_fit_are_taken_over(matched):
    table, _, bank = matched
    fits, _ = fit_bank(bank, seed=0, threshold=0.7)
    assert match_bank(bank, seed=0, dogs=fits)[0].equals(table)
    few = {"seed": 0, "null_every": 3, "restarts": 0}
    expected, given = match_bank(bank, **few)[0], match_bank(bank, **few, dogs=fits)[0]
    pd.testing.assert_frame_equal(given.to_pandas(), expected.to_pandas(), rtol=1e-12)
    other = fits.set_column(fits.column_names.index("cosine"), "cosine", pa.array(np.full(len(fits), 2.0)))
    assert set(match_bank(bank, **few, dogs=other)[0]["cosine_dog"].to_pylist()) == {2.0}
    for missing in (fits[1:], fits[:-1], fits[:0]):
        with pytest.raises(
            EchosError, match="dogs: some kernels of the bank are missing from these fits; fit this bank again"
        ):
            match_bank(bank, **few, dogs=missing)
    renamed = fits.set_column(fits.column_names.index("model"), "model", pa.array(["other"] * len(fits)))
    with pytest.raises(EchosError, match="dogs: these are fits of other, not of test; fit this bank first"):
        match_bank(bank, **few, dogs=renamed)


def test_even_kernels_have_no_dog_and_lines_no_match():
    rng = np.random.default_rng(0)
    bank = make_bank({"a": rng.normal(size=(4, 4, 4)), "b": rng.normal(size=(3, 1, 7))})
    table, report = match_bank(bank, seed=0)
    assert report["1x7"] == {"fitted": 0, "dropped_not_finite": 0, "dropped_zero": 0, "no_fit": 3}
    assert table["cosine_dog"].null_count == table.num_rows == 4
    assert not (table.to_pandas().best == "dog").any()


def test_shuffled_taps_of_every_third_row_are_those_of_all_however_the_bank_comes(matched):
    table, _, bank = matched
    nulls = [name for name in table.column_names if name.startswith("null_")]
    report: dict[str, dict[str, int]] = {}
    parts = match_batches([bank[:20], bank[20:]], report, seed=0, null_every=3)
    few, every = pa.concat_tables(parts).to_pandas(), table.to_pandas()
    pd.testing.assert_frame_equal(few.drop(columns=nulls), every.drop(columns=nulls))
    chosen = every.row % 3 == 0
    pd.testing.assert_frame_equal(few.loc[chosen, nulls], every.loc[chosen, nulls])
    assert few.loc[~chosen, nulls].isna().all(axis=None)
    whole = match_bank(bank, seed=0, null_every=3)[0].to_pandas()
    for name in whole:  # products of other shapes may round the last bit differently, by processor
        if whole[name].dtype.kind == "f":
            np.testing.assert_array_max_ulp(whole[name].to_numpy(), few[name].to_numpy(), maxulp=1)
        else:
            assert whole[name].equals(few[name])


def test_shuffled_taps_of_every_0th_row_are_refused(matched):
    with pytest.raises(EchosError, match="null_every must be at least 1, not 0"):
        match_bank(matched[2], seed=0, null_every=0)


def test_fewer_restarts_match_no_better(matched, tmp_path):
    table, _, bank = matched
    write_table(tmp_path / "bank.parquet", bank, "bank")
    for restarts, same in ((6, True), (0, False)):
        paths = [str(tmp_path / "bank.parquet"), "--output", str(tmp_path / "m.parquet")]
        assert main(["match", *paths, "--restarts", str(restarts)]) == 0
        found = read_table(tmp_path / "m.parquet", "matches")
        assert found.equals(table) == same
    assert np.mean(found["null_cosine"]) < np.mean(table["null_cosine"])
    assert found["cosine_dog"].equals(table["cosine_dog"])


def test_the_command_takes_dogs_from_the_fits(matched, tmp_path):
    write_table(tmp_path / "bank.parquet", matched[2], "bank")
    bank, fits, made = (str(tmp_path / f"{name}.parquet") for name in ("bank", "fits", "matches"))
    assert main(["fit", bank, "--output", fits]) == 0
    assert main(["match", bank, "--fits", fits, "--output", made]) == 0
    assert read_table(made, "matches").equals(matched[0])


def test_explained_variance_is_the_mean_of_squared_cosines(matched, tmp_path):
    write_table(tmp_path / "m.parquet", matched[0], "matches")
    entry = {"model": "m", "role": "trained", "trained_on": "imagenet", "matches": tmp_path / "m.parquet"}
    (row,) = explained([entry]).to_pylist()
    frame = matched[0].to_pandas()
    assert row["explained"] == pytest.approx((frame.cosine**2).mean())
    assert row["null_explained"] == pytest.approx((frame.null_cosine**2).mean())
    assert sum(row[f"best_{name}"] for name in MATCHED) == pytest.approx(1)
    assert row["kernels"] == 60
    assert row["layers"] == 2
    assert row["low"] <= row["explained"] <= row["high"]
