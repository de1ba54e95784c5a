"""Notebooks executed in this process: no kernel, so each takes as long as its cells."""

import ast
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from neural_echos.artifacts.saving import Artifact
from neural_echos.design.checked import load_artifacts
from neural_echos.evaluation import compare
from neural_echos.tables import SCHEMAS, write_table

ROOT = Path(__file__).resolve().parents[2]

PARTS = {"tenth": 1000, "third": 3000, "whole": 10_000}


@pytest.fixture
def experiments() -> Callable[..., dict[str, pd.DataFrame]]:
    """A function that makes runs of architectures a (3×3) and b (7×7) on nested parts of a dataset, their histories, comparisons.

    It takes the number of `seeds`; the seeds of dog that diverged on the whole dataset (`lost`); and by how much dog is above
    default for each factor of 10 in images below 10,000 (`gain`). On b dog gains .04 more than on a, and kaiming .01 everywhere.
    """

    def make(seeds: int = 3, lost: tuple[int, ...] = (), gain: float = 0.02) -> dict[str, pd.DataFrame]:
        rng = np.random.default_rng(0)
        rows = []
        for name, images in PARTS.items():
            for architecture, size in (("a", 3), ("b", 7)):
                for seed in range(seeds):
                    base = 0.1 * np.log10(images) + rng.normal(0, 0.01)
                    dog = base + gain * (4 - np.log10(images)) + 0.04 * (size == 7) + rng.normal(0, 0.001)
                    for initialisation, top1 in (("default", base), ("kaiming", base + 0.01), ("dog", dog)):
                        gone = name == "whole" and initialisation == "dog" and seed in lost
                        cell = {"dataset": name, "architecture": architecture, "initialisation": initialisation}
                        cell |= {"seed": seed, "kernel_size": size, "train_images": images, "diverged": gone}
                        score = np.nan if gone else top1
                        rows.append(
                            cell | {"top1": score, "area": score / 2, "epochs": 2, "parameters": 1, "test_images": 9}
                        )
        runs = pd.DataFrame(rows).reindex(columns=SCHEMAS["runs"].names)
        epochs = [runs.assign(epoch=epoch, top1=runs.top1 * epoch / 2) for epoch in (1, 2)]
        history = pd.concat(epochs).reindex(columns=SCHEMAS["history"].names)
        comparisons = compare(runs, history, baselines=["default", "kaiming"]).to_pandas()
        return {"runs": runs, "history": history, "comparisons": comparisons}

    return make


class Ran:
    """What a notebook left: `shown` by cell (the value of its last expression), `content` that it saved, and what it `says`."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.content: Any = None
        self.says = ""


@pytest.fixture
def run_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """A function that runs a notebook of workflow/notebooks on tables.

    It takes the notebook's name, its tables by name (DataFrames or Arrow tables, a list of them where there are several files) and
    its options, whose defaults are those of the notebook's metadata. Every format is written to `tmp_path`, as the workflow does.
    """
    monkeypatch.chdir(tmp_path)

    def run(name: str, tables: Mapping[str, Any], options: Mapping[str, Any]) -> Ran:
        declared = load_artifacts(ROOT)[name]
        unknown = set(options) - set(declared["options"])
        assert not unknown, f"{name} has no options {unknown}"
        missing = {key for key, one in declared["options"].items() if one["required"]} - set(options)
        assert not missing, f"{name} needs options {missing}"
        given = {key: options.get(key, one["default"]) for key, one in declared["options"].items()}
        assert set(tables) == set(declared["reads"])
        inputs = {table: _written(tmp_path, table, some) for table, some in tables.items()}
        ran = Ran()
        save = Artifact.save

        def kept(self: Artifact, content: Any, says: str) -> None:
            ran.content, ran.says = getattr(content, "figure", content), says
            save(self, content, says)

        monkeypatch.setattr(Artifact, "save", kept)
        space: dict[str, Any] = {"__name__": "__main__"}
        notebook = json.loads((ROOT / f"workflow/notebooks/{name}.ipynb").read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                ran.shown.append(_executed("".join(cell["source"]), space))
                if "parameters" in cell["metadata"].get("tags", []):
                    space |= {"inputs": inputs, "options": given, "output": str(tmp_path / name), "style": {}}
        return ran

    return run


def _written(folder: Path, name: str, tables: Any) -> list[str]:
    paths = []
    for place, table in enumerate(tables if isinstance(tables, list) else [tables]):
        made = pa.Table.from_pandas(table, preserve_index=False) if isinstance(table, pd.DataFrame) else table
        paths.append(str(folder / f"{name}{place}.parquet"))
        write_table(paths[-1], made.select(SCHEMAS[name].names).cast(SCHEMAS[name]), name)
    return paths


def _executed(source: str, space: dict[str, Any]) -> Any:
    """Execute a cell and return the value of its last expression, as Jupyter shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), space)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), space) if last else None  # type: ignore[attr-defined]
