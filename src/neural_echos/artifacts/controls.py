"""The structure of trained banks beside that of their controls: untrained ones, and trained regular convolutions."""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

import pandas as pd

from neural_echos.artifacts.kernels import Banks, sample
from neural_echos.artifacts.names import bank_labels
from neural_echos.errors import EchosError
from neural_echos.structure.intervals import share_difference
from neural_echos.tables import kernels_of


def structure_forest(structure: pd.DataFrame) -> pd.DataFrame:
    """Arrange trained banks by the share of their kernels that is structured, each with its own control in the same row.

    The control of a bank is the untrained one whose id begins with the bank's and a hyphen (of several such banks, of the
    longest id), as `convnext-untrained` does; other untrained banks have a row of their own. Layers
    that read the image are left out.

    Parameters
    ----------
    structure : DataFrame
        Table of schema "structure".

    Returns
    -------
    DataFrame
        One row per bank, kind and size, sizes rising, and in each the highest share of a trained bank first: `kernel_size` (taps),
        `row` (what the row is called), `group` (`trained`, `regular` or `untrained`), `model`, `trained_on`, `kind`, `share` (of
        kernels beyond the 95th percentile of shuffled taps), `low` and `high` (95 % interval), `kernels` and `layers`.

    Raises
    ------
    EchosError
        There are neither trained nor untrained banks.
    """
    found = structure[structure.role.isin(["trained", "untrained"]) & (structure.kind != "stem")]
    if not len(found):
        raise EchosError("the structure table has neither trained nor untrained banks; add models of these roles")
    trained = list(found[found.role == "trained"].model.unique())
    labels = bank_labels([*trained, *found.model])
    rows = []
    for model, kind, role in zip(found.model, found.kind, found.role, strict=True):
        partner = max((name for name in trained if model.startswith(f"{name}-")), key=len, default=model)
        named = labels[partner if role == "untrained" else model]
        row = f"{named}, regular" if kind == "regular" and not named.endswith("regular") else named
        group = "untrained" if role == "untrained" else "regular" if kind == "regular" else "trained"
        rows.append({"row": row, "group": group})
    made = pd.concat([found.reset_index(drop=True), pd.DataFrame(rows)], axis=1)
    made["best"] = made.share.where(made.group != "untrained", -1.0)
    made["best"] = made.groupby(["kernel_size", "row"]).best.transform("max")
    made = made.sort_values(["kernel_size", "best", "row", "group"], ascending=[True, False, True, True])
    columns = [
        "kernel_size",
        "row",
        "group",
        "model",
        "trained_on",
        "kind",
        "share",
        "low",
        "high",
        "kernels",
        "layers",
    ]
    return made[columns].reset_index(drop=True)


def twin_shares(
    structure: pd.DataFrame, networks: Mapping[str, str], twins: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Set the structured shares of depthwise networks beside those of their regular twins.

    Parameters
    ----------
    structure : DataFrame
        Table of schema "structure".
    networks, twins : mapping of str to str
        By the name that is shown, the pattern of the models' ids: of trained depthwise networks, and of their twins.

    Returns
    -------
    shares : DataFrame
        One row per bank, in the order of `networks`: `network`, `kernel_size` (taps), `group` (`trained` or `regular`), `model`,
        `share`, `low`, `high` (95 % interval), `kernels`.
    differences : DataFrame
        One row per network and size: `network`, `kernel_size`, `banks` (the smaller number), `difference` of the mean shares,
        `low`, `high` (95 % interval over networks, then layers; NaN for fewer than two of either).

    Raises
    ------
    EchosError
        A network has no banks, or no twin of its kernel size.
    """
    shares, differences = [], []
    for network, pattern in networks.items():
        mine = _banks_like(structure, pattern, "depthwise")
        for size in sorted(set(mine.kernel_size)):
            depthwise = mine[mine.kernel_size == size]
            regular = _banks_like(structure, twins.get(network, ""), "regular", size)
            least = min(len(depthwise), len(regular))
            alone = (float(depthwise.share.mean() - regular.share.mean()), math.nan, math.nan)
            differences.append((network, size, least, *(share_difference(depthwise, regular) if least > 1 else alone)))
            shares += [
                banks.assign(network=network, group=group)
                for banks, group in ((depthwise, "trained"), (regular, "regular"))
            ]
    columns = ["network", "kernel_size", "group", "model", "share", "low", "high", "kernels"]
    compared = ["network", "kernel_size", "banks", "difference", "low", "high"]
    return pd.concat(shares)[columns].reset_index(drop=True), pd.DataFrame(differences, columns=compared)


def _banks_like(structure: pd.DataFrame, pattern: str, kind: str, size: int | None = None) -> pd.DataFrame:
    """Trained banks of a kind whose ids match a pattern; an error where there are none."""
    found = structure[(structure.role == "trained") & (structure.kind == kind)]
    found = found[[fnmatchcase(model, pattern) for model in found.model]]
    found = found if size is None else found[found.kernel_size == size]
    if not len(found):
        sized = "" if size is None else f" of {size}×{size} kernels"
        raise EchosError(
            f"regular_twins: no trained {kind} network{sized} has an id like {pattern!r}; correct the option, or add such models"
        )
    return found


def control_samples(banks: Banks, forest: pd.DataFrame, *, seed: int, kernels: int, columns: int) -> pd.DataFrame:
    """Draw kernels at random from one bank and size of each group.

    All are of the size that most groups have, and those of controls from a network trained on the same data set, where there is
    one; among such banks it is the first one of the most kernels.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
    forest : DataFrame
        From `structure_forest`.
    seed : int
        Of the sample; the same for each bank.
    kernels, columns : int
        At most so many of each group, in whole rows of `columns`.

    Returns
    -------
    DataFrame
        One row per kernel: `group`, `row` (what its bank's row is called), `kernel_size` (taps) and `taps` (ndarray, shape (k, k)).
    """
    size = forest.groupby("kernel_size").group.nunique().idxmax()
    first = _largest(forest, kernel_size=size, group="trained")
    parts = []
    for group, rows in forest.groupby("group", sort=False):
        one = _largest(rows, kernel_size=size, trained_on=first.trained_on)
        taps = kernels_of(banks[one.model], one.kernel_size, one.kernel_size, one.kind)[1]
        drawn = taps[sample(len(taps), seed=seed, kernels=kernels, columns=columns)]
        of = {"group": group, "row": one.row, "kernel_size": one.kernel_size}
        parts.append(pd.DataFrame({"taps": list(drawn)}).assign(**of)[[*of, "taps"]])
    return pd.concat(parts, ignore_index=True)


def _largest(rows: pd.DataFrame, **wanted: object) -> pd.Series:
    """The row of the most kernels among those that have the wanted values, as far as there are such rows."""
    for column, value in wanted.items():
        found = rows[rows[column] == value]
        rows = found if len(found) else rows
    return rows.iloc[int(rows.kernels.to_numpy().argmax())]
