"""Training: one loop over timm's parts, on one device or several, that resumes to the same bytes.

Accelerate places the model, shares it between processes and mixes precisions; optimizers, mixup, erasing, stochastic depth and
the average of the weights are timm's. A run that was stopped at any step and started again ends, on a CPU, with the weights of
the run that was not.
"""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from timm.layers import DropPath, convert_sync_batchnorm
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import nn

from neural_echos.datasets import Dataset, StreamedDataset
from neural_echos.errors import EchosError, Preempted
from neural_echos.training.batches import (
    EVALUATION_BATCH,
    Batches,
    MemoryBatches,
    normalise,
    pixel_statistics,
    seed_generators,
)
from neural_echos.training.checkpoints import CHECKPOINT, Checkpoint, State
from neural_echos.training.recipe import Recipe, learning_rate
from neural_echos.training.streaming import StreamedBatches
from neural_echos.training.watchers import Lines, Watcher

_log = logging.getLogger(__name__)

# what torch says of full memory: a GPU's (its cuBLAS has words of its own), or the machine's
_FULL = ("out of memory", "alloc_failed", "not enough memory", "can't allocate memory")
_AGREE_EVERY = 10  # steps after which several processes ask each other whether one was told to stop


# Evaluation -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: np.ndarray | torch.Tensor,
    labels: np.ndarray | torch.Tensor,
    mean: np.ndarray,
    std: np.ndarray,
    device: str | torch.device = "auto",
    batch_size: int = EVALUATION_BATCH,
) -> tuple[float, float, float]:
    """Evaluate a model in float32; it is left in evaluation mode, on the device.

    Parameters
    ----------
    model : nn.Module
        Maps images (n, c, h, w) to logits (n, classes).
    images : ndarray or Tensor of uint8, shape (n, c, h, w)
    labels : ndarray or Tensor of int64, shape (n,)
    mean, std : ndarray, shape (c,)
        Of pixels scaled to [0, 1].
    device : str or torch.device
        See `pick_device`.
    batch_size : int

    Returns
    -------
    loss : float
        Mean cross-entropy, nats.
    top1, top5 : float
        Share of images whose class is the best, or among the best five, in [0, 1]; up to five classes, top5 is 1.
    """
    device = pick_device(device)
    pixels = pixel_statistics(mean, std, device)
    batches = (
        (
            normalise(torch.as_tensor(images[start : start + batch_size]).to(device), *pixels),
            torch.as_tensor(labels[start : start + batch_size]).to(device),
        )
        for start in range(0, len(images), batch_size)
    )
    loss, top1, top5 = (score_sums(model.to(device), batches, device) / len(images)).tolist()
    return loss, top1, top5


def score_run(
    model: nn.Module,
    data: Dataset | StreamedDataset,
    recipe: Recipe,
    *,
    device: str | torch.device = "auto",
    threads: int = 1,
) -> tuple[float, float, float]:
    """Evaluate a model on the test images of a data set, in memory or on disk, as `train` does after each epoch.

    Returns
    -------
    loss, top1, top5 : float
        See `evaluate`.
    """
    place = pick_device(device)
    with _settings(threads, place), _memory_sentence(recipe), make_accelerator(place, recipe).autocast():
        model.to(place, memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format)
        batches = make_batches(data, recipe, seed=0, device=place, workers=threads - 1)
        loss, top1, top5 = (score_sums(model, batches.test(), place) / len(data.test_labels)).tolist()
    return loss, top1, top5


