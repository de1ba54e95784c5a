"""What only artifacts write: cells of runs and p-values, what seeds could have seen, and what a paper prints unreadably."""

import numpy as np
import pandas as pd

UNREADABLE = "not readable"  # what a paper prints where we could not read it


def mean_and_spread(shares: pd.Series) -> str:
    """Format shares of runs as mean ± standard deviation in percent; a run that diverged (NaN) is excluded and counted."""
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
