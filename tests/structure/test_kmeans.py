"""Clusters: what is planted is found and named, silhouettes against scikit-learn, and the same seed gives the same tables."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

from made import make_bank, random_kernels
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import center_norm, dog
from neural_echos.structure import kmeans as clusters
from neural_echos.structure.kmeans import cluster_bank, cluster_kernels, name_centroids
from neural_echos.structure.quality import mean_silhouettes, stability
from neural_echos.tables import SCHEMAS, read_table, write_table

OPTIONS = {"k": 3, "restarts": 4, "seed": 0, "threshold": 0.7}


def planted(n: int, k: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """On-centres (half), off-centres (a third) and horizontal edges (the rest): kernels (n, k, k) and their names (n,)."""
    rng = np.random.default_rng(seed)
    names = np.repeat(["excitatory", "inhibitory", "other"], [n // 2, n // 3, n - n // 2 - n // 3])
    rng.shuffle(names)
    centre = dog(k, rng.uniform(0.35, 0.55, n), np.where(names == "inhibitory", -1, 1))
    edge = np.broadcast_to(np.sign(np.arange(k) - k // 2)[:, None] / k, (k, k))
    kernels = np.where((names == "other")[:, None, None], edge, centre)
    return rng.uniform(0.5, 2, n)[:, None, None] * (kernels + 0.01 * rng.normal(size=kernels.shape)), names


def column(table: pa.Table, name: str, clustering: str) -> np.ndarray:
    return table.filter(pc.field("clustering") == clustering)[name].to_numpy()


def test_planted_kinds_are_found_and_named():
    kernels, names = planted(600)
    bank = make_bank({"a": kernels[:200], "b": kernels[200:]})
    assigned, centroids, choices, report = cluster_bank(bank, **OPTIONS)
    assert report["depthwise 7x7"]["clustered"] == 600 and report["depthwise 7x7"]["free_k"] == 3
    for clustering in ("k=3", "free"):
        assert (column(assigned, "name", clustering) == names).all()
        assert column(assigned, "row", clustering).tolist() == list(range(600))
        assert column(centroids, "name", clustering).tolist() == ["excitatory", "inhibitory", "other"]
        assert column(centroids, "count", clustering).tolist() == [300, 200, 100]
        assert column(centroids, "cluster", clustering).tolist() == [0, 1, 2]
        assert (column(centroids, "similarity", clustering)[:2] > 0.95).all()
        assert column(centroids, "gamma", clustering)[:2] == pytest.approx(0.45, abs=0.05)
    numbers = choices.to_pandas().set_index("clusters")
    assert numbers.index.tolist() == list(range(2, 9)) and set(numbers.kernels) == {600}
    assert numbers.index[numbers.chosen].tolist() == numbers.index[numbers.declared].tolist() == [3]
    assert numbers.silhouette.idxmax() == 3 and numbers.stability[3] == pytest.approx(1)
    assert numbers.inertia[3] == pytest.approx((column(assigned, "distance", "k=3") ** 2).sum())


def test_tables_agree_with_each_other(tmp_path):
    """Distances and counts follow from centroids and labels; the tables survive Parquet."""
    kernels = random_kernels(200, 5)
    assigned, centroids, choices, _ = cluster_bank(make_bank({"a": kernels}), **OPTIONS)
    labels = column(assigned, "cluster", "k=3")
    points = center_norm(kernels)[0].reshape(200, -1)
    taps = np.stack(column(centroids, "taps", "k=3"))
    for cluster in range(3):
        assert taps[cluster] == pytest.approx(points[labels == cluster].mean(axis=0), abs=1e-6)
    assert column(assigned, "distance", "k=3") == pytest.approx(np.linalg.norm(points - taps[labels], axis=1), abs=1e-6)
    counts = column(centroids, "count", "k=3")
    assert counts.tolist() == np.bincount(labels).tolist() == sorted(counts, reverse=True)
    for name, table in (("clusters", assigned), ("centroids", centroids), ("choices", choices)):
        write_table(tmp_path / "table.parquet", table, name)
        assert read_table(tmp_path / "table.parquet", name).equals(table)


def test_same_seed_gives_the_same_tables():
    bank = make_bank({"a": random_kernels(150, 3), "b": random_kernels(150, 5)})
    first, again = cluster_bank(bank, **OPTIONS), cluster_bank(bank, **OPTIONS)
    assert all(one.equals(other) for one, other in zip(first[:3], again[:3], strict=True)) and first[3] == again[3]


def test_threads_change_nothing():
    """Two threads add in another order than one, which showed in the last bits of silhouettes."""
    bank = make_bank({"a": random_kernels(1100, 5)})
    tables = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            tables.append(cluster_bank(bank, **OPTIONS)[:3])
    assert all(one.equals(other) for one, other in zip(*tables, strict=True))


def test_kinds_and_sizes_are_clustered_apart():
    """Unusable kernels are dropped, small groups left out, kernels without a DoG all "other"; rows stay the bank's."""
    bad = random_kernels(40, 5)
    bad[0, 0, 0], bad[1] = np.nan, 0
    depthwise = make_bank({"a": random_kernels(20, 3), "b": bad, "c": random_kernels(40, 4), "d": random_kernels(9, 1)})
    regular = make_bank({"e": random_kernels(40, 5, seed=1), "f": random_kernels(40, 5)[:, :3]}, kind="regular")
    bank = pa.concat_tables([regular, depthwise])
    assigned, centroids, choices, report = cluster_bank(bank, **OPTIONS)
    found = {
        group: (counts["clustered"], counts["dropped"], counts["left_out"], "free_k" in counts)
        for group, counts in report.items()
    }
    assert found == {
        "depthwise 1x1": (0, 9, 0, False),
        "depthwise 3x3": (0, 0, 20, False),
        "depthwise 4x4": (40, 0, 0, True),
        "depthwise 5x5": (38, 2, 0, True),
        "regular 3x5": (40, 0, 0, True),
        "regular 5x5": (40, 0, 0, True),
    }
    assert column(assigned, "row", "k=3").tolist() == [*range(80), *range(102, 140), *range(140, 180)]
    sizes = choices.to_pandas().groupby(["kind", "kernel_height", "kernel_width"])
    assert [key for key, _ in sizes] == [("depthwise", 4, 4), ("depthwise", 5, 5), ("regular", 3, 5), ("regular", 5, 5)]
    assert (sizes.chosen.sum() == 1).all() and (sizes.declared.sum() == 1).all() and (sizes.size() == 7).all()
    for name in ("kind", "layer", "kernel_height", "kernel_width"):
        assert assigned[name].to_pylist() == bank[name].take(assigned["row"]).to_pylist()
    without = centroids.filter(pc.field("kernel_height") != pc.field("kernel_width"))
    without = pa.concat_tables([without, centroids.filter(pc.field("kernel_height") == 4)])
    assert set(without["name"].to_pylist()) == {"other"}
    assert without["similarity"].null_count == without["gamma"].null_count == len(without) > 0
    assert centroids.filter(pc.field("kernel_height") == 5)["similarity"].null_count == 0


