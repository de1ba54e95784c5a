"""Claims about the structure of banks: NE1 and NE2."""

from collections.abc import Sequence

import pandas as pd

from neural_echos.evaluation import mean_interval
from neural_echos.structure.intervals import share_difference
from neural_echos.structure.shares import CHANCE
from neural_echos.verdicts.readings import (
    INCONCLUSIVE,
    NOT_SUPPORTED,
    SUPPORTED,
    Reading,
    Tables,
    rule,
)
from neural_echos.words import number, percent, points


@rule
def structure_beats_controls(
    tables: Tables, *, role: str = "trained", least_networks: int = 2, controls: Sequence[str] = ()
) -> Reading:
    """NE1: trained depthwise kernels are structured, and more so than trained regular kernels of the same size.

    Each kernel size is evaluated separately if at least `least_networks` depthwise and as many regular networks have it, trained on
    the same datasets or on one of `controls`. The measure is the difference of their mean structured shares, with a bootstrap
    interval over networks, then layers. Layers that read the image are not used as controls. Value: the smallest difference over
    these sizes. Supported if at every size the interval lies above 0 and every depthwise bank, of any size, has its interval above
    chance; not supported if at any size it lies below 0 or any depthwise bank's interval lies below chance. The reason gives the
    difference at every size, the sizes without a control, which the verdict leaves open, and the shares of regular kernels.
    """
    measured = "structured share of trained depthwise − regular kernels"
    table = tables["structure"]
    depthwise = table[(table.role == role) & (table.kind == "depthwise")]
    others = table[table.role.isin(["trained", role]) & (table.kind == "regular")]
    counted = {*depthwise.trained_on, *controls}
    regular = others[others.trained_on.isin(counted)]
    if not len(depthwise):
        return Reading(measured, remark="no trained depthwise bank")
    sizes = {
        size: (depthwise[depthwise.kernel_size == size], regular[regular.kernel_size == size])
        for size in sorted(set(depthwise.kernel_size))
    }
    decided = {
        size: share_difference(*banks)
        for size, banks in sizes.items()
        if min(map(len, banks)) >= max(least_networks, 2)
    }
    above, below = (depthwise.low > CHANCE).sum(), (depthwise.high < CHANCE).sum()
    told = [_told_of_size(size, *banks, decided.get(size)) for size, banks in sizes.items()]
    told.append(
        f"{above} of {len(depthwise)} depthwise banks (one per network and size) have their whole interval above chance"
    )
    if foreign := sorted(set(regular.trained_on) - set(depthwise.trained_on)):
        told.append(f"the controls include regular networks trained on {' and '.join(foreign)}")
    if unused := sorted(set(others.trained_on) - counted):
        told.append(f"regular networks trained on {' and '.join(unused)} are not counted")
    if not decided:
        return Reading(measured, remark="; ".join(told))
    measured += f" at {' and '.join(f'{size}×{size}' for size in decided)}" + ", the least difference" * (
        len(decided) > 1
    )
    value, low, high = min(decided.values())
    if below or any(most < 0 for _, _, most in decided.values()):
        reading = NOT_SUPPORTED
    else:
        alike = above == len(depthwise) and all(least > 0 for _, least, _ in decided.values())
        reading = SUPPORTED if alike else INCONCLUSIVE
    return Reading(measured, value, low, high, reading, "; ".join(told))


def _told_of_size(
    size: int, depthwise: pd.DataFrame, regular: pd.DataFrame, decided: tuple[float, float, float] | None
) -> str:
    """Describe one kernel size: its difference, or that it has no control, and the shares of regular kernels."""
    name = f"{size}×{size}"
    if not len(regular):
        return f"{name}: no regular network to compare with"
    beyond = f"{(regular.low > CHANCE).sum()} of {len(regular)} above chance ({percent(CHANCE, 0)})"
    counted = f"networks: {len(depthwise)} depthwise, {len(regular)} regular"
    own = f"{counted}; mean of the regular ones {percent(regular.share.mean())}, {beyond}"
    if decided is None:
        difference = number(100 * (depthwise.share.mean() - regular.share.mean()), signed=True)
        return f"{name}: {difference} points, too few networks for an interval ({own})"
    return f"{name}: {points(*decided)} points ({own})"


@rule
def centres_dominate(tables: Tables, *, role: str = "trained", least: float = 0.5) -> Reading:
    """NE2: with the declared k, there are clusters of excitatory centres, of inhibitory ones and of others; the first two dominate.

    A cluster is named after its centroid. Value: the joint share of kernels in clusters of centres, averaged over a bank's sizes
    and then over banks, with a t interval over banks clipped to [0, 1]. Supported if the interval lies above `least` and most
    banks and sizes have all three; not supported if it lies below.
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
    low, high = max(low, 0.0), min(high, 1.0)  # a share; with few banks the interval can be wider than [0, 1]
    both = (chosen.excitatory_share > 0) & (chosen.inhibitory_share > 0)
    three = both & (chosen.other_share > 0)
    reading = (
        SUPPORTED if low > least and 2 * three.sum() > len(three) else NOT_SUPPORTED if high < least else INCONCLUSIVE
    )
    remark = (
        f"both centre types in {both.sum()} of {len(both)} banks (one per network and size), "
        f"{three.sum()} of them with a cluster of others"
    )
    return Reading(measured, value, low, high, reading, remark)
