"""Training: one loop over timm's parts, for images held in memory, that resumes to the same bytes.

Everything random in epoch e follows from (seed, e) alone, so a checkpoint holds no generator: a run that was killed at
any moment and started again ends, on a CPU, with the weights of the run that was not.

Papers: Loshchilov and Hutter, "SGDR", ICLR 2017 (cosine); Zhang et al., "mixup", ICLR 2018; Yun et al., "CutMix", ICCV
2019; Zhong et al., "Random Erasing", AAAI 2020; Cubuk et al., "RandAugment", 2020; Trockman and Kolter, "Patches Are
All You Need?", TMLR 2023 (the one-cycle-linear schedule).
"""

import json
import logging
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.data import Mixup
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from timm.layers import DropPath
from timm.optim import create_optimizer_v2, list_optimizers
from timm.utils import ModelEmaV3
from torch import nn

from neural_echos.datasets import Dataset
from neural_echos.errors import EchosError, nearest
from neural_echos.files import atomic_path, provenance, write_json
from neural_echos.tables import SCHEMAS, write_table

_log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
SCHEDULES = ("cosine", "one-cycle-linear", "constant")
_KEY = "neural_echos.checkpoint"
_EVALUATION_BATCH = 512


# Recipe ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; checked when made, 0 or "" switches a part off.

    Attributes
    ----------
    epochs, batch_size : int
        A last batch that is not full is left out of its epoch.
    optimizer : str
        Name of an optimizer of timm; biases, norms and other one-dimensional parameters are not decayed.
    optimizer_options : mapping
        More of its keywords: eps, betas, momentum, nesterov, ….
    lr, weight_decay : float
        `lr` is the greatest learning rate of the schedule.
    schedule : str
        "cosine", "one-cycle-linear" or "constant"; see `learning_rate`.
    warmup_epochs, min_lr : float
        Linear warm-up from 0 (cosine and constant); where the cosine ends.
    label_smoothing, mixup, cutmix : float
        `mixup` and `cutmix` are the α of their Beta distributions; one of the two is chosen for each batch.
    random_erasing : float
        Probability that a rectangle of an image is replaced by noise.
    flip : bool
        Mirror half of the images, left to right.
    shift : int
        Greatest random shift, pixels; the border is reflected.
    randaugment : str
        timm's description, "rand-m9-mstd0.5-inc1".
    clip_grad : float
        Greatest norm of the gradient.
    drop_path : float
        Stochastic depth; whoever builds the model gives it the same `drop_path_rate`.
    ema_decay : float
        Decay per step of the average of the weights that is evaluated and kept in place of the last ones.
    amp : bool
        bfloat16 autocast; on a GPU only (on a CPU it is slower).
    channels_last : bool
        Memory format of the weights.
    """

    epochs: int = 5
    batch_size: int = 64
    optimizer: str = "adamw"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 0.02
    weight_decay: float = 0.05
    schedule: str = "cosine"
    warmup_epochs: float = 0.5
    min_lr: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    random_erasing: float = 0.0
    flip: bool = False
    shift: int = 0
    randaugment: str = ""
    clip_grad: float = 0.0
    drop_path: float = 0.0
    ema_decay: float = 0.0
    amp: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, _typed(one.name, getattr(self, one.name), one.type))
        for name, (holds, expected) in _LIMITS.items():
            if not holds(self):
                found = getattr(self, name)
                guess = nearest(found, _choices(name)) if isinstance(found, str) else ""
                raise EchosError(f"recipe: {name}: expected {expected}, found {found!r}{guess}; correct it")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Make a recipe from a mapping, such as a part of a config file.

        Raises
        ------
        EchosError
            A key is unknown, or a value is of another type or out of range.
        """
        known = [one.name for one in fields(cls)]
        for name in values:
            if name not in known:
                raise EchosError(
                    f"recipe: expected keys among {', '.join(known)}, found {name!r}{nearest(str(name), known)}; "
                    "correct it or take it out"
                )
        return cls(**values)


