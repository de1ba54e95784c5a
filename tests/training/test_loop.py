"""The training loop: what it learns and writes, the same bytes for the same seed, and what stops it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import COLOUR, DATA, FEW, LAYER_NORMED, OUTPUTS, build, digests, greatest_difference, interrupt, run
from torch import nn

from neural_echos.tables import read_table
from neural_echos.training import (
    CHECKPOINT,
    Recipe,
    evaluate,
    loop,
    runs,
)


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


def test_a_batch_in_parts_gives_the_same_result(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=32, mixup=0.8, clip_grad=1.0)
    run(tmp_path / "whole", recipe, model=build(**LAYER_NORMED))
    run(tmp_path / "parts", replace(recipe, device_batch=10), model=build(**LAYER_NORMED))
    assert greatest_difference(tmp_path / "whole", tmp_path / "parts") < 1e-5


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