@torch.no_grad()
def score_sums(
    model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], device: torch.device
) -> torch.Tensor:
    """Sum of losses, of hits, and of hits among the best five; float64, shape (3,)."""
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for images, labels in batches:
        logits = model(images).float()
        hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        sums += torch.stack([F.cross_entropy(logits, labels, reduction="sum"), hits[:, 0].sum(), hits.sum()]).double()
    return sums


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device of that name; "auto" is the GPU if there is one, else the CPU."""
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError:
        raise EchosError(f"device: expected auto, cpu, cuda or cuda:N, found {device!r}; correct it") from None
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise EchosError(f"device: expected a GPU for {device!r}, found none that torch can use; choose auto or cpu")
    return picked


# Training -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunResult:
    """What one training gave.

    Attributes
    ----------
    history : list of dict
        One row per epoch, with the columns of the `history` table; of a run that diverged, the last holds no numbers (NaN).
    metrics : dict
        loss, top1, top5 of the test images after the last epoch (None after a run that diverged), diverged, epochs, parameters,
        train_images, test_images.
    images_per_second : float
        Training images by seconds of training steps.
    seconds : float
        Wall time of all epochs, evaluation included, over every resumption.
    device : str
        "cpu", or the name of the GPU.
    devices : int
        How many shared the batches.
    """

    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    images_per_second: float
    seconds: float
    device: str
    devices: int = 1


def train(
    model: nn.Module,
    data: Dataset | StreamedDataset,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    key: str,
    device: str | torch.device = "auto",
    threads: int = 1,
    labels: Mapping[str, str] | None = None,
    checkpoint_seconds: float = 20.0,
    progress: Callable[[str], None] = _log.info,
    watchers: Sequence[Watcher] = (),
) -> RunResult:
    """Train a model in place, resuming from `folder` where a checkpoint of the same `key` lies.

    The model ends on the device, in evaluation mode, with the weights that were evaluated: the averaged ones where
    `recipe.ema_decay` is on. The global generators of torch, numpy and random are seeded anew in each step. The checkpoint
    stays until `write_run` has written the run. Several processes of `torchrun` share every batch; batch norm takes its
    statistics over all of them on GPUs, and over a process's own images on CPUs.

    Parameters
    ----------
    model : nn.Module
        Initialised; parameters without `requires_grad` stay as they are.
    data : Dataset or StreamedDataset
        In memory, or read from disk by worker processes.
    recipe : Recipe
    seed : int
        Decides batches and augmentation, at least 0.
    folder : Path
        Where the checkpoint lies.
    key : str
        What defines the run (a hash of dataset, architecture, initial weights, recipe, seed); a checkpoint of another
        key is discarded.
    device : str or torch.device
        See `pick_device`.
    threads : int
        Threads of torch, and one more than the processes that decode and augment on the CPU; processes of `torchrun` on one
        machine share them.
    labels : mapping, optional
        dataset, architecture and initialisation, as the history table names them.
    checkpoint_seconds : float
        Least time between two checkpoints; 0 writes one after every step.
    progress : callable
        Takes one line per epoch.
    watchers : sequence of Watcher
        Told of every step and epoch.

    Raises
    ------
    EchosError
        Data, recipe and model do not fit together, several processes do not share a folder, or memory is full.
    Preempted
        SIGTERM or SIGUSR1 came; the checkpoint is written, and the same call goes on from there.
    """
    folder = Path(folder)
    _check(model, data, recipe, seed)
    with _memory_sentence(recipe):
        accelerator = make_accelerator(pick_device(device), recipe)
    device, rank, world = accelerator.device, accelerator.process_index, accelerator.num_processes
    if recipe.batch_size % world:
        raise EchosError(
            f"recipe: batch_size: expected a multiple of the {world} processes that share it, found {recipe.batch_size}; "
            "change either"
        )
    names = {"dataset": "", "architecture": "", "initialisation": "", **(labels or {}), "seed": seed}
    threads = max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    watchers = [Lines(progress), *watchers] if accelerator.is_main_process else []
    with _settings(threads, device), _memory_sentence(recipe), _told_to_stop() as told:
        model.to(device, memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format)
        if world > 1 and device.type == "cuda":
            model = convert_sync_batchnorm(model)
        optimizer = make_optimizer(model, recipe)
        ema = ModelEmaV3(model, recipe.ema_decay) if recipe.ema_decay else None
        state = State(model, optimizer, ema, accelerator.scaler, loss=torch.zeros((), device=device))
        checkpoint = Checkpoint(folder / CHECKPOINT, key, checkpoint_seconds)
        checkpoint.restore(state)
        batches = make_batches(data, recipe, seed=seed, device=device, workers=threads - 1, rank=rank, world=world)
        loop = _Loop(accelerator, state, recipe, batches, seed, checkpoint, told, watchers)
        loop.check_place(folder)
        for watcher in watchers:
            watcher.begin("/".join(map(str, names.values())), recipe.epochs, batches.steps, loop.done)
        try:
            while len(state.history) < recipe.epochs and not loop.diverged:
                loop.epoch(names, len(data.test_labels))
        finally:
            for watcher in watchers:
                watcher.end()
    accelerator.unwrap_model(loop.trainee, keep_fp32_wrapper=False, keep_torch_compile=False)
    model.load_state_dict(state.evaluated.state_dict())
    model.eval()
    return _result(loop, data, device, world)


class _Loop:
    """The loop itself: a state, and what moves it on."""

    def __init__(
        self,
        accelerator: Accelerator,
        state: State,
        recipe: Recipe,
        batches: Batches,
        seed: int,
        checkpoint: Checkpoint,
        told: list[str],
        watchers: Sequence[Watcher],
    ):
        self.accelerator, self.state, self.recipe, self.batches, self.seed = accelerator, state, recipe, batches, seed
        self.checkpoint, self.told, self.watchers = checkpoint, told, watchers
        self.trainee = torch.compile(state.model) if recipe.compile else state.model
        if accelerator.num_processes > 1:
            self.trainee = accelerator.prepare_model(self.trainee)
        self.optimizer = accelerator.prepare_optimizer(state.optimizer, device_placement=False)
        self.smoothing = 0.0 if recipe.mixup or recipe.cutmix else recipe.label_smoothing  # mixup smooths by itself
        self.diverged = False
        self.clock = time.perf_counter()

    @property
    def done(self) -> int:
        """Steps done in all epochs."""
        return len(self.state.history) * self.batches.steps + self.state.step

    def check_place(self, folder: Path) -> None:
        """Refuse processes that go on from different places: folders that they do not share hold different checkpoints."""
        done = self.accelerator.gather(torch.tensor([self.done], device=self.accelerator.device)).tolist()
        if len(set(done)) > 1:
            raise EchosError(
                f"{folder}: expected the {len(done)} processes to go on from one step, found them at steps "
                f"{', '.join(map(str, done))}; put the runs into a folder that all nodes share"
            )

    def epoch(self, names: Mapping[str, Any], test_images: int) -> None:
        """Train for what is left of an epoch, evaluate, and keep both."""
        state, recipe = self.state, self.recipe
        began, start, number = time.perf_counter(), state.step, len(state.history)
        for images, target in self.batches.epoch(number, start):
            self._step(number, images, target)
            state.step += 1
            speed = (state.step - start) * recipe.batch_size / (time.perf_counter() - began)
            for watcher in self.watchers:
                watcher.step(speed)
            self._stop_or_save()
        train_loss = float(self.accelerator.reduce(state.loss, "mean")) / self.batches.steps
        self._tick(training=True)
        self.diverged = not math.isfinite(train_loss)
        scores = dict.fromkeys(("loss", "top1", "top5"), math.nan) if self.diverged else self._scores(test_images)
        rate = learning_rate(recipe, number + 1)
        row = {**names, "epoch": number + 1, "learning_rate": rate, "train_loss": train_loss, **scores}
        state.history.append(row)
        state.step = 0
        state.loss.zero_()
        self._tick(training=False)
        if self.checkpoint.due() and not self.diverged:
            self._save()
        for watcher in self.watchers:
            watcher.epoch(row, self._line())

    def _step(self, epoch: int, images: torch.Tensor, target: torch.Tensor) -> None:
        """Take one step of the optimizer: gradients of parts of the batch, where it is too large to be held at once."""
        state, recipe, accelerator = self.state, self.recipe, self.accelerator
        self.trainee.train()
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch + (state.step + 1) / self.batches.steps) * group.get(
                "lr_scale", 1.0
            )
        seed_generators(self.seed, epoch, state.step, accelerator.process_index)  # dropout's own in each process
        self.optimizer.zero_grad()
        size = recipe.device_batch or len(images)
        parts = list(zip(images.split(size), target.split(size), strict=True))
        for number, (part, wanted) in enumerate(parts, start=1):
            with nullcontext() if number == len(parts) else accelerator.no_sync(self.trainee):
                with accelerator.autocast():
                    loss = F.cross_entropy(self.trainee(part), wanted, label_smoothing=self.smoothing)
                    loss = loss * (len(part) / len(images))
                accelerator.backward(loss)
            state.loss += loss.detach()
        if recipe.clip_grad:
            accelerator.clip_grad_norm_(state.model.parameters(), recipe.clip_grad)
        self.optimizer.step()
        if state.ema is not None:
            state.ema.update(state.model, step=epoch * self.batches.steps + state.step + 1)

    def _scores(self, images: int) -> dict[str, float]:
        with self.accelerator.autocast():
            sums = score_sums(self.state.evaluated, self.batches.test(), self.accelerator.device)
        return dict(zip(("loss", "top1", "top5"), (self.accelerator.reduce(sums) / images).tolist(), strict=True))

    def _stop_or_save(self) -> None:
        """Save and stop where a signal asked for it; save where the last checkpoint is old."""
        state = self.state
        early = state.step < self.batches.steps  # else the epoch's end saves
        stopping, due = self._agree(bool(self.told), early and self.checkpoint.due())
        if stopping or due:
            state.loss.copy_(self.accelerator.reduce(state.loss, "mean"))  # a checkpoint is of all processes
        if stopping or (due and math.isfinite(float(state.loss))):
            self._tick(training=True)
            self._save()
        if stopping:
            self.accelerator.wait_for_everyone()
            raise Preempted(
                f"training: expected to train for {self.recipe.epochs} epochs, found {self.told[0] if self.told else 'a signal'} "
                f"in epoch {len(state.history) + 1}, after step {state.step} of {self.batches.steps}; the checkpoint is "
                "written: run the same command to go on"
            )

    def _agree(self, stopping: bool, due: bool) -> tuple[bool, bool]:
        """Tell all processes whether one was told to stop, and whether the first one's checkpoint is due; asked every few steps."""
        accelerator = self.accelerator
        if accelerator.num_processes == 1:
            return stopping, due
        if self.done % _AGREE_EVERY:  # counted through epochs: they may be shorter
            return False, False
        asked = torch.tensor([stopping, due and accelerator.is_main_process], dtype=torch.int32)
        told = accelerator.reduce(asked.to(accelerator.device)).tolist()
        return bool(told[0]), bool(told[1])

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.checkpoint.save(self.state)

    def _tick(self, *, training: bool) -> None:
        """Add the time since the last call."""
        now = time.perf_counter()
        self.state.seconds += now - self.clock
        self.state.train_seconds += training * (now - self.clock)
        self.clock = now

    def _line(self) -> str:
        """Describe the last epoch."""
        state, epochs = self.state, self.recipe.epochs
        done, last = len(state.history), state.history[-1]
        if self.diverged:
            return f"epoch {done}/{epochs}  loss {last['train_loss']}: diverged"
        speed = self.done * self.recipe.batch_size / state.train_seconds
        minutes, seconds = divmod(round(state.seconds / done * (epochs - done)), 60)
        hours, minutes = divmod(minutes, 60)
        eta = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
        return (
            f"epoch {done}/{epochs}  loss {last['train_loss']:.3f}  top-1 {100 * last['top1']:.1f} %  "
            f"{speed:,.0f} images/s  ETA {eta}"
        )


