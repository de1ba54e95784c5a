"""The columns of every table; docs/tables.md is generated from these definitions."""

import pyarrow as pa

from neural_echos.tables.columns.base import Column, Table
from neural_echos.tables.columns.kernels import BANK, SURVEY
from neural_echos.tables.columns.receptive_fields import FITS, MATCHES, SCALES, SPREAD
from neural_echos.tables.columns.runs import ABLATED, COMPARISONS, HISTORY, PUBLISHED_RUNS, RUNS, VERDICTS
from neural_echos.tables.columns.structure import (
    CENTROIDS,
    CHOICES,
    CLUSTERS,
    EXPLAINED,
    PATTERN_CENTROIDS,
    PATTERN_SHARES,
    PATTERNS,
    STRUCTURE,
)
from neural_echos.tables.columns.transfer import ELIMINATIONS, REPLACEMENT_ERRORS, REPLACEMENTS, SIGNALS

__all__ = ["SCHEMAS", "TABLES", "Column", "Table"]

TABLES: dict[str, Table] = {
    "bank": BANK,
    "clusters": CLUSTERS,
    "centroids": CENTROIDS,
    "choices": CHOICES,
    "fits": FITS,
    "spread": SPREAD,
    "scales": SCALES,
    "matches": MATCHES,
    "patterns": PATTERNS,
    "pattern_centroids": PATTERN_CENTROIDS,
    "history": HISTORY,
    "runs": RUNS,
    "published_runs": PUBLISHED_RUNS,
    "ablated": ABLATED,
    "comparisons": COMPARISONS,
    "replacements": REPLACEMENTS,
    "replacement_errors": REPLACEMENT_ERRORS,
    "eliminations": ELIMINATIONS,
    "signals": SIGNALS,
    "structure": STRUCTURE,
    "explained": EXPLAINED,
    "pattern_shares": PATTERN_SHARES,
    "verdicts": VERDICTS,
    "survey": SURVEY,
}
SCHEMAS: dict[str, pa.Schema] = {name: table.schema for name, table in TABLES.items()}
