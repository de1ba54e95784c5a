"""Frozen filters that travel: what is copied and frozen, what is refused, classes kept, zeroed layers, and what is said of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mixers import SMALL
from neural_echos import commands
from neural_echos.architectures import create
from neural_echos.datasets import make_dataset
from neural_echos.datasets.selection import kept_classes
from neural_echos.design.checked import check, load_artifacts
from neural_echos.design.load import load_preset, preset_files
from neural_echos.design.references import check_references
from neural_echos.design.schema import Config
from neural_echos.design.yaml import read_yaml
from neural_echos.errors import EchosError
from neural_echos.files import read_json
from neural_echos.tables import SCHEMAS, read_table
from neural_echos.training import Recipe
from neural_echos.transfer.zeroing import zero_layers
from neural_echos.verdicts import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, decide

ROOT = Path(__file__).resolve().parents[2]
# Classes of a dataset


def test_classes_are_kept_in_their_order_and_numbered_anew():
    names = ("cat", "truck", "dog", "ship")
    kept, numbers = kept_classes("x", names, ["ship", "cat"])
    assert (kept, numbers.tolist()) == (["cat", "ship"], [0, -1, -1, 1])
    kept, numbers = kept_classes("x", names, "cifar10_vehicles")
    assert (kept, numbers.tolist()) == (["truck", "ship"], [-1, 0, -1, 1])
    assert kept_classes("x", names, None)[0] == list(names)
    assert kept_classes("x", ("n02655020", "n02666196", "n01440764", "n03000684"), "imagenet_animals")[1].tolist() == [
        0,
        -1,
        1,
        -1,
    ]
    for wanted, expected in (
        (["cat", "trukc"], "names 'trukc', which is not a class of this dataset (did you mean 'truck'?)"),
        (["cat"], "at least two of the 4 classes"),
        (["cat", "cat"], "each only once"),
        ("cifar10_animal", "not 'cifar10_animal' (did you mean 'cifar10_animals'?)"),
    ):
        with pytest.raises(EchosError) as told:
            kept_classes("x", names, wanted)
        assert expected in str(told.value)


def test_a_half_of_an_image_folder_has_its_images_only(tmp_path):
    from PIL import Image

    for split in ("train", "val"):
        for number, name in enumerate(("cat", "dog", "ship", "truck")):
            (tmp_path / split / name).mkdir(parents=True)
            for one in range(3):
                Image.new("RGB", (4, 4), (50 * number, one, 9 * one)).save(tmp_path / split / name / f"{one}.png")
    options = {"root": str(tmp_path), "classes_kept": "cifar10_vehicles", "memory": True, "train_limit": 5}
    half, facts = make_dataset("folder", options)
    assert half.classes == ("ship", "truck")
    assert (len(half.train_labels), len(half.test_labels)) == (5, 6)
    for split in ("train", "test"):
        reds = getattr(half, f"{split}_images")[:, 0, 0, 0] / 50 - 2
        np.testing.assert_array_equal(reds, getattr(half, f"{split}_labels"))
    assert facts["options"]["classes_kept"] == "cifar10_vehicles"


# From end to end


def echos(*arguments: object) -> int:
    return commands.main([str(argument) for argument in arguments])


def test_frozen_kernels_travel_by_typed_commands_and_layers_are_zeroed(tmp_path, capsys):
    data = {name: tmp_path / f"{name}.safetensors" for name in ("a", "b")}
    scenes = {"a": ["brick", "grass", "text"], "b": ["camera", "coins", "page", "gravel"]}
    for name, path in data.items():
        options = {"size": 16, "train_per_scene": 16, "test_per_scene": 8, "scenes": scenes[name]}
        assert echos("dataset", "photographs", "--options", json.dumps(options), "--output", path) == 0

    def draw(name: str, declared: dict[str, object]) -> int:
        given = ["--kwargs", json.dumps(SMALL), "--initialisations", json.dumps(declared), "--seeds", 0]
        pattern = tmp_path / name / "{initialisation}-{seed}.safetensors"
        return echos("initialise", "convmixer_small", "--data", data[name], *given, "--output", pattern)

    def train(name: str, initialisation: str) -> Path:
        initial, run = tmp_path / name / f"{initialisation}-0.safetensors", tmp_path / name / initialisation
        names = ["--dataset", name, "--architecture", "m", "--initialisation", initialisation, "--device", "cpu"]
        recipe = ["--recipe", '{"epochs": 1, "batch_size": 16}']
        assert echos("train", "--data", data[name], "--initial", initial, "--run", run, *recipe, *names) == 0
        return run

    assert draw("a", {"default": {"scheme": "default"}}) == 0
    source = train("a", "default") / "weights.safetensors"
    assert (
        echos(
            "extract", source, "--model", "a", "--layers", tmp_path / "a/default-0.json", "--output", tmp_path / "bank"
        )
        == 0
    )
    bank = str(tmp_path / "bank")
    usual = {"share": 1.0, "scale": "raw", "frozen": True}  # what the config's schema fills in
    declared = {
        "moved": {"scheme": "transfer", "bank": bank, "by_layer": True, **usual},
        "mixing": {"scheme": "pointwise", "weights": str(source), "rows": "kept", **usual},
    }
    assert draw("b", declared) == 0
    lent = load_file(source)
    for name, part in (("moved", "0.fn.0"), ("mixing", "1")):
        weights = load_file(train("b", name) / "weights.safetensors")
        keys = [f"blocks.{number}.{part}.weight" for number in range(4)]
        assert all(torch.equal(weights[key], lent[key]) for key in keys)
        assert not torch.equal(weights["stem.0.weight"], lent["stem.0.weight"])
    assert read_json(tmp_path / "b/mixing-0.json")["did"][0]["kernel_size"] == [1, 1]
    files = ["--data", data["b"], "--initial", tmp_path / "b/moved-0.safetensors", "--run", tmp_path / "b/moved"]
    assert echos("zero", *files, "--device", "cpu", "--output", tmp_path / "ablated.parquet") == 0
    table = read_table(tmp_path / "ablated.parquet", "ablated").to_pandas()
    assert table.depth.round(3).tolist() == [0, 0.333, 0.667, 1]
    top1 = read_json(tmp_path / "b/moved/metrics.json")["top1"]
    assert (table.intact_top1 == top1).all()
    capsys.readouterr()
    other = ["--data", data["b"], "--initial", tmp_path / "b/moved-0.safetensors", "--run", tmp_path / "nothing"]
    assert echos("zero", *other, "--output", tmp_path / "x") == 1
    assert "nothing/metrics.json: there is no such file" in capsys.readouterr().err


def test_zeroing_puts_the_kernels_back_and_measures_a_network_without_them():
    data, _ = make_dataset("digits", {"size": 8})
    torch.manual_seed(0)
    model = create("convmixer_small", num_classes=10, in_chans=1, kwargs=SMALL)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = {"dataset": "d", "architecture": "m", "initialisation": "i", "seed": 0}
    table = zero_layers(model, data, Recipe(), run, device="cpu").to_pandas()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert table.kernels.tolist() == [12] * 4
    with torch.no_grad():
        model.get_submodule(table.layer[2]).weight.zero_()
    gone = zero_layers(model, data, Recipe(), run, device="cpu").to_pandas()
    assert gone.intact_top1[0] == table.top1[2]


# What is refused before any job


def test_a_run_that_no_experiment_trains_is_refused_by_its_place():
    config, files = load_preset(ROOT, "siblings").model_dump(), preset_files(ROOT, "siblings")
    names = {"inputs": list(read_yaml(ROOT / "config/inputs.yaml")), "artifacts": list(load_artifacts(ROOT))}
    check_references(check(config, Config), **names, layers=files)
    config["models"][0]["run"]["architecture"] = "next"
    with pytest.raises(
        EchosError,
        match=r"siblings.yaml:\d+: 'models.0.run' is about nature/next/default, which no experiment trains",
    ):
        check_references(check(config, Config), **names, layers=files)
    config["models"][0]["run"]["architecture"] = "mixer"
    config["zeroed"][0]["initialisations"] = ["kaiming"]
    with pytest.raises(EchosError, match=r"'zeroed.0' is about made/mixer/kaiming, which no experiment trains"):
        check_references(check(config, Config), **names, layers=files)
    config["zeroed"] = []
    config["initialisations"]["from_nature"]["bank"] = "natur"
    with pytest.raises(EchosError, match=r"refers to an undeclared model: 'natur' \(did you mean 'nature'"):
        check_references(check(config, Config), **names, layers=files)


# Verdicts and artifacts


def tables_of(**tops: float) -> dict[str, pd.DataFrame]:
    """Make runs on "b" from mean top-1 by initialisation, three seeds, and of sources "s1" to "s3" with 100 to 10,000 images."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(3):
        usual = {"architecture": "m", "seed": seed, "kernel_size": 5, "diverged": False, "area": 0.5}
        base = 0.05 * seed
        for name, top1 in tops.items():
            score = top1 + base + rng.normal(0, 0.002)
            rows.append({**usual, "dataset": "b", "initialisation": name, "train_images": 1000, "top1": score})
        for number, images in enumerate((100, 1000, 10_000), start=1):
            rows.append(
                {**usual, "dataset": f"s{number}", "initialisation": "default", "train_images": images, "top1": 0.5}
            )
    return {"runs": pd.DataFrame(rows).reindex(columns=SCHEMAS["runs"].names)}


