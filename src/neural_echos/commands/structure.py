"""Commands that find clusters and patterns among kernels and measure how structured banks are."""

import logging
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from neural_echos.commands.arguments import Bank, Objects, Output, Seed, Threads
from neural_echos.commands.parsing import json_list_of

_LOG = logging.getLogger("neural_echos")


def cluster(
    bank: Bank,
    *,
    output: Output,
    centroids: Annotated[Path, Option(help="Output file for the table of centroids.")],
    choices: Annotated[
        Path | None, Option(help="Also write a table of the quality of every number of clusters.")
    ] = None,
    k: Annotated[
        int, Option(help="Number of clusters, as in the papers; one chosen by silhouette is reported beside it.")
    ] = 3,
    restarts: Annotated[int, Option(help="Restarts of k-means.")] = 10,
    seed: Seed = 0,
    threshold: Annotated[float, Option(help="Minimum cosine between a centre's average and its best DoG.")] = 0.7,
) -> None:
    """Cluster the kernels of a bank with k-means, and name the clusters."""
    from neural_echos.structure.kmeans import cluster_bank
    from neural_echos.tables import read_table, write_table

    assigned, made, tried, report = cluster_bank(
        read_table(bank, "bank"), k=k, restarts=restarts, seed=seed, threshold=threshold
    )
    write_table(centroids, made, "centroids")
    if choices:
        write_table(choices, tried, "choices")
    write_table(output, assigned, "clusters")
    _LOG.info("%s: %s", output, report)


def patterns(
    bank: Annotated[list[Path], Argument(help="Banks; several are pooled, one autoencoder per kernel size.")],
    *,
    output: Output,
    centroids: Annotated[Path, Option(help="Output file for the table of centroids.")],
    clusters: Annotated[int, Option(help="Number of clusters of codes; the paper reports about ten patterns.")] = 10,
    threshold: Annotated[float, Option(help="Minimum cosine with the template that names a pattern.")] = 0.8,
    seed: Seed = 0,
    trainings: Annotated[int, Option(help="Number of trainings, each with its own seed.")] = 5,
    hidden: Annotated[list[int], Option(help="Widths of the layers between kernel and code.")] = [64, 32],
    squash: Annotated[bool, Option(help="Squash the code to the unit interval with a sigmoid.")] = True,
    steps: Annotated[int, Option(help="Optimiser steps.")] = 500,
    batch: Annotated[int, Option(help="Kernels per step.")] = 256,
    learning_rate: Annotated[float, Option(help="Learning rate.")] = 0.01,
    threads: Threads = 1,
) -> None:
    """Embed the kernels of one or several banks in one dimension, and name the patterns found there."""
    import pyarrow as pa
    import torch

    from neural_echos.structure.autoencoder import Settings
    from neural_echos.structure.patterns import pattern_batches
    from neural_echos.tables import SCHEMAS, read_batches, write_batches, write_table

    torch.set_num_threads(threads)
    found = [SCHEMAS["pattern_centroids"].empty_table()]
    report: dict[str, dict[str, Any]] = {}
    settings = Settings(hidden=tuple(hidden), squash=squash, steps=steps, batch=batch, learning_rate=learning_rate)
    batches = pattern_batches(
        lambda: (batch for path in bank for batch in read_batches(path, "bank")),
        found,
        report,
        clusters=clusters,
        threshold=threshold,
        seed=seed,
        trainings=trainings,
        settings=settings,
    )
    write_batches(output, batches, "patterns")
    write_table(centroids, pa.concat_tables(found).combine_chunks(), "pattern_centroids")
    _LOG.info("%s: %s", output, report)


def shares(
    models: Annotated[
        Objects,
        Argument(
            parser=json_list_of("model", "role", "trained_on", "patterns"),
            help="List of {model, role, trained_on, patterns}; JSON or @file.",
        ),
    ],
    *,
    output: Output,
    threshold: Annotated[float, Option(help="The declared threshold at which layers are counted.")] = 0.8,
) -> None:
    """Count the kernels of banks with a named pattern at every threshold, also with shuffled taps."""
    from neural_echos.structure.measures import pattern_shares
    from neural_echos.tables import write_table

    made = pattern_shares(models, threshold=threshold)
    write_table(output, made, "pattern_shares")
    _LOG.info("%s: %d shares", output, made.num_rows)


def structure(
    models: Annotated[
        Objects,
        Argument(
            parser=json_list_of("model", "role", "trained_on", "bank", "clusters"),
            help="List of {model, role, trained_on, bank, clusters}; JSON or @file.",
        ),
    ],
    *,
    output: Output,
) -> None:
    """Measure how structured banks are, compared with shuffled taps."""
    from neural_echos.structure.measures import structure as measure_structure
    from neural_echos.tables import write_table

    made = measure_structure(models)
    write_table(output, made, "structure")
    _LOG.info("%s: %d banks by size", output, made.num_rows)
