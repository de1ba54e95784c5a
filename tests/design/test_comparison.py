"""A preset that `echos compare` writes: what stands in it, and what it is loaded as."""

from dataclasses import replace
from pathlib import Path

import pytest

from neural_echos.design.comparison import Comparison, choose_initialisations, free_name, write_preset
from neural_echos.design.load import load_preset
from neural_echos.design.preset import Preset
from neural_echos.errors import EchosError

ROOT = Path(__file__).resolve().parents[2]


def comparison(**changes: object) -> Comparison:
    chosen = choose_initialisations(ROOT, ["dog", "default", "covariance"])
    made = Comparison(
        root=Path("/data/my photos: 'the best'"),
        classes=2,
        train=100,
        test=20,
        said=["2 classes.", "The folder has no split."],
        test_share=0.2,
        leave_out=["cats/a: b.png"],
        side=64,
        model="convnext_atto",
        kwargs={},
        checkpoint=None,
        initialisations=chosen,
        seeds=5,
        epochs=3,
        results="results/mine",
        cores=2,
        gpus=0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_preset_is_loaded_as_it_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    config = write_preset(path, comparison(), ROOT)
    name = "my_photos_the_best"
    data, recipe = config.datasets[name], config.recipes[name].model_dump()
    given = {"test_share": 0.2, "leave_out": ["cats/a: b.png"], "memory": True, "size": 64}
    assert data.options.model_dump() == {"root": "/data/my photos: 'the best'", **given}
    assert (recipe["epochs"], recipe["batch_size"], recipe["lr"]) == (3, 16, 0.002)
    preset = Preset(config)
    assert [one.initialisation for one in preset.conditions] == ["covariance", "default", "dog"]
    assert preset.seed_groups == [(0, 1, 2), (3, 4)]  # six jobs for two cores
    assert (config.comparisons.baselines, config.claims, config.models) == (["default"], [], [])
    shown = {one.id: one.options.model_dump() for one in config.artifacts}
    assert shown["figure_09_training_curves"]["initialisations"] == ["default", "dog", "covariance"]
    assert config.scale == "my_photos_the_best: 100 images of 64×64, convnext_atto from scratch, 3 epochs"
    assert config.pathvars.logs == "results/mine/logs"
    text = path.read_text(encoding="utf-8")
    assert "# The folder has no split." in text and "One test image is 5 points of top-1." in text
    assert max(map(len, text.splitlines())) <= 132


def test_what_differs_is_written_only_where_it_applies(tmp_path: Path) -> None:
    changes = {"test_share": None, "leave_out": [], "side": 224, "train": 50_000, "gpus": 1, "cores": 16}
    config = write_preset(tmp_path / "large.yaml", comparison(**changes), ROOT)
    name = "my_photos_the_best"
    assert config.datasets[name].options.model_dump() == {"root": "/data/my photos: 'the best'", "memory": False}
    assert config.recipes[name].model_dump()["image_size"] == 224
    assert (config.gpu, config.threads, config.seeds_per_job) == (1, 8, 5)
    tuned = comparison(
        checkpoint=Path("/w/best.pth"), initialisations=choose_initialisations(ROOT, ["kaiming", "box"], frozen=True)
    )
    config = write_preset(tmp_path / "tuned.yaml", tuned, ROOT)
    assert config.architectures["convnext_atto"].checkpoint == "/w/best.pth"
    assert Preset(config).checkpoint_files("convnext_atto") == ["/w/best.pth"]
    assert config.recipes[name].model_dump()["lr"] == 0.0002
    assert "fine-tuned from best.pth, kernels frozen, 3 epochs" in config.scale
    assert (config.initialisations["box"].frozen, config.comparisons.baselines) == (True, ["kaiming"])


def test_another_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    write_preset(path, comparison(), ROOT)
    before = path.stat().st_mtime_ns
    again = write_preset(path, comparison(), ROOT)  # the same command goes on
    assert again.model_dump() == load_preset(ROOT, path).model_dump()
    with pytest.raises(EchosError, match=r"mine\.yaml: this file already exists with other content"):
        write_preset(path, comparison(epochs=4), ROOT)
    assert path.stat().st_mtime_ns == before


def test_nothing_is_written_that_the_loader_refuses(tmp_path: Path) -> None:
    with pytest.raises(EchosError, match="epochs"):
        write_preset(tmp_path / "mine.yaml", comparison(epochs=0), ROOT)
    assert not list(tmp_path.iterdir())


def test_names_do_not_collide_with_the_demo_s() -> None:
    assert free_name("digits", {"digits": {}}) == "my_digits"
    assert free_name("  Flowers & trees (2) ", {}) == "Flowers_trees_2"
    assert free_name("花", {}) == "images"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["dog"], "at least two initialisations"),
        (["dog", "default", "dog"], "'dog' is given twice"),
        (["default", "covarianc"], r"unknown initialisation 'covarianc' \(did you mean 'covariance'\?\)"),
        (["default", "transfer"], "'transfer' is drawn from a trained model, which this command cannot choose"),
    ],
)
def test_initialisations_that_cannot_be_compared_are_refused(names: list[str], told: str) -> None:
    with pytest.raises(EchosError, match=told):
        choose_initialisations(ROOT, names)


def test_schemes_without_a_declaration_have_their_defaults() -> None:
    assert choose_initialisations(ROOT, ["default", "universal"])["universal"] == {"scheme": "universal"}
