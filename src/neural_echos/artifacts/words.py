"""Texts of artifacts: cells of runs and p-values, detectable effects, runs not trained here, and unreadable values of a paper."""

import numpy as np
import pandas as pd

UNREADABLE = "not readable"  # for a value that a paper prints but that we could not read


def mean_and_spread(shares: pd.Series) -> str:
    """Format shares of runs as mean ± standard deviation in percent; diverged runs (NaN) are excluded and counted."""
    if not len(shares):
        return "not run at this scale"
    found, lost = shares.dropna(), int(shares.isna().sum())
    spread = f" ± {100 * found.std(ddof=1):.1f}" if len(found) > 1 else ""
    told = [f"{100 * found.mean():.1f}{spread}"] * bool(len(found)) + [f"diverged ({lost} of {len(shares)})"] * bool(
        lost
    )
    return ", ".join(told)


def probability(p: float) -> str:
    """Format a p-value with two digits and no leading zero; "–" if it is missing."""
    if not np.isfinite(p):
        return "–"
    return "<.001" if p < 0.0005 else f"{p:.2g}".replace("0.", ".", 1)


def seen(comparisons: pd.DataFrame) -> str:
    """Say which differences in final top-1 the seeds of these comparisons can detect; "" if this is not defined."""
    found = comparisons[(comparisons.measure == "top1") & comparisons.detectable.notna()]
    if not len(found):
        return ""
    seeds = f"{found.seeds.min()}" if found.seeds.nunique() == 1 else f"{found.seeds.min()} to {found.seeds.max()}"
    least, most = 100 * found.detectable.min(), 100 * found.detectable.max()
    smallest = f"{least:.1f} to {most:.1f}" if len(found) > 1 else f"{least:.1f}"
    return f"With {seeds} seeds a difference in final top-1 must be {smallest} points to be found with 80 % power."


def adopted(runs: pd.DataFrame) -> str:
    """Say how many runs were not trained here, with a leading space; "" if all were."""
    count = int(runs.adopted.eq(True).sum())
    told = f"All {count} runs" if count == len(runs) else f"{count} of {len(runs)} runs"
    return f" {told} were adopted from published ones, not trained here." if count else ""
