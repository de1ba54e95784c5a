"""What a finished run leaves: its weights, its history, its metrics, and what made it."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import nn

from neural_echos.files import provenance, write_json, write_tensors
from neural_echos.tables import SCHEMAS, write_table
from neural_echos.training.checkpoints import CHECKPOINT
from neural_echos.training.engine import RunResult
from neural_echos.training.recipe import Recipe


def write_run(
    folder: Path,
    model: nn.Module,
    result: RunResult,
    *,
    recipe: Recipe,
    seed: int,
    kernel_size: int,
    inputs: Mapping[str, str | Path] | None = None,
    **facts: Any,
) -> None:
    """Write a finished run, each file atomically, and then remove its checkpoint.

    `weights.safetensors`, `history.parquet` and `metrics.json` are the same bytes for the same run (on a CPU); times
    are in `run.json` only. `metrics.json` comes last: where it lies, the run is whole.

    Parameters
    ----------
    folder : Path
        The folder given to `train`.
    model : nn.Module
        As `train` left it.
    result : RunResult
    recipe : Recipe
    seed : int
    kernel_size : int
        Side of the model's spatial kernels.
    inputs : mapping of str to path, optional
        Files that the run was made from; their checksums go into `run.json`.
    **facts
        More JSON values for `run.json`.
    """
    if int(os.environ.get("RANK", "0")):  # of several processes that trained together, the first writes
        return
    folder = Path(folder)
    (folder / "metrics.json").unlink(missing_ok=True)
    write_tensors(folder / "weights.safetensors", model.state_dict(), {"format": "pt"})
    history = pa.Table.from_pylist(result.history, schema=SCHEMAS["history"])
    write_table(folder / "history.parquet", history, "history")
    times = {name: getattr(result, name) for name in ("images_per_second", "seconds", "device", "devices")}
    write_json(folder / "run.json", provenance(dict(inputs or {}), recipe=asdict(recipe), seed=seed, **times, **facts))
    write_json(folder / "metrics.json", {**result.metrics, "kernel_size": kernel_size})
    (folder / CHECKPOINT).unlink(missing_ok=True)
