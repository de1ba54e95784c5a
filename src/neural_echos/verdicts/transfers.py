"""Claims about filters of other networks: MK1 to MK4."""

from collections.abc import Mapping, Sequence

import numpy as np

from neural_echos.evaluation import mean_interval, paired
from neural_echos.verdicts.readings import (
    INCONCLUSIVE,
    NOT_SUPPORTED,
    SUPPORTED,
    Reading,
    Tables,
    against_zero,
    detectable_effect,
    diverged_runs,
    over_pairs,
    rule,
    runs_of,
    told_of,
)
from neural_echos.words import number, points


@rule
def transfer_holds(
    tables: Tables, *, pairs: Sequence[Mapping[str, str]], baseline: str, control: str, margin: float = 0.02
) -> Reading:
    """MK1 and MK3: frozen filters of another model lose less than `margin` against `baseline`, and beat frozen `control`.

    Each pair names a dataset, an architecture and the initialisation that transfers. Value: the paired difference in top-1 from the
    baseline, averaged over pairs for each seed; seeds that lack a pair are excluded. Supported if its interval lies above −margin
    and the interval of the difference from the control above 0; not supported if the first lies below −margin or the second
    below 0.
    """
    measured = f"top-1 of frozen transferred filters − {baseline}, paired by seed, mean over {len(pairs)} pairs A → B"
    runs = tables["runs"]
    against = {other: over_pairs(runs, pairs, other) for other in (baseline, control)}
    diverged = diverged_runs(runs, [baseline, control, *(pair["initialisation"] for pair in pairs)])
    if not all(len(found) for found in against.values()):
        return Reading(measured, diverged=diverged)
    gains, won = (against[other].mean(axis=1).to_numpy() for other in (baseline, control))
    value, low, high = mean_interval(gains)
    over = mean_interval(won)
    _, least, most = over
    reading = INCONCLUSIVE
    if low > -margin and least > 0:
        reading = SUPPORTED
    elif high < -margin or most < 0:
        reading = NOT_SUPPORTED
    worst = against[baseline].mean(axis=0)
    beyond = f"{points(*over)} points over frozen {control}"
    lowest = f"the lowest pair is {worst.idxmin()} ({number(100 * worst.min(), signed=True)})"
    remark = told_of(beyond, lowest, detectable_effect(gains))
    return Reading(measured, value, low, high, reading, remark, diverged)


@rule
def transfer_grows_with_source(
    tables: Tables, *, dataset: str, architecture: str, sources: Mapping[str, str]
) -> Reading:
    """MK2: the slope of top-1 with transferred filters over log₁₀ of the source's train images, fitted for each seed.

    `sources` maps each initialisation to the dataset that its source was trained on.
    """
    measured = (
        f"slope of top-1 with transferred filters per factor of 10 in the source's images, {architecture} on {dataset}"
    )
    runs = runs_of(tables, dataset, [architecture])
    images = tables["runs"].groupby("dataset").train_images.first()
    found = runs[runs.initialisation.isin(sources) & runs.top1.notna()]
    found = found.assign(images=found.initialisation.map(sources).map(images).astype(float)).dropna(subset="images")
    slopes = [
        np.polyfit(np.log10(one.images), one.top1, 1)[0]
        for _, one in found.groupby("seed")
        if len(one) == len(sources) and one.images.nunique() > 1
    ]
    diverged = diverged_runs(runs, list(sources))
    if not slopes:
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(slopes)
    remark = detectable_effect(slopes, "points per factor of 10")
    return Reading(measured, value, low, high, against_zero(low, high), remark, diverged)


@rule
def pointwise_hurts(
    tables: Tables, *, dataset: str, architecture: str, depthwise: str, pointwise: str, baseline: str
) -> Reading:
    """MK4: networks with frozen pointwise weights of a source do worse than with its depthwise kernels, and than from scratch.

    Value: top-1 with frozen depthwise kernels − top-1 with frozen pointwise weights, paired by seed. Supported if its interval
    lies above 0 and the interval of pointwise − baseline below 0; not supported if either lies on the other side of 0.
    """
    measured = f"top-1 of {depthwise} − {pointwise}, {architecture} on {dataset}, paired by seed"
    runs = runs_of(tables, dataset, [architecture])
    gains = paired(runs, depthwise, pointwise).difference.to_numpy()
    hurt = paired(runs, pointwise, baseline).difference.to_numpy()
    diverged = diverged_runs(runs, [depthwise, pointwise, baseline])
    if not len(gains) or not len(hurt):
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(gains)
    loss = mean_interval(hurt)
    _, least, most = loss
    reading = SUPPORTED if low > 0 and most < 0 else NOT_SUPPORTED if high < 0 or least > 0 else INCONCLUSIVE
    against = f"{pointwise} − {baseline}: {points(*loss)} points"
    return Reading(measured, value, low, high, reading, told_of(against, detectable_effect(gains)), diverged)
