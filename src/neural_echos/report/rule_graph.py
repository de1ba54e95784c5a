"""The rule graph: how often each kind of rule ran and which outputs it read, and a drawing of it as SVG."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from neural_echos.report.explain import Record, first_word
from neural_echos.report.templates import render

Edge = tuple[str, str]  # from a kind of rule to one that reads its output


@dataclass(frozen=True)
class RuleGraph:
    """The rules that made a result, and which read the outputs of which.

    Attributes
    ----------
    jobs : mapping of str to int
        Number of jobs of each kind of rule.
    forward, back : frozenset of edges
        Edges along the flow, and edges that lead back to a kind that ran again later.
    rows : mapping of str to int
        Distance of a kind of rule from the start, in edges of the longest path.
    """

    jobs: Mapping[str, int]
    forward: frozenset[Edge]
    back: frozenset[Edge]
    rows: Mapping[str, int]


def rule_graph(records: Mapping[str, Record]) -> RuleGraph:
    """Summarise Snakemake's records by kind of rule; in a cycle, the edge with the fewest jobs leads back."""
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
    return RuleGraph(counts, frozenset(forward), frozenset(edges.keys() - forward), rows)


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


WIDTH, HEIGHT = 118, 40  # of a box, pixels
ACROSS, DOWN, LANE = 140, 84, 30  # from one box to the next, and of a passing arrow, pixels
Slot = tuple[str, int]  # a kind of rule and a row: its own, or one that an arrow from it passes


@dataclass(frozen=True)
class Arrow:
    """One piece of an arrow: an SVG path, with or without a tip, dashed where it leads back."""

    path: str
    tip: bool = True
    dashed: bool = False


def draw(found: RuleGraph) -> str:
    """Draw the rules as SVG, from top to bottom, in the colours of the page's text."""
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
    arrows = [_arrow(places, rows, start, end) for end, starts in sorted(parts.items()) for start in sorted(starts)]
    arrows += [_arrow_back(*places[a, rows[a]], *places[b, rows[b]]) for a, b in sorted(found.back)]
    boxes = [(kind, found.jobs[kind], *places[kind, row]) for kind, row in sorted(rows.items())]
    edges = sorted(found.forward | found.back)
    height = DOWN * (1 + max(rows.values())) - (DOWN - HEIGHT) + 8
    return render(
        "rule_graph.svg.j2",
        left=left,
        width=width,
        height=height,
        arrows=arrows,
        boxes=boxes,
        edges=edges,
        box=(WIDTH, HEIGHT),
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


def _arrow(places: Mapping[Slot, tuple[float, float]], rows: Mapping[str, int], start: Slot, end: Slot) -> Arrow:
    """One row of an arrow; only its last part has a tip, and between boxes it goes straight down."""
    (x, y), (u, v) = places[start], places[end]
    last = rows[end[0]] == end[1]
    y, v = y + HEIGHT / 2, v - HEIGHT / 2 - 2 * last
    bend = (v - y) / 2
    path = f"M{x:g} {y:g}C{x:g} {y + bend:g} {u:g} {v - bend:g} {u:g} {v:g}"
    return Arrow(path if last else f"{path}V{v + HEIGHT:g}", tip=last)


def _arrow_back(x: float, y: float, u: float, v: float) -> Arrow:
    """An arrow against the flow, on the outer side of where it starts: a bank whose kernels later runs start from, say."""
    out = 1 if x >= 0 else -1
    x, u = x + out * WIDTH / 2, u + out * (WIDTH / 2 + 2)
    side = out * (max(out * x, out * u) + LANE)
    return Arrow(f"M{x:g} {y:g}C{side:g} {y:g} {side:g} {v:g} {u:g} {v:g}", dashed=True)
