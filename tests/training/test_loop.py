"""Training: recipes, schedules, the same bytes for the same seed, and runs that are killed and resumed."""

import hashlib
import json
import logging
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import neural_echos
from neural_echos import architectures, commands
from neural_echos.datasets import Dataset, StreamedDataset, make_dataset, make_digits, save_dataset
from neural_echos.errors import EchosError, Preempted
from neural_echos.tables import read_table
from neural_echos.training import (
    CHECKPOINT,
    Events,
    LiveBar,
    MemoryBatches,
    Recipe,
    Watcher,
    augmentation,
    checkpoints,
    devices,
    evaluate,
    learning_rate,
    loop,
    preparation,
    runs,
    train,
    write_run,
)

torch.set_num_threads(1)

DATA = make_digits(size=8, test_share=0.25, seed=0)[0]
FEW = replace(
    DATA,
    train_images=DATA.train_images[:330],
    train_labels=DATA.train_labels[:330],
    test_images=DATA.test_images[:100],
    test_labels=DATA.test_labels[:100],
)
COLOUR = replace(
    FEW,
    train_images=FEW.train_images.repeat(3, axis=1),
    test_images=FEW.test_images.repeat(3, axis=1),
    mean=FEW.mean.repeat(3),
    std=FEW.std.repeat(3),
)
MIXER = {"dim": 8, "depth": 1, "kernel_size": 3, "patch_size": 2}
OUTPUTS = ("weights.safetensors", "history.parquet", "metrics.json")


def build(
    seed: int = 0, name: str = "convmixer_small", classes: int = 10, channels: int = 1, **kwargs: Any
) -> nn.Module:
    torch.manual_seed(seed)
    return architectures.create(name, num_classes=classes, in_chans=channels, kwargs=kwargs or MIXER)


def run(
    folder: Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    data: Dataset | StreamedDataset = FEW,
    model: nn.Module | None = None,
    **options,
):
    options = {"device": "cpu", "key": "test", "labels": {"dataset": "digits"}, **options}
    model = model or build(seed)
    result = train(model, data, recipe, seed=seed, folder=folder, **options)
    write_run(folder, model, result, recipe=recipe, seed=seed, kernel_size=3)
    return result


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in OUTPUTS}


# Recipes --------------------------------------------------------------------------------------------------------------


def test_a_recipe_survives_json() -> None:
    recipe = Recipe.from_dict({"epochs": 3, "lr": 1, "optimizer_options": {"betas": [0.9, 0.95]}})
    assert recipe.lr == 1.0
    assert isinstance(recipe.lr, float)
    assert Recipe.from_dict(json.loads(json.dumps(asdict(recipe)))) == recipe


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epoch": 3}, "'epoch' (did you mean 'epochs'?)"),
        ({"epochs": 0}, "epochs: expected at least 1, found 0"),
        ({"epochs": 2.5}, "epochs: expected a whole number, found 2.5"),
        ({"batch_size": True}, "batch_size: expected a whole number"),
        ({"batch_size": 31, "mixup": 0.8}, "an even number where mixup"),
        ({"lr": 0}, "lr: expected a number above 0"),
        ({"lr": float("nan")}, "lr: expected a finite number"),
        ({"lr": "1e-3"}, "lr: expected a finite number, found '1e-3'"),
        ({"optimizer": "adamv"}, "did you mean 'adam"),
        ({"optimizer_options": [1]}, "expected a mapping"),
        ({"schedule": "cosin"}, "did you mean 'cosine'?"),
        ({"warmup_epochs": 5}, "warmup_epochs: expected a number from 0 to below epochs"),
        ({"min_lr": 1.0}, "min_lr: expected a number from 0 to lr"),
        ({"randaugment": "m9"}, "rand-m9-mstd0.5-inc1"),
        ({"ema_decay": 1.0}, "ema_decay: expected a number from 0 to below 1"),
        ({"random_erasing": 1.5}, "from 0 to 1"),
        ({"flip": 1}, "flip: expected true or false"),
    ],
)
def test_a_wrong_recipe_is_refused_in_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(EchosError) as caught:
        Recipe.from_dict(values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_cycle_linear_goes_through_its_knots() -> None:
    recipe = Recipe(epochs=25, lr=0.05, schedule="one-cycle-linear")
    rates = [learning_rate(recipe, epoch) for epoch in (0, 5, 10, 15, 20, 25)]
    assert rates == pytest.approx([0, 0.025, 0.05, 0.02625, 0.0025, 0])


def test_cosine_warms_up_and_ends_where_it_should() -> None:
    recipe = Recipe(epochs=10, lr=0.4, schedule="cosine", warmup_epochs=2, min_lr=0.1)
    rates = [learning_rate(recipe, epoch) for epoch in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.25, 0.1])


