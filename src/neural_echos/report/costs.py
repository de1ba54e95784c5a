"""Costs: run time and memory of the jobs from Snakemake's benchmarks, and device time of the trainings."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import read_json


@dataclass(frozen=True)
class Cost:
    """Total cost of the jobs of one kind of rule.

    Attributes
    ----------
    rule : str
        First word of the rule names.
    jobs : int
    seconds : float
        Wall time.
    core_seconds : float
        CPU time; NaN if it was not measured for a job.
    peak_mb : float
        Peak memory of the largest job, MB; NaN likewise.
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
        A file is not a benchmark.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if not {"s", "cpu_time", "max_rss"} <= set(row):
                    raise EchosError(
                        f"{path}: not a benchmark with s, cpu_time and max_rss; its columns are {list(row)}; delete it"
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
    except ValueError:  # "NA" if a job ended before it was measured
        return math.nan


def training_seconds(runs: Path) -> dict[str, tuple[int, float]]:
    """Count the runs trained here and add up their device seconds, by kind of device: {"cpu": (runs, seconds)}."""
    return _sums((str(made.get("device", "unknown")), made) for made in _runs(runs) if not made.get("adopted"))


def adopted_seconds(runs: Path) -> dict[str, tuple[int, float]]:
    """Count the adopted runs and add up the device seconds of their original training, by the table they come from."""
    return _sums((str(made["adopted"]), made) for made in _runs(runs) if made.get("adopted"))


def _runs(runs: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the record of every finished run."""
    yield from map(read_json, sorted(runs.glob("*/*/*/*/run.json")))


def _sums(named: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, tuple[int, float]]:
    """Count runs and add up the seconds of their devices, by name."""
    found: dict[str, tuple[int, float]] = {}
    for name, made in named:
        count, seconds = found.get(name, (0, 0.0))
        found[name] = count + 1, seconds + float(made.get("seconds", math.nan)) * int(made.get("devices") or 1)
    return found
