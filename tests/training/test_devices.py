"""Devices: several processes share a batch; devices and full memory are told in a sentence."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import FEW, LAYER_NORMED, Stop, Warn, build, greatest_difference, interrupt, run
from torch import nn

import neural_echos
from neural_echos import commands
from neural_echos.datasets import save_dataset
from neural_echos.errors import EchosError, Preempted
from neural_echos.training import (
    Recipe,
    devices,
    loop,
    train,
)


def test_seeds_and_devices_are_checked(tmp_path: Path) -> None:
    with pytest.raises(EchosError, match="the seed must be at least 0"):
        run(tmp_path, Recipe(), seed=-1, model=build())
    with pytest.raises(EchosError, match="'gpu' is not one of auto, cpu, cuda and cuda:N"):
        run(tmp_path, Recipe(), device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(EchosError, match="torch finds none that it can use"):
            run(tmp_path, Recipe(), device="cuda")


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
