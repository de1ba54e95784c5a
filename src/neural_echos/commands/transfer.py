"""Commands that replace trained kernels with other filters."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from neural_echos.commands.arguments import (
    ArchitectureName,
    Data,
    DatasetName,
    Device,
    Initial,
    Output,
    RecipeJson,
    Threads,
    TrainedRuns,
    pair_runs,
)
from neural_echos.commands.parsing import json_object

_LOG = logging.getLogger("neural_echos")

Candidates = Annotated[
    dict[str, Any],
    Option(
        parser=json_object,
        help="{set: kept, eight, ideal, decoded, centroids, dog or random; method, number, filters, bank, resample}; JSON or @file",
    ),
]
Name = Annotated[str, Option(help="Name of the set of filters for the tables.")]
Initialisation = Annotated[str, Option(help="Initialisation name for the tables.")]


def replace(
    *,
    data: Data,
    initial: Initial,
    run: TrainedRuns,
    candidates: Candidates,
    dataset: DatasetName,
    architecture: ArchitectureName,
    initialisation: Initialisation,
    name: Name,
    errors: Annotated[Path, Option(help="Output file for the table of replacement errors per layer.")],
    output: Output,
    recipe: RecipeJson = {},
    batch_norm_images: Annotated[int, Option(help="Number of training images for the batch norm statistics.")] = 1024,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Replace each depthwise kernel of trained runs with the best of a set of filters, and score every stage."""
    import pyarrow as pa
    import torch

    from neural_echos.datasets import load_dataset
    from neural_echos.files import sha256
    from neural_echos.tables import SCHEMAS, write_table
    from neural_echos.training.recipe import Recipe
    from neural_echos.training.runs import load_trained, read_initial, run_key, trained_weights
    from neural_echos.transfer import replacement

    torch.set_num_threads(threads)
    runs = pair_runs(initial, run)
    images, declared = load_dataset(data), Recipe.from_dict(recipe)
    stages, left = [], []
    for weights, folder in runs:
        made = read_initial(weights)
        identity = {"recipe": asdict(declared), "run": sha256(trained_weights(folder)), "data": sha256(data)}
        filters, resample = _filters_of(candidates, made["seed"])
        identity |= {"filters": "kept" if filters is None else filters.tolist()}
        scores, remains = replacement.replacement_stages(
            load_trained(made, folder, images, declared),
            filters,
            images,
            declared,
            seed=made["seed"],
            folder=output.parent / f".{name}" / f"seed{made['seed']}",
            key=run_key(identity),
            resample=resample,
            batch_norm_images=batch_norm_images,
            device=device,
            threads=threads,
        )
        row = _labels(dataset, architecture, initialisation, made["seed"], name)
        row["filters"] = None if filters is None else len(filters)
        stages += [row | {"test_images": len(images.test_labels)} | score for score in scores]
        left += [row | asdict(one) for one in remains]
        _LOG.info("%s: %s", folder, ", ".join(f"{score['stage']} {100 * score['top1']:.1f} %" for score in scores))
    write_table(errors, pa.Table.from_pylist(left, schema=SCHEMAS["replacement_errors"]), "replacement_errors")
    write_table(output, pa.Table.from_pylist(stages, schema=SCHEMAS["replacements"]), "replacements")


