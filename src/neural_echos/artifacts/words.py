"""Numbers as artifacts write them: shares, differences with their interval, p-values, and what seeds could have seen."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

UNREADABLE = "not readable"  # what a paper prints where we could not read it


def number(value: float, decimals: int = 1, *, signed: bool = False) -> str:
    """Format a number for a cell: a true minus, none before a zero; "–" for a missing one."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:{'+' * signed}z.{decimals}f}".replace("-", "−")


def numbers(column: Iterable[float], decimals: int = 1, *, signed: bool = False) -> list[str]:
    """Format a column of numbers, see `number`."""
    return [number(value, decimals, signed=signed) for value in column]


def intervals(low: Iterable[float], high: Iterable[float], decimals: int = 1, *, signed: bool = False) -> list[str]:
    """Format a column of intervals, such as "1.0 to 2.5"; "–" for a missing one."""
    ends = zip(numbers(low, decimals, signed=signed), numbers(high, decimals, signed=signed), strict=True)
    return ["–" if "–" in pair else " to ".join(pair) for pair in ends]


def count_of(n: int, thing: str) -> str:
    """Say how many there are of a thing: "1 layer", "1,028 kernels"."""
    return f"{n:,} {thing}{'s' if n != 1 else ''}"


def percent(value: float, digits: int = 1) -> str:
    """Format a share as a percentage; "–" for a missing one."""
    return "–" if value is None or not np.isfinite(value) else f"{100 * value:.{digits}f} %".replace("-", "−")


def estimate(value: float, low: float, high: float, decimals: int = 1) -> str:
    """Format a difference with its interval for a sentence: "+0.9 [−5.3, +7.2]"."""
    if not np.isfinite(value):
        return "–"
    ends = [number(end, decimals, signed=True) for end in (low, high)]
    return f"{number(value, decimals, signed=True)} [{'one seed' if '–' in ends else ', '.join(ends)}]"


def span(values: Iterable[float], decimals: int = 0) -> str:
    """Say a number that may differ: "3", or "2 to 3"; "–" where none is known."""
    known = [value for value in values if np.isfinite(value)]
    return " to ".join(dict.fromkeys(numbers((min(known), max(known)), decimals))) if known else "–"


def mean_and_spread(shares: pd.Series) -> str:
    """Format shares of runs as mean ± standard deviation in percent; a run that diverged (NaN) is left out and told."""
    if not len(shares):
        return "not run at this scale"
    found, lost = shares.dropna(), int(shares.isna().sum())
    spread = f" ± {100 * found.std(ddof=1):.1f}" if len(found) > 1 else ""
    told = [f"{100 * found.mean():.1f}{spread}"] * bool(len(found)) + [f"diverged ({lost} of {len(shares)})"] * bool(
        lost
    )
    return ", ".join(told)


def probability(p: float) -> str:
    """Format a p with two digits and without its leading zero; "–" for a missing one."""
    if not np.isfinite(p):
        return "–"
    return "<.001" if p < 0.0005 else f"{p:.2g}".replace("0.", ".", 1)


def seen(comparisons: pd.DataFrame) -> str:
    """Say which differences in final top-1 the seeds of these comparisons could have seen; "" where they do not tell."""
    found = comparisons[(comparisons.measure == "top1") & comparisons.detectable.notna()]
    if not len(found):
        return ""
    seeds = f"{found.seeds.min()}" if found.seeds.nunique() == 1 else f"{found.seeds.min()} to {found.seeds.max()}"
    least, most = 100 * found.detectable.min(), 100 * found.detectable.max()
    smallest = f"{least:.1f} to {most:.1f}" if len(found) > 1 else f"{least:.1f}"
    return f"With {seeds} seeds a difference in final top-1 must be {smallest} points to be found with 80 % power."


def adopted(runs: pd.DataFrame) -> str:
    """Say how many runs were not trained here, with a space before; "" where all were."""
    count = int(runs.adopted.eq(True).sum())
    return f" Of {len(runs)} runs {count} were adopted from published ones, not trained here." if count else ""
