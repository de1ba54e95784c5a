"""Tidy tables of the structure measure: the structured share of every bank and of its controls."""

import pandas as pd

from neural_echos.words import percent


def structure_by_bank(structure: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows of a table of schema "structure" for display.

    Returns
    -------
    DataFrame
        The table's columns, with trained banks before untrained ones, depthwise kernels before others, by name and size; and
        `kernel`, the size and, unless depthwise, the kind, such as "7×7", "3×3 regular" or "3×3 regular stem".
    """
    rows = structure.sort_values(["role", "kind", "model", "kernel_size"]).reset_index(drop=True)
    return rows.assign(kernel=kernel_cells(rows.kernel_size, rows.kernel_size, rows.kind))


def kernel_cells(height: pd.Series, width: pd.Series, kind: pd.Series) -> pd.Series:
    """Label kernels by size and, unless they are depthwise, kind; a stem is a regular layer that reads the image."""
    other = kind.replace({"depthwise": "", "stem": "regular stem"})
    return (height.astype(str) + "×" + width.astype(str) + " " + other).str.rstrip()


def range_of(shares: pd.Series) -> str:
    """Format the range of some shares."""
    if not len(shares):
        return "none"
    return f"{percent(shares.min())} to {percent(shares.max())}" if len(shares) > 1 else percent(shares.iloc[0])
