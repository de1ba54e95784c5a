"""Plan: estimate the cost of a preset's trainings in advance from a short calibration on this machine.

Every pair of dataset and architecture is trained briefly on random images of its shape; the rest is counting. Measured and
extrapolated values are kept apart.
"""

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from neural_echos import architectures
from neural_echos.datasets import dataset_shape
from neural_echos.errors import EchosError
from neural_echos.training import Recipe, pick_device
from neural_echos.training.cpu_layers import fast_layers
from neural_echos.training.devices import make_accelerator
from neural_echos.training.preparation import make_optimizer
from neural_echos.words import count_of

if TYPE_CHECKING:
    from neural_echos.design.preset import Preset
    from neural_echos.design.schema import Config

_log = logging.getLogger(__name__)

SHAPE = ("train", "test", "classes", "channels", "size")
_PIXELS = 32 * 32 * 32  # a calibration batch on a CPU: 32 images of 32×32, or as many pixels in fewer, larger images
_GPU_BATCH = 256
_HISTORY_BYTES = 20_000


@dataclass(frozen=True)
class Work:
    """All runs of one architecture on one dataset.

    Attributes
    ----------
    dataset, architecture : str
    model : str
    kwargs : mapping
    recipe : Recipe
    shape : mapping of str to int
        Numbers of training and test images, classes and channels, and the side of an image in pixels.
    runs : int
        Number of initialisations times number of seeds.
    published : int
        How many of them are published and are adopted instead of trained.
    """

    dataset: str
    architecture: str
    model: str
    kwargs: Mapping[str, Any]
    recipe: Recipe
    shape: Mapping[str, int]
    runs: int
    published: int = 0


@dataclass(frozen=True)
class Cost:
    """Cost of one `Work` on one device.

    Attributes
    ----------
    dataset, architecture : str
    runs, epochs, parameters : int
    batch : int
        Images per calibration step.
    images_per_second : float
        Speed of training steps: forward, backward, optimizer.
    evaluated_per_second : float
        Speed of forward passes.
    hours_per_run, hours : float
        Of one run, and of all that are not published.
    gigabytes : float
        Size of the initial and trained weights of all runs.
    extrapolated : tuple of str
        Parts of the cost that the calibration did not measure.
    published : int
        See `Work`.
    """

    dataset: str
    architecture: str
    runs: int
    epochs: int
    parameters: int
    batch: int
    images_per_second: float
    evaluated_per_second: float
    hours_per_run: float
    hours: float
    gigabytes: float
    extrapolated: tuple[str, ...]
    published: int = 0


def plan(
    config: "Config",
    root: Path,
    *,
    seconds: float,
    device: str,
    threads: int,
    devices: int = 1,
    watts: float | None = None,
) -> tuple[list[Cost], dict[str, Any], str]:
    """Estimate the cost of all trainings of a preset.

    Parameters
    ----------
    config : Config
    root : Path
        Folder of the workflow; existing datasets are looked up in its results, and published runs below it.
    seconds, device, threads
        See `estimate`.
    devices, watts
        See `summarise`.

    Returns
    -------
    costs : list of Cost
    total : dict
        See `summarise`.
    name : str
        Name of the device.
    """
    from neural_echos.design.preset import Preset
    from neural_echos.design.published import read_published, runs_to_train

    preset = Preset(config)
    left = Counter((one.dataset, one.architecture) for one, _ in runs_to_train(preset, read_published(preset, root)))
    folder = root / str(config.pathvars.results) / "datasets"
    made = {name: folder / f"{name}.safetensors" for name in config.datasets}
    shapes = {name: dataset_shape(path) for name, path in made.items() if path.exists()}
    picked = pick_device(device)
    processor = f"cpu, {count_of(threads, 'thread')}"
    name = torch.cuda.get_device_name(picked) if picked.type == "cuda" else processor
    work = [replace(one, published=one.runs - left[one.dataset, one.architecture]) for one in list_work(preset, shapes)]
    costs = list(estimate(work, seconds=seconds, device=picked, threads=threads))
    return costs, summarise(costs, devices=devices, watts=watts), name


