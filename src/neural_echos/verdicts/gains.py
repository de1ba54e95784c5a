"""Claims about the gain of an initialisation: NE3 to NE6."""

from collections.abc import Sequence

from neural_echos.errors import EchosError
from neural_echos.evaluation import holm, mean_interval, paired, paired_p, slopes_over_size
from neural_echos.verdicts.readings import (
    INCONCLUSIVE,
    LOSS,
    NOT_SUPPORTED,
    SUPPORTED,
    Reading,
    Tables,
    against_zero,
    detectable_effect,
    differences_of,
    diverged_runs,
    rule,
    runs_of,
    told_of,
    top1_of,
)


@rule
def gain(
    tables: Tables,
    *,
    dataset: str,
    architectures: Sequence[str],
    initialisation: str,
    baseline: str,
    expect: str,
    margin: float = 0.0,
) -> Reading:
    """NE3 and NE5: the paired difference in top-1, averaged over architectures for each seed; seeds that lack one are excluded.

    With ``expect="positive"``: supported if the interval lies above 0, not supported if it lies below `margin` (a
    difference too small to matter). With ``expect="none"``: supported if the interval lies below `margin`, not supported
    if it lies above 0. An interval entirely below 0 is reported as a loss.
    """
    measured = top1_of(f"{initialisation} − {baseline}", dataset, architectures)
    if expect not in ("positive", "none"):
        raise EchosError(f"gain: expect must be 'positive' or 'none', not {expect!r}; correct the claim")
    gains, diverged = differences_of(tables, dataset, architectures, initialisation, baseline)
    if not len(gains):
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(gains)
    if expect == "positive":
        reading = SUPPORTED if low > 0 else NOT_SUPPORTED if high < margin else INCONCLUSIVE
    else:
        reading = SUPPORTED if high < margin else NOT_SUPPORTED if low > 0 else INCONCLUSIVE
    remark = told_of(LOSS if high < 0 else "", detectable_effect(gains))
    return Reading(measured, value, low, high, reading, remark, diverged)


@rule
def gain_grows_with_size(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisation: str, baseline: str
) -> Reading:
    """NE4: the slope of the paired gain over kernel size (share per tap of side), fitted for each seed, with a t interval.

    Seeds that lack an architecture are excluded.
    """
    measured = f"slope of the gain of {initialisation} over {baseline} with kernel size, per tap of side, on {dataset}"
    runs = runs_of(tables, dataset, architectures)
    pairs = paired(runs, initialisation, baseline)
    slopes = slopes_over_size(pairs, len(set(architectures))).slope.to_numpy()
    diverged = diverged_runs(runs, [initialisation, baseline])
    if not len(slopes):
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(slopes)
    return Reading(
        measured, value, low, high, against_zero(low, high), detectable_effect(slopes, "points per tap"), diverged
    )


@rule
def variety_matters(
    tables: Tables,
    *,
    dataset: str,
    architecture: str,
    varied: str,
    fixed_gamma: Sequence[str],
    one_centre: Sequence[str],
) -> Reading:
    """NE6: varied γ with both centre types beats every fixed γ and every single centre type.

    Value: the smallest of the paired differences from those variants. Supported if all intervals lie above 0; this needs no
    correction, since all of them have to. Not supported if any difference is below 0 with p ≤ .05 after Holm's
    correction over the variants, since with more variants one is more likely to be below by chance.
    """
    measured = f"top-1 of {varied} − the best variant with one γ or one centre type, {architecture} on {dataset}"
    variants = [*fixed_gamma, *one_centre]
    runs = runs_of(tables, dataset, [architecture])
    found = {other: paired(runs, varied, other).difference.to_numpy() for other in variants}
    diverged = diverged_runs(runs, [varied, *variants])
    if any(not len(differences) for differences in found.values()):
        return Reading(measured, diverged=diverged)
    intervals = {other: mean_interval(differences) for other, differences in found.items()}
    least = min(intervals, key=lambda other: intervals[other][0])
    corrected = holm([paired_p(differences) for differences in found.values()])
    worse = [p <= 0.05 and value < 0 for p, (value, _, _) in zip(corrected, intervals.values(), strict=True)]
    reading = SUPPORTED if all(low > 0 for _, low, _ in intervals.values()) else INCONCLUSIVE
    remark = told_of(f"the smallest difference is to {least}", detectable_effect(found[least]))
    return Reading(measured, *intervals[least], NOT_SUPPORTED if any(worse) else reading, remark, diverged)
