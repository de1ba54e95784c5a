"""Commands that train networks."""

import logging
import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from neural_echos.commands.arguments import (
    ArchitectureName,
    Data,
    DatasetName,
    Device,
    Initial,
    RecipeJson,
    Threads,
    pair_runs,
)

_LOG = logging.getLogger("neural_echos")


def train(
    *,
    data: Data,
    initial: Initial,
    run: Annotated[list[Path], Option(help="Folder of each run, in the same order.")],
    dataset: DatasetName,
    architecture: ArchitectureName,
    initialisation: Annotated[
        list[str], Option(help="Initialisation name for the tables, one for all runs or one for each.")
    ],
    recipe: RecipeJson = {},
    device: Device = "auto",
    threads: Threads = 1,
    adopt: Annotated[
        list[Path],
        Option(help="Tables of published runs; runs in them are adopted instead of trained.", envvar="ECHOS_ADOPT"),
    ] = [],
    weights: Annotated[
        list[Path],
        Option(help="Trained weights that are required, <run>/weights.safetensors; these runs are not adopted."),
    ] = [],
    kernels: Annotated[
        list[Path],
        Option(
            help="Trained kernels that are required, <run>/kernels.safetensors; these runs are adopted only with them."
        ),
    ] = [],
    tensorboard: Annotated[Path | None, Option(help="Also write TensorBoard events to this folder.")] = None,
) -> None:
    """Train one or several runs from initial weights; after a kill, SIGTERM or SIGUSR1, the same command resumes them."""
    from neural_echos.datasets import load_dataset
    from neural_echos.errors import EchosError
    from neural_echos.training.recipe import Recipe
    from neural_echos.training.runs import train_run
    from neural_echos.training.watchers import Events, LiveBar, Watcher

    if len(initialisation) not in (1, len(run)):
        raise EchosError(
            f"--initialisation: {len(initialisation)} names for {len(run)} runs; give one for all or one for each"
        )
    names = initialisation * (len(run) if len(initialisation) == 1 else 1)
    images = load_dataset(data)
    declared = Recipe.from_dict(recipe)
    trained, part = ({path.parent for path in wanted} for wanted in (weights, kernels))
    for (start, folder), name in zip(pair_runs(initial, run), names, strict=True):
        watchers: list[Watcher] = [Events(tensorboard / folder.name)] if tensorboard else []
        if sys.stderr.isatty() and not _logs_to_file():
            watchers.append(LiveBar())
        train_run(
            start,
            folder,
            images,
            declared,
            data_file=data,
            labels={"dataset": dataset, "architecture": architecture, "initialisation": name},
            device=device,
            threads=threads,
            watchers=watchers,
            adopted=[] if folder in trained else adopt,
            kernels=folder in part,
        )


def publish(
    run: Annotated[list[Path], Argument(help="Folders of runs; unfinished runs are skipped.")],
    *,
    output: Annotated[Path, Option(help="Table of published runs; its existing rows are kept.")],
    kernels: Annotated[bool, Option(help="Also publish the runs' trained kernels.")] = False,
) -> None:
    """Publish finished runs in one table, without their weights, for others to adopt."""
    from neural_echos import training
    from neural_echos.tables import read_table, write_table

    earlier = read_table(output, "published_runs") if output.exists() else None
    table = training.publish(run, earlier, kernels=kernels)
    write_table(output, table, "published_runs")
    _LOG.info("%s: %d runs", output, table.num_rows)


def _logs_to_file() -> bool:
    """Whether the log goes to a file, so that the terminal stays free of progress."""
    return any(isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers)
