"""Checkpoints: runs that are killed, interrupted or out of disk space resume to the same bytes."""

import logging
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import FEW, OUTPUTS, Warn, build, digests, interrupt, run

import neural_echos
from neural_echos.errors import EchosError, Preempted
from neural_echos.training import (
    CHECKPOINT,
    Recipe,
    checkpoints,
    preparation,
    train,
)


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
    assert "discarded, training starts from the beginning" in caplog.text
    found = {
        "other version": "version 1, not 2",
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
        with pytest.raises(EchosError, match=r"checkpoint\.safetensors: cannot be written .*(os error 28|space)"):
            run(small, recipe, checkpoint_seconds=0)
        assert (small / CHECKPOINT).read_bytes() == kept
        assert sorted(path.name for path in small.iterdir()) == ["ballast", CHECKPOINT]
        ballast.unlink()
        run(small, recipe)
        assert digests(tmp_path / "whole") == digests(small)
    finally:
        subprocess.run(["umount", small], check=True)


if __name__ == "__main__":
    for name in VARIANTS:
        kill_again_and_again(name, Path(sys.argv[1]) / name)