def test_constant_is_constant_after_warm_up() -> None:
    recipe = Recipe(epochs=4, lr=0.4, schedule="constant", warmup_epochs=1)
    assert [learning_rate(recipe, epoch) for epoch in (0.5, 1, 2, 4)] == pytest.approx([0.2, 0.4, 0.4, 0.4])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 331}, "331 is more than the 330 train images"),
        ({"shift": 8}, "8 must be less than the image's 8 pixels"),
        ({"drop_path": 0.1}, "drop_path is 0.1, but the model was built without stochastic depth"),
        ({"optimizer_options": {"beta": 0.9}}, "adamw does not take"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(EchosError, match=words):
        run(tmp_path, Recipe(**{"batch_size": 32, **changes}))


def test_seeds_and_devices_are_checked(tmp_path: Path) -> None:
    with pytest.raises(EchosError, match="the seed must be at least 0"):
        run(tmp_path, Recipe(), seed=-1, model=build())
    with pytest.raises(EchosError, match="'gpu' is not one of auto, cpu, cuda and cuda:N"):
        run(tmp_path, Recipe(), device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(EchosError, match="torch finds none that it can use"):
            run(tmp_path, Recipe(), device="cuda")


# Learning -------------------------------------------------------------------------------------------------------------


def test_a_run_learns_and_writes_what_it_did(tmp_path: Path) -> None:
    lines: list[str] = []
    model = build(dim=16, depth=2, kernel_size=3, patch_size=2)
    recipe = Recipe(epochs=4, lr=0.02, channels_last=True)
    threads = torch.get_num_threads()
    result = run(tmp_path, recipe, data=DATA, model=model, progress=lines.append)
    assert result.metrics["top1"] > 0.8
    assert result.metrics["top5"] > result.metrics["top1"]
    assert len(lines) == 4
    assert lines[2].startswith("epoch 3/4  loss ")
    assert lines[3].endswith("ETA 00:00")
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert float(torch.tensor(1e-39) * 1) > 0  # denormals are back

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == {**result.metrics, "kernel_size": 3}
    assert set(metrics) == {
        *("loss", "top1", "top5", "diverged", "epochs", "parameters", "train_images", "test_images", "kernel_size")
    }
    history = read_table(tmp_path / "history.parquet", "history").to_pylist()
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert {(row["dataset"], row["architecture"], row["seed"]) for row in history} == {("digits", "", 0)}
    assert history[-1]["top1"] == metrics["top1"]
    assert history[-1]["learning_rate"] == 0
    made = json.loads((tmp_path / "run.json").read_text())
    assert made["recipe"]["lr"] == 0.02
    assert made["images_per_second"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*OUTPUTS, "run.json"])

    scores = evaluate(model, DATA.test_images, DATA.test_labels, DATA.mean, DATA.std, "cpu")
    assert scores == pytest.approx([metrics[name] for name in ("loss", "top1", "top5")])


def test_a_terminal_sees_a_bar_and_a_folder_gets_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboardX.proto.event_pb2 import Event

    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, for rich
    monkeypatch.setenv("COLUMNS", "120")
    result = run(tmp_path, Recipe(epochs=2, batch_size=32), watchers=[LiveBar(), Events(tmp_path / "events")])
    shown = " ".join(re.sub(r"\x1b\[[\d;?]*\w", "", capsys.readouterr().err.split("\r")[-1]).split())
    assert re.search(r"^digits///0 \S+ epoch 2/2 [\d,]+ images/s top-1 \d+\.\d % 0:00:00$", shown), shown
    content = next((tmp_path / "events").glob("events.*")).read_bytes()
    found = {}
    while content:  # records: length (8 bytes), checksum (4), an event, checksum (4)
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        content = content[16 + length :]
    expected = {(name, row["epoch"]): row[name] for row in result.history for name in ("top1", "loss", "learning_rate")}
    assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_evaluation_agrees_with_a_calculation_by_hand() -> None:
    model = build().eval()
    with torch.no_grad():
        pixels = torch.tensor((FEW.test_images / 255 - FEW.mean[0]) / FEW.std[0], dtype=torch.float32)
        logits = model(pixels).numpy()
    order = np.argsort(-logits, axis=1)
    hits = order == FEW.test_labels[:, None]
    loss = F.cross_entropy(torch.tensor(logits), torch.tensor(FEW.test_labels)).item()
    found = evaluate(model, FEW.test_images, FEW.test_labels, FEW.mean, FEW.std, "cpu", batch_size=33)
    assert found == pytest.approx((loss, hits[:, 0].mean(), hits[:, :5].sum(axis=1).mean()), rel=1e-5)


def test_top_5_of_few_classes_is_1() -> None:
    model = build(classes=3)
    labels = FEW.test_labels % 3
    assert evaluate(model, FEW.test_images, labels, FEW.mean, FEW.std, "cpu")[2] == 1.0


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    model = build()
    frozen = model.blocks[0][0].fn[0].weight.requires_grad_(False)
    before, moving = frozen.clone(), model.head.weight.clone()
    run(tmp_path, Recipe(epochs=1, batch_size=32), model=model)
    assert torch.equal(frozen, before)
    assert not torch.equal(model.head.weight, moving)


def test_the_average_of_the_weights_is_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[torch.Tensor] = []

    class Recorder(loop.ModelEmaV3):
        def update(self, model: nn.Module, step: int | None = None) -> None:
            heads.append(model.head.weight.detach().clone())
            super().update(model, step)

    monkeypatch.setattr(loop, "ModelEmaV3", Recorder)
    averaged = build()
    result = run(tmp_path, Recipe(epochs=2, batch_size=32, ema_decay=0.9), model=averaged)
    expected = heads[0]
    for head in heads[1:]:
        expected = 0.9 * expected + 0.1 * head
    torch.testing.assert_close(averaged.head.weight.detach(), expected)
    scores = evaluate(averaged, FEW.test_images, FEW.test_labels, FEW.mean, FEW.std, "cpu")
    assert scores == pytest.approx([result.metrics[name] for name in ("loss", "top1", "top5")])


def test_shifts_are_crops_of_the_reflected_image() -> None:
    images = torch.arange(2 * 5 * 4, dtype=torch.float32).view(2, 1, 5, 4)
    padded = F.pad(images, [2] * 4, mode="reflect")
    assert torch.equal(augmentation.pad_images(images, 2), padded)
    shifted = augmentation.shift_images(padded.repeat(50, 1, 1, 1), 2, torch.Generator().manual_seed(0))
    crops = {padded[n, :, i : i + 5, j : j + 4].numpy().tobytes() for n in (0, 1) for i in range(5) for j in range(5)}
    found = {image.contiguous().numpy().tobytes() for image in shifted}
    assert found <= crops
    assert len(found) > 25


def batches(data: Dataset, recipe: Recipe, **options: Any) -> MemoryBatches:
    return MemoryBatches(data, recipe, **{"seed": 1, "device": torch.device("cpu"), **options})


def test_randaugment_does_not_depend_on_the_processes() -> None:
    recipe = Recipe(batch_size=20, randaugment="rand-m9-mstd0.5-inc1")
    few = replace(FEW, train_images=FEW.train_images[:60], train_labels=FEW.train_labels[:60])
    epochs = [[images for images, _ in batches(few, recipe, workers=workers).epoch(0)] for workers in (0, 2)]
    assert len(epochs[0]) == 3
    assert all(torch.equal(one, other) for one, other in zip(*epochs, strict=True))
    plain = batches(few, replace(recipe, randaugment=""))
    assert not torch.equal(next(plain.epoch(0))[0], epochs[0][0])


@pytest.mark.parametrize("level", [0, 12, 30])
def test_batched_randaugment_does_what_torchvision_does(level: int) -> None:
    from torchvision.transforms import InterpolationMode, autoaugment

    images = torch.randint(256, (6, 3, 32, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[0] //= 3  # a narrow histogram, too
    space = autoaugment.RandAugment()._augmentation_space(augmentation.LEVELS, (32, 24))
    for (theirs, (magnitudes, signed)), ours in zip(space.items(), augmentation.OPERATIONS, strict=True):
        for sign in (1, -1) if signed else (1,):
            magnitude = sign * float(magnitudes[level]) if magnitudes.ndim else 0.0
            expected = [
                autoaugment._apply_op(image, theirs, magnitude, InterpolationMode.NEAREST, None) for image in images
            ]
            found = augmentation.apply_operation(images, ours, level, sign)
            torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1, msg=theirs)  # one level: rounding


def test_randaugment_draws_for_each_image() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(400, 3, 1, 1)
    made = augmentation.randaugment_images(images, 1, 12, torch.Generator().manual_seed(0))
    again = augmentation.randaugment_images(images, 1, 12, torch.Generator().manual_seed(0))
    assert torch.equal(made, again)
    # fourteen operations, eight with two signs: of this grey ramp, some agree
    assert 12 <= len({image.numpy().tobytes() for image in made}) <= 22


def test_jitter_stays_within_its_bounds() -> None:
    generator = torch.Generator().manual_seed(0)
    grey = torch.full((300, 3, 4, 4), 100, dtype=torch.uint8)
    jittered = augmentation.jitter_images(grey, 0.4, generator)
    assert jittered.min() in range(60, 64)
    assert jittered.max() in range(137, 141)
    assert torch.equal(augmentation.jitter_images(grey, 0.0, generator), grey)


@pytest.mark.parametrize(
    "parts",
    [
        {"flip": True, "shift": 2, "colour_jitter": 0.4},
        {"resized_crop": [0.5, 1.0], "randaugment": "torchvision-n2-m12", "random_erasing": 0.5},
        {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1},
    ],
)
def test_batches_start_anywhere_and_are_shared_without_a_change(parts: dict[str, Any]) -> None:
    recipe = Recipe(batch_size=32, **parts)
    whole = list(batches(COLOUR, recipe).epoch(3))
    assert len(whole) == 10
    late = list(batches(COLOUR, recipe).epoch(3, start=7))
    halves = [list(batches(COLOUR, recipe, rank=rank, world=2).epoch(3)) for rank in (0, 1)]
    assert all(
        torch.equal(a, b) for one, other in zip(whole[7:], late, strict=True) for a, b in zip(one, other, strict=True)
    )
    for (images, labels), one, other in zip(whole, *halves, strict=True):
        for place, half in enumerate((one, other)):
            assert torch.equal(half[0], images[place::2])
            assert torch.equal(half[1], labels[place::2])
    assert not torch.equal(whole[0][0], next(batches(COLOUR, recipe).epoch(4))[0])


def test_colour_images_go_through_every_augmentation(tmp_path: Path) -> None:
    parts = {"flip": True, "shift": 2, "random_erasing": 0.5, "mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1}
    recipe = Recipe(epochs=1, randaugment="rand-m9-mstd0.5-inc1", **parts)
    result = run(tmp_path, recipe, data=COLOUR, model=build(channels=3))
    assert np.isfinite(result.history[0]["train_loss"])


# The same bytes -------------------------------------------------------------------------------------------------------


def test_the_seed_decides_the_bytes(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=32, flip=True, shift=1)
    for folder, seed in (("first", 1), ("again", 1), ("other", 2)):
        run(tmp_path / folder, recipe, seed=seed, model=build(0))
    assert digests(tmp_path / "first") == digests(tmp_path / "again")
    assert digests(tmp_path / "first") != digests(tmp_path / "other")


def test_the_arrays_memory_layout_does_not(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=32)
    other = {
        name: np.ascontiguousarray(getattr(COLOUR, name).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        for name in ("train_images", "test_images")
    }
    run(tmp_path / "rows", recipe, data=COLOUR, model=build(channels=3))
    run(tmp_path / "channels", recipe, data=replace(COLOUR, **other), model=build(channels=3))
    assert digests(tmp_path / "rows") == digests(tmp_path / "channels")


# Checkpoints ----------------------------------------------------------------------------------------------------------


class Stop(Exception):
    """Stands for whatever ends a run."""


def interrupt(folder: Path, recipe: Recipe, after: int, **options: Any) -> None:
    """Train until `after` epochs are done, leaving the checkpoint."""
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        if len(lines) == after:
            raise Stop

    with pytest.raises(Stop):
        run(folder, recipe, checkpoint_seconds=0, progress=progress, **options)


def test_a_checkpoint_of_the_same_key_resumes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = Recipe(epochs=3, batch_size=32)
    run(tmp_path / "whole", recipe)
    interrupt(tmp_path / "parts", recipe, after=2)
    with caplog.at_level(logging.INFO):
        run(tmp_path / "parts", recipe)
    assert "resuming after epoch 2, step 0" in caplog.text
    assert digests(tmp_path / "whole") == digests(tmp_path / "parts")
    assert not (tmp_path / "parts" / CHECKPOINT).exists()


@pytest.mark.parametrize("damage", ["other key", "truncated", "text", "no header", "other shape", "other version"])
def test_any_other_checkpoint_is_discarded(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    recipe = Recipe(epochs=2, batch_size=32)
    run(tmp_path / "whole", recipe)
    folder, path = tmp_path / "parts", tmp_path / "parts" / CHECKPOINT
    if damage == "other shape":
        interrupt(folder, recipe, after=1, model=build(dim=4, depth=1, kernel_size=3, patch_size=2))
    else:
        interrupt(folder, recipe, after=1, key="another" if damage == "other key" else "test")
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "other version":
        assert content.count(b'\\"version\\": 2') == 1
        path.write_bytes(content.replace(b'\\"version\\": 2', b'\\"version\\": 1'))
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "no header":
        path.write_bytes(content.replace(b"neural_echos.checkpoint", b"another_thing.xxxxxxxxx"))
    left = folder / ".checkpoint-killed00.safetensors"
    left.mkdir()
    (left / ".tmp0aB1c2").write_bytes(b"half")  # as safetensors names it
    with caplog.at_level(logging.INFO):
        run(folder, recipe)
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert "discarded, training starts anew" in caplog.text
    found = {
        "other version": "one of version 1, not 2",
        "other shape": "another architecture (no ",
        "other key": "another run",
    }
    assert found.get(damage, "") in caplog.text
    assert digests(tmp_path / "whole") == digests(folder)
    assert sorted(file.name for file in folder.iterdir()) == sorted([*OUTPUTS, "run.json"])


def test_checkpoints_are_few(tmp_path: Path) -> None:
    model = build()
    train(model, FEW, Recipe(epochs=3), seed=0, folder=tmp_path, key="test", device="cpu")
    assert not list(tmp_path.iterdir())


def test_an_optimizer_that_cannot_be_checkpointed_is_refused(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=32)
    run_ = checkpoints.State(build(), preparation.make_optimizer(build(), recipe))
    run_.optimizer.state[run_.optimizer.param_groups[0]["params"][0]]["odd"] = object()
    with pytest.raises(EchosError, match="choose adamw or sgd"):
        checkpoints.Checkpoint(tmp_path / CHECKPOINT, "test", 0).save(run_)
    assert not list(tmp_path.iterdir())


EPOCHS = 20
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "adamw": ({"flip": True, "shift": 2, "channels_last": True, "optimizer_options": {"fused": True}}, {}),
    "sgd": ({"optimizer": "sgd", "lr": 0.05, "optimizer_options": {"nesterov": True}, "channels_last": True}, {}),
    "ema and mixup": (
        {
            "ema_decay": 0.9,
            "mixup": 0.8,
            "cutmix": 1.0,
            "random_erasing": 0.5,
            "label_smoothing": 0.1,
            "clip_grad": 1.0,
            "drop_path": 0.2,
            "schedule": "one-cycle-linear",
        },
        {"name": "hornet_small_images", "depths": [2], "base_dim": 8, "patch_size": 2, "drop_path_rate": 0.2},
    ),
}


def test_runs_killed_again_and_again_end_with_the_same_bytes(tmp_path: Path) -> None:
    source = str(Path(neural_echos.__file__).parents[1])
    paths = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(VARIANTS)
    for variant in VARIANTS:
        assert digests(tmp_path / variant / "whole") == digests(tmp_path / variant / "killed")


def train_variant(variant: str, folder: Path, epochs: Any) -> None:
    changes, kwargs = VARIANTS[variant]
    recipe = Recipe(**{"epochs": EPOCHS, "batch_size": 32, **changes})
    data = replace(FEW, train_images=FEW.train_images[:100], train_labels=FEW.train_labels[:100])
    run(folder, recipe, data=data, model=build(0, **kwargs), checkpoint_seconds=0, progress=epochs.put)


KILLS = 7  # of each variant: 21 in all


def kill_again_and_again(variant: str, folder: Path) -> None:
    """Train undisturbed; then kill the run seven times, at a random moment or while it writes a checkpoint, and let it finish."""
    fork = multiprocessing.get_context("fork")
    began = time.monotonic()
    train_variant(variant, folder / "whole", fork.SimpleQueue())
    epoch_seconds = (time.monotonic() - began) / EPOCHS
    within = 0
    for start in range(KILLS + 1):
        epochs = fork.SimpleQueue()
        process = fork.Process(target=train_variant, args=(variant, folder / "killed", epochs))
        process.start()
        if start < KILLS:
            while epochs.empty() and process.is_alive():  # one more epoch is done, so the run goes on
                time.sleep(0.001)
            time.sleep(random.uniform(0, 1) * epoch_seconds)
            if start % 2:
                while process.is_alive() and not list((folder / "killed").glob(".checkpoint-*")):
                    pass
            process.kill()
        process.join()
        within += bool(list((folder / "killed").glob(".checkpoint-*")))
    first = "no epoch left" if epochs.empty() else epochs.get()
    if process.exitcode or not re.match(r"epoch ([89]|1\d|20)/", first) or not within:
        sys.exit(
            f"{variant}: expected a run resumed {KILLS} times, sometimes from within the writing of a checkpoint, found exit code "
            f"{process.exitcode}, {first} and {within}"
        )


class Warn(Watcher):
    """Sends this process a signal after some steps."""

    def __init__(self, number: int, after: int):
        self.number, self.left = number, after

    def step(self, images_per_second: float) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), self.number)


def test_a_signal_saves_and_stops_and_the_same_call_goes_on(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=32, flip=True)
    run(tmp_path / "whole", recipe)
    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGUSR1)]

    for number, after, place in (
        (signal.SIGTERM, 4, "SIGTERM in epoch 1 of 3, after step 4 of 10"),
        (signal.SIGUSR1, 9, "SIGUSR1 in epoch 2 of 3, after step 3 of 10"),
    ):
        with pytest.raises(Preempted, match=place) as caught:
            run(tmp_path / "parts", recipe, watchers=[Warn(number, after)])
        assert caught.value.code == 75
        assert (tmp_path / "parts" / CHECKPOINT).exists()
    assert handlers == [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGUSR1)]
    run(tmp_path / "parts", recipe)
    assert digests(tmp_path / "whole") == digests(tmp_path / "parts")


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=32)
    run(tmp_path / "whole", recipe)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "none", small], capture_output=True, check=False
    ).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        interrupt(small, recipe, after=1)
        kept = (small / CHECKPOINT).read_bytes()
        ballast = small / "ballast"
        with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(256))
        with pytest.raises(
            EchosError, match=r"checkpoint\.safetensors: expected to write there, found .*(os error 28|space)"
        ):
            run(small, recipe, checkpoint_seconds=0)
        assert (small / CHECKPOINT).read_bytes() == kept
        assert sorted(path.name for path in small.iterdir()) == ["ballast", CHECKPOINT]
        ballast.unlink()
        run(small, recipe)
        assert digests(tmp_path / "whole") == digests(small)
    finally:
        subprocess.run(["umount", small], check=True)


