"""Tidy tables of the effects of initialisations before training."""

import numpy as np
import pandas as pd

from neural_echos.artifacts.names import order

MEASURES = {  # measures of a layer that are shown
    "gain": "output variance\nover input variance",
    "offset": "output mean over\nstandard deviation",
    "frequency": "mean frequency\n(cycles per position)",
    "gradient": "norm of the\nkernels' gradient",
}
DRIFT = 1.5  # relative to the median initialisation


def signals_by_layer(signals: pd.DataFrame) -> pd.DataFrame:
    """Signals of every initialisation by layer, medians over seeds.

    Parameters
    ----------
    signals : DataFrame
        Schema "signals".

    Returns
    -------
    DataFrame
        One row per architecture, initialisation, measure and layer, initialisations in the order of the name table:
        architecture, initialisation, measure, layer_index, value, `range` (the largest over the smallest |value| of the
        layers), and `drifts` (whether the range is at least `DRIFT` times the median over all initialisations of that architecture
        and measure). Measures are gain (output variance over input variance), offset (output mean over standard deviation),
        frequency (cycles per position), gradient (L2 norm of the gradient at the kernels). `range` is NaN without finite values.
    """
    measured = signals.assign(
        gain=signals.output_variance / signals.input_variance,
        offset=signals.output_mean / np.sqrt(signals.output_variance),
        gradient=signals.gradient_norm,
    )
    keys = ["architecture", "initialisation", "layer_index"]
    medians = measured.groupby(keys)[list(MEASURES)].median().reset_index()
    tidy = medians.melt(keys, var_name="measure", value_name="value")
    sizes = tidy.value.abs().where(np.isfinite(tidy.value) & (tidy.value != 0))
    cells = sizes.groupby([tidy.architecture, tidy.measure, tidy.initialisation])
    tidy["range"] = cells.transform("max") / cells.transform("min")
    distinct = tidy.drop_duplicates(["architecture", "measure", "initialisation"])
    usual = distinct.groupby(["architecture", "measure"])["range"].median().rename("usual")
    tidy = tidy.join(usual, on=["architecture", "measure"])
    tidy["drifts"] = tidy["range"] >= DRIFT * tidy.pop("usual")
    for name, ordered in (
        ("initialisation", order("initialisation", signals.initialisation)),
        ("measure", list(MEASURES)),
        ("architecture", list(dict.fromkeys(signals.architecture))),
    ):
        places = tidy[name].map({one: place for place, one in enumerate(ordered)})
        tidy = tidy.iloc[np.argsort(places.to_numpy(), kind="stable")]
    return tidy.reset_index(drop=True)


def signal_medians(signals: pd.DataFrame) -> pd.DataFrame:
    """Signals of every initialisation: medians over the layers of a network, of medians over seeds.

    Parameters
    ----------
    signals : DataFrame
        Schema "signals".

    Returns
    -------
    DataFrame
        One row per initialisation, one column per measure (see `signals_by_layer`) and architecture; the measure "norm" is the
        median L2 norm of the first layer's kernels.
    """
    layers = signals_by_layer(signals)
    names = list(dict.fromkeys(layers.initialisation))
    architectures = list(dict.fromkeys(layers.architecture))
    medians = layers.pivot_table(
        index="initialisation", columns=["measure", "architecture"], values="value", aggfunc="median", dropna=False
    )
    first = signals[signals.layer_index == 0]
    norms = first.pivot_table(index="initialisation", columns="architecture", values="kernel_l2", aggfunc="median")
    norms.columns = pd.MultiIndex.from_product([["norm"], norms.columns], names=medians.columns.names)
    columns = pd.MultiIndex.from_product([["norm", *MEASURES], architectures], names=medians.columns.names)
    return norms.join(medians).reindex(index=names, columns=columns)
