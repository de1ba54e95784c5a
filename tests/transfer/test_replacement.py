"""A few filters for all kernels: assignment, replacement and its stages, elimination, universal filters, commands, artifacts."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from neural_echos import architectures, commands
from neural_echos.artifacts.replacements import survivors
from neural_echos.datasets.base import Dataset, measured
from neural_echos.errors import EchosError
from neural_echos.files import read_json
from neural_echos.initialisations import init_depthwise_
from neural_echos.initialisations.assignment import assign
from neural_echos.initialisations.filter_sets import make_filter_set
from neural_echos.initialisations.filters import at_size, checked
from neural_echos.initialisations.parametrised import plain_, reparameterise_
from neural_echos.initialisations.universal_filters import describe_universal
from neural_echos.tables import SCHEMAS, read_table
from neural_echos.training import CHECKPOINT, Recipe, train
from neural_echos.transfer.elimination import Substitute, eliminate
from neural_echos.transfer.replacement import (
    reestimate_batch_norm_,
    replace_,
    replacement_stages,
)
from neural_echos.verdicts import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, decide

SMALL = {"dim": 12, "depth": 2, "kernel_size": 7, "patch_size": 4}
RECIPE = {"epochs": 1, "batch_size": 16}
NAMES = {"dataset": "d", "architecture": "a", "initialisation": "default"}


def network(kind: str = "convmixer_small", **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    return architectures.create(kind, num_classes=3, in_chans=1, kwargs=SMALL | kwargs).eval()


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Three classes of noisy stripes."""
    rng = np.random.default_rng(0)

    def split(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n, dtype=np.int64) % 3
        stripes = np.sin(np.arange(16)[None, None] * (labels[:, None, None] + 1) / 2) * np.ones((n, 16, 16))
        return (128 + 60 * stripes + rng.normal(0, 20, stripes.shape))[:, None].clip(0, 255).astype(np.uint8), labels

    return measured("stripes", ["a", "b", "c"], split(48), split(24))


@pytest.fixture(scope="module")
def filters() -> np.ndarray:
    return make_filter_set({"set": "random", "number": 5}, seed=3)


# Replacement


def test_every_kernel_becomes_its_best_and_nothing_else_changes(filters):
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = replace_(model, filters)
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"{one.layer}.weight" for one in report} == {f"blocks.{n}.0.fn.0.weight" for n in (0, 1)}
    for one in report:
        kernels, left = (state[f"{one.layer}.weight"].double().numpy()[:, 0] for state in (before, after))
        best = assign(kernels, filters)
        np.testing.assert_allclose(left, best.a[:, None, None] * filters[best.index] + best.b[:, None, None], atol=1e-7)
        centred = kernels - kernels.mean(axis=(1, 2), keepdims=True)
        assert one.error == pytest.approx((best.error**2).sum() / (centred**2).sum())
        assert one.filters_used == len(set(best.index.tolist()))
    assert [one.error for one in replace_(model, filters)] == pytest.approx([0, 0], abs=1e-9)


def test_another_kernel_size_is_one_sentence_unless_resampling_is_asked_for(filters):
    model = network(kernel_size=5)
    before = [value.clone() for value in model.state_dict().values()]
    with pytest.raises(EchosError, match=r"the filters are 7×7 and the kernels 5×5; set resample"):
        replace_(model, filters)
    assert all(torch.equal(*pair) for pair in zip(before, model.state_dict().values(), strict=True))
    assert replace_(model, filters, resample=True)[0].kernel_width == 5
    assert at_size(filters, 5, 5, resample=True).shape == (5, 5, 5)
    with pytest.raises(EchosError, match="has no depthwise convolutions; choose"):
        replace_(nn.Conv2d(1, 1, 3), filters)


