"""Commands that decide claims."""

import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from neural_echos.commands.arguments import Objects, Output
from neural_echos.commands.parsing import json_list_of
from neural_echos.commands.printing import print_table
from neural_echos.words import points

_LOG = logging.getLogger("neural_echos")


def verdicts(
    claims: Annotated[
        Objects,
        Argument(
            parser=json_list_of("id", "paper", "statement", "rule", "needs", "options", "artifact"),
            help="The claims of the config; JSON or @file.",
        ),
    ],
    *,
    output: Output,
    scale: Annotated[str, Option(help="A phrase that states the scale of the numbers.")],
    runs: Annotated[list[Path], Option(help="Tables of runs.")] = [],
    structure: Annotated[list[Path], Option(help="Tables of structure.")] = [],
    shares: Annotated[list[Path], Option(help="Tables of pattern shares.")] = [],
    replacements: Annotated[list[Path], Option(help="Tables of replacements.")] = [],
    models: Annotated[
        Objects,
        Option(
            parser=json_list_of("model", "family", "top1"),
            help="List of {model, family, top1}, with published accuracies; JSON or @file.",
        ),
    ] = "[]",  # type: ignore[assignment]
) -> None:
    """Decide every claim with the rule that the config declares for it."""
    import pandas as pd
    import pyarrow as pa

    from neural_echos.tables import SCHEMAS, read_table, write_table
    from neural_echos.verdicts import decide

    paths = {"runs": runs, "structure": structure, "pattern_shares": shares, "replacements": replacements}
    tables = {
        name: pa.concat_tables([SCHEMAS[name].empty_table(), *(read_table(one, name) for one in given)]).to_pandas()
        for name, given in paths.items()
    }
    tables["models"] = pd.DataFrame(models, columns=["model", "family", "top1"])
    made = decide(claims, tables, scale)
    write_table(output, made, "verdicts")
    rows = [
        (one["claim"], one["statement"], points(one["value"], one["low"], one["high"], without=""), one["verdict"])
        for one in made.to_pylist()
    ]
    print_table(("claim", "statement", "ours, % or points [95 %]", "verdict"), rows, whole=("claim",))
    _LOG.info("%s: %d verdicts", output, made.num_rows)
