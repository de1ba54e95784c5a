"""What the work was: which rules ran how often and one after which, and what they cost; and a drawing of it."""

import csv
import html
import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import read_json
from neural_echos.report.explain import Record, first_word


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
                        f"{path}: expected a benchmark with s, cpu_time, max_rss, found {list(row)}; delete it"
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


Edge = tuple[str, str]  # from a kind of rule to one that reads what it left


@dataclass(frozen=True)
class Walk:
    """The rules that made something, one after another.

    Attributes
    ----------
    jobs : mapping of str to int
        Number of jobs of each kind of rule.
    forward, back : frozenset of edges
        Those along the walk, and those that lead back to a kind that ran again later.
    rows : mapping of str to int
        How far a kind of rule lies from the start: edges of the longest way there.
    """

    jobs: Mapping[str, int]
    forward: frozenset[Edge]
    back: frozenset[Edge]
    rows: Mapping[str, int]


def walk(records: Mapping[str, Record]) -> Walk:
    """Sum up Snakemake's records of files, by kind of rule; of the edges of a circle, the one of the fewest jobs leads back."""
    kinds = {name: first_word(record["rule"]) for name, record in records.items()}
    jobs: dict[str, set[str]] = {}
    edges: dict[Edge, set[str]] = {}
    for name, kind in kinds.items():
        job = records[name]["shellcmd"] or name
        jobs.setdefault(kind, set()).add(job)
        for before in {kinds[other] for other in records[name]["input"] if other in kinds} - {kind}:
            edges.setdefault((before, kind), set()).add(job)
    forward: set[Edge] = set()
    for a, b in sorted(edges, key=lambda edge: (-len(edges[edge]), edge)):
        if a not in _reached({b}, _after(forward)):
            forward.add((a, b))
    rows: dict[str, int] = {}
    for kind in jobs:
        _row(kind, forward, rows)
    counts = {kind: len(found) for kind, found in sorted(jobs.items())}
    return Walk(counts, frozenset(forward), frozenset(edges.keys() - forward), rows)


def _row(kind: str, edges: AbstractSet[Edge], rows: dict[str, int]) -> int:
    if kind not in rows:
        rows[kind] = 1 + max((_row(a, edges, rows) for a, b in edges if b == kind), default=-1)
    return rows[kind]


def _after(edges: Iterable[Edge]) -> dict[str, set[str]]:
    after: dict[str, set[str]] = {}
    for a, b in edges:
        after.setdefault(a, set()).add(b)
    return after


def _reached(starts: Iterable[str], after: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += after.get(one, ())
    return found


WIDTH, HEIGHT, ACROSS, DOWN, LANE = (
    118,
    40,
    140,
    84,
    30,
)  # of a box, from one box to the next, and of a passing arrow, pixels
Slot = tuple[str, int]  # a kind of rule and a row: its own, or one that an arrow from it passes


def draw(found: Walk) -> str:
    """Draw the rules as SVG, from the top to the bottom; its colours are those of the page's text."""
    rows, after = found.rows, _after(found.forward)
    shown = {
        (a, b) for a, b in found.forward if b not in _reached(after[a] - {b}, after)
    }  # a longer way implies the others
    parts: dict[Slot, set[Slot]] = {
        (kind, row): set() for kind, row in rows.items()
    }  # of arrows: where each comes from
    for a, b in sorted(shown):
        for row in range(rows[a] + 1, rows[b]):
            parts.setdefault((a, row), set()).add((a, row - 1))
        parts[b, rows[b]].add((a, rows[b] - 1))
    places = _places(parts, rows)
    left, right = min(x for x, _ in places.values()), max(x for x, _ in places.values())
    margin = ACROSS / 2 + LANE * bool(found.back)
    left, width = left - margin, right - left + 2 * margin
    lines = [_arrow(places, rows, start, end) for end, starts in sorted(parts.items()) for start in sorted(starts)]
    lines += [_arrow_back(*places[a, rows[a]], *places[b, rows[b]]) for a, b in sorted(found.back)]
    boxes = [_box(kind, found.jobs[kind], *places[kind, row]) for kind, row in sorted(rows.items())]
    height = DOWN * (1 + max(rows.values())) - (DOWN - HEIGHT) + 8
    told = html.escape(
        "; ".join(f"{a} to {b}" for a, b in sorted(found.forward | found.back)) or "no rule reads what another left"
    )
    return (
        f'<svg class="walk" role="img" aria-label="Rules and what they pass on: {told}" viewBox="{left:g} 0 {width:g} {height}" '
        f'width="{width:g}" height="{height}" xmlns="http://www.w3.org/2000/svg"><defs><marker id="tip" viewBox="0 0 8 8" '
        'refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{''.join(lines)}{''.join(boxes)}</svg>"
    )


def _places(parts: Mapping[Slot, set[Slot]], rows: Mapping[str, int]) -> dict[Slot, tuple[float, float]]:
    """Give every slot its middle, x and y: each row in the order of what its slots come from, and centred on 0."""
    places: dict[Slot, tuple[float, float]] = {}

    def wanted(slot: Slot) -> float:
        before = [places[other][0] for other in parts[slot]]
        return sum(before) / len(before) if before else 0.0

    for row in sorted(set(rows.values())):
        slots = sorted(sorted(slot for slot in parts if slot[1] == row), key=wanted)
        widths = [ACROSS if rows[kind] == row else LANE for kind, _ in slots]
        x = -sum(widths) / 2
        for slot, width in zip(slots, widths, strict=True):
            places[slot] = x + width / 2, DOWN * row + HEIGHT / 2 + 4
            x += width
    return places


def _arrow(places: Mapping[Slot, tuple[float, float]], rows: Mapping[str, int], start: Slot, end: Slot) -> str:
    """One row of an arrow; only its last part has a tip, and between boxes it goes straight down."""
    (x, y), (u, v) = places[start], places[end]
    last = rows[end[0]] == end[1]
    y, v = y + HEIGHT / 2, v - HEIGHT / 2 - 2 * last
    bend = (v - y) / 2
    path = f"M{x:g} {y:g}C{x:g} {y + bend:g} {u:g} {v - bend:g} {u:g} {v:g}"
    return f'<path d="{path}" marker-end="url(#tip)"/>' if last else f'<path d="{path}V{v + HEIGHT:g}"/>'


def _arrow_back(x: float, y: float, u: float, v: float) -> str:
    """An arrow against the walk, on the outer side of where it starts: a bank lends its kernels to later runs, say."""
    out = 1 if x >= 0 else -1
    x, u = x + out * WIDTH / 2, u + out * (WIDTH / 2 + 2)
    side = out * (max(out * x, out * u) + LANE)
    return f'<path d="M{x:g} {y:g}C{side:g} {y:g} {side:g} {v:g} {u:g} {v:g}" marker-end="url(#tip)" stroke-dasharray="5 4"/>'


def _box(kind: str, jobs: int, x: float, y: float) -> str:
    return (
        f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{x:g}" y="{y - 2:g}">{html.escape(kind)}</text>'
        f'<text class="jobs" x="{x:g}" y="{y + 13:g}">{jobs} job{"s" * (jobs != 1)}</text>'
    )
