"""Gather finished runs into tables."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from neural_echos.errors import EchosError
from neural_echos.files import read_json
from neural_echos.tables import SCHEMAS, read_table

RUN = ["dataset", "architecture", "initialisation", "seed"]


_SCORES = ["loss", "top1", "top5"]


def gather_runs(folders: Iterable[str | Path]) -> pa.Table:
    """Gather the final metrics of finished runs into a table of schema "runs", sorted.

    A run whose metrics say `diverged` has NaN for its scores and for the area under its learning curve.

    Raises
    ------
    EchosError
        A run is unfinished or broken, or is listed twice.
    """
    rows = []
    for folder in map(Path, folders):
        metrics = read_json(folder / "metrics.json")
        history = read_table(folder / "history.parquet", "history", [*RUN, "top1"])
        wanted = [key for key in SCHEMAS["runs"].names if key not in (*RUN, "area", "diverged", "adopted")]
        if not history.num_rows or not isinstance(metrics, dict) or not set(wanted) <= set(metrics):
            raise EchosError(
                f"{folder}: the run is not finished: its history or one of the metrics {', '.join(wanted)} is missing; "
                "train it again"
            )
        row = history.select(RUN).slice(0, 1).to_pylist()[0] | {key: metrics[key] for key in wanted}
        row |= {name: bool(metrics.get(name, False)) for name in ("diverged", "adopted")}
        row |= {"area": float(np.mean(history["top1"].to_numpy()))}
        row |= dict.fromkeys([*_SCORES, "area"] * row["diverged"], np.nan)
        try:
            pa.Table.from_pandas(pd.DataFrame([row]), schema=SCHEMAS["runs"])  # refuses 0.5 as an integer
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            found = str(error).splitlines()[0]
            raise EchosError(
                f"{folder / 'metrics.json'}: its values do not fit the table runs ({found}); train that run again"
            ) from None
        rows.append(row)
    frame = pd.DataFrame(rows, columns=SCHEMAS["runs"].names).sort_values(RUN, ignore_index=True)
    twice = frame[frame.duplicated(RUN)]
    if len(twice):
        run = "/".join(map(str, twice.iloc[0][RUN]))
        raise EchosError(f"runs: {run} is listed twice; name each folder once")
    return pa.Table.from_pandas(frame, schema=SCHEMAS["runs"], preserve_index=False)


def gather_histories(folders: Iterable[str | Path]) -> pa.Table:
    """Gather the per-epoch histories of runs into one table of schema "history", sorted by run and epoch."""
    table = pa.concat_tables([read_table(Path(folder) / "history.parquet", "history") for folder in folders])
    return table.sort_by([(name, "ascending") for name in [*RUN, "epoch"]])
