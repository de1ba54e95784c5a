"""Tidy tables of the fits at scale: how much receptive-field models explain, and how their parameters are distributed."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from neural_echos.artifacts.structure import kernel_cells
from neural_echos.errors import EchosError
from neural_echos.receptive_fields.difference_of_gaussians import has_dog
from neural_echos.receptive_fields.dog_fit import gamma_range
from neural_echos.structure.intervals import wilson_interval
from neural_echos.words import number

THIRDS = ("first third of the depth", "second third", "last third")
_FIFTHS = 5  # parts of the depth
_END = 1e-3  # a γ within this relative distance of an end of its range counts as at the end


def explained_by_bank(explained: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows of a table of schema "explained" for display, and add their gain over shuffled taps.

    Returns
    -------
    DataFrame
        The table's columns (shares of variance from 0 to 1, `offset` in taps), trained banks before untrained ones and depthwise
        kernels before others; `kernel`, such as "7×7" or "3×3 regular"; and `gain`, `explained` − `null_explained`.
    """
    rows = explained.sort_values(["role", "kind", "model", "kernel_height", "kernel_width"]).reset_index(drop=True)
    kernel = kernel_cells(rows.kernel_height, rows.kernel_width, rows.kind)
    return rows.assign(kernel=kernel, gain=rows.explained - rows.null_explained)


def range_of_gains(gain: pd.Series) -> str:
    """Format the range of differences of shares, in points."""
    ends = [number(100 * value, signed=True) for value in sorted({gain.min(), gain.max()})] if len(gain) else []
    return " to ".join(ends) or "none"


def fitted_parameters(
    fits: pd.DataFrame, matches: pd.DataFrame, *, threshold: float, control: str | None = None
) -> pd.DataFrame:
    """Gather the fitted parameters of each depthwise kernel.

    Parameters
    ----------
    fits, matches : DataFrame
        Tables of these schemas.
    threshold : float
        Minimum cosine with the best DoG for a kernel to have a centre.
    control : str, optional
        The untrained model.

    Returns
    -------
    DataFrame
        One row for each kernel with `model`, `role` ("trained" or "untrained"), `kernel_size` (taps), `depth` (0 to 1), `fitted`
        (whether it has a DoG at all), `centre`, `gamma` and `excitatory` (0 or 1; both NaN without a centre), `offset` (taps from
        the middle; NaN if the DoG is the best model), `explained` and `null_explained` (shares of the variance of the kernel, and
        of its shuffled taps, that the best model explains).
    """
    key = ["model", "kind", "kernel_height", "depth", "row"]
    offset = pd.Series(np.hypot(matches.offset_x, matches.offset_y), matches.index)
    best = matches.assign(offset=offset.where(matches.best != "dog"))
    best = best.assign(explained=best.cosine**2, null_explained=best.null_cosine**2)
    kernels = fits[[*key, "gamma", "sign", "cosine"]].merge(
        best[[*key, "offset", "explained", "null_explained"]], on=key, how="outer"
    )
    kernels = kernels[kernels.kind == "depthwise"].rename(columns={"kernel_height": "kernel_size"})
    centre = kernels.cosine >= threshold
    kernels = kernels.assign(
        role=np.where(kernels.model == control, "untrained", "trained"),
        fitted=kernels.cosine.notna(),
        centre=centre,
        gamma=kernels.gamma.where(centre),
        excitatory=(kernels.sign > 0).astype(float).where(centre),
    )
    shown = ["model", "role", "kernel_size", "depth", "fitted", "centre", "gamma", "excitatory", "offset"]
    return kernels[[*shown, "explained", "null_explained"]].reset_index(drop=True)


def gamma_ends(kernels: pd.DataFrame) -> pd.DataFrame:
    """Count the centres whose γ is at an end of the range for their kernel size.

    Parameters
    ----------
    kernels : DataFrame
        From `fitted_parameters`.

    Returns
    -------
    DataFrame
        One row for each kernel size with `kernel_size`, `centres`, `lower` and `upper` (ends of the range of γ), and
        `at_lower` and `at_upper` (shares of centres there).
    """
    rows = []
    centres = kernels[kernels.centre]
    for size in sorted(centres.kernel_size.unique()):
        gamma = centres[centres.kernel_size == size].gamma
        lower, upper = gamma_range(int(size)) if has_dog(int(size), int(size)) else (np.nan, np.nan)
        rows.append(
            {"kernel_size": size, "centres": len(gamma), "lower": lower, "upper": upper}
            | {"at_lower": np.isclose(gamma, lower, rtol=_END).mean()}
            | {"at_upper": np.isclose(gamma, upper, rtol=_END).mean()}
        )
    return pd.DataFrame(rows, columns=["kernel_size", "centres", "lower", "upper", "at_lower", "at_upper"])


