"""Benchmark records: each measurement is a row in benchmarks/measured/<script>.json, with the machine, its load and the commit.

A row replaces the previous one with the same `what` and `against`. `python benchmarks/make_table.py` writes the table and the plot.
"""

import datetime
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from neural_echos.files import provenance, write_json

FOLDER = Path(__file__).resolve().parent / "measured"


def record(
    what: str, against: str, ratios: float | Sequence[float], unit: str, ours: float, theirs: float | None
) -> None:
    """Print one measurement and write it to its script's file.

    Parameters
    ----------
    what, against : str
        What was measured, with its size, and the alternative in the same run.
    ratios : float or sequence of float
        How many times better ours is, for each round; the median counts.
    unit : str
        Unit of `ours` and `theirs`: "s", "kernels/s", …
    ours, theirs : float
        Best round of ours and of the alternative; `theirs` is None if the alternative is a fixed number.
    """
    rounds = [ratios] if isinstance(ratios, (int, float)) else list(ratios)
    made = provenance()
    row = {
        "what": what,
        "against": against,
        "ratio": round(median(rounds), 4),
        "rounds": [round(one, 4) for one in rounds],
        "unit": unit,
        "ours": ours,
        "theirs": theirs,
        "machine": made["machine"],
        "load": round(os.getloadavg()[0], 1),
        "commit": made["commit"],
        "date": datetime.date.today().isoformat(),
    }
    path = FOLDER / f"{Path(sys.argv[0]).stem}.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = [one for one in rows if (one["what"], one["against"]) != (what, against)]
    write_json(path, sorted([*kept, row], key=lambda one: (one["what"], one["against"])))
    beside = "" if theirs is None else f" against {theirs:,.4g}"
    print(f"{what}, against {against}: {row['ratio']:,.4g} times ({ours:,.4g}{beside} {unit})", flush=True)
