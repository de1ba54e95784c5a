"""Verdicts: each claim of a paper against what was measured, by a decision rule that the config declares beforehand.

A rule turns tables into a value, its 95 % interval, and a reading (supported, not supported, inconclusive). Where the claim is
about another data set than the one at hand, the verdict is "not run at this scale", and the reading is only told as a remark.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import binom

from neural_echos.errors import EchosError, nearest
from neural_echos.evaluation import detectable, holm, mean_interval, paired, paired_p
from neural_echos.structure.intervals import pooled_interval
from neural_echos.tables import SCHEMAS

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_RUN = "supported", "not supported", "inconclusive", "not run at this scale"


@dataclass(frozen=True)
class Reading:
    """What a rule read off the tables; `value` None where there was nothing to read, `diverged` which runs it had to leave out."""

    measured: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reading: str = NOT_RUN
    remark: str = ""
    diverged: str = ""


Tables = Mapping[str, pd.DataFrame]
Rule = Callable[..., Reading]
_RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Enter a decision rule `(tables, **options) -> Reading` in the registry under its own name."""
    _RULES[function.__name__] = function
    return function


def rules() -> list[str]:
    """List the decision rules."""
    return sorted(_RULES)


def decide(claims: Sequence[Mapping[str, Any]], tables: Tables, scale: str) -> pa.Table:
    """Give every claim its verdict, in a table of schema "verdicts".

    Parameters
    ----------
    claims : sequence of mappings
        Each with id, paper, statement, rule, needs (the data set that the claim is about, or a list of them), options, artifact.
    tables : mapping of DataFrames
        "runs", "structure", "pattern_shares" and "replacements", any of them possibly empty.
    scale : str
        One phrase that says at which scale this preset runs.

    Raises
    ------
    EchosError
        A claim names an unknown rule, or options that its rule does not take.
    """
    rows = []
    for claim in claims:
        if claim["rule"] not in _RULES:
            raise EchosError(
                f"claim {claim['id']}: expected a rule among {rules()}, found {claim['rule']!r}{nearest(claim['rule'], rules())}"
            )
        rule_of = _RULES[claim["rule"]]
        try:
            inspect.signature(rule_of).bind(tables, **claim["options"])
        except TypeError as error:
            raise EchosError(
                f"claim {claim['id']}: expected the options of {claim['rule']}, found {claim['options']} ({error}); correct them"
            ) from None
        measured = rule_of(tables, **claim["options"])
        about = {claim["needs"]} if isinstance(claim["needs"], str) else set(claim["needs"])
        reading, told = measured.reading, _told(measured.remark, measured.diverged)
        if measured.diverged and reading == SUPPORTED:
            reading = INCONCLUSIVE  # the runs that are left may be the better ones
        verdict, reason = reading, told
        if measured.value is None:
            verdict, reason = NOT_RUN, told or "this preset has no such runs"
        elif _at_hand(claim["options"], tables) != about:
            verdict = NOT_RUN
            reason = f"the claim is about {' and '.join(sorted(about))}; at this scale the same rule reads: {reading}"
            reason += f" ({told})" if told else ""
        rows.append(
            {
                "claim": claim["id"],
                "paper": claim["paper"],
                "statement": claim["statement"],
                "measured": measured.measured,
                "value": measured.value,
                "low": measured.low,
                "high": measured.high,
                "scale": scale,
                "verdict": verdict,
                "reason": reason,
                "artifact": claim["artifact"],
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMAS["verdicts"])


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
    """NE3 and NE5: the paired difference in top-1, averaged over architectures, seed by seed; seeds that lack one are left out.

    With ``expect="positive"``: supported when the interval lies above 0, not supported when it lies below `margin` (a
    difference too small to matter). With ``expect="none"``: supported when the interval lies below `margin`, not supported
    when it lies above 0.
    """
    measured = f"top-1 of {initialisation} − {baseline} on {dataset}, paired by seed, mean over {len(architectures)} architectures"
    runs = _runs_of(tables, dataset, architectures)
    pairs = paired(runs, initialisation, baseline)
    if expect not in ("positive", "none"):
        raise EchosError(f"gain: expected expect to be 'positive' or 'none', found {expect!r}; correct the claim")
    pairs = pairs[pairs.groupby("seed").architecture.transform("nunique") == len(set(architectures))]
    diverged = _diverged(runs, [initialisation, baseline])
    if not len(pairs):
        return Reading(measured, diverged=diverged)
    gains = pairs.groupby("seed").difference.mean().to_numpy()
    value, low, high = mean_interval(gains)
    if expect == "positive":
        reading = SUPPORTED if low > 0 else NOT_SUPPORTED if high < margin else INCONCLUSIVE
    else:
        reading = SUPPORTED if high < margin else NOT_SUPPORTED if low > 0 else INCONCLUSIVE
    return Reading(measured, value, low, high, reading, _could_see(gains), diverged)


@rule
def gain_grows_with_size(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisation: str, baseline: str
) -> Reading:
    """NE4: the slope of the paired gain over kernel size (share per tap of side), fitted seed by seed, with a t interval.

    Seeds that lack an architecture are left out.
    """
    measured = f"slope of the gain of {initialisation} over {baseline} with kernel size, per tap of side, on {dataset}"
    runs = _runs_of(tables, dataset, architectures)
    pairs = paired(runs, initialisation, baseline)
    slopes = [
        np.polyfit(one.kernel_size, one.difference, 1)[0]
        for _, one in pairs.groupby("seed")
        if one.architecture.nunique() == len(set(architectures)) and one.kernel_size.nunique() > 1
    ]
    diverged = _diverged(runs, [initialisation, baseline])
    if not slopes:
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(slopes)
    return Reading(measured, value, low, high, _positive(low, high), _could_see(slopes, "points per tap"), diverged)


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

    Value: the least of the paired differences to those variants. Supported when all intervals lie above 0, which needs no
    correction, for all must hold at once; not supported when any difference is below 0 with a p of at most .05 after Holm's
    correction over the variants, for the more of them, the sooner one is below by chance.
    """
    measured = f"top-1 of {varied} − the best variant with one γ or one centre type, {architecture} on {dataset}"
    variants = [*fixed_gamma, *one_centre]
    runs = _runs_of(tables, dataset, [architecture])
    found = {other: paired(runs, varied, other).difference.to_numpy() for other in variants}
    diverged = _diverged(runs, [varied, *variants])
    if any(not len(differences) for differences in found.values()):
        return Reading(measured, diverged=diverged)
    intervals = {other: mean_interval(differences) for other, differences in found.items()}
    least = min(intervals, key=lambda other: intervals[other][0])
    corrected = holm([paired_p(differences) for differences in found.values()])
    worse = [p <= 0.05 and value < 0 for p, (value, _, _) in zip(corrected, intervals.values(), strict=True)]
    reading = SUPPORTED if all(low > 0 for _, low, _ in intervals.values()) else INCONCLUSIVE
    remark = _told(f"the least difference is to {least}", _could_see(found[least]))
    return Reading(measured, *intervals[least], NOT_SUPPORTED if any(worse) else reading, remark, diverged)


@rule
def transfer_holds(
    tables: Tables, *, pairs: Sequence[Mapping[str, str]], baseline: str, control: str, margin: float = 0.02
) -> Reading:
    """MK1 and MK3: frozen filters of another model lose less than `margin` against `baseline`, and win against frozen `control`.

    Each pair names a dataset, an architecture and the initialisation that transfers. Value: the paired difference in top-1 from the
    baseline, mean over pairs, seed by seed; seeds that lack one are left out. Supported when its interval lies above −margin and
    that of the difference from the control above 0; not supported when the first lies below −margin or the second below 0.
    """
    measured = f"top-1 of frozen transferred filters − {baseline}, paired by seed, mean over {len(pairs)} pairs A → B"
    runs = tables["runs"]
    against = {other: _over_pairs(runs, pairs, other) for other in (baseline, control)}
    diverged = _diverged(runs, [baseline, control, *(pair["initialisation"] for pair in pairs)])
    if not all(len(found) for found in against.values()):
        return Reading(measured, diverged=diverged)
    gains, won = (against[other].mean(axis=1).to_numpy() for other in (baseline, control))
    value, low, high = mean_interval(gains)
    over, least, most = mean_interval(won)
    reading = INCONCLUSIVE
    if low > -margin and least > 0:
        reading = SUPPORTED
    elif high < -margin or most < 0:
        reading = NOT_SUPPORTED
    worst = against[baseline].mean(axis=0)
    beyond = f"{100 * over:+.1f} [{100 * least:+.1f}, {100 * most:+.1f}] points over frozen {control}"
    lowest = f"the lowest pair is {worst.idxmin()} ({100 * worst.min():+.1f})"
    remark = _told(beyond.replace("-", "−"), lowest.replace("-", "−"), _could_see(gains))
    return Reading(measured, value, low, high, reading, remark, diverged)


@rule
def transfer_grows_with_source(
    tables: Tables, *, dataset: str, architecture: str, sources: Mapping[str, str]
) -> Reading:
    """MK2: the slope of the transferring networks' top-1 over the decimal logarithm of the source's train images, seed by seed.

    `sources` maps each initialisation to the data set that its source was trained on.
    """
    measured = (
        f"slope of top-1 with transferred filters per factor of 10 in the source's images, {architecture} on {dataset}"
    )
    runs = _runs_of(tables, dataset, [architecture])
    images = tables["runs"].groupby("dataset").train_images.first()
    found = runs[runs.initialisation.isin(sources) & runs.top1.notna()]
    found = found.assign(images=found.initialisation.map(sources).map(images).astype(float)).dropna(subset="images")
    slopes = [
        np.polyfit(np.log10(one.images), one.top1, 1)[0]
        for _, one in found.groupby("seed")
        if len(one) == len(sources) and one.images.nunique() > 1
    ]
    diverged = _diverged(runs, list(sources))
    if not slopes:
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(slopes)
    remark = _could_see(slopes, "points per factor of 10")
    return Reading(measured, value, low, high, _positive(low, high), remark, diverged)


@rule
def pointwise_hurts(
    tables: Tables, *, dataset: str, architecture: str, depthwise: str, pointwise: str, baseline: str
) -> Reading:
    """MK4: networks with frozen pointwise weights of a source do worse than with its depthwise kernels, and than from scratch.

    Value: top-1 with the depthwise kernels frozen − with the pointwise weights frozen, paired by seed. Supported when its interval
    lies above 0 and that of pointwise − baseline below 0; not supported when either lies on the other side.
    """
    measured = f"top-1 of {depthwise} − {pointwise}, {architecture} on {dataset}, paired by seed"
    runs = _runs_of(tables, dataset, [architecture])
    gains = paired(runs, depthwise, pointwise).difference.to_numpy()
    hurt = paired(runs, pointwise, baseline).difference.to_numpy()
    diverged = _diverged(runs, [depthwise, pointwise, baseline])
    if not len(gains) or not len(hurt):
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(gains)
    mean, least, most = mean_interval(hurt)
    reading = SUPPORTED if low > 0 and most < 0 else NOT_SUPPORTED if high < 0 or least > 0 else INCONCLUSIVE
    against = f"{pointwise} − {baseline}: {100 * mean:+.1f} [{100 * least:+.1f}, {100 * most:+.1f}] points".replace(
        "-", "−"
    )
    return Reading(measured, value, low, high, reading, _told(against, _could_see(gains)), diverged)


@rule
def patterns_cover_kernels(
    tables: Tables, *, least: Mapping[str, float], margin: float = 0.1, by: str = "cluster", role: str = "trained"
) -> Reading:
    """UU1: in each family, at least that share of kernels has a named pattern, and far fewer have one by chance.

    `least` gives each family's published share, by the pattern of its models' names (such as "convnext_*"). Value: the share of
    kernels with a named pattern at the declared threshold, mean over the family's models, and by cluster over trainings of the
    autoencoder, with a bootstrap interval over models, then layers and trainings; of several families that which is furthest below
    its published share. Supported when in every family the interval lies at or above `least`, and the excess over shuffled taps
    and the excess over the untrained control of the same kernel size lie above `margin`, both with their intervals; not supported
    when in any family the interval lies below `least` or either excess below `margin`. A family that is not at hand leaves the
    claim open; where none is, the trained banks at hand are read against the least of the published shares, and that is only a
    remark.
    """
    counted = "in clusters with a named pattern" if by == "cluster" else "with a named pattern of their own"
    measured = f"share of depthwise kernels {counted}, mean over a family's models"
    layers = _layers_with_controls(tables["pattern_shares"], by, role)
    families = {name: layers[[fnmatchcase(model, name) for model in layers.model]] for name in least}
    found = {name: family for name, family in families.items() if len(family)}
    if not len(layers):
        return Reading(measured, remark="no trained bank with patterns")
    if not found:
        ours = _family_reading(layers, min(least.values()), margin)
        remark = (
            f"no bank of {' or '.join(least)}; the {layers.model.nunique()} trained banks at hand, against the least of their "
            f"published shares, {min(least.values()):.0%}, read: {ours.reading} ({ours.remark})"
        )
        return replace(ours, measured=measured, reading=NOT_RUN, remark=remark)
    readings = {name: _family_reading(family, least[name], margin) for name, family in found.items()}
    worst = min(readings, key=lambda name: (readings[name].value or 0) - least[name])
    reading = _worst([one.reading for one in readings.values()] + [INCONCLUSIVE] * (len(found) < len(least)))
    told = [f"{name} {one.reading}: {one.remark}" for name, one in readings.items()]
    told += [f"no bank of {name}" for name in least if name not in found]
    return replace(readings[worst], measured=measured, reading=reading, remark="; ".join(told))


@rule
def patterns_in_all_layers(
    tables: Tables, *, by: str = "kernel", role: str = "trained", least_kernels: int = 16
) -> Reading:
    """UU2: in every layer more kernels have a named pattern than in the untrained control and with shuffled taps.

    Layers count from `least_kernels` kernels on, and where there is a control of their kernel size. A layer's bar is the upper
    bound of that control's share, or its own share with shuffled taps, where that is more. Value: the share of layers above
    their bar, mean over models, with a bootstrap interval over models, then layers. Supported when every layer's interval lies
    above its bar; not supported when more lie below it than one in 40 of as many layers would by chance (the binomial's 95th
    percentile); else inconclusive. Kernels count by their own pattern: a cluster's name would lend what one layer has to the
    kernels of another.
    """
    measured = "share of layers in which more kernels have a named pattern than in controls, mean over models"
    layers = _layers_with_controls(tables["pattern_shares"], by, role)
    layers = layers[(layers.kernels >= least_kernels) & layers.control.notna()]
    if not len(layers):
        return Reading(measured, remark="no trained bank with a control of the same kernel size")
    bar = layers[["control_high", "null"]].max(axis=1)
    above = (layers.share > bar).astype(float)
    per_model = [above[layers.model == model].to_numpy() for model in layers.model.unique()]
    value, low, high = pooled_interval(per_model, [np.ones(len(one)) for one in per_model])
    surely, below = int((layers.low > bar).sum()), int((layers.high < bar).sum())
    by_chance = binom.ppf(0.95, len(layers), 0.025)
    reading = SUPPORTED if surely == len(layers) else NOT_SUPPORTED if below > by_chance else INCONCLUSIVE
    place = int((layers.share - bar).to_numpy().argmin())
    least = layers.iloc[place]
    remark = (
        f"{int(above.sum())} of {len(above)} layers are above, {surely} with their whole interval; by its margin the least is "
        f"layer {int(least.layer_index)} of {least.model}, {least.share:.1%} against {bar.iloc[place]:.1%}; in "
        f"{int((layers.share < 0.5).sum())} layers fewer than half of the kernels have a pattern"
    )
    return Reading(measured, value, low, high, reading, remark)


@rule
def keeps(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisation: str, baseline: str, margin: float
) -> Reading:
    """QU1: training with a few frozen filters is at most `margin` below training that changes every kernel.

    Value: the paired difference in top-1, averaged over architectures, seed by seed. Supported when the interval lies above
    −`margin`, not supported when it lies below.
    """
    measured = f"top-1 of {initialisation} − {baseline} on {dataset}, paired by seed, mean over {len(architectures)} architectures"
    differences, diverged = _differences(tables, dataset, architectures, initialisation, baseline)
    return _bounded(measured, differences, -margin, diverged)


@rule
def collapses(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisation: str, baseline: str, least: float
) -> Reading:
    """QU2: with random filters frozen in place of the universal ones, top-1 is lower by at least `least`.

    Value: the paired difference in top-1 lost, averaged over architectures, seed by seed. Supported when the interval lies above
    `least`, not supported when it lies below.
    """
    measured = f"top-1 of {baseline} − {initialisation} on {dataset}, paired by seed, mean over {len(architectures)} architectures"
    differences, diverged = _differences(tables, dataset, architectures, baseline, initialisation)
    return _bounded(measured, differences, least, diverged)


@rule
def replaced_keeps(
    tables: Tables,
    *,
    dataset: str,
    architectures: Sequence[str],
    candidates: str,
    control: str,
    margin: float,
    stage: str = "fine_tuned",
) -> Reading:
    """SS1: replacing every kernel by the best a·x + b of a few filters costs at most `margin` of top-1.

    Value: top-1 of the replaced models at that stage − of the same models, whose kernels `control` keeps and which went through the
    same stages, paired by seed, mean over architectures. Supported when the interval lies above −`margin`, not supported when it
    lies below.
    """
    measured = (
        f"top-1 {stage.replace('_', ' ')} of {candidates} − {control} on {dataset}, paired by seed, mean over "
        f"{len(architectures)} architectures"
    )
    table = tables["replacements"]
    table = table[(table.dataset == dataset) & table.architecture.isin(architectures) & (table.stage == stage)]
    known = table.pivot_table(index=["seed", "architecture"], columns="candidates", values="top1", dropna=False)
    if not {candidates, control} <= set(known):
        return Reading(measured)
    pairs = (known[candidates] - known[control]).dropna().reset_index(name="difference")
    whole = pairs[pairs.groupby("seed").architecture.transform("nunique") == len(set(architectures))]
    diverged = _diverged(table.assign(initialisation=table.candidates), [candidates, control])
    return _bounded(measured, whole.groupby("seed").difference.mean().to_numpy(), -margin, diverged)


def _differences(
    tables: Tables, dataset: str, architectures: Sequence[str], one: str, other: str
) -> tuple[np.ndarray, str]:
    """Paired differences in top-1, a mean over all architectures for each seed that has them, and which runs diverged."""
    runs = _runs_of(tables, dataset, architectures)
    pairs = paired(runs, one, other)
    pairs = pairs[pairs.groupby("seed").architecture.transform("nunique") == len(set(architectures))]
    return pairs.groupby("seed").difference.mean().to_numpy(), _diverged(runs, [one, other])


def _bounded(measured: str, differences: np.ndarray, bound: float, diverged: str) -> Reading:
    """Read an interval against a bound that it should lie above."""
    if not len(differences):
        return Reading(measured, diverged=diverged)
    value, low, high = mean_interval(differences)
    reading = SUPPORTED if low > bound else NOT_SUPPORTED if high < bound else INCONCLUSIVE
    return Reading(measured, value, low, high, reading, _could_see(differences), diverged)


def _layers_with_controls(shares: pd.DataFrame, by: str, role: str) -> pd.DataFrame:
    """Layers of depthwise kernels of this role at the declared threshold, with what shuffled taps and the control have.

    Adds `null` and `null_by_training`, the layer's share with shuffled taps, and `control` and `control_high`, the largest share
    of an untrained bank of the same kernel size and the largest upper end of its interval, NaN where there is none.
    """
    declared = shares[shares.declared.astype(bool) & (shares.by == by) & (shares.kind == "depthwise")]
    controls = declared[(declared.role == "untrained") & ~declared.shuffled.astype(bool) & declared.layer.isna()]
    largest = controls.groupby("kernel_size")[["share", "high"]].max()
    layers = declared[(declared.role == role) & declared.layer.notna()].set_index(["model", "kernel_size", "layer"])
    shuffled = layers.shuffled.astype(bool)
    layers = layers[~shuffled].assign(null=layers[shuffled].share, null_by_training=layers[shuffled].by_training)
    layers = layers.reset_index()
    return layers.assign(
        control=layers.kernel_size.map(largest.share).astype(float),
        control_high=layers.kernel_size.map(largest.high).astype(float),
    )


def _family_reading(layers: pd.DataFrame, least: float, margin: float) -> Reading:
    """Read the layers of a family's models against its published share, shuffled taps and controls."""
    value, low, high = _pooled(layers)
    excess = {"shuffled taps": _pooled(layers, "null_by_training")}
    controlled = layers[layers.control.notna()]
    if len(controlled):
        excess["the control"] = _pooled(controlled, "control")
    if high < least or any(most < margin for _, _, most in excess.values()):
        reading = NOT_SUPPORTED
    elif low >= least and len(excess) == 2 and all(lowest > margin for _, lowest, _ in excess.values()):
        reading = SUPPORTED
    else:
        reading = INCONCLUSIVE
    told = [
        f"{100 * mean:+.1f} [{100 * a:+.1f}, {100 * b:+.1f}] points over {name}"
        for name, (mean, a, b) in excess.items()
    ]
    told += ["no control of the same kernel size"] * (len(excess) < 2)
    return Reading("", value, low, high, reading, ", ".join(told).replace("-", "−"))


def _pooled(layers: pd.DataFrame, less: str | None = None) -> tuple[float, float, float]:
    """Mean share over models, less that of another column, with its interval over models, layers and trainings."""
    values, weights = [], []
    for _, mine in layers.groupby("model", sort=False):
        share = np.stack(mine.by_training.to_list())
        values.append(share - np.stack(mine[less].to_list()).reshape(len(mine), -1) if less else share)
        weights.append(mine.kernels.to_numpy())
    return pooled_interval(values, weights)


def _worst(readings: Sequence[str]) -> str:
    return next(one for one in (NOT_SUPPORTED, INCONCLUSIVE, SUPPORTED) if one in readings)


def _positive(low: float, high: float) -> str:
    return SUPPORTED if low > 0 else NOT_SUPPORTED if high < 0 else INCONCLUSIVE


def _runs_of(tables: Tables, dataset: str, architectures: Sequence[str]) -> pd.DataFrame:
    runs = tables["runs"]
    return runs[(runs.dataset == dataset) & runs.architecture.isin(architectures)]


def _over_pairs(runs: pd.DataFrame, pairs: Sequence[Mapping[str, str]], baseline: str) -> pd.DataFrame:
    """Differences in top-1 from a baseline: a row for each seed that all pairs have, a column for each pair."""
    columns = {}
    for pair in pairs:
        mine = runs[(runs.dataset == pair["dataset"]) & (runs.architecture == pair["architecture"])]
        name = f"{pair['initialisation']} on {pair['dataset']}, {pair['architecture']}"
        columns[name] = paired(mine, pair["initialisation"], baseline).set_index("seed").difference
    return pd.DataFrame(columns).dropna()


def _could_see(differences: Sequence[float] | np.ndarray, unit: str = "points") -> str:
    """Say the smallest difference that these seeds find with 80 % power; "" where they do not tell."""
    smallest = detectable(differences)
    return f"{len(differences)} seeds find {100 * smallest:.1f} {unit} with 80 % power" if np.isfinite(smallest) else ""


def _diverged(runs: pd.DataFrame, initialisations: Sequence[str]) -> str:
    """Say which runs have no accuracy because they diverged; "" where none has."""
    lost = runs[runs.initialisation.isin(initialisations) & runs.top1.isna()]
    told = [f"{len(some)} of {name}" for name, some in lost.groupby("initialisation")]
    return f"runs that diverged are left out: {', '.join(told)}" if told else ""


def _told(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _at_hand(options: Mapping[str, Any], tables: Tables) -> set[str]:
    """Which data sets the numbers behind a claim come from."""
    if "dataset" in options:
        return {options["dataset"]}
    if "pairs" in options:
        return {pair["dataset"] for pair in options["pairs"]}
    banks = pd.concat([tables[name][["role", "trained_on"]] for name in ("structure", "pattern_shares")])
    return set(banks[banks.role == options.get("role", "trained")].trained_on)