def test_batch_norm_takes_over_the_images_it_is_shown():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    images = torch.randn(64, 2, 4, 4) * 3 + 5
    assert reestimate_batch_norm_(model, images.split(32)) == 2
    torch.testing.assert_close(model[0].running_mean, images.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(model(images).std(), torch.tensor(1.0), atol=0.05, rtol=0)
    assert (model[0].momentum, model.training) == (0.1, False)
    assert reestimate_batch_norm_(network("convnext_small_images", **CONVNEXT), iter(())) == 0


CONVNEXT = {"dim": None, "depth": None}


def test_stages_of_a_replacement(data, filters, tmp_path):
    model = network()
    kernels = model.get_submodule("blocks.0.0.fn.0").weight.detach().clone()
    given = {"seed": 0, "folder": tmp_path, "key": "k", "device": "cpu"}
    recipe = Recipe.from_dict(RECIPE | {"weight_decay": 0.5})
    scores, errors = replacement_stages(model, filters, data, recipe, **given)
    assert [one["stage"] for one in scores] == ["trained", "replaced", "batch_norm", "fine_tuned"]
    assert len({one["loss"] for one in scores}) == 4
    assert [one.layer_index for one in errors] == [0, 1]
    assert not (tmp_path / CHECKPOINT).exists()
    best = assign(kernels.numpy()[:, 0], filters)
    now = assign(model.get_submodule("blocks.0.0.fn.0").weight.detach().numpy()[:, 0], filters)
    np.testing.assert_allclose(now.a, best.a, atol=1e-6)  # fine-tuning left the kernels alone
    kept, none = replacement_stages(network(), None, data, recipe, **given)
    assert not none and kept[0] == scores[0]
    assert {**kept[1], "stage": "trained"} == kept[0]


def test_freezing_everything_is_one_sentence(data, tmp_path):
    model = network().requires_grad_(False)
    with pytest.raises(EchosError, match="all parameters are frozen; leave some"):
        train(model, data, Recipe.from_dict(RECIPE), seed=0, folder=tmp_path, key="k", device="cpu")


# Elimination


def planted(filters: np.ndarray) -> nn.Module:
    """A network whose kernels are multiples of filters 1 and 3."""
    model = network()
    rng = np.random.default_rng(5)
    for block in (0, 1):
        weight = model.get_submodule(f"blocks.{block}.0.fn.0").weight
        picked = filters[np.where(np.arange(len(weight)) % 2, 1, 3)] * rng.uniform(0.5, 2, (len(weight), 1, 1))
        weight.data = torch.from_numpy(picked[:, None]).float()
    return model


def test_a_substitute_is_what_replacement_makes(filters):
    model, other = network(), network()
    replace_(model, filters[[0, 2]])
    assert Substitute(other, filters).use([0, 2]) <= {0, 2}
    for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two)
    Substitute(network(), filters).use([])


def test_elimination_keeps_what_was_planted_and_is_the_same_again(filters):
    images = torch.randn(60, 1, 16, 16)
    model = planted(filters)
    reestimate_batch_norm_(model, [images])
    labels = model(images).argmax(dim=1)
    runs = [
        eliminate(
            planted(filters),
            filters,
            images,
            labels,
            elbow=0.02,
            neighbours=1,
            checks=[2],
            test=lambda model: (0.0, 0.5),
        )
        for _ in range(2)
    ]
    frame = pd.DataFrame(runs[0])
    curve = frame[frame.phase == "elimination"]
    assert curve.filters.tolist() == [5, 4, 3, 2, 1, 0]
    assert set(curve.removed.iloc[1:4]) == {0, 2, 4}
    assert curve.top1.iloc[:4].tolist() == [1.0] * 4
    assert curve.top1.iloc[-1] < 0.98
    assert curve[curve.elbow].filters.tolist() == [2]
    assert curve[curve.test_top1.notna()].filters.tolist() == [5, 2]
    np.testing.assert_allclose(survivors(frame), filters[[1, 3]])
    pd.testing.assert_frame_equal(frame, pd.DataFrame(runs[1]))


def test_a_survivor_is_exchanged_for_a_neighbour_where_that_helps(filters):
    near = checked("near", np.concatenate([filters[[1, 3]], filters[[1]] + 0.5 * filters[[0]]]))
    images = torch.randn(60, 1, 16, 16)
    labels = torch.arange(60) % 3
    rows = pd.DataFrame(
        eliminate(planted(filters), near, images, labels, elbow=0.5, neighbours=2, test=lambda model: (0.0, 0.5))
    )
    made = rows[rows.phase == "exchange"]
    elbow = rows[rows.elbow]
    assert elbow.filters.item() == 1
    assert (made.top1.diff().dropna() >= 0).all()
    assert len(made) == 0 or made.top1.iloc[-1] >= elbow.top1.item()
    assert len(survivors(rows)) == 1
    with pytest.raises(EchosError, match="elbow must be a share of images"):
        eliminate(network(), near, images, labels, elbow=1.0, test=lambda model: (0.0, 0.5))


# Universal filters