def signs_by_depth(kernels: pd.DataFrame, least: int = 20) -> pd.DataFrame:
    """Share of excitatory centres among trained kernels with a centre, in fifths of the depth.

    Parameters
    ----------
    kernels : DataFrame
        From `fitted_parameters`.
    least : int
        Minimum number of centres in a fifth; smaller ones are omitted.

    Returns
    -------
    DataFrame
        `kernel_size`, `depth` (middle of the fifth), `share`, `low` and `high` (Wilson's 95 % interval), and `n`.
    """
    centres = kernels[kernels.centre & (kernels.role == "trained")]
    return _shares(centres, [centres.kernel_size, _fifths(centres.depth)], least)


def explained_by_depth(kernels: pd.DataFrame, least_size: int = 5) -> pd.DataFrame:
    """Mean share of variance explained by the best model, in fifths of the depth.

    Parameters
    ----------
    kernels : DataFrame
        From `fitted_parameters`.
    least_size : int
        Smallest kernel size to include, because any model explains most of a small kernel.

    Returns
    -------
    DataFrame
        `role`, `taps` ("as they are" or "shuffled"), `depth` (middle of the fifth), `explained` (0 to 1) and `n` (kernels).
    """
    large = kernels[kernels.kernel_size >= least_size]
    parts = []
    for column, taps in (("explained", "as they are"), ("null_explained", "shuffled")):
        means = large.groupby([large.role, _fifths(large.depth)])[column].agg(["mean", "size"]).reset_index()
        parts.append(means.rename(columns={"mean": "explained", "size": "n"}).assign(taps=taps))
    return pd.concat(parts, ignore_index=True)[["role", "taps", "depth", "explained", "n"]]


def parameters_by_family(kernels: pd.DataFrame, families: Mapping[str, str], least: int) -> pd.DataFrame:
    """Group kernels by family, size and third of the depth.

    Parameters
    ----------
    kernels : DataFrame
        From `fitted_parameters`.
    families : mapping of str to str
        Pattern of the models' names for each family, such as "mobilenet*".
    least : int
        Minimum number of kernels in a group; smaller ones are not shown.

    Returns
    -------
    DataFrame
        The rows of `kernels` that belong to a family, in the families' order, with `family`, `group`, such as "MCUNet, 5×5", and
        `third` of the depth; `gamma`, `excitatory` and `offset` are NaN if too few kernels of a third have them.

    Raises
    ------
    EchosError
        No model belongs to a family.
    """
    names = list(families)
    of = {
        model: next((name for name in names if fnmatchcase(model, families[name])), None)
        for model in kernels.model.unique()
    }
    mine = kernels[kernels.model.map(of).notna()]
    if not len(mine):
        raise EchosError(
            f"fit_distributions_by_family: there are no fits of {', '.join(families.values())}; choose other families"
        )
    family = mine.model.map(of)
    mine = mine.assign(family=family, place=family.map(names.index)).sort_values(
        ["place", "kernel_size"], kind="stable"
    )
    third = (mine.depth * len(THIRDS)).astype(int).clip(upper=len(THIRDS) - 1)
    size = mine.kernel_size.astype(str)
    mine = mine.assign(group=mine.family + ", " + size + "×" + size, third=third.map(dict(enumerate(THIRDS))))
    for column in ("gamma", "excitatory", "offset"):
        count = mine.groupby(["group", "third"])[column].transform("count")
        mine[column] = mine[column].where(count >= least)
    return mine.drop(columns="place").reset_index(drop=True)


def signs_by_family(kernels: pd.DataFrame) -> pd.DataFrame:
    """Share of excitatory centres in `parameters_by_family`: `group`, `third`, `share`, `low`, `high`, `n`."""
    centres = kernels[kernels.excitatory.notna()]
    return _shares(centres, ["group", "third"], 1)


def _shares(centres: pd.DataFrame, by: list, least: int) -> pd.DataFrame:
    """Share of excitatory centres in each group with at least `least`, with Wilson's interval."""
    shares = centres.groupby(by).excitatory.agg(["mean", "size"]).reset_index()
    shares = shares[shares["size"] >= least].rename(columns={"mean": "share", "size": "n"}).reset_index(drop=True)
    low, high = wilson_interval(shares.share.to_numpy(), shares.n.to_numpy())
    return shares.assign(low=low, high=high)


def _fifths(depth: pd.Series) -> pd.Series:
    """Middle of the fifth of the depth that contains each kernel."""
    return ((depth * _FIFTHS).astype(int).clip(upper=_FIFTHS - 1) + 0.5) / _FIFTHS
