"""Figures and the table of clusters: averages, members, shares by layer, and numbers of clusters."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from made import make_bank, random_kernels
from neural_echos.artifacts.clusters import (
    CENTRES,
    cluster_averages,
    cluster_numbers,
    layer_shares,
    mean_shares,
    shares_by_depth,
)
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import dog
from neural_echos.structure.kmeans import cluster_bank
from neural_echos.tables import kernels_of


@pytest.fixture(scope="module")
def found() -> dict[str, pa.Table]:
    """A bank of two layers, 30 excitatory kernels, 20 inhibitory ones and 10 of noise, and its clusters."""
    signs = np.repeat([1, -1], [30, 20])
    centred = dog(7, np.random.default_rng(0).uniform(0.4, 0.6, 50), signs)
    bank = make_bank({"a": centred[:40], "b": np.concatenate([centred[40:], random_kernels(10, 7)])}, model="convnext")
    clusters, centroids, choices, _ = cluster_bank(bank, k=3, restarts=3, seed=0, threshold=0.7)
    return {"bank": bank, "clusters": clusters, "centroids": centroids, "choices": choices}


def test_clusters_stand_in_the_order_of_the_caption_with_their_averages(found, run_notebook):
    tables = {name: table.to_pandas() for name, table in found.items() if name != "bank"}
    made = cluster_averages(
        {"convnext": found["bank"]},
        tables["clusters"],
        tables["centroids"],
        ["convnext"],
        seed=0,
        kernels=25,
        columns=5,
    )
    assert [CENTRES.index(name) for name in made.name] == sorted(CENTRES.index(name) for name in made.name)
    assert made.kernels.sum() == 60
    np.testing.assert_allclose(made.share, made.kernels / 60)
    _, taps = kernels_of(found["bank"], 7, 7)
    for one in made.itertuples():
        assert len(one.members) == min(25, one.kernels - one.kernels % 5)
        centred = taps - taps.mean(axis=(1, 2), keepdims=True)
        for member in one.members:
            assert np.isclose(centred, member, atol=1e-6).all(axis=(1, 2)).any()
        assert one.norm == pytest.approx(np.linalg.norm(one.average))
    shares = mean_shares(made)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["inhibitory"] == pytest.approx(20 / 60)
    ran = run_notebook(
        "figure_05_clusters",
        {name: found[name] for name in ("bank", "clusters", "centroids")},
        {"models": ["convnext"], "seed": 0},
    )
    assert "33.3 % an inhibitory one" in ran.says
    titles = [axis.get_title(loc="left") for axis in ran.content.axes[:3]]
    assert [title.split(", ")[0] for title in titles] == list(made.name)
    assert [part.get_suptitle() for part in ran.content.subfigs[0].subfigs] == ["ConvNeXt, 7×7, n = 60"]


def test_without_clusters_there_is_one_sentence(found):
    empty = {name: found[name].to_pandas().iloc[:0] for name in ("clusters", "centroids")}
    options = {"seed": 0, "kernels": 25, "columns": 5}
    with pytest.raises(EchosError, match="none of the depthwise kernels of convnext were clustered"):
        cluster_averages({"convnext": found["bank"]}, empty["clusters"], empty["centroids"], ["convnext"], **options)
    with pytest.raises(EchosError, match="none of the depthwise kernels of convnext were clustered"):
        layer_shares(empty["clusters"], ["convnext"])


def test_few_layers_are_bars_of_their_shares(found, run_notebook):
    shares = layer_shares(found["clusters"].to_pandas(), ["convnext"])
    assert shares.groupby("place").share.sum().tolist() == pytest.approx([1, 1])
    wide = shares.pivot(index="place", columns="name", values="share")
    assert wide.loc[0].tolist() == pytest.approx([0.75, 0.25, 0])  # of excitatory, inhibitory, other
    assert (shares.layers == 2).all()
    ran = run_notebook("figure_07_cluster_shares", {"clusters": found["clusters"]}, {"models": ["convnext"]})
    assert "over 2 layers of 1 network." in ran.says
    heights = [bar.get_height() for bar in ran.content.axes[0].patches]
    assert sum(heights) == pytest.approx(2)


def many(model: str, centred: list[float]) -> pd.DataFrame:
    """Clusters of a network with ten kernels a layer, of which a share is excitatory."""
    rows = [
        {"model": model, "layer": f"l{place}", "layer_index": place, "depth": place / (len(centred) - 1)}
        | {"row": 10 * place + one, "name": "excitatory" if one < 10 * share else "other"}
        for place, share in enumerate(centred)
        for one in range(10)
    ]
    same = {
        "kind": "depthwise",
        "kernel_height": 3,
        "kernel_width": 3,
        "clustering": "k=3",
        "cluster": 0,
        "distance": 0.5,
    }
    return pd.DataFrame(rows).assign(**same)


def test_many_layers_are_a_map_over_relative_depth(run_notebook):
    clusters = pd.concat([many("hornet", [0, 0, 0.5, 0.5, 1, 1, 1, 0]), many("mobilenetv2", [1, 0])])
    shares = layer_shares(clusters, ["hornet", "mobilenetv2"])
    by_depth = shares_by_depth(shares, bins=4)
    assert by_depth.index.tolist() == ["MobileNetV2", "HorNet"]
    np.testing.assert_allclose(by_depth, [[1, 1, 0, 0], [0, 0.5, 1, 0.5]], atol=1e-12)
    np.testing.assert_allclose(shares_by_depth(shares, bins=3).loc["MobileNetV2"], [1, 0.5, 0], atol=1e-12)
    ran = run_notebook("figure_07_cluster_shares", {"clusters": clusters}, {"models": ["hornet", "mobilenetv2"]})
    assert [text.get_text() for text in ran.content.axes[0].texts] == ["2 layers", "8 layers"]
    assert "over 10 layers of 2 networks" in ran.says


def test_the_declared_number_of_clusters_stands_beside_the_best(found, run_notebook):
    choices = found["choices"].to_pandas()
    numbers = cluster_numbers(choices)
    assert numbers.clusters.tolist() == [3]
    best = choices.loc[choices.silhouette.idxmax()]
    assert numbers.clusters_chosen.tolist() == [best.clusters]
    assert numbers.silhouette_chosen.tolist() == [best.silhouette]
    ran = run_notebook("cluster_numbers", {"choices": found["choices"]}, {})
    row = ran.content.iloc[0]
    assert (row["bank"], row["kernel"], row["kernels"], row["papers' k"]) == ("ConvNeXt", "7×7", "60", "3")
    assert float(row["silhouette of the best"]) == pytest.approx(best.silhouette, abs=0.005)
    assert f"in {int(best.clusters == 3)} of 1 bank and kernel size" in ran.says
