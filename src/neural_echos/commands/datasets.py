"""Commands that make datasets."""

import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from neural_echos.commands.arguments import Options, Output, Seed

_LOG = logging.getLogger("neural_echos")


def dataset(
    kind: Annotated[str, Argument(help="Kind of dataset, such as digits or folder (docs/datasets.md).")],
    *,
    output: Output,
    options: Options = {},
    train: Annotated[list[Path], Option(help="Parquet files of the training split, or a single archive.")] = [],
    test: Annotated[list[Path], Option(help="Parquet files of the test split.")] = [],
    seed: Seed = 0,
) -> None:
    """Make a dataset file of one of the supported kinds."""
    from neural_echos.datasets import make_dataset, save_dataset

    files = {"train": train, "test": test} if train or test else None
    made, facts = make_dataset(kind, options, seed, files)
    save_dataset(output, made, facts)
    counts = len(made.train_labels), len(made.test_labels), len(made.classes)
    _LOG.info("%s: %d training and %d test images, %d classes", output, *counts)