# Images on disk --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> StreamedDataset:
    """Some digits as an image folder, larger than the network will see them."""
    root = tmp_path_factory.mktemp("folder")
    for split, images, labels in (
        ("train", FEW.train_images[:100], FEW.train_labels),
        ("val", FEW.test_images[:40], FEW.test_labels),
    ):
        for number, (image, label) in enumerate(zip(images, labels, strict=False)):
            path = root / split / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].repeat(3, axis=0).repeat(2, axis=1)).save(path)
    data, _ = make_dataset("folder", {"root": str(root), "name": "digits"})
    assert isinstance(data, StreamedDataset)
    return data


STREAMED = {"image_size": 16, "resized_crop": [0.5, 1.0], "flip": True, "randaugment": "rand-m9-mstd0.5-inc1"}


def test_images_on_disk_go_through_the_same_loop(on_disk: StreamedDataset, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=20, random_erasing=0.25, mixup=0.8, ema_decay=0.9, **STREAMED)
    result = run(tmp_path / "whole", recipe, data=on_disk, model=build(channels=3), threads=2)
    assert result.metrics["test_images"] == 40
    assert np.isfinite(result.metrics["loss"])

    class Quit(Watcher):
        left = 7

        def step(self, images_per_second: float) -> None:
            self.left -= 1
            if not self.left:
                raise Stop

    options = {"data": on_disk, "threads": 2, "checkpoint_seconds": 0}
    with pytest.raises(Stop):  # in the second epoch, after its first of five steps is saved
        run(tmp_path / "parts", recipe, model=build(channels=3), watchers=[Quit()], **options)
    run(tmp_path / "parts", recipe, model=build(channels=3), **options)
    assert digests(tmp_path / "whole") == digests(tmp_path / "parts")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shift": 2, "resized_crop": []}, "shift: 2 does not work with a data set on disk; use resized_crop"),
        (
            {"randaugment": "torchvision-n2-m12"},
            "randaugment: .* does not work with a data set on disk; use a description of timm",
        ),
        ({"batch_size": 200}, "200 is more than the 100 train images"),
    ],
)
def test_what_images_on_disk_do_not_allow(on_disk: StreamedDataset, tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(EchosError, match=words):
        run(tmp_path, Recipe(**{"batch_size": 20, **STREAMED, **changes}), data=on_disk, model=build(channels=3))


# Several processes, parts of batches -----------------------------------------------------------------------------------

LAYER_NORMED = {"name": "convnext_small_images", "depths": [1], "dims": [8], "kernel_size": 3, "patch_size": 2}


def greatest_difference(one: Path, other: Path) -> float:
    first, second = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_a_batch_in_parts_gives_the_same_result(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=32, mixup=0.8, clip_grad=1.0)
    run(tmp_path / "whole", recipe, model=build(**LAYER_NORMED))
    run(tmp_path / "parts", replace(recipe, device_batch=10), model=build(**LAYER_NORMED))
    assert greatest_difference(tmp_path / "whole", tmp_path / "parts") < 1e-5


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    save_dataset(tmp_path / "data.safetensors", FEW, {})
    kwargs = {key: value for key, value in LAYER_NORMED.items() if key != "name"}
    initial = tmp_path / "initial.safetensors"
    arguments = [
        "initialise",
        LAYER_NORMED["name"],
        "--data",
        tmp_path / "data.safetensors",
        "--kwargs",
        json.dumps(kwargs),
    ]
    arguments += ["--initialisations", '{"default": {"scheme": "default"}}', "--seeds", "0", "--output", initial]
    assert commands.main([*map(str, arguments)]) == 0
    recipe = {"epochs": 2, "batch_size": 32, "flip": True, "shift": 1, "mixup": 0.8, "clip_grad": 1.0, "ema_decay": 0.9}
    command = ["train", "--data", tmp_path / "data.safetensors", "--initial", initial, "--recipe", json.dumps(recipe)]
    command += ["--dataset", "digits", "--architecture", "x", "--initialisation", "default", "--device", "cpu"]
    assert commands.main([*map(str, command), "--run", str(tmp_path / "one")]) == 0
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "neural_echos"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(neural_echos.__file__).parents[1])}
    words = [sys.executable, *torchrun, *map(str, command), "--run", str(tmp_path / "two")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "two" / "run.json").read_text())["devices"] == 2
    assert greatest_difference(tmp_path / "one", tmp_path / "two") < 1e-5
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert one == pytest.approx(two, abs=1e-5)


