"""Published runs: finished runs in one table, without their weights, for other machines to adopt instead of training.

A run is adopted if its key is the same: the hash of its dataset, network, initial weights, recipe, seed and `TRAINING`. It is then
the same experiment, but not necessarily the same bytes: floats differ between processors and versions of torch, which the
provenance of a published run records.
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
"""Increased whenever the same data, initial weights, recipe and seed give different numbers, beyond rounding.

Runs published under another number are no longer adopted. A test compares a small training with stored numbers, so that such a
change does not go unnoticed. New recipe keys whose default changes nothing need no new number.
"""

KERNELS = "kernels.safetensors"
RUN = ("dataset", "architecture", "initialisation", "seed")
CURVES = ("learning_rate", "train_loss", "loss", "top1", "top5")
_SCORES = ("loss", "top1", "top5")
_METRICS = (*_SCORES, "diverged", "epochs", "parameters", "train_images", "test_images", "kernel_size")


def find_published(tables: Iterable[Path], key: str, kernels: bool = False) -> tuple[Path, dict[str, Any]] | None:
    """Return the first table with a run of this key (and its trained kernels, if requested), and the run's row.

    Raises
    ------
    EchosError
        A table is missing or is not a table of published runs.
    """
    for path in tables:
        table = read_table(path, "published_runs")
        for row in table.filter(pc.equal(table["key"], key)).to_pylist():
            if row["kernels"] is not None or not kernels:
                return path, row
    return None


def adopt(folder: Path, table: Path, row: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """Write a published run as a finished run, marked as adopted, with its kernels if they are published.

    Existing weights and checkpoints are removed.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    table : Path
        Table in which the run is published.
    row : mapping
        Its row in that table.
    labels : mapping of str to str
        Names of dataset, architecture and initialisation to write; they may differ from the published ones.
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
    """Gather finished runs into a table with the schema "published_runs"; a run replaces an earlier one with the same key.

    Parameters
    ----------
    folders : sequence of Path
        Folders of runs; unfinished runs are logged and skipped.
    earlier : Table, optional
        Rows to keep.
    kernels : bool
        Whether the trained kernels are also published.

    Raises
    ------
    EchosError
        A finished run has no key, is broken, or lacks the requested kernels; or there are neither finished runs nor earlier rows.
    """
    finished = [folder for folder in folders if (folder / "metrics.json").is_file()]
    for folder in sorted(set(folders) - set(finished)):
        _LOG.info("%s: not finished, skipped", folder)
    rows = {row["key"]: row for row in (earlier.to_pylist() if earlier is not None else [])}
    rows |= {row["key"]: row for row in (_row(folder, kernels) for folder in finished)}
    if not rows:
        raise EchosError("there is no finished run in these folders; give folders of runs that contain metrics.json")
    ordered = sorted(rows.values(), key=lambda row: (*(row[name] for name in RUN), row["key"]))
    return pa.Table.from_pylist(ordered, schema=SCHEMAS["published_runs"])


def _row(folder: Path, kernels: bool) -> dict[str, Any]:
    """Return the row of a finished run."""
    if kernels and not (folder / KERNELS).is_file():
        raise EchosError(
            f"{folder}: this run has no {KERNELS}, because it was adopted without them; train it, or leave it out"
        )
    made, metrics = read_json(folder / "run.json"), read_json(folder / "metrics.json")
    history = read_table(folder / "history.parquet", "history")
    lacks = [name for name in ("key", "seed") if name not in made] + [name for name in _METRICS if name not in metrics]
    if lacks or not history.num_rows:
        raise EchosError(
            f"{folder}: this run cannot be published, because it lacks {', '.join(lacks) or 'its history'}; train it again"
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