def eliminate(
    *,
    data: Data,
    initial: Initial,
    run: TrainedRuns,
    candidates: Candidates,
    dataset: DatasetName,
    architecture: ArchitectureName,
    initialisation: Initialisation,
    name: Name,
    output: Output,
    recipe: RecipeJson = {},
    images: Annotated[int, Option(min=1, help="Number of training images that decide which filters survive.")] = 256,
    elbow: Annotated[float, Option(help="Largest drop of top-1 on these images, as a share, up to the elbow.")] = 0.01,
    neighbours: Annotated[int, Option(help="Number of filters that a survivor may be exchanged for.")] = 2,
    checks: Annotated[list[int], Option(help="Numbers of filters at which all test images are also scored.")] = [],
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Eliminate filters from a set one by one, the least important first, exchanging survivors for their neighbours."""
    import pyarrow as pa
    import torch

    from neural_echos.datasets import load_dataset
    from neural_echos.errors import EchosError
    from neural_echos.initialisations.signal_propagation import batch_of
    from neural_echos.tables import SCHEMAS, write_table
    from neural_echos.training import pick_device, score_run
    from neural_echos.training.recipe import Recipe
    from neural_echos.training.runs import load_trained, read_initial
    from neural_echos.transfer import elimination

    runs = pair_runs(initial, run)
    held, declared = load_dataset(data), Recipe.from_dict(recipe)
    picked = pick_device(device)
    torch.set_num_threads(threads)
    subset, labels = (part.to(picked) for part in batch_of(held, images, declared.image_size))
    rows = []
    for weights, folder in runs:
        made = read_initial(weights)
        filters, resample = _filters_of(candidates, made["seed"])
        if filters is None:
            raise EchosError(
                f"eliminate {name}: there is nothing to eliminate from 'kept' kernels; choose a set of filters"
            )
        found = elimination.eliminate(
            load_trained(made, folder, held, declared).to(picked),
            filters,
            subset,
            labels,
            elbow=elbow,
            neighbours=neighbours,
            checks=checks,
            test=lambda model: score_run(model, held, declared, device=picked, threads=threads)[:2],
            resample=resample,
        )
        row = _labels(dataset, architecture, initialisation, made["seed"], name)
        row |= {"images": len(labels), "test_images": len(held.test_labels)}
        rows += [row | one for one in found]
        _LOG.info("%s: %d of %d filters at the elbow", folder, *_elbow_of(found))
    write_table(output, pa.Table.from_pylist(rows, schema=SCHEMAS["eliminations"]), "eliminations")


def zero(
    *,
    data: Data,
    initial: Initial,
    run: TrainedRuns,
    output: Output,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Evaluate finished runs with the kernels of each depthwise layer set to 0 in turn."""
    import pyarrow as pa

    from neural_echos.datasets import load_dataset
    from neural_echos.files import read_json
    from neural_echos.tables import SCHEMAS, read_table, write_table
    from neural_echos.training.recipe import Recipe
    from neural_echos.training.runs import load_trained, read_initial
    from neural_echos.transfer.zeroing import zero_layers

    images = load_dataset(data)
    parts = [SCHEMAS["ablated"].empty_table()]
    for weights, folder in pair_runs(initial, run):
        if read_json(folder / "metrics.json").get("diverged"):
            _LOG.warning("%s: the run diverged and is excluded", folder)
            continue
        recipe = Recipe.from_dict(read_json(folder / "run.json")["recipe"])
        model = load_trained(read_initial(weights), folder, images, recipe)
        keys = ["dataset", "architecture", "initialisation", "seed"]
        labels = read_table(folder / "history.parquet", "history", keys).slice(0, 1).to_pylist()[0]
        parts.append(zero_layers(model, images, recipe, labels, device=device, threads=threads))
    table = pa.concat_tables(parts)
    write_table(output, table, "ablated")
    _LOG.info("%s: %d layers of %d runs", output, table.num_rows, len(run))


def _filters_of(declared: dict[str, Any], seed: int) -> tuple[Any, bool]:
    """Return the filters of a declared set, or None if kernels are kept, and whether they may be resampled."""
    from neural_echos.initialisations.filter_sets import make_filter_set

    settings = {key: value for key, value in declared.items() if key != "resample"}
    kept = settings == {"set": "kept"}
    return None if kept else make_filter_set(settings, seed=seed), bool(declared.get("resample", False))


def _labels(dataset: str, architecture: str, initialisation: str, seed: int, candidates: str) -> dict[str, Any]:
    """Return the columns that identify the run and the set of filters of a row."""
    run = {"dataset": dataset, "architecture": architecture, "initialisation": initialisation, "seed": seed}
    return {**run, "candidates": candidates}


def _elbow_of(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the numbers of filters at the elbow and in the whole set."""
    return next(row["filters"] for row in rows if row["elbow"]), rows[1]["filters"]