def list_work(preset: "Preset", shapes: Mapping[str, Mapping[str, int]] | None = None) -> list[Work]:
    """List a preset's trainings by dataset and architecture, including those that only replacement needs.

    Parameters
    ----------
    preset : Preset
    shapes : mapping, optional
        Shapes of existing datasets; others must declare theirs.

    Raises
    ------
    EchosError
        A dataset does not exist and does not declare its shape.
    """
    made, found = shapes or {}, []
    for dataset, architecture in sorted({(one.dataset, one.architecture) for one in preset.conditions}):
        declared, built = preset.config.datasets[dataset], preset.config.architectures[architecture]
        recipe = Recipe.from_dict(preset.recipe(dataset, architecture))
        shape = declared.shape.model_dump() if declared.shape else {}
        if made.get(dataset):
            shape = {"size": recipe.image_size, **made[dataset]}  # images that stay on disk have no fixed size
        missing = [name for name in SHAPE if name not in shape]
        if missing:
            raise EchosError(
                f"config: datasets.{dataset}.shape lacks {', '.join(missing)}; declare {', '.join(SHAPE)}, or make the dataset "
                "first"
            )
        runs = preset.runs_of(dataset, architecture)
        found.append(Work(dataset, architecture, built.model, built.kwargs, recipe, shape, runs))
    return found


