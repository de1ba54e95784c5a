"""Commands that draw initial weights, and measure what they do before any training."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from neural_echos.commands.arguments import (
    ArchitectureName,
    Data,
    DatasetName,
    Initialisations,
    Model,
    ModelKeywords,
    Output,
    Seeds,
    Threads,
)
from neural_echos.errors import EchosError

_LOG = logging.getLogger("neural_echos")


def initialise(
    model: Model,
    *,
    data: Data,
    initialisations: Initialisations,
    seeds: Seeds,
    output: Annotated[
        str, Option(help="Path of the weights, with {initialisation} and {seed}, ending in .safetensors.")
    ],
    kwargs: ModelKeywords = {},
    threads: Threads = 1,
) -> None:
    """Draw initial weights, a file for each initialisation and seed, with a JSON beside each about what was done."""
    from neural_echos.datasets import load_dataset
    from neural_echos.files import provenance, write_json, write_tensors
    from neural_echos.initialisations import borrowed_files, check_declared, universal_filters
    from neural_echos.kernels import layers_of, layers_to_json

    for name, declared in initialisations.items():
        check_declared(name, declared)
    outputs = _output_paths(output, list(initialisations), seeds)
    images = load_dataset(data)
    for name, seed, network, report, shared in _initialised(model, images, initialisations, seeds, kwargs, threads):
        path = outputs[name, seed]
        write_tensors(path, network.state_dict())
        declared = initialisations[name]
        write_json(
            path.with_suffix(".json"),
            provenance(
                {"data": data} | borrowed_files(declared),
                layers=layers_to_json(layers_of(network)),
                did=[vars(entry) for entry in report],
                model=model,
                kwargs=kwargs,
                initialisation=declared,
                universal=universal_filters.describe_universal(declared, seed, shared),
                seed=seed,
            ),
        )
        _LOG.info("%s: %s, %d layers", path, declared["scheme"], len(report))


def signals(
    model: Model,
    *,
    data: Data,
    initialisations: Initialisations,
    seeds: Seeds,
    dataset: DatasetName,
    architecture: ArchitectureName,
    output: Output,
    images: Annotated[int, Option(min=1, help="Train images that pass through the network.")] = 64,
    kwargs: ModelKeywords = {},
    threads: Threads = 1,
) -> None:
    """Measure what initialisations do to images and gradients, layer by layer, before any training."""
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
    for name, seed, network, report, _ in _initialised(model, held, initialisations, seeds, kwargs, threads):
        measured = measure_signals(network, batch, labels)
        run = {"dataset": dataset, "architecture": architecture, "initialisation": name, "seed": seed}
        parts.append(signals_table(measured, {entry.layer: entry.replaced for entry in report}, run))
    write_table(output, pa.concat_tables(parts), "signals")
    _LOG.info("%s: %d initialisations, %d seeds", output, len(initialisations), len(seeds))


def _initialised(
    model: str, data: Any, declared: dict[str, Any], seeds: list[int], kwargs: dict[str, Any], threads: int
) -> Iterator[tuple[str, int, Any, list[Any], dict[str, Any]]]:
    """Yield (name, seed, network, report of every depthwise layer, what the layers share) for each initialisation and seed."""
    import torch

    from neural_echos import architectures, initialisations

    torch.set_num_threads(threads)
    for name, one in declared.items():
        for seed in seeds:
            torch.manual_seed(seed)
            network = architectures.create(model, num_classes=len(data.classes), in_chans=data.channels, kwargs=kwargs)
            shared: dict[str, Any] = {}
            report = initialisations.initialise_(network, one, seed=seed, shared=shared)
            yield name, seed, network, report, shared


def _output_paths(pattern: str, names: list[str], seeds: list[int]) -> dict[tuple[str, int], Path]:
    """Return where each initialisation and seed goes, checked before any is drawn."""
    runs = [(name, seed) for name in names for seed in seeds]
    try:
        outputs = {(name, seed): Path(pattern.format(initialisation=name, seed=seed)) for name, seed in runs}
    except (LookupError, ValueError, AttributeError):
        outputs = {}
    # A JSON of the same name is written beside each.
    if any(path.suffix != ".safetensors" for path in outputs.values()):
        raise EchosError(f"--output: {pattern!r} does not end in .safetensors; rename it")
    if len(set(outputs.values())) < len(runs):
        raise EchosError(
            f"--output: {pattern!r} does not give a different path for each of {len(runs)} networks; "
            "put {initialisation} and {seed} in it"
        )
    return outputs