def make_accelerator(device: torch.device, recipe: Recipe) -> Accelerator:
    """Make this run's Accelerator; a CPU keeps to float32."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        # what is left of the last run in this process: its device and precision
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=recipe.precision if recipe.precision and device.type == "cuda" else "no",
    )


@contextmanager
def _told_to_stop() -> Iterator[list[str]]:
    """Yield a list that SIGTERM and SIGUSR1 put their names into, in place of ending the process."""
    told: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    signals = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(one, lambda number, _: told.append(signal.Signals(number).name)) for one in signals]
    try:
        yield told
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


def make_batches(data: Dataset | StreamedDataset, recipe: Recipe, **where: Any) -> Batches:
    """Make the batches of a data set in memory, or of one on disk.

    `where` has seed, device and workers, and rank and world where several processes share a batch.
    """
    if isinstance(data, Dataset):
        return MemoryBatches(data, recipe, **where)
    same = (
        "batch_size",
        "crop_pct",
        "flip",
        "colour_jitter",
        "randaugment",
        "random_erasing",
        "mixup",
        "cutmix",
        "label_smoothing",
    )
    options = {name: getattr(recipe, name) for name in same}
    scale = (recipe.resized_crop[0], recipe.resized_crop[1]) if recipe.resized_crop else (1.0, 1.0)
    return StreamedBatches(data, size=recipe.image_size, scale=scale, **options, **where)


def _check(model: nn.Module, data: Dataset | StreamedDataset, recipe: Recipe, seed: int) -> None:
    """Refuse what would only fail, or silently differ, later."""
    count = len(data.train_labels)
    if seed < 0:
        raise EchosError(f"training: expected a seed of at least 0, found {seed}; correct it")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise EchosError(
            "training: expected parameters that may change, found all of them frozen; leave some to be trained"
        )
    if recipe.batch_size > count:
        raise EchosError(
            f"recipe: batch_size: expected at most the {count} train images, found {recipe.batch_size}; lower it"
        )
    if isinstance(data, StreamedDataset):
        for name, used in (("shift", recipe.shift), ("randaugment", recipe.torchvision_randaugment)):
            if used:
                raise EchosError(
                    f"recipe: {name}: expected none of a data set on disk, found {getattr(recipe, name)!r}; take "
                    f"{'resized_crop' if name == 'shift' else 'a description of timm'} instead, or read the images into memory"
                )
    else:
        _check_images(data.train_images.shape[1:], recipe)
    drops = any(module.drop_prob for module in model.modules() if isinstance(module, DropPath))
    if drops != bool(recipe.drop_path):
        raise EchosError(
            f"recipe: drop_path: expected a model built with drop_path_rate={recipe.drop_path}, found one "
            f"{'with' if drops else 'without'} stochastic depth; build it with the recipe's value"
        )


def _check_images(shape: Sequence[int], recipe: Recipe) -> None:
    """Refuse augmentation that images of this shape (c, h, w) in memory do not allow."""
    channels, *size = shape
    if recipe.shift >= min(size):
        raise EchosError(
            f"recipe: shift: expected less than the image's {min(size)} pixels, found {recipe.shift}; lower it"
        )
    if recipe.randaugment and channels not in (1, 3):
        raise EchosError(f"recipe: randaugment: expected images of 1 or 3 channels, found {channels}; switch it off")


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the recipe's optimizer of timm; biases, norms and other one-dimensional parameters are not decayed."""
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in recipe.optimizer_options.items()}
    try:
        return create_optimizer_v2(model, recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, **options)
    except (TypeError, ValueError) as error:
        raise EchosError(
            f"recipe: optimizer_options: expected options of {recipe.optimizer}, found {options} ({error}); correct "
            "them"
        ) from None


