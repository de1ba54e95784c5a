"""Tidy table of the verdicts on the papers' claims."""

import pandas as pd

from neural_echos.artifacts.words import UNREADABLE
from neural_echos.words import count_of, intervals, numbers


def verdicts_by_claim(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Put what was measured for each claim beside what its paper prints.

    Parameters
    ----------
    verdicts : DataFrame
        Of schema "verdicts".

    Returns
    -------
    DataFrame
        One row for each claim with `claim`, `paper`, `statement`, `published`, `measured`, `value`, `low` and `high` (percent, or
        percentage points of a difference; NaN where nothing was measured), `scale`, `verdict`, `reason` and `artifact`.
    """
    percent = {name: 100 * verdicts[name].astype(float) for name in ("value", "low", "high")}
    return verdicts.assign(published=verdicts.published.fillna(UNREADABLE), **percent)


def verdict_cells(claims: pd.DataFrame) -> pd.DataFrame:
    """Write the rows of `verdicts_by_claim` as cells, with the interval in a column of its own."""
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
    """Say how many claims have which verdict."""
    counts = claims.verdict.value_counts()
    return f"{count_of(len(claims), 'claim')}: {', '.join(f'{count} {name}' for name, count in counts.items())}."
