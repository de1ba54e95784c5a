"""Tidy tables of k-means clusters: averages and members, shares by layer, and the number of clusters."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from neural_echos.artifacts.kernels import sized
from neural_echos.artifacts.mosaics import whole_rows
from neural_echos.artifacts.names import bank_labels
from neural_echos.errors import EchosError

CENTRES = ("other", "inhibitory", "excitatory")  # from left to right, as in the paper's Figure 5
_BANK = ["model", "kind", "kernel_height", "kernel_width"]


def cluster_averages(
    banks: Mapping[str, pa.Table],
    clusters: pd.DataFrame,
    centroids: pd.DataFrame,
    models: Sequence[str],
    *,
    seed: int,
    kernels: int,
    columns: int,
) -> pd.DataFrame:
    """Collect the clusters of every network and depthwise kernel size, with the average and a random sample of each.

    Parameters
    ----------
    banks : mapping of str to pyarrow.Table
        Tables of schema "bank" by model.
    clusters, centroids : DataFrame
        Tables of these schemas; the clustering with the declared number of clusters is used.
    models : sequence of str
    seed : int
        Seed of the samples.
    kernels, columns : int
        Maximum number of kernels per cluster, in whole rows of `columns`.

    Returns
    -------
    DataFrame
        One row per cluster, sorted by network, size and `CENTRES`: `network`, `model`, `kernel_size` (taps), `name`, `cluster`,
        `kernels` (in the cluster), `share` (of the network's kernels of this size), `norm` (of the average: 1 if the cluster's
        kernels are identical, near 0 if they cancel), `average` (ndarray, shape (k, k)) and `members` (ndarray, shape
        (n, k, k): the sample, each minus its mean, as clustered).

    Raises
    ------
    EchosError
        No network has clusters of depthwise kernels.
    """
    rng, rows = np.random.default_rng(seed), []
    for network, model, size in sized(banks, models):
        mine, found = (_declared(table, model, size) for table in (clusters, centroids))
        for one in found.sort_values("cluster").sort_values("name", key=_place, kind="stable").itertuples():
            of = mine[mine.cluster == one.cluster].row.to_numpy()
            shown, _ = whole_rows(len(of), kernels, columns)
            drawn = np.sort(rng.choice(of, min(kernels, len(of)), replace=False)[:shown])
            members = np.array(banks[model]["taps"].take(pa.array(drawn)).to_pylist()).reshape(-1, size, size)
            average = np.asarray(one.taps).reshape(size, size)
            rows.append(
                {
                    "network": network,
                    "model": model,
                    "kernel_size": size,
                    "name": one.name,
                    "cluster": one.cluster,
                    "kernels": len(of),
                    "share": len(of) / len(mine),
                    "norm": float(np.linalg.norm(average)),
                    "average": average,
                    "members": members - members.mean(axis=(1, 2), keepdims=True),
                }
            )
    if not rows:
        raise EchosError(
            f"none of the depthwise kernels of {', '.join(models)} were clustered; add models with more kernels"
        )
    return pd.DataFrame(rows)


def mean_shares(averages: pd.DataFrame) -> dict[str, float]:
    """Share of kernels in clusters of each name, averaged over networks and sizes, from `cluster_averages`."""
    summed = averages.groupby(["model", "kernel_size", "name"]).share.sum().unstack().fillna(0.0)
    return {name: float(summed[name].mean()) if name in summed else 0.0 for name in CENTRES}


def layer_shares(clusters: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Share of every depthwise layer's kernels in excitatory, inhibitory and other clusters.

    Parameters
    ----------
    clusters : DataFrame
        Table of schema "clusters"; the clustering with the declared number of clusters is used.
    models : sequence of str

    Returns
    -------
    DataFrame
        One row per network, layer and name, networks in the order of the name table: `network`, `model`, `place` (index of the
        layer among the network's clustered layers), `layers` (number of clustered layers), `kernels` (in the layer), `name` and
        `share`.

    Raises
    ------
    EchosError
        No depthwise kernel of these models was clustered.
    """
    mine = clusters[(clusters.clustering != "free") & (clusters.kind == "depthwise") & clusters.model.isin(models)]
    if not len(mine):
        raise EchosError(f"none of the depthwise kernels of {', '.join(models)} were clustered; choose other models")
    labels = bank_labels(model for model in models if (mine.model == model).any())
    parts = []
    for model, network in labels.items():
        counts = mine[mine.model == model].groupby(["layer_index", "name"]).size().unstack(fill_value=0)
        counts = counts.reindex(columns=CENTRES, fill_value=0).reset_index(drop=True)
        total = counts.sum(axis=1)
        shares = counts.div(total, axis=0).rename_axis("place").reset_index()
        long = shares.assign(kernels=total).melt(["place", "kernels"], var_name="name", value_name="share")
        parts.append(long.assign(network=network, model=model, layers=len(counts)).sort_values("place", kind="stable"))
    columns = ["network", "model", "place", "layers", "kernels", "name", "share"]
    return pd.concat(parts, ignore_index=True)[columns]


def shares_by_depth(shares: pd.DataFrame, *, bins: int) -> pd.DataFrame:
    """Share of kernels with a centre over relative depth, on a common scale for networks with any number of layers.

    The layers of a network are placed end to end with equal length; each bin has the mean over its range.

    Parameters
    ----------
    shares : DataFrame
        From `layer_shares`.
    bins : int
        Number of equal parts into which the depth is divided.

    Returns
    -------
    DataFrame
        One row per network, indexed by its name, and one column per bin, named after its centre (0 at the input, 1 at the output).
    """
    centred = shares[shares.name != "other"].groupby(["network", "place"], sort=False).share.sum()
    edges = np.linspace(0, 1, bins + 1)
    rows = {}
    for network, mine in centred.groupby(level="network", sort=False):
        summed = np.concatenate([[0.0], np.cumsum(mine.to_numpy())])  # cumulative share at the ends of the layers
        rows[network] = np.diff(np.interp(edges, np.linspace(0, 1, len(mine) + 1), summed)) * bins / len(mine)
    return pd.DataFrame.from_dict(rows, orient="index", columns=np.round((edges[:-1] + edges[1:]) / 2, 3))


def cluster_numbers(choices: pd.DataFrame) -> pd.DataFrame:
    """Compare the declared number of clusters with the number of the best silhouette, for every bank, kind and size.

    Parameters
    ----------
    choices : DataFrame
        Table of schema "choices".

    Returns
    -------
    DataFrame
        One row per bank, kind and size: `model`, `kind`, `kernel_height`, `kernel_width` (taps), `kernels` (number compared);
        `clusters`, `silhouette` and `stability` (adjusted Rand index of the restarts) for the declared number, and the same with
        `_chosen` for the chosen one.
    """
    choices = choices.set_index(_BANK)
    chosen = choices[choices.chosen].add_suffix("_chosen")
    both = choices[choices.declared].join(chosen).sort_index().reset_index()
    measures = ["clusters", "silhouette", "stability"]
    return both[[*_BANK, "kernels", *measures, *(f"{name}_chosen" for name in measures)]]


def _declared(table: pd.DataFrame, model: str, size: int) -> pd.DataFrame:
    """Rows of one bank's depthwise kernels of one size, from the clustering with the declared number of clusters."""
    mine = (table.model == model) & (table.kind == "depthwise") & (table.kernel_height == size)
    return table[mine & (table.kernel_width == size) & (table.clustering != "free")]


def _place(names: pd.Series) -> pd.Series:
    return names.map(CENTRES.index)
