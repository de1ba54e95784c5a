"""Published runs by name: which of a preset's trainings they replace."""

from itertools import product
from pathlib import Path

import pyarrow as pa

from neural_echos.design.conditions import Condition
from neural_echos.design.preset import Preset
from neural_echos.tables import SCHEMAS, read_table


def read_published(preset: Preset, root: Path) -> pa.Table:
    """Read a preset's published runs, without their kernels, from all its tables below a folder; missing tables count as empty."""
    columns = [name for name in SCHEMAS["published_runs"].names if name != "kernels"]
    found = [root / one for one in preset.published if (root / one).is_file()]
    tables = [read_table(path, "published_runs", columns) for path in found]
    return pa.concat_tables([SCHEMAS["published_runs"].empty_table().select(columns), *tables])


def runs_to_train(preset: Preset, published: pa.Table) -> list[tuple[Condition, int]]:
    """List the runs that are published under no such name, or whose trained weights are needed, which are never published.

    A run is adopted by its key, which needs its initial weights. The names tell in advance as long as published runs follow the
    preset's recipe.
    """
    names = [*Condition._fields, "seed"]
    found = {tuple(row.values()) for row in published.select(names).to_pylist()}
    runs = product(preset.conditions, preset.config.seeds)
    return [(one, seed) for one, seed in runs if (*one, seed) not in found or (one, seed) in preset.needed_weights]