def estimate(
    work: Sequence[Work],
    *,
    seconds: float = 60.0,
    device: str | torch.device = "auto",
    threads: int = 1,
    progress: Callable[[str], None] = _log.info,
) -> Iterator[Cost]:
    """Calibrate each pair of dataset and architecture, and yield the cost of all its runs on one device.

    Parameters
    ----------
    work : sequence of Work
    seconds : float
        Total time for calibration; slow models take longer because each does at least two steps.
    device : str or torch.device
    threads : int
        Threads of torch.
    progress : callable
        Receives one line per item of work if there are several.
    """
    picked = pick_device(device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for number, one in enumerate(work, start=1):
            cost = _cost(one, picked, seconds / len(work))
            if len(work) > 1:
                progress(
                    f"{number}/{len(work)} {one.architecture} on {one.dataset}: {cost.images_per_second:,.0f} images/s, "
                    f"{cost.runs} runs of {_time(cost.hours_per_run)}"
                )
            yield cost
    finally:
        torch.set_num_threads(before)


def _cost(work: Work, device: torch.device, seconds: float) -> Cost:
    shape, recipe = work.shape, work.recipe
    kwargs = dict(work.kwargs) | recipe.model_kwargs()
    model = architectures.create(work.model, num_classes=shape["classes"], in_chans=shape["channels"], kwargs=kwargs)
    limit = min(recipe.batch_size, recipe.device_batch or recipe.batch_size)
    batch = min(limit, _GPU_BATCH if device.type == "cuda" else max(2, _PIXELS // shape["size"] ** 2))
    trained, evaluated = calibrate(model, recipe, shape, batch=batch, device=device, seconds=seconds)
    steps = shape["train"] // recipe.batch_size * recipe.batch_size
    hours = recipe.epochs * (steps / trained + shape["test"] / evaluated) / 3600
    parameters = sum(parameter.numel() for parameter in model.parameters())
    extrapolated = [f"batches of {recipe.batch_size} from {batch}"] if batch < recipe.batch_size else []
    return Cost(
        dataset=work.dataset,
        architecture=work.architecture,
        runs=work.runs,
        epochs=recipe.epochs,
        parameters=parameters,
        batch=batch,
        images_per_second=trained,
        evaluated_per_second=evaluated,
        hours_per_run=hours,
        hours=hours * (work.runs - work.published),
        gigabytes=work.runs * (8 * parameters + _HISTORY_BYTES) / 1e9,
        extrapolated=(*extrapolated, "decoding and augmentation of images"),
        published=work.published,
    )


def calibrate(
    model: nn.Module, recipe: Recipe, shape: Mapping[str, int], *, batch: int, device: torch.device, seconds: float
) -> tuple[float, float]:
    """Train and evaluate a model briefly on random images; return the images per second of both.

    Parameters
    ----------
    model : nn.Module
    recipe : Recipe
        Its optimizer, precision and memory format are used.
    shape : mapping of str to int
        classes, channels, size.
    batch : int
        Images per step.
    device : torch.device
    seconds : float
        Total time for both; each does at least one warm-up step and one measured step.
    """
    accelerator = make_accelerator(device, recipe)
    model.to(accelerator.device, memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format)
    optimizer = accelerator.prepare_optimizer(make_optimizer(model, recipe), device_placement=False)
    trainee = torch.compile(model) if recipe.compile else model
    images = torch.randn(batch, shape["channels"], shape["size"], shape["size"], device=accelerator.device)
    labels = torch.randint(shape["classes"], (batch,), device=accelerator.device)

    def train() -> None:
        model.train()
        optimizer.zero_grad()
        with accelerator.autocast():
            loss = F.cross_entropy(trainee(images), labels)
        accelerator.backward(loss)
        optimizer.step()

    @torch.no_grad()
    def evaluate() -> None:
        model.eval()
        with accelerator.autocast():
            trainee(images)

    with fast_layers(model, recipe, accelerator.device):
        return batch / _seconds_per_call(train, 0.8 * seconds), batch / _seconds_per_call(evaluate, 0.2 * seconds)


def _seconds_per_call(call: Callable[[], None], seconds: float) -> float:
    """Median time of a call over as many calls as fit into the time, at least one; the first call is not counted."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    counted = sorted(times[1:])
    return counted[len(counted) // 2]


def summarise(costs: Sequence[Cost], *, devices: int = 1, watts: float | None = None) -> dict[str, Any]:
    """Add up costs: runs, device-hours of unpublished ones, days on several devices, disk, and energy if the power is known.

    Parameters
    ----------
    costs : sequence of Cost
    devices : int
        Number of devices that work at the same time, each on its own runs.
    watts : float, optional
        Power of one device under load.
    """
    hours = math.fsum(cost.hours for cost in costs)
    longest = max((cost.hours_per_run for cost in costs if cost.published < cost.runs), default=0.0)
    return {
        "runs": sum(cost.runs for cost in costs),
        "published": sum(cost.published for cost in costs),
        "device_hours": hours,
        "devices": devices,
        "days": max(hours / devices, longest) / 24,
        "gigabytes": math.fsum(cost.gigabytes for cost in costs),
        "kilowatt_hours": None if watts is None else hours * watts / 1000,
    }


def render_plan(costs: Sequence[Cost], total: Mapping[str, Any], device: str) -> str:
    """Format the plan as text: a table of costs, the totals, and what is extrapolated."""
    if not costs:
        return "This preset trains nothing; snakemake --dry-run lists its jobs."
    head = ("dataset", "architecture", "runs", "epochs", "images/s", "a run", "to train", "disk")
    rows = [
        (
            cost.dataset,
            cost.architecture,
            f"{cost.runs - cost.published:,} of {cost.runs:,}" if cost.published else f"{cost.runs:,}",
            f"{cost.epochs:,}",
            f"{cost.images_per_second:,.0f}" + "*" * (len(cost.extrapolated) > 1),
            _time(cost.hours_per_run),
            _time(cost.hours),
            f"{cost.gigabytes:,.2f} GB",
        )
        for cost in costs
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if place < 2 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    energy = total["kilowatt_hours"]
    adopted = f", of which {total['published']:,} are published and adopted" if total["published"] else ""
    told: dict[str, list[str]] = {}
    for cost in costs:
        for one in cost.extrapolated[:-1]:
            told.setdefault(one, []).append(f"{cost.architecture} on {cost.dataset}")
    starred = "; ".join(f"{one}: {', '.join(names)}" for one, names in told.items())
    lines += [
        "",
        f"{total['runs']:,} runs{adopted}, {_time(total['device_hours'])} of one device ({device}); {_time(24 * total['days'])} "
        f"with {total['devices']} of them, each on its own runs.",
        f"Disk: {total['gigabytes']:,.2f} GB of weights. "
        + ("Energy: unknown; give --watts." if energy is None else f"Energy: {energy:,.1f} kWh."),
        "Measured: forward, backward, optimizer step and evaluation of random images. Not measured: decoding and augmentation of "
        "images, and the overhead of several devices.",
    ]
    return "\n".join(lines + ([f"* Extrapolated to {starred}."] if told else []))


def tell_plan(costs: Sequence[Cost], total: Mapping[str, Any], device: str) -> str:
    """Describe the plan of one network on one dataset in a sentence or two."""
    (cost,) = costs
    several = f", {total['devices']} at a time" if total["devices"] > 1 else ""
    disk = f" {total['gigabytes']:,.1f} GB of weights." if total["gigabytes"] >= 0.05 else ""
    return (
        f"{total['runs']:,} runs of {_time(cost.hours_per_run)} each{several}: {_time(24 * total['days'])} of training on this "
        f"machine ({device}, {cost.images_per_second:,.0f} images/s), plus decoding and augmentation of images and a few seconds "
        f"to start each job.{disk}"
    )


def plan_json(costs: Sequence[Cost], total: Mapping[str, Any], device: str) -> str:
    """Return the plan as JSON."""
    return json.dumps({"device": device, "costs": [asdict(cost) for cost in costs], "total": dict(total)}, indent=2)


def _time(hours: float) -> str:
    """Describe a duration by its largest unit."""
    if hours >= 48:
        return f"{hours / 24:,.1f} d"
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.0f} s"
