"""Evaluation: runs gathered from real folders, differences paired by seed, and structure where it was planted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neural_echos.clusters import cluster_bank
from neural_echos.errors import EchosError
from neural_echos.evaluation import compare, gather_histories, gather_runs, mean_interval, paired, structure
from neural_echos.files import write_json
from neural_echos.kernels import Layer, bank_from_tensors
from neural_echos.receptive_fields import dog, fit_bank
from neural_echos.tables import SCHEMAS, read_table, write_table


def write_run(
    folder: Path, initialisation: str, seed: int, top1: float | None, *, epochs: int = 2, **changes: Any
) -> Path:
    """Write a run's two files as the training room writes them."""
    names = {"dataset": "photographs", "architecture": "convmixer", "initialisation": initialisation, "seed": seed}
    names |= {key: changes.pop(key) for key in ("dataset", "architecture") if key in changes}
    path = folder / f"{names['dataset']}-{names['architecture']}-{initialisation}-{seed}"
    scores = {"learning_rate": 0.1, "train_loss": 1.5, "loss": 1.0, "top5": 1.0}
    rows = [{**names, "epoch": epoch + 1, "top1": epoch / 10, **scores} for epoch in range(epochs)]
    write_table(path / "history.parquet", pa.Table.from_pylist(rows, schema=SCHEMAS["history"]), "history")
    metrics = {"loss": 1.0, "top1": top1, "top5": 1.0, "epochs": epochs, "parameters": 10, "kernel_size": 9}
    write_json(path / "metrics.json", {**metrics, "train_images": 100, "test_images": 50, **changes})
    return path


def runs_of(top1: Mapping[tuple[str, str, int], float], kernel_size: int = 9) -> pd.DataFrame:
    """Make a runs table from {(architecture, initialisation, seed): top1} on the data set "d"."""
    rows = [
        {"dataset": "d", "architecture": a, "initialisation": i, "seed": s, "kernel_size": kernel_size, "top1": value}
        for (a, i, s), value in top1.items()
    ]
    return pd.DataFrame(rows).reindex(columns=SCHEMAS["runs"].names)


