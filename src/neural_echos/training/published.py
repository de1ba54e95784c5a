"""Published runs: finished runs in one table, their weights not, which other machines adopt in place of training them again.

A run is adopted where its key is the same: the hash of its data set, network, initial weights, recipe and seed, and of `TRAINING`.
It is then the same experiment. It need not be the same bytes: floats differ between processors and versions of torch, and the
provenance of a published run says which ones made it.
"""

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, read_json, write_json
from neural_echos.tables import SCHEMAS, read_table, write_table
from neural_echos.training.checkpoints import CHECKPOINT

_LOG = logging.getLogger("neural_echos")

TRAINING = 1
"""Raised whenever the same data, initial weights, recipe and seed train to other numbers, beyond rounding.

What was published under another number is no longer adopted. A test compares a small training with stored numbers, so that such a
change does not pass unnoticed; new recipe keys whose default changes nothing need no new number.
"""

KERNELS = "kernels.safetensors"
RUN = ("dataset", "architecture", "initialisation", "seed")
CURVES = ("learning_rate", "train_loss", "loss", "top1", "top5")
_SCORES = ("loss", "top1", "top5")
_METRICS = (*_SCORES, "diverged", "epochs", "parameters", "train_images", "test_images", "kernel_size")


def find_published(tables: Iterable[Path], key: str, kernels: bool = False) -> tuple[Path, dict[str, Any]] | None:
    """Return the first table that holds a run of this key, with its trained kernels if asked for, and its row there.

    Raises
    ------
    EchosError
        A table is missing or not one of published runs.
    """
    for path in tables:
        table = read_table(path, "published_runs")
        for row in table.filter(pc.equal(table["key"], key)).to_pylist():
            if row["kernels"] is not None or not kernels:
                return path, row
    return None


def adopt(folder: Path, table: Path, row: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """Write a published run as a finished one, marked as adopted, with its kernels where they are published.

    Weights and a checkpoint that lie there are removed.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    table : Path
        Where the run is published.
    row : mapping
        Its row in that table.
    labels : mapping of str to str
        Names of data set, architecture and initialisation here; they may be others there.
    """
    names = {**labels, "seed": row["seed"]}
    curves = zip(*(row[f"history_{name}"] for name in CURVES), strict=True)
    history = [
        names | {"epoch": epoch} | dict(zip(CURVES, values, strict=True))
        for epoch, values in enumerate(curves, start=1)
    ]
    for stale in ("metrics.json", "weights.safetensors", KERNELS, CHECKPOINT):
        (folder / stale).unlink(missing_ok=True)
    if row["kernels"] is not None:
        with atomic_path(folder / KERNELS) as temporary:
            temporary.write_bytes(row["kernels"])
    write_table(folder / "history.parquet", pa.Table.from_pylist(history, schema=SCHEMAS["history"]), "history")
    write_json(folder / "run.json", json.loads(row["provenance"]) | dict(labels) | {"adopted": str(table)})
    metrics = {name: row[name] for name in _METRICS} | {"adopted": True}
    write_json(folder / "metrics.json", metrics | dict.fromkeys(_SCORES if row["diverged"] else ()))


def publish(folders: Sequence[Path], earlier: pa.Table | None = None, *, kernels: bool = False) -> pa.Table:
    """Gather finished runs into a table of schema "published_runs"; a run of the same key replaces an earlier one.

    Parameters
    ----------
    folders : sequence of Path
        Folders of runs; those that are not finished are named in the log and left out.
    earlier : Table, optional
        Rows that stay.
    kernels : bool
        Whether the trained kernels are published, too.

    Raises
    ------
    EchosError
        A finished run says nothing of its key, is broken, or lacks the kernels that are asked for; or there are neither finished
        runs nor earlier rows.
    """
    finished = [folder for folder in folders if (folder / "metrics.json").is_file()]
    for folder in sorted(set(folders) - set(finished)):
        _LOG.info("%s: not finished, left out", folder)
    rows = {row["key"]: row for row in (earlier.to_pylist() if earlier is not None else [])}
    rows |= {row["key"]: row for row in (_row(folder, kernels) for folder in finished)}
    if not rows:
        raise EchosError("there is no finished run in these folders; name folders of runs that hold metrics.json")
    ordered = sorted(rows.values(), key=lambda row: (*(row[name] for name in RUN), row["key"]))
    return pa.Table.from_pylist(ordered, schema=SCHEMAS["published_runs"])


def _row(folder: Path, kernels: bool) -> dict[str, Any]:
    """Return the row of a finished run."""
    if kernels and not (folder / KERNELS).is_file():
        raise EchosError(
            f"{folder}: this run has no {KERNELS}, for it was adopted without them; train it, or leave it out"
        )
    made, metrics = read_json(folder / "run.json"), read_json(folder / "metrics.json")
    history = read_table(folder / "history.parquet", "history")
    lacks = [name for name in ("key", "seed") if name not in made] + [name for name in _METRICS if name not in metrics]
    if lacks or not history.num_rows:
        raise EchosError(
            f"{folder}: this run cannot be published, for it lacks {', '.join(lacks) or 'its history'}; train it again"
        )
    made.pop("adopted", None)
    scores = {name: math.nan if metrics[name] is None else metrics[name] for name in _METRICS}
    return (
        {"key": made["key"]}
        | {name: history[name][0].as_py() for name in RUN}
        | scores
        | {f"history_{name}": history[name].to_pylist() for name in CURVES}
        | {"kernels": (folder / KERNELS).read_bytes() if kernels else None}
        | {"provenance": json.dumps(made, sort_keys=True)}
    )
