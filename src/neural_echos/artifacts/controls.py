"""Compare the structure of trained banks with their controls: untrained banks, and trained regular convolutions."""

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
    """Sort trained banks by their structured share, each with its own control in the same row.

    The control of a bank is the untrained one whose id starts with the bank's id and a hyphen, such as `convnext-untrained`; if
    several ids match, the longest counts. Other untrained banks have their own row. Layers that read the image are excluded.

    Parameters
    ----------
    structure : DataFrame
        Table of schema "structure".

    Returns
    -------
    DataFrame
        One row per bank, kind and size, by increasing size and decreasing share of trained banks: `kernel_size` (taps), `row`
        (label of the row), `group` (`trained`, `regular` or `untrained`), `model`, `trained_on`, `kind`, `share` (of kernels above
        the 95th percentile of shuffled taps), `low` and `high` (95 % interval), `kernels` and `layers`.

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
    """Compare the structured shares of depthwise networks with those of their regular twins.

    Parameters
    ----------
    structure : DataFrame
        Table of schema "structure".
    networks, twins : mapping of str to str
        Pattern of the models' ids by displayed name, for trained depthwise networks and for their twins.

    Returns
    -------
    shares : DataFrame
        One row per bank, in the order of `networks`: `network`, `kernel_size` (taps), `group` (`trained` or `regular`), `model`,
        `share`, `low`, `high` (95 % interval), `kernels`.
    differences : DataFrame
        One row per network and size: `network`, `kernel_size`, `banks` (the smaller number of the two), `difference` of the mean
        shares, `low`, `high` (95 % interval over networks, then layers; NaN for fewer than two of either).

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
    """Trained banks of a kind whose ids match a pattern; raises an error if there are none."""
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
    """Sample kernels from one bank and size of each group.

    All have the size that most groups have. Controls come from a network trained on the same dataset, if there is
    one. Among several such banks, the first with the most kernels is used.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
    forest : DataFrame
        From `structure_forest`.
    seed : int
        Seed of the samples, the same for each bank.
    kernels, columns : int
        Maximum number per group, in whole rows of `columns`.

    Returns
    -------
    DataFrame
        One row per kernel: `group`, `row` (label of its bank's row), `kernel_size` (taps) and `taps` (ndarray, shape (k, k)).
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
    """The row with the most kernels among rows with the wanted values; a value that no row has is ignored."""
    for column, value in wanted.items():
        found = rows[rows[column] == value]
        rows = found if len(found) else rows
    return rows.iloc[int(rows.kernels.to_numpy().argmax())]
