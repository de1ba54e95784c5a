"""Patterns: templates are what they are called, what is planted is found and named, noise is not, and the controls say so."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from made import make_bank, random_kernels
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import PATTERNS, best_pattern, center_norm, gaussian, gaussian_derivative, templates
from neural_echos.structure.autoencoder import Autoencoder, Settings, train_autoencoder
from neural_echos.structure.intervals import pooled_interval, wilson_interval
from neural_echos.structure.measures import pattern_shares
from neural_echos.structure.patterns import describe, find_patterns, pattern_batches
from neural_echos.tables import SCHEMAS, read_table, write_table

FAST = Settings(hidden=(32,), steps=150, batch=128, learning_rate=0.02)
OPTIONS: dict[str, Any] = {"clusters": 8, "threshold": 0.8, "seed": 0}
PLANTED = {"on-centre": 200, "off-centre": 150, "first derivative": 150}


def planted(noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Kernels of three patterns, (500, 7, 7), at scales and gains of their own, with noise; and their names."""
    rng = np.random.default_rng(0)
    names = np.repeat(list(PLANTED), list(PLANTED.values()))
    rng.shuffle(names)
    sigma = rng.uniform(0.9, 1.3, len(names))
    kernels = np.where((names == "off-centre")[:, None, None], -1, 1) * gaussian(7, sigma)
    edge = names == "first derivative"
    kernels[edge] = gaussian_derivative(7, 1, sigma[edge])
    kernels = center_norm(kernels)[0] + noise * rng.normal(size=kernels.shape) / 7
    return rng.uniform(0.5, 2, len(names))[:, None, None] * kernels, names


@pytest.fixture(scope="module")
def bank() -> pa.Table:
    """Two layers of planted kernels with 7×7 taps, and noise of 5×5."""
    kernels, _ = planted()
    return make_bank({"a": kernels[:200], "b": kernels[200:], "c": random_kernels(200, 5)}, model="planted")


@pytest.fixture(scope="module")
def found(bank: pa.Table) -> tuple[pa.Table, pa.Table, dict[str, dict[str, Any]]]:
    return find_patterns(bank, **OPTIONS, settings=FAST)


