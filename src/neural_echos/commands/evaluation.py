"""Commands that gather and compare runs."""

import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from neural_echos.commands.arguments import Output
from neural_echos.commands.printing import print_table
from neural_echos.words import points

_LOG = logging.getLogger("neural_echos")


def evaluate(
    run: Annotated[list[Path], Argument(help="Folders of finished runs.")],
    *,
    output: Output,
    histories: Annotated[Path, Option(help="Output file for the table of all histories.")],
    comparisons: Annotated[Path, Option(help="Output file for the table of comparisons.")],
    baselines: Annotated[list[str], Option(help="Initialisations to compare with.")] = ["default", "kaiming", "dog"],
    target: Annotated[
        float, Option(help="Share of a baseline's final top-1; the first epoch that reaches it is reported.")
    ] = 0.9,
) -> None:
    """Gather finished runs and compare initialisations, paired by seed."""
    from neural_echos.evaluation import compare, gather_histories, gather_runs
    from neural_echos.tables import write_table

    runs, history = gather_runs(run), gather_histories(run)
    compared = compare(runs.to_pandas(), history.to_pandas(), baselines=baselines, target=target)
    write_table(comparisons, compared, "comparisons")
    write_table(histories, history, "history")
    write_table(output, runs, "runs")
    rank = {name: place for place, name in enumerate(baselines)}
    rows = [
        (
            one["dataset"],
            one["architecture"],
            f"{one['initialisation']} − {one['baseline']}",
            points(one["difference"], one["low"], one["high"], without=""),
            str(one["seeds"]),
        )
        for one in compared.to_pylist()
        if one["measure"] == "top1" and rank[one["baseline"]] < rank.get(one["initialisation"], len(rank))
    ]  # a pair of baselines appears once
    print_table(("dataset", "architecture", "initialisation − baseline", "top-1, points [95 %]", "seeds"), rows)
    _LOG.info("%s: %d runs", output, runs.num_rows)