def test_an_empty_bank_has_empty_tables_and_several_models_are_named_together():
    *tables, report = cluster_bank(SCHEMAS["bank"].empty_table(), **OPTIONS)
    assert [table.schema for table in tables] == [SCHEMAS[name] for name in ("clusters", "centroids", "choices")]
    assert [len(table) for table in tables] == [0, 0, 0] and report == {}
    banks = [make_bank({"a": random_kernels(40, 3, seed)}, model=model) for seed, model in enumerate(("b", "a"))]
    assigned, centroids, choices, _ = cluster_bank(pa.concat_tables(banks), **OPTIONS)
    assert set(centroids["model"].to_pylist()) == set(choices["model"].to_pylist()) == {"a+b"}
    assert column(assigned, "model", "k=3").tolist() == ["b"] * 40 + ["a"] * 40


def test_many_kernels_are_polished_from_a_sample(monkeypatch):
    kernels, names = planted(900)
    normalised = center_norm(kernels)[0]
    whole = cluster_kernels(normalised, 3, restarts=4, seed=0)
    monkeypatch.setattr(clusters, "_FITTED", 200)
    polished = cluster_kernels(normalised, 3, restarts=4, seed=0)
    assert (polished.labels == whole.labels).all()
    assert polished.centroids == pytest.approx(whole.centroids, abs=1e-12)
    assert polished.counts.tolist() == [(names == name).sum() for name in ("excitatory", "inhibitory", "other")]


