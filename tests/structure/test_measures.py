"""Measures of banks: structure where it was planted, and nothing in noise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neural_echos.kernels import Layer, bank_from_tensors
from neural_echos.receptive_fields import dog
from neural_echos.structure.kmeans import cluster_bank
from neural_echos.structure.measures import structure
from neural_echos.tables import SCHEMAS, read_table, write_table


def bank_of(kernels: Mapping[str, np.ndarray], name: str, kind: str = "depthwise") -> pa.Table:
    """Lay kernels, (n, k, k) by layer, down as a bank."""
    layers = [Layer(layer, kind, i, 0.0, *taps.shape[1:]) for i, (layer, taps) in enumerate(kernels.items())]
    inputs = 1 if kind == "depthwise" else 2  # of the layer
    read = {layer: taps.reshape(-1, inputs, *taps.shape[1:]) for layer, taps in kernels.items()}
    return bank_from_tensors(layers, read.__getitem__, name, name, 10**9)


def entry(folder: Path, bank: pa.Table, model: str, role: str = "trained", trained_on: str = "d") -> dict[str, str]:
    """Cluster a bank, and say where the tables are."""
    paths = {name: str(folder / f"{model}.{name}.parquet") for name in ("bank", "clusters")}
    write_table(paths["bank"], bank, "bank")
    write_table(paths["clusters"], cluster_bank(bank, k=3, restarts=3, seed=0, threshold=0.7)[0], "clusters")
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
    rows = read_table(made["clusters"], "clusters").to_pylist()
    assert {row["clustering"] for row in rows} == {"k=3", "free"}
    changed = [row | {"name": "other"} if row["clustering"] == "free" else row for row in rows]
    write_table(made["clusters"], pa.Table.from_pylist(changed, schema=SCHEMAS["clusters"]), "clusters")
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


def test_layers_that_read_the_image_are_stems_and_no_regular_kernels(tmp_path):
    rng = np.random.default_rng(0)
    kernels = {"colour": (8, 3), "grey": (20, 1), "inner": (8, 4)}
    layers = [Layer(name, "regular", i, 0.0, 3, 3) for i, name in enumerate(kernels)]
    bank = bank_from_tensors(layers, lambda name: rng.normal(size=(*kernels[name], 3, 3)), "m", "m", 10**9)
    rows = {row["kind"]: row for row in structure([entry(tmp_path, bank, "m")]).to_pylist()}
    assert {kind: (row["kernels"], row["layers"]) for kind, row in rows.items()} == {
        "regular": (32, 1),
        "stem": (44, 2),
    }
    assert all(row["other_share"] is not None for row in rows.values())


def test_dropped_and_almost_dead_kernels_are_counted(tmp_path):
    kernels = np.random.default_rng(0).normal(size=(50, 5, 5))
    kernels[0], kernels[1], kernels[2] = np.nan, 0, 1  # dropped
    kernels[3:7] *= 1e-3
    bank = bank_of({"a": kernels, "b": kernels[10:]}, "m")
    (row,) = structure([entry(tmp_path, bank, "m")]).to_pylist()
    assert (row["kernels"], row["dropped"], row["almost_dead"], row["layers"]) == (87, 3, 4, 2)
    assert row["sparsity"] == pytest.approx((5 / 49 + 0) / 2)  # the zero one, too, and of the finite ones


def test_dead_layers_alone_have_no_row(tmp_path):
    assert structure([entry(tmp_path, bank_of({"a": np.zeros((40, 3, 3))}, "m"), "m")]).num_rows == 0
