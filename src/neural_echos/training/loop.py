"""Training: one loop built from timm's parts, on one or several devices, that resumes to the same bytes.

Accelerate handles device placement, distribution over processes and mixed precision; optimizers, mixup, erasing, stochastic depth
and EMA are timm's. On a CPU, a run that is stopped at any step and resumed ends with the same weights as an uninterrupted run.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timm.layers import convert_sync_batchnorm
from timm.utils import ModelEmaV3
from torch import nn

from neural_echos.datasets import Dataset, StreamedDataset
from neural_echos.errors import EchosError, Preempted
from neural_echos.training.batches import (
    Batches,
    seed_generators,
)
from neural_echos.training.checkpoints import CHECKPOINT, Checkpoint, State
from neural_echos.training.cpu_layers import fast_layers
from neural_echos.training.devices import (
    batch_norm_sentence,
    make_accelerator,
    memory_sentence,
    pick_device,
    told_to_stop,
    torch_settings,
)
from neural_echos.training.preparation import check_training, make_batches, make_optimizer
from neural_echos.training.recipe import Recipe, learning_rate
from neural_echos.training.scoring import score_sums
from neural_echos.training.watchers import Lines, Watcher

_log = logging.getLogger(__name__)


_AGREE_EVERY = 10  # steps between checks across processes whether one was told to stop


@dataclass(frozen=True)
class RunResult:
    """Result of one training.

    Attributes
    ----------
    history : list of dict
        One row per epoch, with the columns of the `history` table; if the run diverged, the last row contains NaN.
    metrics : dict
        loss, top1, top5 on the test images after the last epoch (None if the run diverged), diverged, epochs, parameters,
        train_images, test_images.
    images_per_second : float
        Training images per second of training steps.
    seconds : float
        Wall time of all epochs, including evaluation, summed over all resumptions.
    device : str
        "cpu", or the name of the GPU.
    devices : int
        Number of devices that shared the batches.
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
    """Train a model in place, resuming from a checkpoint with the same `key` in `folder` if there is one.

    The model ends on the device, in evaluation mode, with the evaluated weights: the EMA weights if `recipe.ema_decay` is on. The
    global generators of torch, numpy and random are reseeded in each step. The checkpoint is kept until `write_run` has written the
    run. Several processes of `torchrun` share every batch. Batch norm statistics are computed over all processes on GPUs, and over
    each process's own images on CPUs.

    Parameters
    ----------
    model : nn.Module
        Initialised; parameters without `requires_grad` are not trained.
    data : Dataset or StreamedDataset
        In memory, or read from disk by worker processes.
    recipe : Recipe
    seed : int
        Determines batches and augmentation; at least 0.
    folder : Path
        Folder of the checkpoint.
    key : str
        Identifies the run (a hash of dataset, architecture, initial weights, recipe and seed); a checkpoint with another key is
        discarded.
    device : str or torch.device
        See `pick_device`.
    threads : int
        Threads of torch, and one more than the number of processes that decode and augment on the CPU; processes of `torchrun` on
        one machine share them.
    labels : mapping, optional
        dataset, architecture and initialisation, for the history table.
    checkpoint_seconds : float
        Minimum time between two checkpoints; 0 writes one after every step.
    progress : callable
        Receives one line per epoch.
    watchers : sequence of Watcher
        Notified of every step and epoch.

    Raises
    ------
    EchosError
        Data, recipe and model do not fit together, several processes do not share a folder, or memory runs out.
    Preempted
        SIGTERM or SIGUSR1 was received; the checkpoint is written, and the same call resumes from it.
    """
    folder = Path(folder)
    check_training(model, data, recipe, seed)
    with memory_sentence(recipe):
        accelerator = make_accelerator(pick_device(device), recipe)
    device, rank, world = accelerator.device, accelerator.process_index, accelerator.num_processes
    if recipe.batch_size % world:
        raise EchosError(
            f"recipe: batch_size: {recipe.batch_size} is not a multiple of the {world} processes that share it; change one of them"
        )
    names = {"dataset": "", "architecture": "", "initialisation": "", **(labels or {}), "seed": seed}
    threads = max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    watchers = [Lines(progress), *watchers] if accelerator.is_main_process else []
    with torch_settings(threads, device), memory_sentence(recipe), batch_norm_sentence(), told_to_stop() as told:
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
            with fast_layers(model, recipe, device):
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
    """The loop itself: a state, and the methods that advance it."""

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
        self.smoothing = (
            0.0 if recipe.mixup or recipe.cutmix else recipe.label_smoothing
        )  # mixup does its own smoothing
        self.diverged = False
        self.clock = time.perf_counter()

    @property
    def done(self) -> int:
        """Steps done in all epochs."""
        return len(self.state.history) * self.batches.steps + self.state.step

    def check_place(self, folder: Path) -> None:
        """Refuse processes that would resume from different steps because they do not share a folder."""
        done = self.accelerator.gather(torch.tensor([self.done], device=self.accelerator.device)).tolist()
        if len(set(done)) > 1:
            raise EchosError(
                f"{folder}: the {len(done)} processes would resume from different steps ({', '.join(map(str, done))}); put the "
                "runs in a folder that all nodes share"
            )

    def epoch(self, names: Mapping[str, Any], test_images: int) -> None:
        """Train for the rest of an epoch, evaluate, and record both."""
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
        """Take one optimizer step, accumulating gradients over micro-batches if the batch is too large for memory."""
        state, recipe, accelerator = self.state, self.recipe, self.accelerator
        self.trainee.train()
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch + (state.step + 1) / self.batches.steps) * group.get(
                "lr_scale", 1.0
            )
        seed_generators(
            self.seed, epoch, state.step, accelerator.process_index
        )  # so that dropout differs between processes
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
        """Save and stop if a signal requested it; save if the last checkpoint is old."""
        state = self.state
        early = state.step < self.batches.steps  # else the epoch's end saves
        stopping, due = self._agree(bool(self.told), early and self.checkpoint.due())
        if stopping or due:
            state.loss.copy_(self.accelerator.reduce(state.loss, "mean"))  # a checkpoint covers all processes
        if stopping or (due and math.isfinite(float(state.loss))):
            self._tick(training=True)
            self._save()
        if stopping:
            self.accelerator.wait_for_everyone()
            raise Preempted(
                f"training: interrupted by {self.told[0] if self.told else 'a signal'} in epoch {len(state.history) + 1} of "
                f"{self.recipe.epochs}, after step {state.step} of {self.batches.steps}; the checkpoint is saved, run the same "
                "command to resume"
            )

    def _agree(self, stopping: bool, due: bool) -> tuple[bool, bool]:
        """Whether any process was told to stop, and whether the first one's checkpoint is due; checked every few steps."""
        accelerator = self.accelerator
        if accelerator.num_processes == 1:
            return stopping, due
        if self.done % _AGREE_EVERY:  # counted across epochs, which may be shorter
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
