"""Figures of kernels: which ones are drawn, that rows are whole, and what the figures say."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from made import make_bank, random_kernels
from neural_echos.artifacts import kernels as shown
from neural_echos.artifacts.controls import control_samples, structure_forest, twin_shares
from neural_echos.artifacts.mosaics import draw_kernels, even_columns, whole_rows
from neural_echos.artifacts.names import bank_labels
from neural_echos.artifacts.style import canvas, drawing
from neural_echos.errors import EchosError
from neural_echos.receptive_fields import dog, dog_parameters
from neural_echos.receptive_fields.banks import fit_bank
from neural_echos.structure.kmeans import cluster_bank
from neural_echos.tables import SCHEMAS


def bank_of(model: str, *layers: np.ndarray, kind: str = "depthwise") -> pa.Table:
    """Lay kernels, (n, k, k) by layer, down as the bank of a model."""
    return make_bank({f"layer{place}": taps for place, taps in enumerate(layers)}, kind, model)


def noisy_dogs(n: int, size: int = 7, noise: float = 0.01, seed: int = 0) -> np.ndarray:
    """Differences of Gaussians with γ between .3 and .7, the first half excitatory, with noise; shape (n, size, size)."""
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(n) < n / 2, 1, -1)
    return dog(size, rng.uniform(0.3, 0.7, n), signs) + rng.normal(0, noise, (n, size, size))


@pytest.fixture
def bank() -> pa.Table:
    return bank_of("convnext", np.concatenate([noisy_dogs(20), random_kernels(30, 7)]), noisy_dogs(30, seed=2))


@pytest.mark.parametrize(
    ("available", "expected"), [(50, (40, 8)), (39, (32, 8)), (8, (8, 8)), (5, (5, 5)), (0, (0, 1))]
)
def test_only_whole_rows_are_drawn(available, expected):
    assert whole_rows(available, 40, 8) == expected


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (3, 3), (4, 4), (5, 3), (6, 3), (9, 3), (25, 3)])
def test_panels_leave_few_places_empty(panels, columns):
    assert even_columns(panels, 4) == columns


def test_banks_have_readable_names_in_one_order():
    models = ["other_net", "convnext-dog-untrained", "mcunet_in3", "convmixer-k9", "convnext_tiny.fb_in1k"]
    assert bank_labels(models) == {
        "mcunet_in3": "MCUNet-in3",
        "convnext-dog-untrained": "ConvNeXt, DoG, untrained",
        "convnext_tiny.fb_in1k": "ConvNeXt-T",
        "convmixer-k9": "ConvMixer, 9×9",
        "other_net": "other net",
    }
    tags = bank_labels(["convnext_tiny.fb_in1k", "convnext_tiny.in12k"])
    assert list(tags.values()) == ["convnext tiny.fb in1k", "convnext tiny.in12k"]


def test_a_label_stands_below_its_kernel():
    with drawing():
        _, axes = canvas(1, 1, (2, 2))
        image = draw_kernels(axes[0, 0], noisy_dogs(4), 2, ["a", "b", "c", "d"])
    array = image.get_array()
    assert array.shape == (2 * (7 + 1 + 3) - 1, 15)
    assert np.ma.getmaskarray(array)[7:11].all()
    places = {text.get_text(): text.get_position() for text in axes[0, 0].texts}
    assert places == {"a": (3, 6.6), "b": (11, 6.6), "c": (3, 17.6), "d": (11, 17.6)}


def test_random_kernels_are_whole_rows_of_each_network_and_size(run_notebook, bank):
    small = bank_of("mobilenetv2", noisy_dogs(13, 3, 0.1), noisy_dogs(5, 5, 0.1))
    banks = {"convnext": bank, "mobilenetv2": small}
    found = shown.random_kernels(banks, ["convnext", "mobilenetv2"], seed=0, kernels=40, columns=8)
    counts = found.groupby(["network", "kernel_size"], sort=False).agg(drawn=("row", "size"), of=("kernels", "first"))
    assert counts.reset_index().values.tolist() == [
        ["MobileNetV2", 3, 8, 13],
        ["MobileNetV2", 5, 5, 5],
        ["ConvNeXt", 7, 40, 80],
    ]
    for one in found.itertuples():
        np.testing.assert_array_equal(one.taps.ravel(), banks[one.model]["taps"][one.row].as_py())
    other = shown.random_kernels(banks, ["convnext"], seed=1, kernels=40, columns=8)
    assert set(other.row) != set(found[found.model == "convnext"].row)
    ran = run_notebook("figure_04_kernel_samples", {"bank": [bank, small]}, {"models": list(banks), "seed": 0})
    assert "53 kernels drawn at random (seed 0) out of 98" in ran.says
    with pytest.raises(EchosError, match="no depthwise kernels of an odd, square size in even"):
        shown.random_kernels({"even": bank_of("even", np.ones((3, 4, 4)))}, ["even"], seed=0, kernels=4, columns=2)


def test_kernels_closest_to_a_dog_of_each_sign_come_first(run_notebook, bank):
    fits = fit_bank(bank, seed=0, threshold=0.7)[0].to_pandas()
    found = shown.closest_to_dogs({"convnext": bank}, fits, ["convnext"], size=None, gammas=[0.5, 0.3], kernels=8)
    assert found.groupby(["sign", "nearest"]).size().tolist() == [4] * 4
    for (sign, nearest), rows in found.groupby(["sign", "nearest"]):
        of = fits[(fits.sign == sign) & ((fits.gamma < 0.4) == (nearest == 0.3))].cosine.sort_values(ascending=False)
        np.testing.assert_array_equal(rows.cosine, of[:4])
        assert rows.place.tolist() == [0, 1, 2, 3]
    assert found.close.iloc[0] == (fits.cosine > 0.9).mean()
    options = {"models": ["convnext"], "gammas": [0.3, 0.5], "kernels": 8}
    ran = run_notebook("figure_01_kernels_beside_dogs", {"bank": bank, "fits": fits}, options)
    assert ran.says.startswith("Of 80 depthwise 7×7 kernels, ")
    assert "16 of ConvNeXt" in ran.says
    titles = [axis.get_title(loc="left") for axis in ran.content.axes]
    assert titles[:2] == ["(a) trained, inhibitory", "(a) trained, excitatory"]
    assert [text.get_text() for text in ran.content.axes[2].texts] == ["0.3", "0.5"]
    assert len(ran.content.axes) == 4 + 1 and "Below" not in ran.says
    control = bank_of("mtcnn", np.random.default_rng(0).normal(size=(9, 3, 3)), kind="regular")
    with_control = {"bank": [bank, control], "fits": fits}
    ran = run_notebook("figure_01_kernels_beside_dogs", with_control, options | {"regular": "mtcnn"})
    assert ran.says.endswith("Below, 4 of 9 regular kernels at random.")
    titles = [axis.get_title(loc="left") for axis in ran.content.axes]
    assert titles[4:6] == ["(c) trained, regular: mtcnn, 3×3"] * 2
    assert not len(shown.random_regular_kernels({"convnext": bank}, "convnext", seed=0, kernels=4))
    with pytest.raises(EchosError, match="no 9×9 depthwise kernels in convnext"):
        shown.closest_to_dogs({}, fits, ["convnext"], size=9, gammas=[0.5], kernels=8)


def test_kernels_of_one_sign_alone_leave_the_other_panel_empty(run_notebook):
    bank = bank_of("a", dog(7, np.linspace(0.3, 0.7, 9), 1))
    fits = fit_bank(bank, seed=0, threshold=0.7)[0].to_pandas()
    ran = run_notebook(
        "figure_01_kernels_beside_dogs", {"bank": bank, "fits": fits}, {"models": ["a"], "gammas": [0.5]}
    )
    assert "9 of a, with cosines from" in ran.says


def test_the_same_kernels_are_shown_before_and_after_training(run_notebook):
    rng = np.random.default_rng(0)
    first, stem = rng.normal(size=(15, 5, 5)), rng.normal(size=(15, 9, 9))
    change = rng.normal(size=(15, 5, 5)) * np.linspace(0, 2, 15)[:, None, None]
    before, after = (
        pa.concat_tables([bank_of(name, stem, kind="regular"), bank_of(name, taps)])
        for name, taps in (("a-untrained", first), ("a", first + change))
    )
    pairs = [{"label": "A", "before": "a-untrained", "after": "a"}]
    found = shown.before_and_after({"a-untrained": before, "a": after}, pairs, kernels=32, columns=6, seed=0)
    assert (found.kernel_size == 5).all()
    assert found.drawn.sum() == 12
    assert found.cosine.is_monotonic_decreasing
    for one in found.itertuples():
        np.testing.assert_allclose(one.before, first[one.row], rtol=1e-6)
        np.testing.assert_allclose(one.after, (first + change)[one.row], rtol=1e-6)
        both = np.stack([one.before, one.after]).reshape(2, -1).astype(float)
        np.testing.assert_allclose(one.cosine, np.prod(both, axis=0).sum() / np.prod(np.linalg.norm(both, axis=1)))
    assert found.cosine.iloc[0] == pytest.approx(1)
    ran = run_notebook("figure_08_before_and_after_training", {"bank": [before, after]}, {"pairs": pairs})
    assert (
        ran.says == f"Mean cosine of a kernel with itself, before against after training: A {found.cosine.mean():.2f}."
    )
    assert ran.content.axes[0].images[0].get_array().shape == (2 * 6 - 1, 6 * 6 - 1)
    short = {"a-untrained": before, "a": bank_of("a", first[:3])}
    with pytest.raises(EchosError, match="a-untrained has 15 depthwise 5×5 kernels and a has 3"):
        shown.before_and_after(short, pairs, kernels=4, columns=2, seed=0)


def structure_rows(**columns: list) -> pd.DataFrame:
    """Rows of the structure table; what is not given is 0, or empty."""
    n = len(columns["model"])
    others = {field.name: [[] if pa.types.is_list(field.type) else 0] * n for field in SCHEMAS["structure"]}
    return pd.DataFrame(others | columns)


@pytest.fixture
def structure() -> pd.DataFrame:
    return structure_rows(
        model=[
            "convnext",
            "convnext-untrained",
            "convmixer",
            "convmixer-regular",
            "controls",
            "convnext-dog",
            "hornet",
        ],
        kind=["depthwise", "depthwise", "depthwise", "regular", "depthwise", "depthwise", "stem"],
        role=["trained", "untrained", "trained", "trained", "untrained", "trained from dog", "trained"],
        trained_on=["x"] * 7,
        kernel_size=[7, 7, 7, 7, 3, 7, 7],
        kernels=[80, 80, 30, 20, 10, 80, 5],
        layers=[2, 2, 2, 2, 1, 2, 1],
        share=[0.4, 0.06, 0.5, 0.2, 0.04, 0.9, 0.3],
        low=[0.3, 0.02, 0.4, 0.1, 0.0, 0.8, 0.2],
        high=[0.5, 0.1, 0.6, 0.3, 0.1, 1.0, 0.4],
    )


def test_each_control_shares_the_row_of_its_trained_bank(structure):
    found = structure_forest(structure)
    assert found[["kernel_size", "row", "group", "share"]].values.tolist() == [
        [3, "controls", "untrained", 0.04],
        [7, "ConvMixer", "trained", 0.5],
        [7, "ConvNeXt", "trained", 0.4],
        [7, "ConvNeXt", "untrained", 0.06],
        [7, "ConvMixer, regular", "regular", 0.2],
    ]
    with pytest.raises(EchosError, match="neither trained nor untrained banks"):
        structure_forest(structure[structure.role == "trained from dog"])


def test_the_structure_forest_says_what_is_above_chance(run_notebook, structure):
    rng = np.random.default_rng(0)
    kinds = dict(zip(structure.model, structure.kind, strict=True))
    sizes = dict(zip(structure.model, structure.kernel_size, strict=True))
    banks = [bank_of(name, rng.normal(size=(20, sizes[name], sizes[name])), kind=kinds[name]) for name in kinds]
    ran = run_notebook("figure_06_regular_kernels_as_control", {"bank": banks, "structure": structure}, {"seed": 0})
    assert "trained depthwise 45.0 % (2), trained regular 20.0 % (1), untrained 5.0 % (2)" in ran.says
    assert "in 2 of 2 trained depthwise banks" in ran.says
    assert {axis.get_title(loc="left") for axis in ran.content.axes if ":" in axis.get_title(loc="left")} == {
        "trained depthwise:\nConvNeXt, 7×7",
        "trained regular:\nConvMixer, 7×7",
        "untrained:\nConvNeXt, 7×7",
    }
    texts = [text.get_text() for axis in ran.content.axes for text in axis.texts]
    assert "n = 80" in texts
    assert "chance, 5 %" in texts


NETWORKS = {"ConvMixer": "convmixer-s*", "MobileNetV2": "mobilenetv2-s*"}
REGULAR = {"ConvMixer": "convmixer_regular-s*", "MobileNetV2": "mobilenetv2_regular-s*"}


@pytest.fixture
def twins() -> pd.DataFrame:
    """Two ConvMixers and two twins, and one MobileNetV2 with one twin, which has 5×5 kernels, too."""
    models = ["convmixer-s0", "convmixer-s1", "convmixer_regular-s0", "convmixer_regular-s1", "mobilenetv2-s0"]
    models += ["mobilenetv2_regular-s0", "mobilenetv2_regular-s0", "convmixer_regular-s0"]
    share = [0.5, 0.6, 0.2, 0.1, 0.4, 0.3, 0.9, 0.8]
    rng = np.random.default_rng(0)
    return structure_rows(
        model=models,
        kind=["regular" if "regular" in model else "depthwise" for model in models[:-1]] + ["stem"],
        role=["trained"] * 8,
        trained_on=["x"] * 8,
        kernel_size=[9, 9, 9, 9, 3, 3, 5, 9],
        kernels=[80, 80, 70, 70, 30, 40, 5, 5],
        layers=[2] * 8,
        share=share,
        low=[one - 0.1 for one in share],
        high=[one + 0.1 for one in share],
        resampled=[(one + rng.normal(0, 0.02, 50)).astype(np.float32) for one in share],
    )


def test_regular_twins_stand_beside_the_networks_of_their_size(run_notebook, twins):
    shares, differences = twin_shares(twins, NETWORKS, REGULAR)
    assert shares.groupby(["network", "group"]).share.apply(list).to_dict() == {
        ("ConvMixer", "trained"): [0.5, 0.6],
        ("ConvMixer", "regular"): [0.2, 0.1],
        ("MobileNetV2", "trained"): [0.4],
        ("MobileNetV2", "regular"): [0.3],
    }
    mixer, mobile = differences.itertuples()
    assert (mixer.banks, mobile.banks) == (2, 1)
    assert mixer.difference == pytest.approx(0.4) and mixer.low < 0.4 < mixer.high
    assert mobile.difference == pytest.approx(0.1) and math.isnan(mobile.low)
    ran = run_notebook("regular_twins", {"structure": twins}, {"networks": NETWORKS, "twins": REGULAR})
    assert "ConvMixer, 9×9 +40.0 [" in ran.says and "MobileNetV2, 3×3 +10.0 [one seed]" in ran.says
    assert [label.get_text() for label in ran.content.axes[0].get_xticklabels()] == [
        "ConvMixer, 9×9",
        "MobileNetV2, 3×3",
    ]


def test_a_network_without_a_twin_of_its_size_is_refused(twins):
    with pytest.raises(EchosError, match=r"no trained depthwise network has an id like 'hornet-\*'"):
        twin_shares(twins, {"HorNet": "hornet-*"}, {})
    without = twins[twins.model != "mobilenetv2_regular-s0"]
    with pytest.raises(EchosError, match=r"no trained regular network of 3×3 kernels has an id like 'mobilenetv2_reg"):
        twin_shares(without, NETWORKS, REGULAR)


def test_samples_of_controls_are_of_the_size_and_data_set_of_the_trained_one(structure):
    others = structure.assign(trained_on=np.where(structure.kind == "regular", "y", "x"))
    more = others[others.kind == "regular"].assign(model=["small"], trained_on="x", kernels=15)
    forest = structure_forest(pd.concat([others, more], ignore_index=True))
    banks = {
        name: bank_of(name, np.ones((20, 7, 7)), kind=kind)
        for name, kind in zip(forest.model, forest.kind, strict=True)
    }
    drawn = control_samples(banks, forest, seed=0, kernels=6, columns=6)
    assert drawn.groupby("group").row.first().to_dict() == {
        "regular": "small, regular",
        "trained": "ConvNeXt",
        "untrained": "ConvNeXt",
    }


def test_a_profile_draws_radius_and_standard_deviation(run_notebook):
    ran = run_notebook("figure_02_dog_profile", {}, {"size": 9, "gamma": 0.5})
    r, sigma = (float(getattr(dog_parameters(9, 0.5), name)) for name in ("r", "sigma"))
    texts = [text.get_text().strip() for text in ran.content.axes[0].texts]
    assert {f"r = {r:.2f}", f"σ = {sigma:.2f}", f"γσ = {sigma / 2:.2f}"} <= set(texts)
    assert ran.says.startswith(f"Size 9, γ = 0.5: r = {r:.3f} taps, σ = {sigma:.3f} taps, A_c = ")
    profile = ran.shown[1]
    wide = profile[profile.centre == "inhibitory"].pivot(index="distance", columns="part", values="weight")
    np.testing.assert_allclose(wide["sum"], wide["centre"] + wide["surround"])
    assert wide.loc[0.0, "sum"] < 0


def test_kernels_by_ratio_and_the_gallery_are_those_of_the_formulas(run_notebook):
    ran = run_notebook("figure_03_dog_kernels_by_ratio", {}, {"size": 9, "gammas": [0.2, 0.8]})
    np.testing.assert_array_equal(
        np.stack(ran.shown[1].taps), dog(9, np.array([0.2, 0.8] * 2), np.array([-1, -1, 1, 1]))
    )
    assert "from 1.0 taps at γ = 0.2 to 4.0 at γ = 0.8" in ran.says
    gallery = run_notebook("receptive_field_gallery", {}, {"size": 5})
    assert gallery.says == "All 13 receptive-field models at 5×5, 56 kernels."
    assert gallery.shown[1].groupby("family", sort=False).size().tolist() == [8] * 7


def test_kernels_stand_beside_their_own_fits(run_notebook, bank):
    fits = fit_bank(bank, seed=0, threshold=0.7)[0].to_pandas()
    found = shown.beside_fits({"convnext": bank}, fits, ["convnext"], kernels=5)
    assert found.cosine.is_monotonic_decreasing
    assert found.cosine.iloc[[0, -1]].tolist() == [fits.cosine.max(), fits.cosine.min()]
    for one in found.itertuples():
        centred = one.taps - one.taps.mean()
        cosine = (centred * one.fit).sum() / np.linalg.norm(centred) / np.linalg.norm(one.fit)
        assert cosine == pytest.approx(one.cosine, abs=1e-4)
    ran = run_notebook("kernels_beside_fits", {"bank": bank, "fits": fits}, {"models": ["convnext"], "kernels": 5})
    assert ran.says.endswith(f"ConvNeXt {found.cosine.median():.2f}.")


def test_a_layer_sheet_shows_the_most_typical_kernels_first(run_notebook, bank):
    clusters = cluster_bank(bank, k=3, restarts=2, seed=0, threshold=0.7)[0]
    found = shown.typical_by_layer({"convnext": bank}, clusters.to_pandas(), ["convnext"], kernels=6)
    assert found.layer.tolist() == ["layer0"] * 6 + ["layer1"] * 6
    assert found.kernels.tolist() == [50] * 6 + [30] * 6
    assert all(rows.distance.is_monotonic_increasing for _, rows in found.groupby("layer"))
    ran = run_notebook("layer_sheet", {"bank": bank, "clusters": clusters}, {"models": ["convnext"], "kernels": 6})
    assert ran.says.startswith("ConvNeXt: 2 depthwise layers; ")
    options = {"models": ["absent", "convnext"], "kernels": 6}  # the second stands in for the first
    assert run_notebook("layer_sheet", {"bank": bank, "clusters": clusters}, options).says == ran.says
    with pytest.raises(EchosError, match="shows one network, not 2"):
        shown.typical_by_layer({}, clusters.to_pandas(), ["a", "b"], kernels=6)