# Intervals


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_is_that_of_scipy(values, confidence):
    mean, low, high = mean_interval(values, confidence)
    assert mean == pytest.approx(np.mean(values), abs=1e-12)
    if np.std(values) > 1e-9:
        expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        np.testing.assert_allclose([low, high], expected, rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_allclose([low, high], mean, atol=1e-7)


def test_one_value_has_a_mean_and_no_interval():
    mean, low, high = mean_interval([0.25])
    assert mean == 0.25
    assert np.isnan([low, high]).all()
    assert np.isnan(mean_interval([])).all()


# Pairs


def test_differences_are_paired_by_seed_and_by_nothing_else():
    dogs, kaimings = {0: 0.9, 1: 0.5, 2: 0.7, 7: 0.1}, {2: 0.6, 1: 0.2, 0: 0.85, 8: 0.9}
    runs = runs_of(
        {("a", "dog", seed): value for seed, value in dogs.items()}
        | {("a", "kaiming", seed): value for seed, value in kaimings.items()}
        | {("a", "default", 0): 0.0, ("b", "dog", 0): 0.3, ("b", "kaiming", 1): 0.3}
    )
    for frame in (runs, runs.sample(frac=1, random_state=0)):
        pairs = paired(frame, "dog", "kaiming")
        assert pairs[["architecture", "seed"]].values.tolist() == [["a", 0], ["a", 1], ["a", 2]]
        np.testing.assert_allclose(pairs.difference, [0.05, 0.3, 0.1])
        np.testing.assert_allclose(pairs.top1 - pairs.baseline_top1, pairs.difference)
    # that pairing matters here: the unpaired interval is another
    _, low, high = mean_interval(pairs.difference.to_numpy())
    apart = stats.ttest_ind(pairs.top1, pairs.baseline_top1).confidence_interval()
    assert high - low < 0.7 * (apart.high - apart.low)


def test_initialisations_that_share_no_seed_have_no_pair():
    assert paired(runs_of({("a", "dog", 0): 0.5, ("a", "kaiming", 1): 0.5}), "dog", "kaiming").empty
    assert paired(SCHEMAS["runs"].empty_table().to_pandas(), "dog", "kaiming").empty


def test_every_initialisation_is_compared_with_every_baseline():
    rng = np.random.default_rng(0)
    tops = {
        (a, i, s): rng.random() for a in ("a", "b") for i in ("default", "kaiming", "dog", "dog_half") for s in range(4)
    }
    table = compare(runs_of(tops))
    assert table.schema.equals(SCHEMAS["comparisons"], check_metadata=False)
    frame = table.to_pandas()
    found = list(zip(frame.architecture, frame.initialisation, frame.baseline, strict=True))
    pairs = [("default", "kaiming"), ("dog", "default"), ("dog", "kaiming")]
    pairs += [("dog_half", "default"), ("dog_half", "kaiming"), ("kaiming", "default")]
    assert found == [(a, *pair) for a in ("a", "b") for pair in pairs]
    for row in frame.itertuples():
        ours, theirs = (
            np.array([tops[row.architecture, name, seed] for seed in range(4)])
            for name in (row.initialisation, row.baseline)
        )
        test = stats.ttest_rel(ours, theirs)
        interval = test.confidence_interval(0.95)
        np.testing.assert_allclose([row.low, row.high], interval, rtol=1e-9)
        np.testing.assert_allclose(row.difference, (ours - theirs).mean())
        np.testing.assert_allclose([row.top1, row.baseline_top1], [ours.mean(), theirs.mean()])
        assert (row.seeds, row.kernel_size, row.dataset) == (4, 9, "d")


def test_one_seed_gives_a_difference_without_an_interval():
    (row,) = compare(runs_of({("a", "dog", 0): 0.5, ("a", "kaiming", 0): 0.25})).to_pylist()
    assert (row["difference"], row["seeds"]) == (0.25, 1)
    assert row["low"] is row["high"] is None


def test_without_a_baseline_nothing_is_compared(tmp_path):
    table = compare(runs_of({("a", "dog", 0): 0.5, ("a", "dog_half", 0): 0.25}))
    assert table.num_rows == 0
    write_table(tmp_path / "x.parquet", table, "comparisons")


# Runs


def test_runs_are_gathered_sorted_and_writable(tmp_path):
    folders = [write_run(tmp_path, name, seed, seed / 4) for seed in (1, 0, 2) for name in ("kaiming", "dog")]
    folders.append(write_run(tmp_path, "dog", 0, 0.5, dataset="digits", kernel_size=3))
    table = gather_runs(folders)
    assert table.equals(gather_runs(map(str, reversed(folders))))
    rows = table.to_pylist()
    assert [(row["dataset"], row["initialisation"], row["seed"]) for row in rows] == [
        ("digits", "dog", 0),
        *[("photographs", name, seed) for name in ("dog", "kaiming") for seed in range(3)],
    ]
    assert [row["top1"] for row in rows] == [0.5, *[0, 0.25, 0.5] * 2]
    assert [row["kernel_size"] for row in rows] == [3, *[9] * 6]
    assert (rows[0]["train_images"], rows[0]["test_images"], rows[0]["epochs"], rows[0]["parameters"]) == (
        100,
        50,
        2,
        10,
    )
    write_table(tmp_path / "runs.parquet", table, "runs")


def test_histories_are_gathered_by_run_and_epoch(tmp_path):
    folders = [write_run(tmp_path, name, seed, 0.5, epochs=3) for seed in (1, 0) for name in ("kaiming", "dog")]
    rows = gather_histories(folders).to_pylist()
    expected = [(name, seed, epoch) for name in ("dog", "kaiming") for seed in (0, 1) for epoch in (1, 2, 3)]
    assert [(row["initialisation"], row["seed"], row["epoch"]) for row in rows] == expected


def test_a_run_that_is_listed_twice_is_refused_by_name(tmp_path):
    first, other = write_run(tmp_path / "a", "dog", 3, 0.5), write_run(tmp_path / "b", "dog", 3, 0.6)
    for folders in ([first, first], [first, other]):
        with pytest.raises(EchosError, match="found photographs/convmixer/dog/3 twice"):
            gather_runs(folders)


def test_a_run_that_is_not_finished_is_refused_by_name(tmp_path):
    run = write_run(tmp_path, "dog", 0, 0.5)
    (run / "metrics.json").unlink()
    with pytest.raises(EchosError, match=f"{run}/metrics.json: expected a JSON file, found nothing"):
        gather_runs([run])
    run = write_run(tmp_path, "dog", 0, 0.5)
    (run / "history.parquet").unlink()
    for gather in (gather_runs, gather_histories):
        with pytest.raises(EchosError, match=f"{run}/history.parquet: expected a history table, found no file"):
            gather([run])


@pytest.mark.parametrize("metrics", [{}, {"top1": 0.5}, [], "text", None])
def test_a_run_with_other_metrics_is_refused_by_name(tmp_path, metrics):
    run = write_run(tmp_path, "dog", 0, 0.5)
    write_json(run / "metrics.json", metrics)
    with pytest.raises(
        EchosError, match=f"^{run}: expected a finished run with a history and the metrics kernel_size, "
    ):
        gather_runs([run])


def test_a_run_without_an_epoch_is_refused_by_name(tmp_path):
    with pytest.raises(EchosError, match="expected a finished run"):
        gather_runs([write_run(tmp_path, "dog", 0, 0.5, epochs=0)])


# Structure


def bank_of(kernels: Mapping[str, np.ndarray], name: str, kind: str = "depthwise") -> pa.Table:
    """Lay kernels, (n, k, k) by layer, down as a bank."""
    layers = [Layer(layer, kind, i, 0.0, *taps.shape[1:]) for i, (layer, taps) in enumerate(kernels.items())]
    return bank_from_tensors(layers, lambda layer: kernels[layer][:, None], name, name, 10**9)


def entry(folder: Path, bank: pa.Table, model: str, role: str = "trained", trained_on: str = "d") -> dict[str, str]:
    """Fit and cluster a bank, and say where the tables are."""
    paths = {"fits": str(folder / f"{model}.fits.parquet"), "centroids": str(folder / f"{model}.centroids.parquet")}
    write_table(paths["fits"], fit_bank(bank, seed=0, threshold=0.7)[0], "fits")
    write_table(paths["centroids"], cluster_bank(bank, k=3, restarts=3, seed=0, threshold=0.7)[1], "centroids")
    return {"model": model, "role": role, "trained_on": trained_on, **paths}


def planted(n: int, share: float, rng: np.random.Generator, size: int = 7) -> np.ndarray:
    """Noise, and in that share of the kernels a DoG: two of three excitatory."""
    kernels = rng.normal(0, 1, (n, size, size))
    count = round(share * n)
    signs = np.where(np.arange(count) % 3 < 2, 1, -1)
    kernels[:count] = dog(size, rng.uniform(0.4, 0.6, count), signs) + 0.01 * kernels[:count]
    return kernels


def test_structure_finds_what_was_planted_and_nothing_in_noise(tmp_path):
    rng = np.random.default_rng(0)
    full, half, none = ({f"layer{i}": planted(150, share, rng) for i in range(6)} for share in (1.0, 0.5, 0.0))
    entries = [
        entry(tmp_path, bank_of(full, "full"), "full"),
        entry(tmp_path, bank_of(half, "half"), "half"),
        entry(tmp_path, bank_of(none, "noise"), "noise", "untrained", "nothing"),
    ]
    table = structure(entries)
    write_table(tmp_path / "structure.parquet", table, "structure")
    rows = {row["model"]: row for row in table.to_pylist()}
    assert list(rows) == ["full", "half", "noise"]
    assert {(row["kind"], row["kernel_size"], row["kernels"], row["layers"]) for row in rows.values()} == {
        ("depthwise", 7, 900, 6)
    }
    assert [(row["role"], row["trained_on"]) for row in rows.values()] == [
        ("trained", "d"),
        ("trained", "d"),
        ("untrained", "nothing"),
    ]
    assert rows["full"]["share"] == 1
    assert rows["half"]["share"] == pytest.approx(0.525, abs=0.02)
    assert rows["noise"]["share"] == pytest.approx(0.05, abs=0.025)
    for row in rows.values():
        assert row["low"] <= row["share"] <= row["high"]
        assert row["excitatory_share"] + row["inhibitory_share"] + row["other_share"] == pytest.approx(1)
    assert rows["full"]["mean_cosine"] > 0.95
    assert abs(rows["noise"]["mean_cosine"] - rows["noise"]["null_mean_cosine"]) < 0.02
    # k = 3 on two kinds of centre: no cluster of the rest, and the shares that were planted
    assert rows["full"]["excitatory_share"] == pytest.approx(2 / 3, abs=0.01)
    assert rows["full"]["inhibitory_share"] == pytest.approx(1 / 3, abs=0.01)
    assert rows["noise"]["other_share"] == 1


def test_structure_tells_kinds_and_sizes_apart(tmp_path):
    rng = np.random.default_rng(0)
    bank = pa.concat_tables(
        [
            bank_of(
                {"a": planted(60, 1, rng, 5), "b": planted(60, 1, rng, 7), "even": rng.normal(size=(60, 4, 4))}, "m"
            ),
            bank_of({"c": planted(60, 0, rng, 5)}, "m", "regular"),
        ]
    )
    rows = structure([entry(tmp_path, bank, "m")]).to_pylist()
    assert [(row["kind"], row["kernel_size"], row["kernels"]) for row in rows] == [
        ("depthwise", 5, 60),
        ("depthwise", 7, 60),
        ("regular", 5, 60),
    ]
    assert [row["share"] > 0.5 for row in rows] == [True, True, False]


def test_cluster_shares_are_those_of_the_declared_number_of_clusters(tmp_path):
    made = entry(tmp_path, bank_of({"a": planted(60, 1, np.random.default_rng(0))}, "m"), "m")
    before = structure([made])
    rows = read_table(made["centroids"], "centroids").to_pylist()
    assert {row["clustering"] for row in rows} == {"k=3", "free"}
    changed = [row | {"name": "other"} if row["clustering"] == "free" else row for row in rows]
    write_table(made["centroids"], pa.Table.from_pylist(changed, schema=SCHEMAS["centroids"]), "centroids")
    assert structure([made]).equals(before)


def test_a_bank_too_small_to_cluster_has_structure_and_no_shares(tmp_path):
    (row,) = structure(
        [entry(tmp_path, bank_of({"a": planted(10, 1, np.random.default_rng(0))}, "m"), "m")]
    ).to_pylist()
    assert row["share"] == 1
    assert row["excitatory_share"] is row["inhibitory_share"] is row["other_share"] is None


def test_a_bank_without_kernels_of_a_drawable_size_has_no_row(tmp_path):
    table = structure([entry(tmp_path, bank_of({"even": np.ones((60, 4, 4))}, "m"), "m")])
    assert table.num_rows == 0
    assert table.schema.names == SCHEMAS["structure"].names
