"""Costs: run time and memory of the jobs, as Snakemake benchmarked them, and device time of the trainings."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import read_json


@dataclass(frozen=True)
class Cost:
    """What the jobs of one kind of rule cost together.

    Attributes
    ----------
    rule : str
        First word of the rules' names.
    jobs : int
    seconds : float
        Wall time.
    core_seconds : float
        Time of the processor's cores; NaN where a job's was not measured.
    peak_mb : float
        Most memory that one of the jobs held, MB; NaN likewise.
    """

    rule: str
    jobs: int
    seconds: float
    core_seconds: float
    peak_mb: float


def costs(benchmarks: Path) -> list[Cost]:
    """Add up Snakemake's benchmarks by kind of rule, the costliest first.

    Raises
    ------
    EchosError
        A file is no benchmark.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if not {"s", "cpu_time", "max_rss"} <= set(row):
                    raise EchosError(
                        f"{path}: not a benchmark with s, cpu_time and max_rss, but with {list(row)}; delete it"
                    )
                rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
                found.setdefault(rule, []).append({key: _number(row[key]) for key in ("s", "cpu_time", "max_rss")})
    told = [
        Cost(
            rule,
            len(jobs),
            sum(job["s"] for job in jobs),
            sum(job["cpu_time"] for job in jobs),
            max(job["max_rss"] for job in jobs),
        )
        for rule, jobs in found.items()
    ]
    return sorted(told, key=lambda cost: -cost.seconds)


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:  # "NA" of a job that ended before it was measured
        return math.nan


def training_seconds(runs: Path) -> dict[str, tuple[int, float]]:
    """Count finished runs, and the seconds of each of their devices, by kind of device: {"cpu": (runs, seconds)}."""
    found: dict[str, tuple[int, float]] = {}
    for path in sorted(runs.glob("*/*/*/*/run.json")):
        made: Mapping[str, Any] = read_json(path)
        device = str(made.get("device", "unknown"))
        count, seconds = found.get(device, (0, 0.0))
        found[device] = count + 1, seconds + float(made.get("seconds", math.nan)) * int(made.get("devices") or 1)
    return found
