"""Artifacts of patterns: shares stand beside their controls, curves and layers hold what the tables do, galleries are full."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from made import make_bank, random_kernels
from neural_echos.artifacts.patterns import (
    named_by_layer,
    pattern_clusters,
    pattern_shares_by_bank,
    patterns_by_layer,
    random_members,
    templates_shown,
    threshold_curves,
)
from neural_echos.errors import EchosError
from neural_echos.tables import SCHEMAS, kernels_of

EACH = 30  # kernels of a layer
NAMED = ["on-centre", "off-centre", "other"]  # of clusters 0, 1 and 2


@pytest.fixture
def shares() -> pd.DataFrame:
    """Shares of a net and of a control of half as many named kernels, at three thresholds, and by layer at the declared one."""
    rows = []
    for model, role, level in (("net", "trained", 0.8), ("control", "untrained", 0.4)):
        bank = {"model": model, "kind": "depthwise", "role": role, "trained_on": "d", "kernel_size": 7, "layers": 2}
        for by in ("cluster", "kernel"):
            for shuffled in (False, True):
                share = level * (0.25 if shuffled else 1)
                counted = bank | {
                    "by": by,
                    "shuffled": shuffled,
                    "kernels": 2 * EACH,
                    "low": share - 0.1,
                    "high": share + 0.1,
                }
                for threshold, of in ((0.0, 1.0), (0.8, share), (1.0, 0.0)):
                    at = {
                        "threshold": threshold,
                        "declared": threshold == 0.8,
                        "share": of,
                        "by_training": [of, of / 2],
                    }
                    rows.append(counted | at)
                for index in (1, 0):
                    at = {"layer": f"l{index}", "layer_index": index, "threshold": 0.8, "declared": True}
                    rows.append(counted | at | {"share": share - index / 10, "by_training": [share]})
    return pd.DataFrame(rows).reindex(columns=SCHEMAS["pattern_shares"].names)


@pytest.fixture
def bank() -> pa.Table:
    return make_bank({"l0": random_kernels(EACH, 7), "l1": random_kernels(EACH, 7, 1)}, model="net")


@pytest.fixture
def patterns(bank: pa.Table) -> pd.DataFrame:
    """Each layer's kernels in three clusters: 20, 8 and 2 of them."""
    cluster = np.repeat([0, 1, 2], [20, 8, 2])
    rows = bank.drop_columns(["taps"]).to_pandas()
    rows["row"], rows["cluster"] = np.arange(2 * EACH), np.tile(cluster, 2)
    rows["cluster_pattern"] = rows["pattern"] = np.array(NAMED)[rows.cluster]
    lists = {name: [[0.9]] * len(rows) for name in ("cluster_cosines", "null_cluster_cosines")}
    return rows.assign(**lists).reindex(columns=SCHEMAS["patterns"].names)


@pytest.fixture
def centroids() -> pd.DataFrame:
    rows = {"model": "net", "kind": "depthwise", "kernel_height": 7, "kernel_width": 7, "cluster": [0, 1, 2]}
    rows |= {"code": [0.5, 0.1, 0.9], "count": [40, 16, 4], "pattern": NAMED, "cosine": [0.9, 0.85, 0.5]}
    return pd.DataFrame(rows | {"taps": list(random_kernels(3, 7).reshape(3, -1).astype(np.float32))})


def test_shares_stand_beside_shuffled_taps_and_the_control(run_notebook, shares):
    published = [{"models": "n*", "share": "over 90 %"}]
    banks = pattern_shares_by_bank(shares, published)
    assert banks.model.tolist() == ["net", "control"]
    assert banks[["cluster_share", "kernel_shuffled", "cluster_control"]].iloc[0].tolist() == pytest.approx(
        [0.8, 0.2, 0.4]
    )
    assert np.isnan(banks.cluster_control[1])
    assert banks[["least", "most"]].iloc[0].tolist() == [0.4, 0.8]
    assert pattern_shares_by_bank(shares).published.tolist() == ["not readable", "–"]
    ran = run_notebook("pattern_shares", {"pattern_shares": shares}, {"published": published})
    cells = ran.content.iloc[0]
    assert cells[["by cluster, %", "interval", "trainings", "published"]].tolist() == [
        "80.0",
        "70.0 to 90.0",
        "40.0 to 80.0",
        "over 90 %",
    ]
    assert "7×7 by kernel 80.0 % to 80.0 % (shuffled taps up to 20.0 %, control 40.0 %)" in ran.says


