"""Commands that fit receptive-field models to kernels."""

import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from neural_echos.commands.arguments import Bank, Objects, Output, Seed, Threads
from neural_echos.commands.parsing import json_list_of

_LOG = logging.getLogger("neural_echos")
_ROWS = 1 << 17  # kernels between two progress reports


def fit(
    bank: Bank,
    *,
    output: Output,
    seed: Seed = 0,
    threshold: Annotated[float, Option(help="Minimum cosine for a kernel to count as a centre.")] = 0.7,
) -> None:
    """Fit the Difference-of-Gaussians family to every kernel of a bank."""
    from neural_echos.receptive_fields import fit_batches
    from neural_echos.tables import read_batches, write_batches

    report: dict[str, dict[str, int]] = {}
    batches = read_batches(bank, "bank", progress=True)
    write_batches(output, fit_batches(batches, report, seed=seed, threshold=threshold), "fits")
    _LOG.info("%s: %s", output, report)


def match(
    bank: Bank,
    *,
    output: Output,
    seed: Seed = 0,
    null_every: Annotated[int, Option(min=1, help="Fit shuffled taps only for every n-th row.")] = 1,
    restarts: Annotated[
        int, Option("--restarts", "--rivals", min=0, help="Maximum number of restarts per fit; 0 is fastest.")
    ] = 6,
    fits: Annotated[
        Path | None, Option(help="Table written by `echos fit` for this bank and seed; its DoGs are reused.")
    ] = None,
    threads: Threads = 1,
) -> None:
    """Fit the DoG, the Gaussian and its derivatives to every kernel of a bank, and to shuffled taps."""
    from neural_echos.receptive_fields import KNOWN_DOG, match_batches
    from neural_echos.tables import read_batches, read_table, write_batches

    report: dict[str, dict[str, int]] = {}
    dogs = read_table(fits, "fits", KNOWN_DOG) if fits else None
    batches = read_batches(bank, "bank", rows=_ROWS, progress=True)
    matches = match_batches(
        batches, report, seed=seed, null_every=null_every, restarts=restarts, processes=threads, dogs=dogs
    )
    write_batches(output, matches, "matches")
    _LOG.info("%s: %s", output, report)


def explained(
    models: Annotated[
        Objects,
        Argument(
            parser=json_list_of("model", "role", "trained_on", "matches"),
            help="List of {model, role, trained_on, matches}; JSON or @file.",
        ),
    ],
    *,
    output: Output,
) -> None:
    """Measure how much of the kernels' variance receptive-field models explain in banks."""
    from neural_echos.structure.measures import explained as measure_explained
    from neural_echos.tables import write_table

    made = measure_explained(models)
    write_table(output, made, "explained")
    _LOG.info("%s: %d banks by size", output, made.num_rows)


def scales(
    filters: Annotated[Path, Argument(help="The authors' text file with the eight master key filters.")],
    *,
    output: Output,
    spread: Annotated[Path, Option(help="Output file for the table of the filters' spread.")],
) -> None:
    """Measure the spread of the eight master key filters, and fit the scales of their ideal models."""
    from neural_echos.receptive_fields import fit_scales, measure_filters, read_filters
    from neural_echos.tables import write_table

    read = read_filters(filters)
    write_table(spread, measure_filters(read), "spread")
    fitted = fit_scales(read)
    write_table(output, fitted, "scales")
    _LOG.info("%s: %d fits", output, fitted.num_rows)