def test_a_samples_best_solutions_reach_the_optimum_of_many_full_restarts(monkeypatch):
    """Eight groups that overlap, so that a start alone can end in worse optima."""
    templates = random_kernels(8, 5)
    kernels = np.repeat(templates, 750, axis=0) + 0.6 * random_kernels(6000, 5, seed=1)
    kernels = center_norm(kernels)[0]
    points = kernels.reshape(6000, -1)
    full = [KMeans(8, n_init=1, random_state=seed).fit(points) for seed in range(20)]
    best = min(full, key=lambda fit: fit.inertia_)
    assert max(fit.inertia_ for fit in full) > 1.01 * best.inertia_
    monkeypatch.setattr(clusters, "_FITTED", 1500)
    for dtype in (np.float64, np.float32):
        found = cluster_kernels(kernels.astype(dtype), 8, restarts=20, seed=0)
        assert found.inertia == pytest.approx(best.inertia_, rel=1e-5)
        assert adjusted_rand_score(found.labels, best.labels_) > 0.99


def test_the_solution_kept_is_the_best_over_all_kernels_and_not_over_the_sample(monkeypatch):
    kernels = center_norm(random_kernels(2000, 3))[0]
    monkeypatch.setattr(clusters, "_FITTED", 60)
    inertia = {}
    for starts in (1, 3):
        monkeypatch.setattr(clusters, "_STARTS", starts)
        inertia[starts] = np.array([cluster_kernels(kernels, 6, restarts=8, seed=s).inertia for s in range(6)])
    assert (inertia[3] <= inertia[1]).all() and (inertia[3] < inertia[1]).any()


def test_chunks_change_nothing(monkeypatch):
    kernels = center_norm(planted(900)[0])[0]
    for fitted in (1000, 200):
        monkeypatch.setattr(clusters, "_FITTED", fitted)
        monkeypatch.setattr(clusters, "_CHUNK", 65_536)
        whole = cluster_kernels(kernels, 4, restarts=3, seed=0)
        monkeypatch.setattr(clusters, "_CHUNK", 7)
        chunked = cluster_kernels(kernels, 4, restarts=3, seed=0)
        assert (chunked.labels == whole.labels).all() and (chunked.counts == whole.counts).all()
        assert chunked.centroids == pytest.approx(whole.centroids, abs=1e-14)
        assert chunked.distance == pytest.approx(whole.distance, abs=1e-14)


