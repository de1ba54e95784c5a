"""Commands that gather artifacts for readers: the report, the manuscript and the crate."""

import logging
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from neural_echos.commands.arguments import Artifacts, Objects, Output, Root
from neural_echos.commands.parsing import json_list_of, json_object

_LOG = logging.getLogger("neural_echos")


def paper(
    artifacts: Artifacts,
    *,
    output: Annotated[Path, Option(help="Folder for the manuscript.")],
    title: Annotated[str, Option(help="Title of the manuscript.")],
) -> None:
    """Copy artifacts for a manuscript, figures as PDF and tables as LaTeX, and write a LaTeX file that includes them."""
    from neural_echos.report import write_paper

    write_paper(output, artifacts, title)
    _LOG.info("%s: %d artifacts", output, len(artifacts))


def report(
    artifacts: Artifacts,
    *,
    output: Output,
    verdicts: Annotated[Path, Option(help="Table of verdicts.")],
    config: Annotated[
        dict[str, Any],
        Option(parser=json_object, help="The whole config of the preset; JSON or @file."),
    ],
    benchmarks: Annotated[Path, Option(help="Folder of Snakemake's benchmarks.")],
    structure: Annotated[list[Path], Option(help="Tables of structure, for the report's first sentence.")] = [],
    atlas: Annotated[list[Path], Option(help="Index of networks to link to, if any.")] = [],
    root: Root = Path(),
) -> None:
    """Write the report, the page to open first: verdicts, artifacts with their provenance, and the cost of the work."""
    from neural_echos.report import write_report
    from neural_echos.storage import fetch

    fetch(benchmarks)
    fetch(output.parent / "inputs", suffix=".json")
    write_report(
        output,
        artifacts,
        verdicts=verdicts,
        config=config,
        benchmarks=benchmarks,
        structure=structure,
        atlas=atlas,
        root=root,
    )
    _LOG.info("%s: %d artifacts", output, len(artifacts))


def atlas(
    models: Annotated[
        Objects,
        Argument(
            parser=json_list_of("model", "role", "trained_on", "family", "bank", "clusters", "page"),
            help="List of {model, role, trained_on, family, bank, clusters, page}; JSON or @file.",
        ),
    ],
    *,
    output: Output,
    structure: Annotated[Path, Option(help="Table of structure.")],
    shares: Annotated[list[Path], Option(help="Table of pattern shares, if any.")] = [],
    scale: Annotated[str, Option(help="A phrase that describes these networks.")] = "",
) -> None:
    """Write the index of a preset's networks: a searchable, sortable table with a link to each network's page."""
    from neural_echos.report.atlas import write_atlas

    _LOG.info("%s: %d rows", output, write_atlas(output, models, structure=structure, shares=shares, scale=scale))


def crate(
    results: Annotated[Path, Argument(help="Results of a preset, such as results/zoo.")],
    *,
    output: Annotated[Path, Option(help="The crate, a .zip file.")],
    root: Root = Path(),
) -> None:
    """Pack a results folder as a zipped RO-Crate, with the workflow and the provenance of every artifact."""
    from neural_echos.report import write_crate

    _LOG.info("%s: %d results", output, write_crate(results, output, root))
