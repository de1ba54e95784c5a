"""The structure of trained banks beside that of their controls: untrained ones, and trained regular convolutions."""

import pandas as pd

from neural_echos.artifacts.kernels import Banks, sample
from neural_echos.artifacts.names import bank_labels
from neural_echos.errors import EchosError
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
