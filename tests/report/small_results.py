"""A small results folder with a figure and a table, and the page of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from test_explain import record

from neural_echos.artifacts.saving import Artifact
from neural_echos.artifacts.style import canvas
from neural_echos.datasets import make_digits, save_dataset
from neural_echos.files import write_json
from neural_echos.tables import SCHEMAS, write_table
from neural_echos.verdicts import decide

BANK, RUN = "results/banks/a.parquet", "results/runs/digits/net/dog/seed1"


SAYS = "Half < all & 5 % of γ."
TITLES = {"figure_05_clusters": "Figure 5. Clusters & averages", "numbers": "Numbers"}
CLAIM = {"id": "NE5", "paper": "Neural Echos", "statement": "No <gain>.", "rule": "gain", "needs": "cifar10"}
OPTIONS = {"dataset": "digits", "architectures": ["net"], "initialisation": "dog", "baseline": "kaiming", "margin": 0.5}


def make(tmp_path: Path) -> None:
    data, facts = make_digits(size=8, seed=0)
    save_dataset(tmp_path / "results/datasets/digits.safetensors", data, facts)
    write_json(tmp_path / "results/inputs/w/w.safetensors.json", {"input": "w", "licence": "MIT", "sha256": "ab12"})
    (tmp_path / "results/inputs/w/w.safetensors").write_bytes(b"weights")
    write_json(tmp_path / RUN / "run.json", {"device": "cuda", "devices": 2, "seconds": 90.0})
    command = "echos train --seeds 0 1 --threads 1"
    record(tmp_path, "results/datasets/digits.safetensors", "dataset", [], 1000.0)
    record(
        tmp_path, f"{RUN}/metrics.json", "train_0", ["results/datasets/digits.safetensors"], 1500.0, shellcmd=command
    )
    record(tmp_path, BANK, "extract_from_run", [f"{RUN}/metrics.json"], 2000.0)
    figure, axes = canvas(1, 1, (2, 1))
    axes[0, 0].imshow(np.arange(6).reshape(2, 3))
    figure_5 = Artifact("figure_05_clusters", {"bank": [BANK]}, {"k": 3}, "results/figures/figure_05_clusters")
    figure_5.save(figure, SAYS)
    cells = pd.DataFrame({"a_b": ["5 %", "<b>"], "what it is": ["γ ± 1", "a long text that fills more than one line"]})
    Artifact("numbers", output="results/tables/numbers").save(cells, SAYS)
    for suffix in ("pdf", "json"):
        name = f"results/figures/figure_05_clusters.{suffix}"
        record(tmp_path, name, "figure", [BANK], 3000.0, shellcmd="echos render f")
    record(tmp_path, "results/tables/numbers.csv", "table", [], 2500.0, shellcmd="echos render t")
    empty = {name: SCHEMAS[name].empty_table().to_pandas() for name in ("runs", "structure", "replacements")}
    claim = CLAIM | {"options": OPTIONS | {"expect": "none"}, "artifact": "numbers", "published": "92.6 %"}
    write_table("results/verdicts.parquet", decide([claim], empty, "tests"), "verdicts")
    for name, seconds in (("train/digits/0", "10.5"), ("train/digits/1", "4.5"), ("extract/a", "1"), ("verdicts", "2")):
        path = tmp_path / f"results/benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        cpu = "NA" if name == "verdicts" else seconds
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:10\t100.5\t{cpu}\n")


def entries() -> str:
    kinds = {"figure_05_clusters": "figure", "numbers": "table"}
    return json.dumps(
        [
            {"id": name, "kind": kind, "group": f"{kind}s", "title": TITLES[name], "stem": f"results/{kind}s/{name}"}
            | {"caption": "As in the paper: 100 % of <k>."}
            for name, kind in kinds.items()
        ]
    )
