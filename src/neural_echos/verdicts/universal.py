"""Claims about networks with a few universal filters: QU1, QU2 and SS1."""

from collections.abc import Sequence

from neural_echos.verdicts.readings import (
    Reading,
    Tables,
    bounded,
    differences_of,
    diverged_runs,
    rule,
    top1_of,
)


@rule
def keeps(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisation: str, baseline: str, margin: float
) -> Reading:
    """QU1: training with a few frozen filters is at most `margin` below training of every kernel.

    Value: the paired difference in top-1, averaged over architectures for each seed. Supported if the interval lies above
    −`margin`, not supported if it lies below.
    """
    measured = top1_of(f"{initialisation} − {baseline}", dataset, architectures)
    differences, diverged = differences_of(tables, dataset, architectures, initialisation, baseline)
    return bounded(measured, differences, -margin, diverged)


@rule
def collapses(
    tables: Tables, *, dataset: str, architectures: Sequence[str], initialisation: str, baseline: str, least: float
) -> Reading:
    """QU2: with random filters frozen instead of the universal ones, top-1 is lower by at least `least`.

    Value: the paired loss in top-1, averaged over architectures for each seed. Supported if the interval lies above
    `least`, not supported if it lies below.
    """
    measured = top1_of(f"{baseline} − {initialisation}", dataset, architectures)
    differences, diverged = differences_of(tables, dataset, architectures, baseline, initialisation)
    return bounded(measured, differences, least, diverged)


@rule
def replaced_keeps(
    tables: Tables,
    *,
    dataset: str,
    architectures: Sequence[str],
    candidates: str,
    control: str,
    margin: float,
    stage: str = "fine_tuned",
) -> Reading:
    """SS1: replacing every kernel by the best a·x + b of a few filters costs at most `margin` of top-1.

    Value: top-1 of the replaced models at that stage − top-1 of `control`, the same models with their own kernels after the same
    stages, paired by seed, mean over architectures. Supported if the interval lies above −`margin`, not supported if it
    lies below.
    """
    measured = top1_of(f"{candidates} − {control}", dataset, architectures, stage)
    table = tables["replacements"]
    table = table[(table.dataset == dataset) & table.architecture.isin(architectures) & (table.stage == stage)]
    known = table.pivot_table(index=["seed", "architecture"], columns="candidates", values="top1", dropna=False)
    if not {candidates, control} <= set(known):
        return Reading(measured)
    pairs = (known[candidates] - known[control]).dropna().reset_index(name="difference")
    whole = pairs[pairs.groupby("seed").architecture.transform("nunique") == len(set(architectures))]
    diverged = diverged_runs(table.assign(initialisation=table.candidates), [candidates, control])
    return bounded(measured, whole.groupby("seed").difference.mean().to_numpy(), -margin, diverged)
