"""Numbers in words: counts, shares, and differences with their interval, as every figure, page and command writes them."""

import math
from collections.abc import Iterable


def number(value: float | None, decimals: int = 1, *, signed: bool = False) -> str:
    """Format a number for a cell: a true minus, none before a zero; "–" for a missing one."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' * signed}z.{decimals}f}".replace("-", "−")


def numbers(column: Iterable[float | None], decimals: int = 1, *, signed: bool = False) -> list[str]:
    """Format a column of numbers, see `number`."""
    return [number(value, decimals, signed=signed) for value in column]


def intervals(low: Iterable[float], high: Iterable[float], decimals: int = 1, *, signed: bool = False) -> list[str]:
    """Format a column of intervals, such as "1.0 to 2.5"; "–" for a missing one."""
    ends = zip(numbers(low, decimals, signed=signed), numbers(high, decimals, signed=signed), strict=True)
    return ["–" if "–" in pair else " to ".join(pair) for pair in ends]


def count_of(n: int, thing: str) -> str:
    """Say how many there are of a thing: "1 layer", "1,028 kernels"."""
    return f"{n:,} {thing}{'s' if n != 1 else ''}"


def percent(value: float | None, digits: int = 1) -> str:
    """Format a share as a percentage; "–" for a missing one."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %".replace("-", "−")


def estimate(
    value: float | None, low: float | None, high: float | None, decimals: int = 1, *, without: str = " [one seed]"
) -> str:
    """Format a difference with its interval for a sentence: "+0.9 [−5.3, +7.2]"; `without` replaces an interval that is missing."""
    told, *ends = numbers((value, low, high), decimals, signed=True)
    return told if told == "–" else told + (without if "–" in ends else f" [{', '.join(ends)}]")


def span(values: Iterable[float], decimals: int = 0) -> str:
    """Say a number that may differ: "3", or "2 to 3"; "–" where none is known."""
    known = [value for value in values if math.isfinite(value)]
    return " to ".join(dict.fromkeys(numbers((min(known), max(known)), decimals))) if known else "–"
