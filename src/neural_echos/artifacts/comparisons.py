"""What the experiments say of initialisations: all of them compared, and the gain against the number of images."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from neural_echos.artifacts.base import Drawn
from neural_echos.artifacts.words import compared, mean_and_spread, seen

Tables = dict[str, Any]
_MEASURES = {"top1": "final top-1", "area": "area", "epochs_to_target": "epochs to target"}


def initialisations_compared(
    tables: Tables, *, dataset: str, architectures: Sequence[str], baseline: str, scale: str
) -> Drawn:
    """Every initialisation of a data set against one baseline: final top-1, area under the learning curve, epochs to a target."""
    runs, comparisons = tables["runs"], tables["comparisons"]
    runs = runs[(runs.dataset == dataset) & runs.architecture.isin(architectures)]
    comparisons = comparisons[
        (comparisons.dataset == dataset)
        & comparisons.architecture.isin(architectures)
        & (comparisons.baseline == baseline)
    ]
    rows = []
    for architecture in architectures:
        mine, against = (table[table.architecture == architecture] for table in (runs, comparisons))
        for name in [baseline, *sorted(set(mine.initialisation) - {baseline})]:
            cells = _row(mine[mine.initialisation == name], against, name, baseline)
            rows.append({"architecture": architecture, "initialisation": name, **cells, "measured at": scale})
    told = []
    for measure, title in _MEASURES.items():
        found = comparisons[comparisons.measure == measure]
        told.append(f"{int((found.p_holm < 0.05).sum())} of {int(found.p_holm.notna().sum())} in {title}")
    return Drawn(
        pd.DataFrame(rows),
        f"{dataset}: differences from {baseline} with p < .05 after Holm's correction: {', '.join(told)}. "
        f"{seen(comparisons)}".strip(),
    )


def _row(runs: pd.DataFrame, against: pd.DataFrame, name: str, baseline: str) -> dict[str, str]:
    """Cells of one architecture and initialisation; `against` holds the comparisons of that architecture with the baseline."""
    row = {"seeds": str(runs.seed.nunique())}
    mine = against[against.initialisation == name].set_index("measure")
    pairs = against[against.measure == "epochs_to_target"].sort_values("seeds", kind="stable")
    epochs, censored = "–", 0
    if name == baseline and len(pairs):  # from the comparison that has most of the baseline's seeds
        last = pairs.iloc[-1]
        epochs, censored = f"{last.baseline_value:.1f} (to {100 * last.target:.1f} %)", last.baseline_censored
    elif "epochs_to_target" in mine.index and mine.seeds["epochs_to_target"]:
        epochs, censored = f"{mine.value['epochs_to_target']:.1f}", mine.censored["epochs_to_target"]
    epochs += f", {censored} never" if censored else ""
    values = {"top1": mean_and_spread(runs.top1), "area": mean_and_spread(runs.area), "epochs_to_target": epochs}
    for measure, title in _MEASURES.items():
        unit, factor = ("epochs", 1) if measure == "epochs_to_target" else ("points", 100)
        row[title + (" %" if factor == 100 else "")] = values[measure]
        heading = f"{title} − {baseline}, {unit} [95 %]; Holm p; detectable"
        row[heading] = "–" if name == baseline else compared(mine[mine.index == measure], factor)
    return row
