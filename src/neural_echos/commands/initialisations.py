"""Commands that draw initial weights and measure their effect before any training."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from neural_echos.commands.arguments import (
    ArchitectureName,
    Checkpoint,
    Data,
    DatasetName,
    Initialisations,
    Model,
    ModelKeywords,
    Output,
    Seeds,
    Threads,
)
from neural_echos.commands.parsing import LARGEST, json_object
from neural_echos.errors import EchosError

_LOG = logging.getLogger("neural_echos")


def initialise(
    model: Model,
    *,
    output: Annotated[
        str,
        Option(
            help="Path of the weights, ending in .safetensors; for several networks, with {initialisation} and {seed} in it."
        ),
    ],
    scheme: Annotated[str, Option(help="Scheme that draws the kernels, such as dog (docs/initialise.md).")] = "",
    options: Annotated[
        dict[str, Any],
        Option(parser=json_object, help='Options of that scheme, such as {"bank": "bank.parquet"}; JSON or @file.'),
    ] = {},
    initialisations: Initialisations = {},
    num_classes: Annotated[int | None, Option(min=1, help="Number of classes of the model; 1000 by default.")] = None,
    in_chans: Annotated[int | None, Option(min=1, help="Number of image channels; 3 by default.")] = None,
    data: Annotated[
        Path | None, Option(help="Dataset file that sets the model's numbers of classes and channels.")
    ] = None,
    checkpoint: Checkpoint = None,
    seeds: Annotated[list[int], Option("--seeds", "--seed", min=0, max=LARGEST, help="Seeds, one network each.")] = [0],
    kwargs: ModelKeywords = {},
    threads: Threads = 1,
) -> None:
    """Draw initial weights: one file per initialisation and seed, with a JSON beside it that records what was done.

    timm reads such a file: create_model(..., checkpoint_path=...) and train.py --initial-checkpoint.
    """
    from neural_echos.files import provenance, write_json, write_tensors
    from neural_echos.initialisations import borrowed_files, check_declared
    from neural_echos.initialisations.parametrised import describe
    from neural_echos.kernels import layers_of, layers_to_json

    declared = _asked_for(scheme, options, initialisations)
    for name, one in declared.items():
        check_declared(name, one)
    outputs = _output_paths(output, list(declared), seeds)
    shape = _shape(data, num_classes, in_chans)
    read = {name: path for name, path in {"data": data, "checkpoint": checkpoint}.items() if path}
    for name, seed, network, report, shared in _initialised(model, shape, declared, seeds, kwargs, threads, checkpoint):
        path, one = outputs[name, seed], declared[name]
        write_tensors(path, network.state_dict())
        write_json(
            path.with_suffix(".json"),
            provenance(
                read | borrowed_files(one),
                layers=layers_to_json(layers_of(network)),
                did=[vars(entry) for entry in report],
                model=model,
                kwargs=kwargs,
                initialisation=one,
                seed=seed,
                **describe(one, seed, shared),
            ),
        )
        _LOG.info("%s: %s, %d layers", path, one["scheme"], len(report))


def _asked_for(scheme: str, options: dict[str, Any], initialisations: dict[str, Any]) -> dict[str, Any]:
    """Return the initialisations by name: a single scheme, or those that a JSON object declares."""
    if scheme and initialisations:
        raise EchosError("--scheme and --initialisations cannot be combined; give only one of them")
    if not scheme and not initialisations:
        raise EchosError("no initialisation is given; choose one with --scheme, such as --scheme dog")
    if options and not scheme:
        raise EchosError("--options belongs to --scheme; with --initialisations, give each scheme's options beside it")
    return {scheme: options | {"scheme": scheme}} if scheme else initialisations


def _shape(data: Path | None, num_classes: int | None, in_chans: int | None) -> tuple[int, int]:
    """Return the numbers of classes and channels: from a dataset, as given, or timm's defaults of 1000 and 3."""
    if data is None:
        return num_classes or 1000, in_chans or 3
    if num_classes or in_chans:
        raise EchosError(
            f"{data}: this dataset sets the numbers of classes and channels; omit --num-classes and --in-chans"
        )
    from neural_echos.datasets import load_dataset

    images = load_dataset(data)
    return len(images.classes), images.channels


def signals(
    model: Model,
    *,
    data: Data,
    initialisations: Initialisations,
    seeds: Seeds,
    dataset: DatasetName,
    architecture: ArchitectureName,
    output: Output,
    images: Annotated[int, Option(min=1, help="Number of training images to pass through the network.")] = 64,
    checkpoint: Checkpoint = None,
    kwargs: ModelKeywords = {},
    threads: Threads = 1,
) -> None:
    """Measure how initialisations transform images and gradients, layer by layer, before any training."""
    import pyarrow as pa

    from neural_echos.datasets import load_dataset
    from neural_echos.initialisations import check_declared
    from neural_echos.initialisations.signal_propagation import batch_of, measure_signals, signals_table
    from neural_echos.tables import write_table

    for name, declared in initialisations.items():
        check_declared(name, declared)
    held = load_dataset(data)
    batch, labels = batch_of(held, images)
    parts = []
    shape = len(held.classes), held.channels
    for name, seed, network, report, _ in _initialised(
        model, shape, initialisations, seeds, kwargs, threads, checkpoint
    ):
        measured = measure_signals(network, batch, labels)
        run = {"dataset": dataset, "architecture": architecture, "initialisation": name, "seed": seed}
        parts.append(signals_table(measured, {entry.layer: entry.replaced for entry in report}, run))
    write_table(output, pa.concat_tables(parts), "signals")
    _LOG.info("%s: %d initialisations, %d seeds", output, len(initialisations), len(seeds))


def _initialised(
    model: str,
    shape: tuple[int, int],
    declared: dict[str, Any],
    seeds: list[int],
    kwargs: dict[str, Any],
    threads: int,
    checkpoint: Path | None,
) -> Iterator[tuple[str, int, Any, list[Any], dict[str, Any]]]:
    """Yield (name, seed, network, report of every depthwise layer, what the layers share) for each initialisation and seed."""
    import torch

    from neural_echos import architectures, initialisations

    torch.set_num_threads(threads)
    classes, channels = shape
    for name, one in declared.items():
        for seed in seeds:
            torch.manual_seed(seed)
            network = architectures.create(model, num_classes=classes, in_chans=channels, kwargs=kwargs)
            if checkpoint:
                initialisations.start_from(network, checkpoint)
            shared: dict[str, Any] = {}
            report = initialisations.initialise_(network, one, seed=seed, shared=shared)
            yield name, seed, network, report, shared


def _output_paths(pattern: str, names: list[str], seeds: list[int]) -> dict[tuple[str, int], Path]:
    """Return the output path of each initialisation and seed, checked before any is drawn."""
    runs = [(name, seed) for name in names for seed in seeds]
    try:
        outputs = {(name, seed): Path(pattern.format(initialisation=name, seed=seed)) for name, seed in runs}
    except (LookupError, ValueError, AttributeError):
        outputs = {}
    # A JSON file of the same name is written beside each.
    if any(path.suffix != ".safetensors" for path in outputs.values()):
        raise EchosError(f"--output: {pattern!r} does not end in .safetensors; give it this suffix")
    if len(set(outputs.values())) < len(runs):
        raise EchosError(
            f"--output: {pattern!r} does not give different paths for the {len(runs)} networks; put {{initialisation}} and "
            "{seed} in it"
        )
    return outputs
