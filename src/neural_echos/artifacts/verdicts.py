"""Tidy table of the verdicts on the papers' claims."""

import pandas as pd

from neural_echos.artifacts.words import UNREADABLE
from neural_echos.words import count_of, intervals, numbers


def verdicts_by_claim(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Compare the measurement for each claim with the value in its paper.

    Parameters
    ----------
    verdicts : DataFrame
        Schema "verdicts".

    Returns
    -------
    DataFrame
        One row for each claim with `claim`, `paper`, `statement`, `published`, `measured`, `value`, `low` and `high` (percent, or
        percentage points of a difference; NaN if nothing was measured), `scale`, `verdict`, `reason` and `artifact`.
    """
    percent = {name: 100 * verdicts[name].astype(float) for name in ("value", "low", "high")}
    return verdicts.assign(published=verdicts.published.fillna(UNREADABLE), **percent)


def verdict_cells(claims: pd.DataFrame) -> pd.DataFrame:
    """Format the rows of `verdicts_by_claim` as cells, with the interval in its own column."""
    return pd.DataFrame(
        {
            "claim": [f"{claim} ({paper})" for claim, paper in zip(claims.claim, claims.paper, strict=True)],
            "statement": claims.statement,
            "published": claims.published,
            "measured": claims.measured,
            "ours, % or points": numbers(claims.value, signed=True),
            "interval": intervals(claims.low, claims.high, signed=True),
            "verdict": claims.verdict,
            "why": claims.reason,
            "artifact": claims.artifact,
        }
    )


def count_verdicts(claims: pd.DataFrame) -> str:
    """Count the claims by verdict."""
    counts = claims.verdict.value_counts()
    return f"{count_of(len(claims), 'claim')}: {', '.join(f'{count} {name}' for name, count in counts.items())}."