def test_a_large_bank_is_clustered_in_float32_as_in_float64(monkeypatch):
    bank = make_bank({"a": planted(900)[0]})
    whole = cluster_bank(bank, **OPTIONS)
    normalised = []
    monkeypatch.setattr(clusters, "center_norm", lambda *one: normalised.append(center_norm(*one)) or normalised[-1])
    monkeypatch.setattr(clusters, "_FITTED", 300)
    sampled = cluster_bank(bank, **OPTIONS)
    assert normalised[0][0].dtype == np.float32
    assert sampled[0].drop(["distance"]).equals(whole[0].drop(["distance"]))
    assert sampled[0]["distance"].to_numpy() == pytest.approx(whole[0]["distance"].to_numpy(), abs=1e-6)
    columns = ["kernels", "clusters", "chosen", "declared"]
    assert sampled[2].select(columns).equals(whole[2].select(columns))
    for measure in ("inertia", "silhouette", "stability"):  # of the three planted clusters
        assert sampled[2][measure][1].as_py() == pytest.approx(whole[2][measure][1].as_py(), rel=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fewer_distinct_kernels_than_clusters():
    found = cluster_kernels(np.repeat(random_kernels(2, 3), [5, 7], axis=0), 4, restarts=2, seed=0)
    assert found.counts.tolist() == [7, 5]
    assert found.distance == pytest.approx(0, abs=1e-12)
    same = make_bank({"a": np.repeat(random_kernels(1, 3), 40, axis=0)})
    assert column(cluster_bank(same, **OPTIONS)[1], "count", "free").tolist() == [40]


def test_silhouettes_are_those_of_scikit_learn():
    points = np.random.default_rng(0).normal(size=(2500, 4))  # more than one chunk
    labellings = [np.random.default_rng(c).integers(c, size=2500) for c in (2, 5)]
    labellings.append((points[:, 0] > 0).astype(np.int64))
    labellings.append(np.r_[0, np.ones(2499, np.int64)])  # a point alone
    expected = [silhouette_score(points, labels) for labels in labellings]
    assert mean_silhouettes(points, labellings) == pytest.approx(expected, abs=1e-6)
    assert mean_silhouettes(points, [np.zeros(2500, np.int64)]) == [-1.0]


def test_stability_is_the_mean_adjusted_rand_index_of_scikit_learn():
    rng = np.random.default_rng(0)
    labellings = [rng.integers(c, size=300) for c in (2, 5, 5)]
    labellings.append(7 - labellings[1])  # renumbered
    labellings.append(np.where(rng.random(300) < 0.1, 0, labellings[1]))
    pairs = [adjusted_rand_score(one, other) for i, one in enumerate(labellings) for other in labellings[:i]]
    assert stability(labellings) == pytest.approx(np.mean(pairs), abs=1e-12)
    one, each = np.zeros(9, np.int64), np.arange(9)
    assert stability([one, one]) == stability([each, each]) == 1.0
    assert stability([one, each]) == 0.0
    assert np.isnan(stability([one]))


def test_restarts_agree_on_clusters_that_stand_apart_and_not_on_noise():
    noise = cluster_bank(make_bank({"a": random_kernels(600, 7)}), **OPTIONS)[2].to_pandas()
    apart = cluster_bank(make_bank({"a": planted(600)[0]}), **OPTIONS)[2].to_pandas()
    assert apart.stability[apart.clusters == 3].item() == pytest.approx(1)
    assert (noise.stability < 0.3).all()
    once = cluster_bank(make_bank({"a": planted(600)[0]}), **OPTIONS | {"restarts": 1})[2]
    assert np.isnan(once["stability"].to_numpy()).all()


def test_a_declared_number_outside_the_range_is_compared_and_never_chosen():
    choices = cluster_bank(make_bank({"a": planted(600)[0]}), **OPTIONS, free_range=(4, 5))[2].to_pandas()
    assert choices.clusters.tolist() == [3, 4, 5]
    assert choices.silhouette.idxmax() == 0 and choices.declared.tolist() == [True, False, False]
    assert not choices.chosen[0] and choices.chosen.sum() == 1


def test_names_follow_the_sign_and_the_threshold():
    centroids = np.stack([dog(5, 0.5), dog(5, 0.5, -1), random_kernels(1, 5)[0]])
    names, similarity, gamma = name_centroids(centroids, 0.9)
    assert names == ["excitatory", "inhibitory", "other"]
    assert similarity[:2] == pytest.approx(1) and gamma[:2] == pytest.approx(0.5, abs=1e-5)
    assert name_centroids(centroids, 0.0)[0][2] != "other"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"k": 1}, "k: .* not 1;"),
        ({"restarts": 0}, "restarts: .* not 0;"),
        ({"threshold": 2.0}, "threshold must be .* not 2.0"),
        ({"free_range": (5, 2)}, r"free_range: .* not \(5, 2\)"),
        ({"sample": 8}, "sample: .* not 8;"),
    ],
)
def test_bad_options_are_one_sentence(options, found):
    with pytest.raises(EchosError, match=found):
        cluster_bank(make_bank({"a": random_kernels(40, 3)}), **(OPTIONS | options))