def in_two_processes(recipe: Recipe, *folders: Path, **options: Any) -> list[Any]:
    """The history, or the error's kind and sentence, that each of two processes ends with that train together.

    `folders` are of the first and of the second process, or one that they share.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    fork = multiprocessing.get_context("fork")
    told = [fork.SimpleQueue(), fork.SimpleQueue()]

    def work(rank: int) -> None:
        places = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        os.environ.update(places, RANK=str(rank), LOCAL_RANK=str(rank))
        devices.AcceleratorState._reset_state(reset_partial_state=True)
        where = {"seed": 0, "folder": folders[rank % len(folders)], "key": "test", "device": "cpu"}
        try:
            told[rank].put(train(build(**LAYER_NORMED), FEW, recipe, **where, **options).history)
        except EchosError as error:
            told[rank].put((type(error), str(error)))

    processes = [fork.Process(target=work, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
        process.kill()
    assert not any(queue.empty() for queue in told), "a process waits for the other, or fell"
    return [queue.get() for queue in told]


def test_processes_stop_together_where_epochs_are_short(tmp_path: Path) -> None:
    recipe = Recipe(epochs=30, batch_size=66)
    found = in_two_processes(recipe, tmp_path, watchers=[Warn(signal.SIGTERM, 3)])
    assert all(kind is Preempted and "in epoch 2 of 30, after step 5 of 5" in words for kind, words in found), found


def test_processes_that_stop_within_an_epoch_go_on_with_the_same_loss(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=16)  # 20 steps
    whole, _ = in_two_processes(recipe, tmp_path / "whole", checkpoint_seconds=0)
    stopped = in_two_processes(recipe, tmp_path / "parts", watchers=[Warn(signal.SIGTERM, 3)])
    assert all(kind is Preempted and "in epoch 1 of 1, after step 10 of 20" in words for kind, words in stopped), (
        stopped
    )
    parts, _ = in_two_processes(recipe, tmp_path / "parts")
    assert parts[0]["train_loss"] == pytest.approx(whole[0]["train_loss"], rel=1e-5)


def test_processes_that_would_go_on_from_different_places_are_refused(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=32)
    folders = (tmp_path / "one", tmp_path / "other")
    interrupt(folders[0], recipe, after=1, model=build(**LAYER_NORMED))
    found = in_two_processes(recipe, *folders)
    for folder, (kind, words) in zip(folders, found, strict=True):
        assert kind is EchosError
        assert words.startswith(f"{folder}: the 2 processes would resume from different steps (10, 0);")


@pytest.mark.parametrize(("processes", "expected"), [(None, (7, 6)), ("2", (3, 2)), ("8", (1, 0))])
def test_processes_of_a_machine_share_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: str | None, expected: tuple[int, int]
) -> None:
    found: list[tuple[int, int]] = []

    def make_batches(*_: Any, workers: int, **__: Any) -> None:
        found.append((torch.get_num_threads(), workers))
        raise Stop

    monkeypatch.setattr(loop, "make_batches", make_batches)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    with pytest.raises(Stop):
        run(tmp_path, Recipe(), threads=7)
    assert found == [expected]
    assert torch.get_num_threads() == 1


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Three(devices.Accelerator):
        num_processes = 3

    monkeypatch.setattr(devices, "Accelerator", Three)
    with pytest.raises(EchosError, match="32 is not a multiple of the 3 processes that share it"):
        run(tmp_path, Recipe(batch_size=32))


# Failing well ---------------------------------------------------------------------------------------------------------


def test_a_run_that_diverges_stops_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "learning_rate", lambda recipe, epoch: 0.01 if epoch <= 1 else 1e30)
    lines: list[str] = []
    result = run(tmp_path, Recipe(epochs=4, batch_size=32), progress=lines.append)
    assert lines[-1] in ("epoch 2/4  loss nan: diverged", "epoch 2/4  loss inf: diverged")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["diverged"]
    assert metrics["top1"] is metrics["loss"] is None
    history = read_table(tmp_path / "history.parquet", "history").to_pylist()
    assert [row["epoch"] for row in history] == [1, 2] == [row["epoch"] for row in result.history]
    assert np.isfinite(history[0]["top1"])
    assert np.isnan(history[1]["top1"])
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("place", [(loop._Loop, "_step"), (loop, "make_accelerator")])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried …"),
    ],
)
def test_full_memory_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError, place: tuple[Any, str]
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(*place, full)
    with pytest.raises(EchosError, match="memory ran out with 32 images at a time; lower device_batch below 32"):
        run(tmp_path, Recipe(batch_size=32))


def test_any_other_error_of_torch_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(loop._Loop, "_step", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(tmp_path, Recipe(batch_size=32))


@pytest.mark.parametrize(
    ("images", "changes"), [(1, {"batch_size": 1}), (2, {"batch_size": 1}), (9, {"batch_size": 9, "device_batch": 8})]
)
def test_batch_norm_over_one_image_of_one_pixel_is_told_in_a_sentence(
    tmp_path: Path, images: int, changes: dict[str, int]
) -> None:
    few = replace(FEW, train_images=FEW.train_images[:images], train_labels=FEW.train_labels[:images])
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 10)
    )
    with pytest.raises(EchosError, match=r"batch norm needs more than one value per channel.*batch_size") as caught:
        run(tmp_path, Recipe(epochs=1, **changes), data=few, model=model)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("images", "batch"), [(2, 2), (9, 8), (17, 8), (1, 1)])
def test_small_training_sets_train(tmp_path: Path, images: int, batch: int) -> None:
    few = replace(FEW, train_images=FEW.train_images[:images], train_labels=FEW.train_labels[:images])
    result = run(tmp_path, Recipe(epochs=1, batch_size=batch), data=few, model=build(**LAYER_NORMED))
    assert result.metrics["train_images"] == images
    assert np.isfinite(result.metrics["loss"])


def test_metrics_come_last_and_only_when_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(epochs=1, batch_size=32)
    run(tmp_path, recipe)

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(runs, "write_table", fail)
    with pytest.raises(OSError, match="no space"):
        run(tmp_path, recipe)
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_with_everything_on(tmp_path: Path) -> None:
    parts = {"flip": True, "shift": 2, "random_erasing": 0.5, "mixup": 0.8, "label_smoothing": 0.1, "ema_decay": 0.9}
    recipe = Recipe(epochs=2, batch_size=32, precision="bf16", channels_last=True, **parts)
    interrupt(tmp_path, recipe, after=1, device="cuda")
    result = run(tmp_path, recipe, device="auto")
    assert len(result.history) == 2
    assert result.device != "cpu"


if __name__ == "__main__":
    for name in VARIANTS:
        kill_again_and_again(name, Path(sys.argv[1]) / name)
