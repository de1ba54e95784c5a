"""Claims about the structure of banks: NE1 and NE2."""

import numpy as np
import pandas as pd

from neural_echos.evaluation import mean_interval
from neural_echos.verdicts.readings import (
    INCONCLUSIVE,
    NOT_SUPPORTED,
    SUPPORTED,
    Reading,
    Tables,
    rule,
)


@rule
def structure_beats_controls(tables: Tables, *, role: str = "trained", least_layers: int = 2) -> Reading:
    """NE1: trained depthwise kernels are structured, untrained and regular kernels of the same size are not.

    Value: the margin between the lower bound of a trained bank's structured share and the upper bound of any control of its
    kernel size, median over banks and sizes, with the least and the greatest margin in place of an interval. Supported when
    even the least is positive and every size has a regular control; not supported when even the greatest is negative. Regular
    kernels are a control where they come from at least `least_layers` layers: a lone stem says nothing about regular convolutions.
    """
    measured = (
        "structured share of trained depthwise kernels (lower bound) − of controls of that size (upper bound): "
        "median [least, greatest] over banks and sizes"
    )
    table = tables["structure"]
    trained = table[(table.role == role) & (table.kind == "depthwise")] if len(table) else table
    untrained = table[table.role == "untrained"] if len(table) else table
    regular = table[table.role.str.startswith("trained") & (table.kind == "regular")] if len(table) else table
    regular = regular[regular.layers >= least_layers]
    controls = pd.concat([untrained, regular])
    margins = [
        row.low - controls[controls.kernel_size == row.kernel_size].high.max()
        for row in trained.itertuples()
        if (controls.kernel_size == row.kernel_size).any()
    ]
    if not margins:
        return Reading(measured, remark="no trained bank with a control of the same kernel size")
    low, high = float(np.min(margins)), float(np.max(margins))
    reading = SUPPORTED if low > 0 else NOT_SUPPORTED if high < 0 else INCONCLUSIVE
    remark = f"{sum(margin > 0 for margin in margins)} of {len(margins)} banks and sizes are above their controls"
    if lone := sorted(set(trained.kernel_size) - set(regular.kernel_size)):
        sizes = ", ".join(f"{size}×{size}" for size in lone)
        remark += f"; no trained regular convolutions of {sizes} at hand, so only the untrained half of the claim was tested there"
        reading = INCONCLUSIVE if reading == SUPPORTED else reading
    return Reading(measured, float(np.median(margins)), low, high, reading, remark)


@rule
def centres_dominate(tables: Tables, *, role: str = "trained", least: float = 0.5) -> Reading:
    """NE2: with the declared k, there are clusters of excitatory centres, of inhibitory ones and of others; the first two dominate.

    A cluster is what its average is. Value: joint share of kernels in clusters of centres, mean over a bank's sizes and then over
    banks, with a t interval over banks cut to 0 to 1. Supported when the interval lies above `least` and most banks and sizes have
    all three; not supported when it lies below.
    """
    measured = "share of kernels in clusters whose average is an excitatory or inhibitory centre, mean over banks"
    table = tables["structure"]
    chosen = (
        table[(table.role == role) & (table.kind == "depthwise") & table.other_share.notna()] if len(table) else table
    )
    if not len(chosen):
        return Reading(measured, remark="no clustered trained bank")
    centres = (chosen.excitatory_share + chosen.inhibitory_share).groupby(chosen.model).mean()
    value, low, high = mean_interval(centres.to_numpy())
    low, high = max(low, 0.0), min(high, 1.0)  # a share; few banks give a wide interval
    both = (chosen.excitatory_share > 0) & (chosen.inhibitory_share > 0)
    three = both & (chosen.other_share > 0)
    reading = (
        SUPPORTED if low > least and 2 * three.sum() > len(three) else NOT_SUPPORTED if high < least else INCONCLUSIVE
    )
    remark = f"both centre types in {both.sum()} of {len(both)} banks and sizes, a cluster of others besides in {three.sum()}"
    return Reading(measured, value, low, high, reading, remark)
