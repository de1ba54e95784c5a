"""Claims about kernels with a named pattern: UU1 to UU3."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import binom, rankdata, spearmanr

from neural_echos.structure.intervals import TAILS, pooled_interval
from neural_echos.verdicts.readings import (
    INCONCLUSIVE,
    NOT_RUN,
    NOT_SUPPORTED,
    SUPPORTED,
    Reading,
    Tables,
    rule,
)
from neural_echos.words import count_of, number, percent, points


@rule
def patterns_cover_kernels(
    tables: Tables, *, least: Mapping[str, float], margin: float = 0.1, by: str = "cluster", role: str = "trained"
) -> Reading:
    """UU1: in each family, at least the published share of kernels has a named pattern, and far fewer have one by chance.

    `least` gives each family's published share, by a pattern of its models' names (such as "convnext_*"). Value: the share of
    kernels with a named pattern at the declared threshold, averaged over the family's models (and, by cluster, over trainings of
    the autoencoder), with a bootstrap interval over models, then layers and trainings; for several families, the one furthest
    below its published share. Supported if in every family the interval lies at or above `least`, and the intervals of the
    excess over shuffled taps and over the untrained control of the same kernel size lie above `margin`; not supported if in
    any family the interval lies below `least` or either excess below `margin`. If a family is missing, the claim stays open. If all
    are missing, the available trained banks are compared with the smallest published share, but only as a remark.
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
            f"no bank of {' or '.join(least)}; {count_of(layers.model.nunique(), 'other trained network')} against the smallest "
            f"published share, {percent(min(least.values()), 0)}: {ours.reading} ({ours.remark})"
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

    Layers count if they have at least `least_kernels` kernels and there is a control of their kernel size. A layer's bar is the
    upper bound of that control's share, or the layer's own share with shuffled taps if that is larger. Value: the share of layers
    above their bar, averaged over models, with a bootstrap interval over models, then layers. Supported if every layer's interval
    lies above its bar; not supported if more lie below it than expected by chance at a rate of one in 40 (the binomial's
    95th percentile); otherwise inconclusive. Kernels count by their own pattern, because a cluster's name would transfer a pattern
    from the kernels of one layer to those of another.
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
        f"{int(above.sum())} of {len(above)} layers are above, {surely} of them with the whole interval; the smallest margin: "
        f"layer {int(least.layer_index)} of {least.model}, {percent(least.share)} against {percent(bar.iloc[place])}; in "
        f"{int((layers.share < 0.5).sum())} layers fewer than half of the kernels have a pattern"
    )
    return Reading(measured, value, low, high, reading, remark)


@rule
def patterns_follow_accuracy(tables: Tables, *, by: str = "kernel", role: str = "trained") -> Reading:
    """UU3: networks with a higher published ImageNet top-1 have a larger share of kernels with a named pattern.

    A network's share is over all its depthwise kernels of any size, at the declared threshold. Value: Spearman's rank
    correlation of share and top-1 over all networks with a declared top-1, at least five, with the interval of Bonett and Wright
    (Psychometrika 65, 2000). A second correlation uses ranks within families of several networks, with p from 10,000
    permutations within families. Supported if the interval lies above 0 and the correlation within families is
    positive with p ≤ .05; not supported if the interval lies below 0, or that correlation is negative with p ≤ .05.
    """
    measured = (
        "rank correlation, in hundredths, of a network's share of kernels with a named pattern and its published top-1"
    )
    networks = _networks(tables, by, role)
    if len(networks) < 5:
        return Reading(
            measured, remark=f"{len(networks)} trained networks with a published top-1; the rule needs at least 5"
        )
    value = float(spearmanr(networks.share, networks.top1)[0])
    reach = ndtri(TAILS[1]) * np.sqrt((1 + value**2 / 2) / (len(networks) - 3))
    low, high = (float(np.tanh(np.arctanh(np.clip(value, -0.999, 0.999)) + one)) for one in (-reach, reach))
    within, p, families = _within_families(networks)
    if high < 0 or (within < 0 and p <= 0.05):
        reading = NOT_SUPPORTED
    else:
        reading = SUPPORTED if low > 0 and within > 0 and p <= 0.05 else INCONCLUSIVE
    beyond = float(spearmanr(networks.share - networks.null, networks.top1)[0])
    own = "no family with two networks"
    if families:
        own = f"within {families} families {number(within, 2, signed=True)} (p = {p:.2f})"
    remark = f"{len(networks)} networks; {own}; with the excess over shuffled taps {number(beyond, 2, signed=True)}"
    return Reading(measured, value, low, high, reading, remark)


def _networks(tables: Tables, by: str, role: str) -> pd.DataFrame:
    """Share of each network's depthwise kernels with a pattern, and with shuffled taps (`null`), its family and top-1."""
    shares = tables["pattern_shares"]
    chosen = shares[shares.declared.astype(bool) & (shares.by == by) & (shares.kind == "depthwise")]
    chosen = chosen[(chosen.role == role) & chosen.layer.isna()]
    chosen = chosen.assign(named=chosen.share * chosen.kernels, shuffled=chosen.shuffled.astype(bool))
    sums = chosen.groupby(["model", "shuffled"])[["named", "kernels"]].sum()
    share = (sums.named / sums.kernels).unstack().rename(columns={False: "share", True: "null"})
    return share.reset_index().merge(tables["models"], on="model")


def _within_families(networks: pd.DataFrame) -> tuple[float, float, int]:
    """Rank correlation of share and top-1 within families of several networks, its two-sided p, and the number of families."""
    groups = [one for _, one in networks.groupby("family") if len(one) > 1 and one.family.iloc[0]]
    ranks = [[rankdata(one[name]) - (len(one) + 1) / 2 for one in groups] for name in ("share", "top1")]
    size = np.sqrt(np.prod([sum((one**2).sum() for one in of) for of in ranks]))
    if not size:
        return 0.0, 1.0, len(groups)
    rng = np.random.default_rng(0)
    found = sum((a * b).sum() for a, b in zip(*ranks, strict=True)) / size
    drawn = sum(rng.permuted(np.tile(a, (10_000, 1)), axis=1) @ b for a, b in zip(*ranks, strict=True)) / size
    return float(found), float((np.abs(drawn) >= abs(found) - 1e-9).mean()), len(groups)


def _layers_with_controls(shares: pd.DataFrame, by: str, role: str) -> pd.DataFrame:
    """Depthwise layers of this role at the declared threshold, with the shares of shuffled taps and of the control.

    Adds `null` and `null_by_training`, the layer's share with shuffled taps, and `control` and `control_high`, the largest share
    of an untrained bank of the same kernel size and the largest upper end of its interval, NaN if there is none.
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
    """Compare the layers of a family's models with its published share, shuffled taps and controls."""
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
    told = [f"{points(*interval)} points over {name}" for name, interval in excess.items()]
    told += ["no control of the same kernel size"] * (len(excess) < 2)
    return Reading("", value, low, high, reading, ", ".join(told))


def _pooled(layers: pd.DataFrame, less: str | None = None) -> tuple[float, float, float]:
    """Mean share over models, minus another column if given, with its interval over models, layers and trainings."""
    values, weights = [], []
    for _, mine in layers.groupby("model", sort=False):
        share = np.stack(mine.by_training.to_list())
        values.append(share - np.stack(mine[less].to_list()).reshape(len(mine), -1) if less else share)
        weights.append(mine.kernels.to_numpy())
    return pooled_interval(values, weights)


def _worst(readings: Sequence[str]) -> str:
    return next(one for one in (NOT_SUPPORTED, INCONCLUSIVE, SUPPORTED) if one in readings)
