"""The figure that compares initialisations before any training."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from neural_echos.artifacts.base import Drawn, finished, own_style
from neural_echos.artifacts.style import canvas

Tables = dict[str, Any]

# What is shown of a layer: title, the number, and the colour map with the value in its middle (None: the range of the data).
_PANELS = (
    ("log₁₀ of output\nover input variance", lambda s: np.log10(s.output_variance / s.input_variance), "RdBu_r", 0.0),
    ("output mean over\nstandard deviation", lambda s: s.output_mean / np.sqrt(s.output_variance), "cividis", None),
    ("mean frequency,\ncycles per position", lambda s: s.frequency, "cividis", None),
    ("log₁₀ of the kernels'\ngradient norm", lambda s: np.log10(s.gradient_norm), "cividis", None),
)


@own_style()
def initialisation_signals(tables: Tables, *, note: str = "") -> Drawn:
    """Signals per layer of every initialisation: gain, mean, frequency and gradient norm, one heat map each, per architecture."""
    signals = tables["signals"]
    architectures = list(dict.fromkeys(signals.architecture))
    names = list(dict.fromkeys(signals.initialisation))
    figure, axes = canvas(len(architectures), 4, (7.2, (0.155 * len(names) + 0.75) * len(architectures)))
    for row, architecture in zip(axes, architectures, strict=True):
        mine = signals[signals.architecture == architecture]
        for axis, (title, number, colours, middle) in zip(row, _PANELS, strict=True):
            values = mine.assign(value=number(mine)).pivot_table(
                index="initialisation", columns="layer_index", values="value", aggfunc="median", dropna=False
            )
            _heat_map(axis, values.reindex(names), colours, middle)
            axis.set_title(title)
            axis.set_xlabel("depthwise layer")
        norms = mine[mine.layer_index == 0].groupby("initialisation").kernel_l2.median()
        row[0].set_yticks(range(len(names)), [f"{name} [{norms[name]:.2f}]" for name in names])
        row[0].set_ylabel(architecture)
    return finished(figure, _says(signals), note)


def _heat_map(axis: Axes, values: pd.DataFrame, colours: str, middle: float | None) -> None:
    shown = values.to_numpy()
    finite = shown[np.isfinite(shown)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    if middle is not None:
        reach = max(abs(high - middle), abs(low - middle))
        low, high = middle - reach, middle + reach
    scale = Normalize(low, high if high > low else low + 1.0)
    image = axis.imshow(np.where(np.isfinite(shown), shown, np.nan), cmap=colours, norm=scale, aspect="auto")
    for (y, x), value in np.ndenumerate(shown):
        red, green, blue, _ = image.cmap(scale(value)) if np.isfinite(value) else (1.0, 1.0, 1.0, 1.0)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        text = f"{value:.1f}" if abs(value) >= 0.995 else f"{round(value, 2) + 0.0:.2f}".replace("0.", ".")
        colour = "white" if dark else "black"
        axis.text(
            x,
            y,
            text.replace("-", "−") if np.isfinite(value) else "–",
            ha="center",
            va="center",
            fontsize=4.5,
            color=colour,
        )
    axis.set_xticks(range(shown.shape[1]), [str(column) for column in values.columns])
    axis.set_yticks([])
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _says(signals: pd.DataFrame) -> str:
    first = signals[signals.layer_index == 0]
    norms = first.groupby("initialisation").kernel_l2.median().sort_values()
    gain = (signals.output_variance / signals.input_variance).groupby(signals.initialisation).median().sort_values()
    seeds = signals.seed.nunique()
    return (
        f"{len(norms)} initialisations, {seeds} seed{'s' if seeds > 1 else ''}, {signals.architecture.nunique()} architectures. "
        f"Mean L2 norm of the first layer's kernels from {norms.iloc[0]:.2g} ({norms.index[0]}) to {norms.iloc[-1]:.2g} "
        f"({norms.index[-1]}); median gain in variance of a depthwise layer from {gain.iloc[0]:.2g} ({gain.index[0]}) to "
        f"{gain.iloc[-1]:.2g} ({gain.index[-1]})."
    )