@contextmanager
def _settings(threads: int, device: torch.device) -> Iterator[None]:
    """Set torch's threads and, on a CPU, deterministic algorithms and no denormals, for the time of a training.

    The GELU of a number near −13 is a denormal, with which a CPU calculates slowly: flushed to 0, a ConvMixer of regular
    convolutions trains 2.4 times as fast.
    """
    count, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    flushed = float(torch.tensor(1e-39) * 1) == 0
    torch.set_num_threads(threads)
    if device.type == "cpu" and not strict:
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_flush_denormal(device.type == "cpu" or flushed)
    try:
        yield
    finally:
        torch.set_num_threads(count)
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        torch.utils.deterministic.fill_uninitialized_memory = fill
        torch.set_flush_denormal(flushed)


@contextmanager
def _memory_sentence(recipe: Recipe) -> Iterator[None]:
    """Turn full memory, a GPU's or the machine's, into a sentence."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(words in str(error).lower() for words in _FULL):
            raise
        held = recipe.device_batch or recipe.batch_size
        raise EchosError(
            f"training: expected memory for {held} images at a time, found it full; lower device_batch below {held} (the batch of "
            f"{recipe.batch_size} then goes through in parts)"
        ) from None


def _result(loop: _Loop, data: Dataset | StreamedDataset, device: torch.device, world: int) -> RunResult:
    state, last = loop.state, loop.state.history[-1]
    return RunResult(
        history=state.history,
        metrics={
            **{name: None if loop.diverged else last[name] for name in ("loss", "top1", "top5")},
            "diverged": loop.diverged,
            "epochs": loop.recipe.epochs,
            "parameters": sum(parameter.numel() for parameter in state.model.parameters()),
            "train_images": len(data.train_labels),
            "test_images": len(data.test_labels),
        },
        images_per_second=loop.done * loop.recipe.batch_size / state.train_seconds,
        seconds=state.seconds,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        devices=world,
    )