@pytest.mark.parametrize("learn", ["gain_and_bias", "bias"])
@pytest.mark.parametrize("choice", ["round_robin", "nearest"])
def test_training_changes_gain_and_bias_only(data, filters, tmp_path, learn, choice):
    declared = {"scheme": "universal", "set": "random", "number": 3, "learn": learn, "choice": choice}
    model = network()
    settings = {key: value for key, value in declared.items() if key != "scheme"}
    did = init_depthwise_(model, "universal", seed=4, scale="match_default", **settings)
    described = describe_universal(declared, seed=4)
    known = np.asarray(described["filters"])
    layer = model.get_submodule("blocks.1.0.fn.0")
    before = assign(layer.weight.detach().numpy()[:, 0], known)
    np.testing.assert_allclose(before.error, 0, atol=1e-6)
    names = set(model.state_dict())
    made = {"universal": described, "did": [vars(entry) for entry in did]}
    reparameterise_(model, json.loads(json.dumps(made)))
    recipe = Recipe.from_dict(RECIPE | {"ema_decay": 0.1})
    train(model, data, recipe, seed=0, folder=tmp_path, key="k", device="cpu", checkpoint_seconds=0.0)
    plain_(model)
    assert set(model.state_dict()) == names
    after = assign(layer.weight.detach().numpy()[:, 0], known)
    np.testing.assert_allclose(after.error, 0, atol=1e-6)
    assert (after.index == before.index).all()
    assert (np.abs(after.b - before.b) > 1e-4).any()
    assert (np.abs(after.a - before.a) > 1e-4).any() == (learn == "gain_and_bias")


def test_kernels_that_are_no_multiples_cannot_be_reparameterised(filters):
    described = {"filters": filters.tolist(), "learn": "bias", "resample": False}
    model = network()
    did = [vars(entry) for entry in init_depthwise_(model, "kaiming", seed=0)]
    with pytest.raises(
        EchosError,
        match=r"layer .*: 12 of 12 kernels are not an a·x \+ b of the .*; draw all of them with the scheme universal",
    ):
        reparameterise_(model, {"universal": described, "did": did})
    assert describe_universal({"scheme": "dog"}, seed=0) is None


# Verdicts and artifacts


def replacements(lost: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {**NAMES, "seed": seed, "candidates": name, "filters": None if name == "kept" else 8, "stage": stage}
        | {"test_images": 100, "loss": 1.0, "top1": 0.8 + 0.05 * seed - one, "top5": 1.0}
        for name, losses in lost.items()
        for seed, one in enumerate(losses)
        for stage in ("trained", "replaced", "batch_norm", "fine_tuned")
    ]
    return pd.DataFrame(rows, columns=SCHEMAS["replacements"].names)


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [([0.001, 0.002, 0.003], SUPPORTED), ([0.1, 0.11, 0.12], NOT_SUPPORTED), ([-0.1, 0.0, 0.1], INCONCLUSIVE)],
)
def test_verdicts_on_replacement_and_frozen_filters(losses, verdict):
    said = {"id": "SS1", "paper": "p", "statement": "s", "artifact": "a", "needs": "d"}
    options = {"dataset": "d", "architectures": ["a"]}
    kept = {"candidates": "ideal", "control": "kept", "margin": 0.01}
    runs = pd.DataFrame(
        [
            {**NAMES, "initialisation": name, "seed": seed, "kernel_size": 7, "top1": 0.5 + 0.1 * seed - one}
            for name, each in (("default", [0, 0, 0]), ("eight", losses))
            for seed, one in enumerate(each)
        ]
    ).reindex(columns=SCHEMAS["runs"].names)
    tables = {name: SCHEMAS[name].empty_table().to_pandas() for name in ("structure", "pattern_shares")}
    tables |= {"runs": runs, "replacements": replacements({"kept": [0, 0, 0], "ideal": losses})}
    frozen = {"initialisation": "eight", "baseline": "default"}
    claims = [
        {**said, "rule": "replaced_keeps", "options": options | kept},
        {**said, "rule": "keeps", "options": options | frozen | {"margin": 0.01}},
        {**said, "rule": "collapses", "options": options | frozen | {"least": 0.05}},
    ]
    ss1, qu1, qu2 = decide(claims, tables, "tests").to_pylist()
    assert (ss1["verdict"], qu1["verdict"]) == (verdict, verdict)
    opposite = {SUPPORTED: NOT_SUPPORTED, NOT_SUPPORTED: SUPPORTED, INCONCLUSIVE: INCONCLUSIVE}
    assert qu2["verdict"] == opposite[verdict]
    assert ss1["value"] == pytest.approx(-np.mean(losses))
    absent = decide([{**claims[0], "options": options | kept | {"candidates": "dog"}}], tables, "tests").to_pylist()
    assert absent[0]["verdict"] == "not run at this scale"