@pytest.fixture(scope="module")
def shares(found: Any, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("shares") / "patterns.parquet"
    write_table(path, found[0], "patterns")
    entry = {"model": "planted", "role": "trained", "trained_on": "d", "patterns": str(path)}
    return pattern_shares([entry], threshold=0.8).to_pandas()


# Templates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [3, 4, 5, 7, 9, 11])
def test_templates_are_what_they_are_called(k):
    names, kernels = templates(k)
    assert kernels.shape == (len(names), k, k)
    assert kernels.mean(axis=(1, 2)) == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(kernels, axis=(1, 2)) == pytest.approx(1)
    middle, corner = kernels[:, (k - 1) // 2, (k - 1) // 2], kernels[:, 0, 0]
    for name in ("on-centre", "on-square"):
        assert (middle[names == name] > 0).all() and (corner[names == name] < 0).all()
        flipped = -kernels[names == name.replace("on", "off", 1)]
        assert kernels[names == name] == pytest.approx(flipped)
    cross = kernels[names == "off-centre cross"]
    assert len(cross) and (cross[:, (k - 1) // 2, 0] < 0).all() and (cross[:, 0, 0] > 0).all()
    for name, sign in (("first derivative", -1), ("second derivative", 1)):
        halved = kernels[names == name]
        symmetric = np.array([np.allclose(one, sign * one[::-1, ::-1], atol=1e-9) for one in halved])
        assert symmetric.sum() >= len(halved) // 3  # those about the middle
    assert (k > 3) == (names == "on-square").any()  # a box of one tap is a centre
    assert set(names) <= set(PATTERNS)


@pytest.mark.parametrize("k", [3, 5, 7])
def test_a_template_is_named_after_itself_whatever_its_gain(k):
    names, kernels = templates(k)
    found, cosine = best_pattern(kernels)
    assert cosine == pytest.approx(1)
    same = found == names
    assert same.mean() > 0.9  # at small sizes some patterns share a template
    assert all(cosine[~same] > 1 - 1e-9)


def test_sign_makes_another_centre_and_no_other_derivative():
    kernels = center_norm(
        np.stack([gaussian(7, 1.0), gaussian_derivative(7, 1, 1.0, orientation=0.3), gaussian_derivative(7, 2, 1.0)])
    )[0]
    expected = ["on-centre", "first derivative", "second derivative"]
    assert best_pattern(kernels)[0].tolist() == expected
    assert best_pattern(-kernels)[0].tolist() == ["off-centre", *expected[1:]]


def test_a_box_is_a_square_and_a_cross_has_one_sign():
    box, cross = np.zeros((7, 7)), np.zeros((7, 7))
    box[1:6, 1:6] = 1
    cross[3], cross[:, 3] = 1, 1
    kernels = center_norm(np.stack([box, -box, -cross, cross]))[0]
    names, cosine = best_pattern(kernels)
    assert names[:3].tolist() == ["on-square", "off-square", "off-centre cross"]
    assert cosine[:3] == pytest.approx(1) and cosine[3] < 0.9


@pytest.mark.parametrize("shape", [(4, 2, 2), (4, 3, 5)])
def test_kernels_without_templates_are_refused(shape):
    with pytest.raises(EchosError, match=r"exclude (smaller kernels|others)"):
        best_pattern(np.zeros(shape))


# Autoencoder ----------------------------------------------------------------------------------------------------------


def test_planted_patterns_are_found_named_and_counted(found):
    patterns, centroids, report = found
    _, names = planted()
    rows = patterns.to_pandas().query("kernel_height == 7")
    assert rows.row.tolist() == list(range(500))
    assert (rows.pattern.to_numpy() == names).mean() > 0.95
    assert (rows.cluster_pattern.to_numpy() == names).mean() > 0.9
    assert report["depthwise 7x7"]["described"] == 500
    assert report["depthwise 7x7"]["loss"] < 0.3 < report["depthwise 7x7"]["null_loss"]
    assert rows.code.between(0, 1).all()
    ours = centroids.to_pandas().query("kernel_height == 7")
    assert ours["count"].tolist() == sorted(np.bincount(rows.cluster), reverse=True)
    taps = np.stack(ours.taps)
    assert taps.mean(axis=1) == pytest.approx(0, abs=1e-6) and np.linalg.norm(taps, axis=1) == pytest.approx(
        1, abs=1e-5
    )
    assert rows.groupby("cluster").code.mean().to_numpy() == pytest.approx(ours.code)
    assert (np.stack(rows.cluster_cosines)[:, 0] == ours.cosine.to_numpy()[rows.cluster]).all()


def test_noise_is_named_no_more_than_its_shuffled_taps(found):
    noise = found[0].to_pandas().query("kernel_height == 5")
    for least in (0.4, 0.6, 0.8):
        assert (noise.cosine >= least).mean() == pytest.approx((noise.null_cosine >= least).mean(), abs=0.1)
    assert (noise.pattern == "other").mean() > 0.95
    assert (noise.cluster_pattern == "other").mean() > 0.95


def test_same_seed_gives_the_same_bytes(bank, found, tmp_path):
    again = find_patterns(bank, **OPTIONS, settings=FAST)
    for name, one, other in zip(("patterns", "pattern_centroids"), found, again, strict=False):
        for place, table in enumerate((one, other)):
            write_table(tmp_path / f"{place}.parquet", table, name)
        assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()
        assert read_table(tmp_path / "0.parquet", name).equals(one)
    other = find_patterns(bank, **OPTIONS | {"seed": 1}, settings=FAST)[0]
    assert not np.allclose(other["code"].to_numpy(), found[0]["code"].to_numpy())


def test_a_bank_in_parts_has_the_same_patterns(bank, found):
    parts = [bank.slice(at, 170) for at in range(0, bank.num_rows, 170)]
    centroids: list[pa.Table] = []
    report: dict[str, dict[str, Any]] = {}
    made = pa.concat_tables(pattern_batches(lambda: parts, centroids, report, **OPTIONS, trainings=2, settings=FAST))
    for name in SCHEMAS["patterns"].names:
        if name.endswith("cosines"):
            assert set(made[name].combine_chunks().value_lengths().to_pylist()) == {2}
            first = [pair[0] for pair in made[name].to_pylist()]
            np.testing.assert_allclose(first, [only for (only,) in found[0][name].to_pylist()], rtol=1e-12)
        elif pa.types.is_floating(
            made.schema.field(name).type
        ):  # parts of another size round otherwise, in the last bit
            np.testing.assert_allclose(made[name].to_numpy(), found[0][name].to_numpy(), rtol=1e-12)
        else:
            assert made[name].to_pylist() == found[0][name].to_pylist(), name
    assert pa.concat_tables(centroids) == found[1] and report == found[2]


def test_shares_are_means_over_trainings(bank, tmp_path):
    many, _, _ = find_patterns(bank, **OPTIONS, trainings=3, settings=Settings(steps=20))
    write_table(tmp_path / "p.parquet", many, "patterns")
    entry = {"model": "planted", "role": "trained", "trained_on": "d", "patterns": str(tmp_path / "p.parquet")}
    shares = pattern_shares([entry], threshold=0.8).to_pandas()
    assert set(shares[shares.by == "cluster"].by_training.map(len)) == {3}
    assert set(shares[shares.by == "kernel"].by_training.map(len)) == {1}
    assert shares.share.to_numpy() == pytest.approx(shares.by_training.map(np.mean).to_numpy())
    seven = many.to_pandas().query("kernel_height == 7")
    one = shares.query("kernel_size == 7 and declared and by == 'cluster' and not shuffled and layer.isna()")
    assert one.by_training.item() == pytest.approx((np.stack(seven.cluster_cosines) >= 0.8).mean(axis=0))


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train_autoencoder(torch.eye(9)[:, :] - 1 / 9, Settings(steps=2), seed=0)
    assert (torch.get_rng_state() == before).all()


def test_a_code_is_squashed_only_where_it_is_asked_for():
    kernels = center_norm(random_kernels(50, 5))[0]
    for squash in (True, False):
        settings = Settings(hidden=(), steps=1, squash=squash)
        done = describe(10 * kernels, clusters=3, threshold=0.8, seed=0, settings=settings)
        assert (np.abs(done.codes - 0.5) <= 0.5).all() == squash
    model = Autoencoder(25, Settings())
    back = model(torch.randn(4, 25))
    assert back.mean(dim=1).detach().numpy() == pytest.approx(0, abs=1e-6)
    assert back.norm(dim=1).detach().numpy() == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_described_is_counted():
    bad = random_kernels(60, 5)
    bad[0, 0, 0], bad[1], bad[2] = np.nan, 0, 3
    layers = {"a": bad, "b": random_kernels(19, 3), "c": random_kernels(60, 1), "d": random_kernels(60, 5)[:, :3]}
    patterns, centroids, report = find_patterns(
        make_bank(layers), clusters=2, threshold=0.8, seed=0, settings=Settings(steps=2)
    )
    counted = {size: (one["described"], one["dropped"], one["left_out"]) for size, one in report.items()}
    assert counted == {
        "depthwise 1x1": (0, 60, 0),
        "depthwise 3x3": (0, 0, 19),
        "depthwise 3x5": (0, 0, 60),
        "depthwise 5x5": (57, 3, 0),
    }
    assert patterns["row"].to_pylist() == list(range(3, 60)) and len(centroids) == 2
    nothing = find_patterns(SCHEMAS["bank"].empty_table(), clusters=2, threshold=0.8, seed=0)
    assert [len(table) for table in nothing] == [0, 0, 0]


def test_several_models_are_pooled():
    banks = [make_bank({"a": random_kernels(40, 5, seed)}, model=model) for seed, model in enumerate("ba")]
    patterns, centroids, _ = find_patterns(
        pa.concat_tables(banks), clusters=3, threshold=0.8, seed=0, settings=Settings(steps=2)
    )
    assert patterns["model"].to_pylist() == ["b"] * 40 + ["a"] * 40
    assert set(centroids["model"].to_pylist()) == {"a+b"}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"clusters": 1}, "clusters: .* not 1;"),
        ({"trainings": 0}, "trainings: .* not 0;"),
        ({"threshold": 1.5}, "threshold must be .* not 1.5"),
    ],
)
def test_bad_options_are_one_sentence(options, found):
    with pytest.raises(EchosError, match=found):
        find_patterns(make_bank({"a": random_kernels(40, 3)}), **(OPTIONS | options))