def test_curves_follow_the_threshold(run_notebook, shares):
    curves = threshold_curves(shares)
    assert len(curves) == 2 * 2 * 2 * 3
    assert set(curves.group) == {"trained", "untrained", "shuffled"}
    mine = curves[(curves.group == "trained") & (curves.by == "kernel")]
    assert mine.share.tolist() == pytest.approx([1, 0.8, 0])
    ran = run_notebook("pattern_threshold_curves", {"pattern_shares": shares}, {})
    axes = ran.content.axes
    assert [axis.get_title() or axis.get_title("left") for axis in axes] == [
        "7×7, 1 trained bank\n80.0 % at 0.8",
        "80.0 % at 0.8",
    ]
    assert [text.get_text().strip() for text in axes[0].texts] == ["shuffled taps", "untrained", "trained depthwise"]
    with pytest.raises(EchosError, match="no trained bank has patterns; choose other models"):
        threshold_curves(shares[shares.role == "untrained"])


def test_layers_hold_the_share_of_each_pattern(run_notebook, shares, patterns):
    layers = patterns_by_layer(patterns, ["absent", "net"])
    assert layers.groupby("layer_index").share.sum().tolist() == pytest.approx([1, 1])
    assert layers[layers.pattern == "off-centre"].share.tolist() == pytest.approx([8 / EACH] * 2)
    assert layers.pattern.unique()[-1] == "other"
    named = named_by_layer(shares, ["net"])
    assert named[named.taps == "as they are"].share.tolist() == pytest.approx([0.8, 0.7])
    ran = run_notebook("pattern_shares_by_depth", {"patterns": patterns, "pattern_shares": shares}, {"models": ["net"]})
    assert "By kernel, 70.0 % to 80.0 % (median 75.0 %)" in ran.says
    assert "over 2 layers of 1 trained models; the least in layer 1 of net" in ran.says
    assert ran.content.axes[0].get_title("left") == "net, 2 layers"
    with pytest.raises(EchosError, match="there are no patterns of absent; choose other models"):
        patterns_by_layer(patterns, ["absent"])


def test_clusters_stand_in_the_order_of_their_codes_with_full_squares_of_kernels(bank, patterns, centroids):
    clusters = pattern_clusters(centroids, ["net"])
    assert clusters.pattern.tolist() == ["off-centre", "on-centre", "other"]
    assert clusters.share.tolist() == pytest.approx([16 / 60, 40 / 60, 4 / 60])
    drawn = random_members(patterns, bank, clusters, 0)
    assert [len(kernels) for kernels in drawn] == [9, 9, 4]
    (last,) = (kernels_of(bank.take(np.flatnonzero(patterns.cluster == 2)), 7, 7)[1],)
    assert np.array_equal(drawn[2], last)
    with pytest.raises(EchosError, match="there are no clusters of 5×5 kernels in net; choose other models"):
        pattern_clusters(centroids, ["net"], 5)


def test_templates_fill_their_rows():
    shown = templates_shown(7)
    assert {len(kernels) % min(4, len(kernels)) for _, kernels in shown.values()} == {0}
    assert max(len(kernels) for _, kernels in shown.values()) == 12


def test_the_gallery_shows_each_cluster_in_a_steady_layout(run_notebook, bank, patterns, centroids):
    tables = {"bank": bank, "patterns": patterns, "pattern_centroids": centroids}
    ran = run_notebook("pattern_gallery", tables, {"models": ["net", "absent"]})
    assert "net: on-centre 66.7 %, off-centre 26.7 %, other 6.7 %" in ran.says
    # The layout's solver leaves a last digit to chance; a second drawing lays the same axes out anew.
    for _ in range(2):
        ran.content.draw_without_rendering()
        places = [axes.get_position(original=True).bounds for axes in ran.content.axes]
        places += [part.bbox_relative.bounds for part in ran.content.subfigs]
        assert len(places) > 10
        np.testing.assert_allclose(places, np.round(places, 9), rtol=0, atol=1e-15)