_TYPES: dict[Any, tuple[Callable[[Any], bool], Callable[[Any], Any], str]] = {
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), int, "a whole number"),
    float: (
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
        float,
        "a finite number",
    ),
    bool: (lambda value: isinstance(value, bool), bool, "true or false"),
    str: (lambda value: isinstance(value, str), str, "text"),
}
_LIMITS: dict[str, tuple[Callable[[Recipe], bool], str]] = {
    "epochs": (lambda r: r.epochs >= 1, "at least 1"),
    "batch_size": (
        lambda r: r.batch_size >= 1 and not (r.batch_size % 2 and (r.mixup or r.cutmix)),
        "at least 1, and an even number where mixup or cutmix is on",
    ),
    "optimizer": (lambda r: r.optimizer in list_optimizers(), "an optimizer that timm.optim.list_optimizers() lists"),
    "lr": (lambda r: r.lr > 0, "a number above 0"),
    "weight_decay": (lambda r: r.weight_decay >= 0, "a number of at least 0"),
    "schedule": (lambda r: r.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
    "warmup_epochs": (lambda r: 0 <= r.warmup_epochs < r.epochs, "a number from 0 to below epochs"),
    "min_lr": (lambda r: 0 <= r.min_lr <= r.lr, "a number from 0 to lr"),
    "label_smoothing": (lambda r: 0 <= r.label_smoothing < 1, "a number from 0 to below 1"),
    "mixup": (lambda r: r.mixup >= 0, "a number of at least 0"),
    "cutmix": (lambda r: r.cutmix >= 0, "a number of at least 0"),
    "random_erasing": (lambda r: 0 <= r.random_erasing <= 1, "a number from 0 to 1"),
    "shift": (lambda r: r.shift >= 0, "at least 0"),
    "randaugment": (
        lambda r: not r.randaugment or bool(re.fullmatch(r"rand(-(m|n|p|mstd|mmax|inc)[\d.]+|-t\w+)*", r.randaugment)),
        'text like "rand-m9-mstd0.5-inc1", or "" for none',
    ),
    "clip_grad": (lambda r: r.clip_grad >= 0, "a number of at least 0"),
    "drop_path": (lambda r: 0 <= r.drop_path < 1, "a number from 0 to below 1"),
    "ema_decay": (lambda r: 0 <= r.ema_decay < 1, "a number from 0 to below 1"),
}


def _typed(name: str, value: Any, kind: Any) -> Any:
    if name == "optimizer_options":
        if not isinstance(value, Mapping):
            raise EchosError(f"recipe: {name}: expected a mapping, found {value!r}; write it as keys and values")
        return dict(value)
    holds, convert, expected = _TYPES[kind]
    if not holds(value):
        raise EchosError(f"recipe: {name}: expected {expected}, found {value!r}; correct it")
    return convert(value)


def _choices(name: str) -> list[str]:
    return {"optimizer": list_optimizers(), "schedule": list(SCHEDULES)}.get(name, [])


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate at a moment of training.

    Step i of n in epoch e (both from 0) uses the rate at e + (i + 1)/n, so the last step of all uses the end's.

    - cosine: linear from 0 to lr over `warmup_epochs`, then min_lr + ½ (lr − min_lr)(1 + cos πt), t from 0 to 1.
    - one-cycle-linear: linear through 0 at the start, lr at 2/5, lr/20 at 4/5, and 0 at the end.
    - constant: lr, after the same warm-up.

    Parameters
    ----------
    recipe : Recipe
    epoch : float
        Epochs done, from 0 to `recipe.epochs`.
    """
    if recipe.schedule == "one-cycle-linear":
        knots = np.array([0, 2, 4, 5]) / 5 * recipe.epochs
        return float(np.interp(epoch, knots, [0.0, recipe.lr, recipe.lr / 20, 0.0]))
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    if recipe.schedule == "constant":
        return recipe.lr
    t = (epoch - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
    return recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * t))


# Batches --------------------------------------------------------------------------------------------------------------


def _seed(seed: int, epoch: int) -> torch.Generator:
    """Seed the global generators (torch: dropout; numpy: mixup; random: erasing); return one for batches and shifts."""
    states = np.random.SeedSequence([seed, epoch]).generate_state(4).tolist()
    torch.manual_seed(states[0])
    np.random.seed(states[1])  # noqa: NPY002  timm draws from the legacy generator
    random.seed(states[2])
    return torch.Generator().manual_seed(states[3])


class _RandAugmented(torch.utils.data.Dataset):
    """Batches of images after RandAugment; each is a function of its own seed, whatever process makes it."""

    def __init__(self, images: np.ndarray, description: str, mean: np.ndarray):
        colour = tuple(round(255 * float(value)) for value in np.resize(mean, 3))
        self.images = images
        self.transform = rand_augment_transform(
            description, {"translate_const": int(0.45 * min(images.shape[2:])), "img_mean": colour}
        )
        for operation in self.transform.ops:
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize

    def __getitem__(self, task: tuple[int, np.ndarray]) -> torch.Tensor:
        seed, rows = task
        numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        batch = np.stack([self._augment(image) for image in self.images[rows]])
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        return torch.from_numpy(batch)

    def _augment(self, image: np.ndarray) -> np.ndarray:
        grey = len(image) == 1
        picture = Image.fromarray(image[0] if grey else image.transpose(1, 2, 0)).convert("RGB")
        pixels = np.asarray(self.transform(picture).convert("L" if grey else "RGB"))
        return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep the highest `bits` of each pixel; timm asks for 0 bits too (black), which Pillow has come to refuse."""
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)