PAIRS = [{"dataset": "b", "architecture": "m", "initialisation": name} for name in ("one", "two")]
HOLDS = {"pairs": PAIRS, "baseline": "default", "control": "random", "margin": 0.02}
GROWS = {"dataset": "b", "architecture": "m", "sources": {"small": "s1", "one": "s2", "two": "s3"}}
HURTS = {"dataset": "b", "architecture": "m", "depthwise": "one", "pointwise": "pw", "baseline": "default"}


@pytest.mark.parametrize(
    ("rule", "options", "tops", "expected"),
    [
        ("transfer_holds", HOLDS, {"default": 0.5, "one": 0.5, "two": 0.495, "random": 0.4}, SUPPORTED),
        ("transfer_holds", HOLDS, {"default": 0.5, "one": 0.4, "two": 0.41, "random": 0.3}, NOT_SUPPORTED),
        ("transfer_holds", HOLDS, {"default": 0.5, "one": 0.5, "two": 0.5, "random": 0.55}, NOT_SUPPORTED),
        ("transfer_holds", HOLDS, {"default": 0.5, "one": 0.5, "two": 0.5, "random": 0.5}, INCONCLUSIVE),
        ("transfer_grows_with_source", GROWS, {"small": 0.3, "one": 0.4, "two": 0.5}, SUPPORTED),
        ("transfer_grows_with_source", GROWS, {"small": 0.5, "one": 0.4, "two": 0.3}, NOT_SUPPORTED),
        ("transfer_grows_with_source", GROWS, {"small": 0.4, "one": 0.4, "two": 0.4}, INCONCLUSIVE),
        ("pointwise_hurts", HURTS, {"default": 0.5, "one": 0.49, "pw": 0.3}, SUPPORTED),
        ("pointwise_hurts", HURTS, {"default": 0.5, "one": 0.3, "pw": 0.49}, NOT_SUPPORTED),
        ("pointwise_hurts", HURTS, {"default": 0.3, "one": 0.5, "pw": 0.3}, INCONCLUSIVE),
    ],
)
def test_every_rule_reaches_every_reading(rule, options, tops, expected):
    claim = {
        "id": "MK1",
        "paper": "p",
        "statement": "s",
        "artifact": "a",
        "rule": rule,
        "options": options,
        "needs": "b",
    }
    empty = {name: SCHEMAS[name].empty_table().to_pandas() for name in ("structure", "pattern_shares")}
    tables = {**empty, **tables_of(**tops)}
    (row,) = decide([claim], tables, "tests").to_pylist()
    assert row["verdict"] == expected, row
    assert row["low"] < row["value"] < row["high"]
    (elsewhere,) = decide([claim | {"needs": "imagenet"}], tables, "tests").to_pylist()
    assert elsewhere["verdict"] == "not run at this scale"
    assert f"gives: {expected}" in elsewhere["reason"]
    tables["runs"] = tables["runs"][tables["runs"].initialisation != "one"]
    assert decide([claim], tables, "tests").to_pylist()[0]["reason"] == "this preset has no such runs"