def test_a_diverged_fine_tuning_supports_nothing():
    said = {"id": "SS1", "paper": "p", "statement": "s", "artifact": "a", "needs": "d", "rule": "replaced_keeps"}
    options = {"dataset": "d", "architectures": ["a"], "candidates": "ideal", "control": "kept", "margin": 0.01}
    table = replacements({"kept": [0] * 5, "ideal": [0.001, 0.002, 0.003, 0.002, 0.001]})
    tables = {name: SCHEMAS[name].empty_table().to_pandas() for name in ("structure", "pattern_shares", "runs")}
    (row,) = decide([{**said, "options": options}], tables | {"replacements": table}, "tests").to_pylist()
    assert (row["verdict"], "diverged" in row["reason"]) == (SUPPORTED, False)
    fine_tuned = (table.candidates == "ideal") & (table.stage == "fine_tuned")
    table.loc[fine_tuned & (table.seed < 3), "top1"] = np.nan
    (row,) = decide([{**said, "options": options}], tables | {"replacements": table}, "tests").to_pylist()
    assert row["verdict"] == INCONCLUSIVE
    assert "diverged runs are excluded: 3 of ideal" in row["reason"]
    table.loc[fine_tuned, "top1"] = np.nan
    (row,) = decide([{**said, "options": options}], tables | {"replacements": table}, "tests").to_pylist()
    assert (row["verdict"], row["reason"]) == ("not run at this scale", "diverged runs are excluded: 5 of ideal")


# Commands


def echos(*arguments: object) -> int:
    return commands.main([str(argument) for argument in arguments])


def test_commands_from_initial_weights_to_artifacts(tmp_path, data, capsys):
    images, universal = tmp_path / "d.safetensors", {"scheme": "universal", "set": "ideal", "learn": "bias"}
    shapes = [
        "--options",
        '{"size": 16, "train_per_scene": 12, "test_per_scene": 6, "scenes": ["brick", "grass", "text"]}',
    ]
    assert echos("dataset", "photographs", *shapes, "--output", images) == 0
    draws = json.dumps({"default": {"scheme": "default"}, "eight": universal | {"scale": "match_default"}})
    given = ["--data", images, "--kwargs", json.dumps(SMALL | {"dim": 8}), "--initialisations", draws]
    pattern = tmp_path / "{initialisation}-{seed}.safetensors"
    assert echos("initialise", "convmixer_small", *given, "--seeds", 0, "--output", pattern) == 0
    names = ["--dataset", "d", "--architecture", "a", "--recipe", json.dumps(RECIPE), "--device", "cpu"]
    for name in ("default", "eight"):
        files = ["--data", images, "--initial", tmp_path / f"{name}-0.safetensors", "--run", tmp_path / name]
        assert echos("train", *files, *names, "--initialisation", name) == 0
    from safetensors.numpy import load_file

    known = make_filter_set({"set": "ideal"})
    weight = load_file(tmp_path / "eight" / "weights.safetensors")["blocks.0.0.fn.0.weight"]
    assert assign(weight[:, 0], known).error == pytest.approx(0, abs=1e-6)
    assert len(read_json(tmp_path / "eight-0.json")["universal"]["filters"]) == 8

    files = ["--data", images, "--initial", tmp_path / "default-0.safetensors", "--run", tmp_path / "default"]
    files += [*names, "--initialisation", "default"]
    tables = {}
    for name, declared in (("kept", {"set": "kept"}), ("ideal", {"set": "ideal"})):
        stages, errors = tmp_path / f"{name}.parquet", tmp_path / f"{name}.errors.parquet"
        more = ["--candidates", json.dumps(declared), "--name", name, "--errors", errors, "--output", stages]
        assert echos("replace", *files, *more) == 0
        tables[name] = read_table(stages, "replacements"), read_table(errors, "replacement_errors")
    assert [len(part) for part in (*tables["kept"], *tables["ideal"])] == [4, 0, 4, 2]
    output = tmp_path / "eliminated.parquet"
    more = ["--candidates", '{"set": "random", "number": 3}', "--name", "random", "--images", 12, "--output", output]
    assert echos("eliminate", *files, *more) == 0
    claim = {"id": "SS1", "paper": "p", "statement": "s", "rule": "replaced_keeps", "needs": "d", "artifact": "a"}
    options = {"dataset": "d", "architectures": ["a"], "candidates": "ideal", "control": "kept", "margin": 0.01}
    paths = [tmp_path / f"{name}.parquet" for name in tables]
    claims = json.dumps([claim | {"options": options}])
    verdicts = tmp_path / "verdicts.parquet"
    assert echos("verdicts", claims, "--replacements", *paths, "--scale", "t", "--output", verdicts) == 0
    assert read_table(verdicts, "verdicts")["value"][0].as_py() is not None

    capsys.readouterr()
    files[5] = tmp_path / "absent"
    more = ["--candidates", '{"set": "ideal"}', "--name", "ideal", "--errors", tmp_path / "no.parquet"]
    assert echos("replace", *files, *more, "--output", tmp_path / "none.parquet") == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"echos: [^\n]*absent: not a finished run with its weights; train it first\n", said)
