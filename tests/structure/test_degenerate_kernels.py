"""Kernels that cannot be fitted, or are all alike: tables are empty or right, whatever part of a bank such kernels fill."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from made import make_bank, random_kernels
from neural_echos.commands import main
from neural_echos.errors import EchosError
from neural_echos.initialisations.filter_sets import make_filter_set
from neural_echos.initialisations.noise import covariance
from neural_echos.receptive_fields import fit_bank, fit_batches, match_bank, match_batches
from neural_echos.structure.autoencoder import Settings
from neural_echos.structure.kmeans import cluster_bank, count_distinct
from neural_echos.structure.patterns import find_patterns, pattern_batches
from neural_echos.tables import SCHEMAS, read_table, write_table

CLUSTERED = {"k": 3, "restarts": 2, "seed": 0, "threshold": 0.7}
DESCRIBED = {"clusters": 2, "threshold": 0.7, "seed": 0, "settings": Settings(steps=3)}
DEAD = {
    "zero": np.zeros((30, 5, 5)),
    "constant": np.full((30, 5, 5), 0.5),
    "NaN": np.full((30, 5, 5), np.nan),
    "infinite": np.full((30, 5, 5), np.inf),
    "below 1e-4": 1e-5 * random_kernels(30, 5),
}
dead = pytest.mark.parametrize("name", DEAD)


def dropped(name: str, n: int = 30) -> dict[str, int]:
    not_finite = n if name in ("NaN", "infinite") else 0
    return {"fitted": 0, "dropped_not_finite": not_finite, "dropped_zero": n - not_finite, "no_fit": 0}


@dead
def test_a_dead_size_is_counted_and_has_no_rows(name):
    bank = make_bank({"dead": DEAD[name], "alive": random_kernels(20, 3)})
    for made, report in (fit_bank(bank, seed=0, threshold=0.7), match_bank(bank, seed=0, restarts=0)):
        assert made["row"].to_pylist() == list(range(30, 50))
        assert report == {"5x5": dropped(name), "3x3": dropped(name, 0) | {"fitted": 20}}


@dead
def test_a_dead_bank_goes_through_every_command(name, tmp_path):
    write_table(tmp_path / "bank.parquet", make_bank({"dead": DEAD[name]}), "bank")

    def at(table: str) -> str:
        return str(tmp_path / f"{table}.parquet")

    def entry(**paths: str) -> str:
        return json.dumps([{"model": "test", "role": "trained", "trained_on": "x"} | paths])

    options = ["--centroids", at("centroids"), "--choices", at("choices")]
    commands = (
        ["fit", at("bank"), "--output", at("fits")],
        ["match", at("bank"), "--output", at("matches")],
        ["cluster", at("bank"), *options, "--output", at("clusters")],
        ["patterns", at("bank"), "--centroids", at("pattern_centroids"), "--output", at("patterns")],
        ["shares", entry(patterns=at("patterns")), "--output", at("pattern_shares")],
        ["structure", entry(bank=at("bank"), clusters=at("clusters")), "--output", at("structure")],
        ["explained", entry(matches=at("matches")), "--output", at("explained")],
    )
    for command in commands:
        assert main(command) == 0
    for path in set(tmp_path.glob("*.parquet")) - {tmp_path / "bank.parquet"}:
        assert read_table(path, path.stem).num_rows == 0
    assert main(["show", at("bank"), "--output", str(tmp_path / "sheet.png")]) == 0


def test_dead_kernels_of_one_part_change_nothing_for_the_others():
    """Two dead kernels are all that the first part has of their size."""
    kernels = np.concatenate([np.zeros((2, 5, 5)), random_kernels(40, 5)])
    bank = make_bank({"other": random_kernels(10, 3), "layer": kernels})
    parts = [bank.slice(0, 12), bank.slice(12)]

    def same(tables: Iterable[pa.Table], whole: pa.Table) -> None:
        pd.testing.assert_frame_equal(pa.concat_tables(tables).to_pandas(), whole.to_pandas(), rtol=1e-9)

    fits, matches = fit_bank(bank, seed=0, threshold=0.7)[0], match_bank(bank, seed=0, restarts=0)[0]
    same(fit_batches(parts, {}, seed=0, threshold=0.7), fits)
    same(match_batches(parts, {}, seed=0, restarts=0), matches)
    assert fits["row"].to_pylist() == matches["row"].to_pylist() == [*range(10), *range(12, 52)]
    same(pattern_batches(lambda: parts, [], {}, **DESCRIBED), find_patterns(bank, **DESCRIBED)[0])


def clustered(kernels: np.ndarray) -> tuple[list[list[int]], list[int], dict[str, int]]:
    """Counts of the declared and of the free clustering, the numbers that were compared, and the report."""
    assigned, centroids, choices, report = cluster_bank(make_bank({"layer": kernels}), **CLUSTERED)
    assert len(assigned) == 2 * len(kernels)
    assert not pc.any(pc.is_nan(assigned["distance"])).as_py()
    counts = [centroids.filter(pc.field("clustering") == one)["count"].to_pylist() for one in ("k=3", "free")]
    assert sum(choices["chosen"].to_pylist()) == sum(choices["declared"].to_pylist()) == 1
    return counts, choices["clusters"].to_pylist(), report["depthwise 5x5"]


def test_there_are_no_more_clusters_than_distinct_kernels(caplog, recwarn):
    one, other = random_kernels(2, 5)
    gains = np.linspace(0.5, 3, 40)[:, None, None]
    for kernels, counts in (([one] * 40, [40]), (gains * one, [40]), ([one, -one] * 20, [20, 20])):
        report = {"clustered": 40, "dropped": 0, "left_out": 0, "distinct": len(counts), "free_k": len(counts)}
        assert clustered(np.array(kernels)) == ([counts, counts], [len(counts)], report)
        assert f"40 kernels, only {len(counts)} of them distinct" in caplog.text
    four = clustered(np.array([one, -one, other, -other] * 10))
    assert four[0] == [[20, 10, 10], [10, 10, 10, 10]] and four[1] == [2, 3, 4]
    assert not [str(one.message) for one in recwarn if "distinct clusters" in str(one.message)]


def test_distinct_kernels_are_counted_up_to_a_number():
    kernels = np.repeat(random_kernels(5, 3), 1000, axis=0)
    kernels /= np.linalg.norm(kernels, axis=(1, 2), keepdims=True)
    noisy = kernels + 1e-8 * random_kernels(5000, 3, seed=1)
    assert [count_distinct(noisy, most) for most in (1, 4, 5, 8)] == [1, 4, 5, 5]
    assert count_distinct(noisy[:0], 3) == 0


def test_an_average_of_zero_has_no_ratio():
    """Two pairs of opposite kernels, in two clusters at most, may average to nothing: γ is then null, not NaN."""
    from neural_echos.structure.kmeans import Clustering, _centroids_table

    found = Clustering(np.zeros(2, int), np.ones(2), np.zeros((1, 5, 5)), np.array([2]))
    (row,) = _centroids_table(found, 0.7, "m", "depthwise", "free").to_pylist()
    assert (row["name"], row["similarity"], row["gamma"]) == ("other", 0.0, None)


def test_all_alike_kernels_have_one_pattern():
    bank = make_bank({"layer": np.repeat(random_kernels(1, 5), 40, axis=0)})
    patterns, centroids, report = find_patterns(bank, **DESCRIBED)
    assert centroids["count"].to_pylist() == [40] and set(patterns["cluster"].to_pylist()) == {0}
    assert report["depthwise 5x5"]["described"] == 40


@pytest.mark.parametrize("name", ["zero", "NaN", "infinite"])
def test_a_dead_bank_has_no_covariance(name):
    bank = make_bank({"dead": DEAD[name]})
    with pytest.raises(EchosError, match=r"the bank's 30 depthwise kernels of 5×5 are all zero or not finite"):
        covariance(4, 5, 5, np.random.default_rng(0), bank=bank)


def test_an_empty_bank_is_clustered_and_fitted(tmp_path: Path):
    empty = SCHEMAS["bank"].empty_table()
    assert fit_bank(empty, seed=0, threshold=0.7) == (SCHEMAS["fits"].empty_table(), {})
    assert match_bank(empty, seed=0) == (SCHEMAS["matches"].empty_table(), {})


def test_candidates_are_not_fewer_than_asked_for():
    bank = make_bank({"layer": np.repeat(random_kernels(2, 5), 20, axis=0)})
    with pytest.raises(EchosError, match=r"5×5 kernels form only 2 clusters, not 3, .* lower number"):
        make_filter_set({"set": "centroids", "number": 3, "size": 5, "bank": bank})
    assert len(make_filter_set({"set": "centroids", "number": 2, "size": 5, "bank": bank})) == 2