@pytest.mark.parametrize("options", [{"hidden": (8, 0)}, {"steps": 0}, {"batch": 0}, {"learning_rate": 0.0}])
def test_bad_settings_are_one_sentence(options):
    (name,) = options
    with pytest.raises(EchosError, match=f"^{name}: must be a positive number, not 0"):
        Settings(**options)


# Shares ---------------------------------------------------------------------------------------------------------------


def test_shares_are_counts_and_fall_with_the_threshold(found, shares):
    rows = found[0].to_pandas().query("kernel_height == 7")
    whole = shares[(shares.kernel_size == 7) & shares.layer.isna()]
    columns = {
        ("cluster", False): "cluster_cosines",
        ("cluster", True): "null_cluster_cosines",
        ("kernel", False): "cosine",
        ("kernel", True): "null_cosine",
    }
    for (by, shuffled), one in whole.groupby(["by", "shuffled"]):
        expected = [(np.stack(rows[columns[by, shuffled]]) >= threshold).mean() for threshold in one.threshold]
        assert one.share.to_numpy() == pytest.approx(expected)
        for name in ("share", "low", "high"):
            assert (np.diff(one[name]) <= 1e-12).all()
        assert (one.low <= one.share + 1e-12).all() and (one.share <= one.high + 1e-12).all()
        assert one.declared.sum() == 1 and one[one.declared].threshold.item() == 0.8
    layers = shares[(shares.kernel_size == 7) & shares.layer.notna() & (shares.by == "kernel") & ~shares.shuffled]
    assert layers.layer.tolist() == ["a", "b"] and layers.kernels.tolist() == [200, 300]
    for one in layers.itertuples():
        assert one.share == pytest.approx((rows[rows.layer == one.layer].cosine >= 0.8).mean())


