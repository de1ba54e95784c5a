"""The atlas: a page that lists every network of a preset in a searchable, sortable table, with a link to each network's page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from markupsafe import Markup

from neural_echos.artifacts.names import bank_labels, label
from neural_echos.artifacts.style import drawing
from neural_echos.errors import EchosError
from neural_echos.files import write_text
from neural_echos.report.front import headline
from neural_echos.report.inspection_page import mosaic
from neural_echos.report.templates import FOLDER, render
from neural_echos.structure.measures import kinds_and_layers
from neural_echos.structure.shares import CHANCE
from neural_echos.tables import read_table
from neural_echos.words import count_of, percent

_TYPICAL = 3  # kernels shown per cluster
_CELL = 22  # approximate pixels per kernel on the page
_KINDS = ("depthwise", "regular", "stem")
_OF = ["kind", "kernel_height", "kernel_width"]


def write_atlas(
    output: Path, models: Sequence[Mapping[str, Any]], *, structure: Path, shares: Sequence[Path] = (), scale: str = ""
) -> int:
    """Write the index of a preset's networks as one self-contained HTML file.

    Parameters
    ----------
    output : Path
        The index, beside the pages that it links to.
    models : sequence of mappings
        Each with `model`, `role`, `trained_on`, `family` and the paths `bank`, `clusters` and `page`.
    structure : Path
        Table of schema "structure".
    shares : sequence of Path
        Tables of schema "pattern_shares", none or one.
    scale : str
        A phrase that describes these networks.

    Returns
    -------
    int
        Rows of the table.

    Raises
    ------
    EchosError
        There are no models, or a table cannot be read.
    """
    if not models:
        raise EchosError(f"{output}: an atlas needs at least one model; add some to 'models', or to 'select'")
    measured = read_table(structure, "structure").to_pandas()
    named = [read_table(one, "pattern_shares").to_pandas() for one in shares]
    rows = list_networks(models, measured, named[0] if named else None)
    with drawing():
        strips = [_strip(taps) for taps in rows.typical]
    page = render(
        "atlas.html.j2",
        scale=scale,
        css=Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in ("report.css", "atlas.css"))),
        js=Markup((FOLDER / "atlas.js").read_text(encoding="utf-8")),
        says=headline([measured], ""),
        rows=[
            row | strip | {"page": os.path.relpath(row["page"], output.parent)}
            for row, strip in zip(rows.to_dict("records"), strips, strict=True)
        ],
        networks=count_of(len(models), "network"),
        roles=list(dict.fromkeys(rows.role)),
        kinds=[kind for kind in _KINDS if kind in set(rows.kind)],
        sizes=list(dict.fromkeys(rows.sort_values("taps")["size"])),
        with_names=bool(rows.named.notna().any()),
        each=_TYPICAL,
        chance=CHANCE,
        percent=percent,
    )
    write_text(output, page)
    return len(rows)


def _strip(kernels: np.ndarray) -> dict[str, Any]:
    """Draw kernels, (n, h, w), in a row, with a whole number of pixels per tap."""
    if not len(kernels):
        return {"strip": ""}
    largest = max(kernels.shape[1:]) + 1
    pixels = (kernels.shape[1] + 1) * max(1, round(_CELL / largest))
    return {"strip": mosaic(kernels, len(kernels)), "pixels": pixels}


def list_networks(
    models: Sequence[Mapping[str, Any]], structure: pd.DataFrame, shares: pd.DataFrame | None = None
) -> pd.DataFrame:
    """List what is known of every network, one row per kind and size of its kernels.

    Parameters
    ----------
    models : sequence of mappings
        See `write_atlas`.
    structure : DataFrame
        Table of schema "structure".
    shares : DataFrame, optional
        Table of schema "pattern_shares".

    Returns
    -------
    DataFrame
        Networks in the order of the name table, depthwise kernels and large ones first: `network` (what it is called), `model` (its
        id), `page`, `family`, `trained_on`, `role`, `kind` ("depthwise", "regular", or "stem" for the layer that reads the image),
        `size` ("7×7"), `taps` (of a kernel), `kernels` and `layers` (of the bank), `share`, `low` and `high` (structured, with its
        interval), `excitatory` and `inhibitory` (shares in clusters of these names), `named` and `null_named` (share with a named
        pattern, and with shuffled taps; both kernel by kernel), and `typical` (ndarray, shape (n, h, w): the kernels nearest to the
        average of each cluster). Values that were not measured are NaN.
    """
    called = bank_labels(one["model"] for one in models)
    parts = []
    for one in models:
        bank = read_table(one["bank"], "bank")
        kinds, layers = kinds_and_layers(bank)
        kernels = bank.select(_OF).to_pandas().assign(kind=kinds, layer=layers)
        rows = kernels.groupby(_OF).layer.agg(kernels="size", layers="nunique").reset_index()
        typical = _typical(bank, kernels, read_table(one["clusters"], "clusters").to_pandas())
        nothing = np.empty((0, 0, 0), np.float32)
        rows["typical"] = [typical.get(key, nothing) for key in rows[_OF].itertuples(index=False, name=None)]
        of = {"network": called[one["model"]], "trained_on": label("dataset", one["trained_on"])}
        parts.append(rows.assign(**of, **{key: one[key] for key in ("model", "page", "role", "family")}))
    rows = pd.concat(parts).merge(_measured(structure, shares), "left", ["model", *_OF])
    rows["size"] = rows.kernel_height.astype(str) + "×" + rows.kernel_width.astype(str)
    rows["taps"] = rows.kernel_height * rows.kernel_width
    places = rows.model.map(list(called).index), rows.kind.map(_KINDS.index), -rows.taps
    return rows.iloc[np.lexsort(places[::-1])].reset_index(drop=True)


def _typical(bank: pa.Table, kernels: pd.DataFrame, clusters: pd.DataFrame) -> dict[tuple[str, int, int], np.ndarray]:
    """Kernels of each kind and size that are nearest to the averages of their clusters, the largest cluster first."""
    declared = clusters[clusters.clustering != "free"]
    found = kernels.iloc[declared.row].assign(row=declared.row.to_numpy(), distance=declared.distance.to_numpy())
    found["cluster"] = declared.cluster.to_numpy()
    nearest = found.sort_values([*_OF, "cluster", "distance", "row"]).groupby([*_OF, "cluster"]).head(_TYPICAL)
    sheets = {}
    for _, mine in nearest.groupby(_OF):
        kind, height, width = mine[_OF].iloc[0]
        taps = bank["taps"].take(pa.array(mine.row)).to_numpy()
        sheets[kind, height, width] = np.stack(taps).reshape(-1, height, width)
    return sheets


def _measured(structure: pd.DataFrame, shares: pd.DataFrame | None) -> pd.DataFrame:
    """What the tables say of each bank, kind and size: see `list_networks`."""
    key = ["model", "kind", "kernel_size"]
    found = structure.rename(columns={"excitatory_share": "excitatory", "inhibitory_share": "inhibitory"})
    found = found[[*key, "share", "low", "high", "excitatory", "inhibitory"]]
    if shares is None:
        found = found.assign(named=np.nan, null_named=np.nan)
    else:
        whole = shares[shares.layer.isna() & shares.declared & (shares.by == "kernel")]
        for column, shuffled in (("named", False), ("null_named", True)):
            mine = whole[whole.shuffled == shuffled].rename(columns={"share": column})
            found = found.merge(mine[[*key, column]], "left", key)
    return found.rename(columns={"kernel_size": "kernel_height"}).assign(kernel_width=lambda rows: rows.kernel_height)
