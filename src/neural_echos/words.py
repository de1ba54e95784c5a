"""Numbers as text: counts, shares, and differences with their intervals, formatted alike in every figure, page and command."""

import math
from collections.abc import Iterable


def number(value: float | None, decimals: int = 1, *, signed: bool = False) -> str:
    """Format a number for a cell: with a true minus sign, but none before zero; "–" if it is missing."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' * signed}z.{decimals}f}".replace("-", "−")


def numbers(column: Iterable[float | None], decimals: int = 1, *, signed: bool = False) -> list[str]:
    """Format a column of numbers; see `number`."""
    return [number(value, decimals, signed=signed) for value in column]


def intervals(low: Iterable[float], high: Iterable[float], decimals: int = 1, *, signed: bool = False) -> list[str]:
    """Format a column of intervals, such as "1.0 to 2.5"; "–" if it is missing."""
    ends = zip(numbers(low, decimals, signed=signed), numbers(high, decimals, signed=signed), strict=True)
    return ["–" if "–" in pair else " to ".join(pair) for pair in ends]


def count_of(n: int, thing: str) -> str:
    """Format a count: "1 layer", "1,028 kernels"."""
    return f"{n:,} {thing}{'s' if n != 1 else ''}"


def percent(value: float | None, digits: int = 1) -> str:
    """Format a share as a percentage; "–" if it is missing."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %".replace("-", "−")


def estimate(
    value: float | None, low: float | None, high: float | None, decimals: int = 1, *, without: str = " [one seed]"
) -> str:
    """Format a difference with its interval for a sentence: "+0.9 [−5.3, +7.2]"; `without` replaces a missing interval."""
    told, *ends = numbers((value, low, high), decimals, signed=True)
    return told if told == "–" else told + (without if "–" in ends else f" [{', '.join(ends)}]")


def points(value: float | None, low: float | None, high: float | None, *, without: str = " [one seed]") -> str:
    """Format a share in percent, or a difference of shares in points, with its interval; see `estimate`."""
    whole, start, end = (None if one is None else 100 * one for one in (value, low, high))
    return estimate(whole, start, end, without=without)


def span(values: Iterable[float], decimals: int = 0) -> str:
    """Format a number that may vary: "3" or "2 to 3"; "–" if none is known."""
    known = [value for value in values if math.isfinite(value)]
    return " to ".join(dict.fromkeys(numbers((min(known), max(known)), decimals))) if known else "–"