def test_a_lone_layer_has_the_interval_of_its_kernels(shares):
    lone = shares[(shares.kernel_size == 5) & shares.declared & (shares.by == "kernel") & ~shares.shuffled]
    assert len(lone) == 2  # the bank, and its layer
    assert lone.low.nunique() == lone.high.nunique() == 1
    low, high = wilson_interval(np.array([0.5]), 100)
    assert (low[0], high[0]) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_pooled_intervals_see_models_and_layers():
    weights = [np.array([10.0, 30.0]), np.array([5.0, 5.0])]
    same = pooled_interval([np.full(2, 0.3)] * 2, weights)
    assert same == pytest.approx((0.3, 0.3, 0.3))
    mean, low, high = pooled_interval([np.array([0.2, 0.4]), np.array([0.9, 0.9])], weights)
    assert mean == pytest.approx((0.35 + 0.9) / 2)
    assert (low, high) == pytest.approx(
        ((0.2 + 0.35) / 2, 0.9)
    )  # the first model twice, once with its lower layer alone
    assert np.isnan(pooled_interval([np.ones(1)], [np.ones(1)])[1:]).all()
    trained = pooled_interval([np.array([[0.2, 0.6]] * 2)] * 2, weights)
    assert trained == pytest.approx((0.4, 0.2, 0.6))


def test_a_threshold_outside_its_range_is_one_sentence():
    with pytest.raises(EchosError, match=r"threshold must be .* not 2"):
        pattern_shares([], threshold=2)
    assert len(pattern_shares([], threshold=0.5)) == 0
