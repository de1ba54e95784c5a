"""The figure of signals before training: medians over layers and seeds, and what drifts with depth."""

import numpy as np
import pandas as pd
import pytest

from neural_echos.artifacts.initialisations import MEASURES, signal_medians, signals_by_layer
from neural_echos.tables import SCHEMAS


@pytest.fixture
def signals():
    """Four layers of three initialisations of two architectures, two seeds; the gain of covariance doubles from layer to layer."""
    rows = []
    for architecture in ("convmixer", "x"):
        for initialisation in ("covariance", "default", "dog"):
            for seed in range(2):
                for layer in range(4):
                    gain = 2.0**layer if initialisation == "covariance" else 1.0
                    row = {
                        "architecture": architecture,
                        "initialisation": initialisation,
                        "seed": seed,
                        "layer_index": layer,
                    }
                    row |= {"dataset": "d", "layer": str(layer), "depth": layer / 3, "replaced": 0, "frozen": False}
                    row |= {"kernel_height": 3, "kernel_width": 3, "kernel_l2": 0.5 + seed, "input_mean": 0.0}
                    row |= {"input_variance": 2.0, "output_variance": 2.0 * gain, "output_mean": 0.1 * gain**0.5}
                    rows.append(
                        row | {"spectrum": [1.0], "frequency": 0.2, "gradient_output": 1.0, "gradient_norm": 1e-3}
                    )
    return pd.DataFrame(rows)[SCHEMAS["signals"].names]


def test_signals_are_medians_over_seeds_and_layers(signals):
    medians = signal_medians(signals)
    assert list(medians.index) == ["default", "dog", "covariance"]  # the order of the name table
    assert list(medians.columns.unique("measure")) == ["norm", *MEASURES]
    np.testing.assert_allclose(medians.loc["covariance", ("gain", "x")], 3.0)  # of 1, 2, 4, 8
    np.testing.assert_allclose(medians.loc["default", ("offset", "x")], 0.1 / 2**0.5)
    np.testing.assert_allclose(medians["norm"].to_numpy(), 1.0)


def test_drift_is_the_range_over_layers_beside_that_of_the_others(signals):
    layers = signals_by_layer(signals)
    assert len(layers) == 2 * 3 * 4 * 4  # architectures, initialisations, measures, layers
    drifting = layers[layers.drifts]
    assert set(zip(drifting.initialisation, drifting.measure, strict=True)) == {("covariance", "gain")}
    np.testing.assert_allclose(drifting.range, 8.0)
    lost = signals.assign(gradient_norm=np.nan)
    assert not signals_by_layer(lost).query("measure == 'gradient'").drifts.any()


def test_the_figure_of_signals_shows_medians_and_the_lines_that_drift(signals, run_notebook):
    ran = run_notebook("initialisation_signals", {"signals": signals}, {})
    assert len(ran.content.axes) == 5 + 2 * 4
    assert ran.shown[1].shape == (3, 2 * 5)
    assert "3 initialisations, 2 seeds, 2 architectures" in ran.says
    assert "1 initialisation with values that drift" in ran.says
    lost = run_notebook("initialisation_signals", {"signals": signals.assign(gradient_norm=np.nan)}, {})
    assert "nan" not in lost.says