class _Batches:
    """Batches of one dataset under one recipe: images on the device once, augmented and normalised on the fly."""

    def __init__(self, data: Dataset, recipe: Recipe, device: torch.device, workers: int):
        self.recipe, self.device, self.workers = recipe, device, workers
        self.labels = torch.tensor(data.train_labels, device=device)
        self.pixels = _pixels(data.mean, data.std, device)
        self.steps = len(self.labels) // recipe.batch_size
        self.mixup = self.erasing = self.augmented = None
        if recipe.randaugment:
            self.augmented = _RandAugmented(data.train_images, recipe.randaugment, data.mean)
        else:
            self.images = torch.tensor(data.train_images, device=device)
        if recipe.mixup or recipe.cutmix:
            self.mixup = Mixup(
                recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=len(data.classes)
            )
        if recipe.random_erasing:
            self.erasing = RandomErasing(recipe.random_erasing, mode="pixel", device=str(device))

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield normalised images, float32 (b, c, h, w), and labels (b,), or label weights (b, classes) after mixup."""
        order = torch.randperm(len(self.labels), generator=generator)[: self.steps * self.recipe.batch_size]
        rows = order.view(self.steps, self.recipe.batch_size)
        for chosen, raw in zip(rows, self._raw(rows, generator), strict=True):
            images = self._augment(_normalise(raw.to(self.device), *self.pixels), generator)
            labels = self.labels[chosen.to(self.device)]
            yield (images, labels) if self.mixup is None else self.mixup(images, labels)

    def _raw(self, rows: torch.Tensor, generator: torch.Generator) -> Iterator[torch.Tensor]:
        if self.augmented is None:
            return (self.images[chosen] for chosen in rows.to(self.device))
        seeds = torch.randint(2**31, (len(rows),), generator=generator).tolist()
        tasks = list(zip(seeds, rows.numpy(), strict=True))
        loader = torch.utils.data.DataLoader(
            self.augmented, None, sampler=tasks, num_workers=self.workers, generator=torch.Generator()
        )
        return iter(loader)

    def _augment(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self.recipe.shift:
            images = shift_images(images, self.recipe.shift, generator)
        if self.recipe.flip:
            mirrored = torch.rand(len(images), generator=generator).to(self.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return images if self.erasing is None else self.erasing(images)


def shift_images(images: torch.Tensor, pixels: int, generator: torch.Generator) -> torch.Tensor:
    """Shift each image by its own random number of pixels, up to `pixels` either way, and reflect the border.

    Parameters
    ----------
    images : Tensor, shape (n, c, h, w)
    pixels : int
        Less than h and w.
    generator : torch.Generator
        On the CPU; decides the shifts.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, [pixels] * 4, mode="reflect")
    down, right = torch.randint(2 * pixels + 1, (2, count, 1), generator=generator).to(images.device)
    rows = (down + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (right + torch.arange(width, device=images.device))[:, None, None, :]
    image = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[image, channel, rows, columns]


def _pixels(mean: np.ndarray, std: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    scaled = torch.tensor(np.array([mean, std]) * 255, dtype=torch.float32, device=device)
    return scaled[0, :, None, None], scaled[1, :, None, None]


def _normalise(images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    # Plain strides, whatever the array's: strides choose the convolution's algorithm and so the last bits of its result.
    return torch.empty(images.shape, device=images.device).copy_(images).sub_(mean).div_(std)


# Evaluation -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: np.ndarray | torch.Tensor,
    labels: np.ndarray | torch.Tensor,
    mean: np.ndarray,
    std: np.ndarray,
    device: str | torch.device = "auto",
    batch_size: int = _EVALUATION_BATCH,
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
    model.to(device).eval()
    pixels = _pixels(mean, std, device)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for start in range(0, len(images), batch_size):
        batch = torch.as_tensor(images[start : start + batch_size]).to(device)
        target = torch.as_tensor(labels[start : start + batch_size]).to(device)
        logits = model(_normalise(batch, *pixels))
        hits = logits.topk(min(5, logits.shape[1])).indices == target[:, None]
        sums += torch.stack([F.cross_entropy(logits, target, reduction="sum"), hits[:, 0].sum(), hits.sum()]).double()
    loss, top1, top5 = (sums / len(images)).tolist()
    return loss, top1, top5


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
        One row per epoch, with the columns of the `history` table.
    metrics : dict
        loss, top1, top5 of the test images after the last epoch; epochs, parameters, train_images, test_images.
    images_per_second : float
        Training images by seconds of training steps.
    seconds : float
        Wall time of all epochs, evaluation included, over every resumption.
    device : str
        "cpu", or the name of the GPU.
    """

    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    images_per_second: float
    seconds: float
    device: str


def train(
    model: nn.Module,
    data: Dataset,
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
) -> RunResult:
    """Train a model in place, resuming from `folder` where a checkpoint of the same `key` lies.

    The model ends on the device, in evaluation mode, with the weights that were evaluated: the averaged ones where
    `recipe.ema_decay` is on. The global generators of torch, numpy and random are seeded anew each epoch. The
    checkpoint stays until `write_run` has written the run.

    Parameters
    ----------
    model : nn.Module
        Initialised; parameters without `requires_grad` stay as they are.
    data : Dataset
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
        Threads of torch, and one more than the processes that RandAugment uses.
    labels : mapping, optional
        dataset, architecture and initialisation, as the history table names them.
    checkpoint_seconds : float
        Least time between two checkpoints; 0 writes one after every epoch.
    progress : callable
        Takes one line per epoch.

    Raises
    ------
    EchosError
        Data, recipe and model do not fit together, the loss is no longer finite (`history.parquet` then holds the
        epochs before), or the GPU's memory is full.
    """
    device, folder = pick_device(device), Path(folder)
    _check(model, data, recipe, seed)
    names = {"dataset": "", "architecture": "", "initialisation": "", **(labels or {}), "seed": seed}
    with _settings(threads, device), _memory_sentence(recipe):
        model.to(device, memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format)
        run = _Run(model, _optimizer(model, recipe), ModelEmaV3(model, recipe.ema_decay) if recipe.ema_decay else None)
        checkpoint = _Checkpoint(folder / CHECKPOINT, key, checkpoint_seconds)
        checkpoint.restore(run)
        batches = _Batches(data, recipe, device, workers=threads - 1)
        test = torch.tensor(data.test_images, device=device), torch.tensor(data.test_labels, device=device)
        for epoch in range(len(run.history), recipe.epochs):
            began = time.perf_counter()
            train_loss = _train_epoch(run, batches, recipe, epoch, _seed(seed, epoch))
            trained = time.perf_counter()
            if not math.isfinite(train_loss):
                _write_history(folder, run.history)
                raise EchosError(
                    f"training: expected a finite loss, found {train_loss} in epoch {epoch + 1} of {recipe.epochs} at "
                    f"lr {recipe.lr:g}; lower lr, or set clip_grad or warmup_epochs"
                )
            loss, top1, top5 = evaluate(run.evaluated, *test, data.mean, data.std, device)
            scores = {"train_loss": train_loss, "loss": loss, "top1": top1, "top5": top5}
            rate = learning_rate(recipe, epoch + 1)
            run.history.append({**names, "epoch": epoch + 1, "learning_rate": rate, **scores})
            run.train_seconds += trained - began
            run.seconds += time.perf_counter() - began
            checkpoint.save(run)
            progress(_line(run, recipe, batches.steps * recipe.batch_size / (trained - began)))
    model.load_state_dict(run.evaluated.state_dict())
    model.eval()
    return _result(run, data, recipe, batches, device)


def _train_epoch(run: "_Run", batches: _Batches, recipe: Recipe, epoch: int, generator: torch.Generator) -> float:
    """Take one step per batch; return the mean training loss."""
    run.model.train()
    total = torch.zeros((), device=batches.device)
    smoothing = 0.0 if batches.mixup else recipe.label_smoothing
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=recipe.amp and batches.device.type == "cuda")
    for step, (images, target) in enumerate(batches.epoch(generator), start=1):
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch + step / batches.steps)
        with autocast:
            loss = F.cross_entropy(run.model(images), target, label_smoothing=smoothing)
        run.optimizer.zero_grad()
        loss.backward()
        if recipe.clip_grad:
            nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip_grad)
        run.optimizer.step()
        if run.ema is not None:
            run.ema.update(run.model, step=epoch * batches.steps + step)
        total += loss.detach()
    return total.item() / batches.steps


def _check(model: nn.Module, data: Dataset, recipe: Recipe, seed: int) -> None:
    """Refuse what would only fail, or silently differ, later."""
    count, channels, *size = data.train_images.shape
    if seed < 0:
        raise EchosError(f"training: expected a seed of at least 0, found {seed}; correct it")
    if recipe.batch_size > count:
        raise EchosError(
            f"recipe: batch_size: expected at most the {count} train images, found {recipe.batch_size}; lower it"
        )
    if recipe.shift >= min(size):
        raise EchosError(
            f"recipe: shift: expected less than the image's {min(size)} pixels, found {recipe.shift}; lower it"
        )
    if recipe.randaugment and channels not in (1, 3):
        raise EchosError(f"recipe: randaugment: expected images of 1 or 3 channels, found {channels}; switch it off")
    drops = any(module.drop_prob for module in model.modules() if isinstance(module, DropPath))
    if drops != bool(recipe.drop_path):
        raise EchosError(
            f"recipe: drop_path: expected a model built with drop_path_rate={recipe.drop_path}, found one "
            f"{'with' if drops else 'without'} stochastic depth; build it with the recipe's value"
        )


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
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
    try:
        yield
    except torch.OutOfMemoryError:
        raise EchosError(
            f"training: expected GPU memory for batches of {recipe.batch_size} images, found it full; lower batch_size"
        ) from None


def _result(run: "_Run", data: Dataset, recipe: Recipe, batches: _Batches, device: torch.device) -> RunResult:
    return RunResult(
        history=run.history,
        metrics={
            **{name: run.history[-1][name] for name in ("loss", "top1", "top5")},
            "epochs": recipe.epochs,
            "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
            "train_images": len(data.train_images),
            "test_images": len(data.test_images),
        },
        images_per_second=batches.steps * recipe.batch_size * recipe.epochs / run.train_seconds,
        seconds=run.seconds,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    )


def _line(run: "_Run", recipe: Recipe, speed: float) -> str:
    done, last = len(run.history), run.history[-1]
    minutes, seconds = divmod(round(run.seconds / done * (recipe.epochs - done)), 60)
    hours, minutes = divmod(minutes, 60)
    eta = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
    return (
        f"epoch {done}/{recipe.epochs}  loss {last['train_loss']:.3f}  top-1 {100 * last['top1']:.1f} %  "
        f"{speed:,.0f} images/s  ETA {eta}"
    )


# Checkpoints ----------------------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """Everything that changes while a model is trained."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: ModelEmaV3 | None
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    train_seconds: float = 0.0

    @property
    def evaluated(self) -> nn.Module:
        """The module whose weights count: the average of the weights where there is one."""
        return self.model if self.ema is None else self.ema.module

    def weights(self) -> dict[str, torch.Tensor]:
        modules = {"model": self.model} if self.ema is None else {"model": self.model, "ema": self.ema.module}
        return {f"{name}.{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors, and the rest as JSON values."""
        tensors, numbers = self.weights(), []
        optimizer = self.optimizer.state_dict()
        for index, slots in optimizer["state"].items():
            for slot, value in slots.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer.{index}.{slot}"] = value
                else:
                    numbers.append([index, slot, value])
        groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer["param_groups"]]
        rest = {"history": self.history, "seconds": self.seconds, "train_seconds": self.train_seconds}
        return tensors, {**rest, "numbers": numbers, "groups": groups}

    def load(self, tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        with torch.no_grad():
            for name, value in self.weights().items():
                value.copy_(tensors[name])
        self.optimizer.load_state_dict(self._optimizer_state(tensors, rest))
        self.history, self.seconds, self.train_seconds = rest["history"], rest["seconds"], rest["train_seconds"]

    def _optimizer_state(self, tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            kind, _, place = name.partition(".")
            if kind == "optimizer":
                index, _, slot = place.partition(".")
                like = parameters[int(index)]
                if value.shape == like.shape:  # in the parameter's memory format, as it was
                    value = torch.empty_like(like, dtype=value.dtype).copy_(value)
                state.setdefault(int(index), {})[slot] = value
        for index, slot, value in rest["numbers"]:
            state.setdefault(index, {})[slot] = value
        groups = []
        for fresh, saved in zip(self.optimizer.state_dict()["param_groups"], rest["groups"], strict=True):
            groups.append({k: tuple(saved[k]) if isinstance(v, tuple) else saved.get(k, v) for k, v in fresh.items()})
        return {"state": state, "param_groups": groups}


class _Checkpoint:
    """One file that holds a run: tensors as safetensors, the rest as JSON in its metadata; never unpickled."""

    def __init__(self, path: Path, key: str, seconds: float):
        self.path, self.key, self.seconds = path, key, seconds
        self.written = time.monotonic()

    def save(self, run: _Run) -> None:
        """Write the run, unless the last checkpoint is too recent."""
        if time.monotonic() - self.written < self.seconds:
            return
        tensors, rest = run.state()
        try:
            header = json.dumps({"key": self.key, **rest})
        except TypeError as error:
            raise EchosError(
                f"{self.path}: expected an optimizer whose state is tensors and numbers, found another ({error}); "
                "choose adamw or sgd"
            ) from None
        with atomic_path(self.path) as temporary:
            save_file({name: _plain(tensor) for name, tensor in tensors.items()}, temporary, {_KEY: header})
        self.written = time.monotonic()

    def restore(self, run: _Run) -> None:
        """Load a checkpoint of the same key into the run; discard any other, and what a killed write left behind."""
        for stale in self.path.parent.glob(f".{self.path.stem}-*{self.path.suffix}"):
            stale.unlink()
        if not self.path.exists():
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                rest = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            expected = {name: value.shape for name, value in run.weights().items()}
            if rest.get("key") != self.key or any(tensors[name].shape != shape for name, shape in expected.items()):
                raise ValueError("a checkpoint of another run")
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            _log.warning(
                "%s: expected a checkpoint of this run, found %s; discarded, training starts anew", self.path, error
            )
            self.path.unlink()
            return
        run.load(tensors, rest)
        _log.info("%s: resuming after epoch %d", self.path, len(run.history))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor in the form that safetensors takes: on the CPU, contiguous, its memory its own."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


# Results --------------------------------------------------------------------------------------------------------------


def write_run(
    folder: Path,
    model: nn.Module,
    result: RunResult,
    *,
    recipe: Recipe,
    seed: int,
    kernel_size: int,
    inputs: Mapping[str, str | Path] | None = None,
    **facts: Any,
) -> None:
    """Write a finished run, each file atomically, and then remove its checkpoint.

    `weights.safetensors`, `history.parquet` and `metrics.json` are the same bytes for the same run (on a CPU); times
    are in `run.json` only. `metrics.json` comes last: where it lies, the run is whole.

    Parameters
    ----------
    folder : Path
        The folder given to `train`.
    model : nn.Module
        As `train` left it.
    result : RunResult
    recipe : Recipe
    seed : int
    kernel_size : int
        Side of the model's spatial kernels.
    inputs : mapping of str to path, optional
        Files that the run was made from; their checksums go into `run.json`.
    **facts
        More JSON values for `run.json`.
    """
    folder = Path(folder)
    (folder / "metrics.json").unlink(missing_ok=True)
    with atomic_path(folder / "weights.safetensors") as temporary:
        save_file({name: _plain(value) for name, value in model.state_dict().items()}, temporary, {"format": "pt"})
    _write_history(folder, result.history)
    times = {"images_per_second": result.images_per_second, "seconds": result.seconds, "device": result.device}
    write_json(folder / "run.json", provenance(dict(inputs or {}), recipe=asdict(recipe), seed=seed, **times, **facts))
    write_json(folder / "metrics.json", {**result.metrics, "kernel_size": kernel_size})
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    write_table(folder / "history.parquet", pa.Table.from_pylist(history, schema=SCHEMAS["history"]), "history")
