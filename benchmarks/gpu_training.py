"""Training on a GPU: our loop against a plain one, with and without compilation; a published run; small runs side by side.

Run from the checkout on a machine with a GPU: `PYTHONPATH=src python benchmarks/gpu_training.py [--shards DIR]`. Networks,
recipes and batch sizes come from the preset cifar10; the images are CIFAR-10's. The plain loop is that of a minimal training
script with its images on the GPU: gather, normalise, forward, backward, step, in the same precision. Rounds of the contestants
alternate; start-up and compilation are not counted. Utilisation is read from `torch.cuda.utilization` every tenth of a second
during our loop, if available. On a machine without a GPU,
`--device cpu --images 64 --epochs 1 --rounds 1 --published-epochs 1 --packed-epochs 1 --processes 2` runs all of it in batches of
32 and single precision, which only shows that the script works.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from record import record

from neural_echos.architectures import create
from neural_echos.datasets import Dataset, make_dataset
from neural_echos.design.load import load_preset
from neural_echos.training import Recipe, train
from neural_echos.training.preparation import make_optimizer
from neural_echos.training.watchers import Watcher

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = ("convmixer", "convnext", "hornet", "mobilenetv2")


def _declared(name: str) -> tuple[str, dict[str, object], Recipe]:
    config = load_preset(ROOT, "cifar10").model_dump()
    built = config["architectures"][name]
    return built["model"], built["kwargs"], Recipe.from_dict(config["recipes"]["cifar10"] | built.get("recipe", {}))


def _network(name: str) -> torch.nn.Module:
    model, kwargs, recipe = _declared(name)
    torch.manual_seed(0)
    return create(model, num_classes=10, in_chans=3, kwargs={**kwargs, **recipe.model_kwargs()})


def _recipe(name: str, data: Dataset, device: str) -> Recipe:
    recipe = _declared(name)[2]
    return replace(recipe, batch_size=min(recipe.batch_size, len(data.train_labels) // 2))


class _Clock(Watcher):
    """Times the last epoch's training except its first step, and meanwhile reads the GPU's utilisation in percent."""

    def __init__(self, device: str) -> None:
        self.device, self.speed, self.used = device, 0.0, []

    def begin(self, name: str, epochs: int, steps: int, done: int) -> None:
        self.left, self.steps, self.over = epochs * steps, steps, threading.Event()

    def step(self, images_per_second: float) -> None:
        self.left -= 1
        if self.left == self.steps - 1:
            _wait(self.device)
            self.watcher = threading.Thread(target=self._watch)
            self.watcher.start()
            self.began = time.perf_counter()
        elif self.left == 0:
            _wait(self.device)
            self.speed = (self.steps - 1) / (time.perf_counter() - self.began)  # batches per second
            self.over.set()
            self.watcher.join()

    def _watch(self) -> None:
        with suppress(Exception):  # the list stays empty without the library, or if the GPU does not report it
            while not self.over.wait(0.1):
                self.used.append(float(torch.cuda.utilization()))


def ours(
    name: str, data: Dataset, epochs: int, device: str, *, compiled: bool, used: list[float] | None = None
) -> float:
    """Images per second of our loop, in the last epoch."""
    recipe = _recipe(name, data, device)
    recipe = replace(recipe, epochs=epochs, compile=compiled, warmup_epochs=min(recipe.warmup_epochs, epochs / 2))
    clock = _Clock(device)
    with tempfile.TemporaryDirectory() as folder:
        train(
            *(_network(name), data, recipe),
            seed=0,
            folder=Path(folder),
            key="",
            device=device,
            progress=lambda _: None,
            watchers=[clock],
        )
    if used is not None:
        used += clock.used
    return clock.speed * recipe.batch_size


def plain(name: str, data: Dataset, epochs: int, device: str, *, compiled: bool) -> float:
    """Images per second of a loop that does nothing but train."""
    recipe = _recipe(name, data, device)
    model = _network(name).to(device, memory_format=torch.channels_last)
    trainee = torch.compile(model) if compiled else model
    optimizer = make_optimizer(model, recipe)
    images, labels = torch.tensor(data.train_images, device=device), torch.tensor(data.train_labels, device=device)
    pixels = torch.tensor(np.stack([data.mean, data.std]), device=device, dtype=torch.float32)[..., None, None] * 255
    began, steps = 0.0, len(labels) // recipe.batch_size * epochs
    for step in range(-3, steps):  # three warm-up steps
        if step == 0:
            _wait(device)
            began = time.perf_counter()
        rows = torch.randint(len(labels), (recipe.batch_size,), device=device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = F.cross_entropy(trainee((images[rows] - pixels[0]) / pixels[1]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    _wait(device)
    return steps * recipe.batch_size / (time.perf_counter() - began)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def compare(data: Dataset, epochs: int, rounds: int, device: str) -> None:
    """Print images per second of each family: ours and plain, uncompiled and compiled."""
    contestants: dict[str, tuple[Callable[..., float], bool]] = {
        "ours": (ours, False),
        "plain": (plain, False),
        "ours, compiled": (ours, True),
        "plain, compiled": (plain, True),
    }
    for name in FAMILIES:
        speeds: dict[str, list[float]] = {one: [] for one in contestants}
        read: list[float] = []
        for _ in range(rounds):
            for one, (loop, compiled) in contestants.items():
                more = {"used": read} if one == "ours" else {}
                speeds[one].append(loop(name, data, epochs, device, compiled=compiled, **more))
        told = ", ".join(f"{one} {max(found):,.0f}" for one, found in speeds.items())
        ratios = [own / theirs for own, theirs in zip(speeds["ours"], speeds["plain"], strict=True)]
        used = f"{mean(read):.0f} %" if read else "not readable"
        print(f"{name}: images/s {told}; utilisation {used}", flush=True)
        if device == "cuda":
            what = f"training {name} on {torch.cuda.get_device_name()}"
            record(what, "a plain loop", ratios, "images/s", max(speeds["ours"]), max(speeds["plain"]))


def side_by_side(options: list[str], epochs: int, processes: int) -> None:
    """Print images per second of a small run alone, and of several runs together that share the GPU."""
    command = [sys.executable, __file__, *options, "--only", str(epochs)]

    def speeds(count: int) -> list[float]:
        runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        said = [run.communicate()[0] for run in runs]
        for run in runs:
            if run.returncode:
                raise subprocess.CalledProcessError(run.returncode, command)
        return [float(one.split()[-1]) for one in said]

    [alone] = speeds(1)
    together = sum(speeds(processes))
    print(
        f"small runs: one alone {alone:,.0f} images/s, {processes} at once {together:,.0f} in total, in the last epoch of each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shards", type=Path, default=ROOT / "../shared/data/cifar10", help="folder with CIFAR-10's shards"
    )
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each contestant")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=4, help="small runs that share the GPU")
    parser.add_argument("--packed-epochs", type=int, default=8, help="epochs of each of these runs")
    parser.add_argument("--only", type=int, help="only one small run with this many epochs")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--images", type=int, help="limit the number of train and of test images")
    parser.add_argument("--published-epochs", type=int, help="epochs of the published run, instead of its own number")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_training: no GPU found; run it on a machine with a GPU")
    files = {split: sorted(map(str, arguments.shards.glob(f"{split}*.parquet"))) for split in ("train", "test")}
    data, _ = make_dataset(
        "parquet", {"name": "cifar10", "train_limit": arguments.images, "test_limit": arguments.images}, 0, files
    )
    if arguments.only:
        print(ours("convmixer", data, arguments.only, arguments.device, compiled=False))
        return
    print(
        torch.cuda.get_device_name() if arguments.device == "cuda" else "no GPU: these numbers are meaningless",
        flush=True,
    )
    compare(data, arguments.epochs, arguments.rounds, arguments.device)
    recipe = _recipe("convmixer", data, arguments.device)
    recipe = replace(recipe, epochs=arguments.published_epochs or recipe.epochs)
    with tempfile.TemporaryDirectory() as folder:
        done = train(
            _network("convmixer"),
            data,
            recipe,
            seed=0,
            folder=Path(folder),
            key="",
            device=arguments.device,
            progress=print,
        )
    top1 = 100 * done.metrics["top1"]
    print(f"ConvMixer-256/8 k5, {recipe.epochs} epochs: {done.seconds:.1f} s, top-1 {top1:.2f} % (published 92.60 %)")
    same = ["--shards", str(arguments.shards), "--device", arguments.device]
    same += ["--images", str(arguments.images)] if arguments.images else []
    side_by_side(same, arguments.packed_epochs, arguments.processes)


if __name__ == "__main__":
    main()
