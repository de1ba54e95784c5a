"""Commands that train networks."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

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


def train(
    *,
    data: Data,
    initial: Initial,
    run: Annotated[list[Path], Option(help="Folder of each run, in the same order.")],
    dataset: DatasetName,
    architecture: ArchitectureName,
    initialisation: Annotated[
        list[str], Option(help="Name of the initialisation in tables, one for all runs or one for each.")
    ],
    recipe: RecipeJson = {},
    device: Device = "auto",
    threads: Threads = 1,
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
            f"--initialisation: {len(initialisation)} names for {len(run)} runs; give one for all, or one for each"
        )
    names = initialisation * (len(run) if len(initialisation) == 1 else 1)
    images = load_dataset(data)
    declared = Recipe.from_dict(recipe)
    for (weights, folder), name in zip(pair_runs(initial, run), names, strict=True):
        watchers: list[Watcher] = [Events(tensorboard / folder.name)] if tensorboard else []
        if sys.stderr.isatty() and not _logs_to_file():
            watchers.append(LiveBar())
        train_run(
            weights,
            folder,
            images,
            declared,
            data_file=data,
            labels={"dataset": dataset, "architecture": architecture, "initialisation": name},
            device=device,
            threads=threads,
            watchers=watchers,
        )


def _logs_to_file() -> bool:
    """Whether the log goes to a file, so that the terminal stays free of progress."""
    import logging

    return any(isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers)
