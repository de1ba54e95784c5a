"""The top of a report: the main finding in one sentence, and each claim with its number, or with what would decide it."""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from neural_echos.artifacts.controls import structure_forest
from neural_echos.artifacts.saving import read
from neural_echos.artifacts.verdicts import count_verdicts, verdict_cells, verdicts_by_claim
from neural_echos.design.checked import load_artifacts
from neural_echos.design.load import load_preset, preset_files
from neural_echos.design.preset import Preset
from neural_echos.design.published import read_published, runs_to_train
from neural_echos.errors import EchosError
from neural_echos.structure.shares import CHANCE
from neural_echos.verdicts import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, SUPPORTED
from neural_echos.words import count_of, percent

SIGNS = {
    SUPPORTED: ("✓", "supported"),
    NOT_SUPPORTED: ("✗", "not-supported"),
    INCONCLUSIVE: ("?", "inconclusive"),
    NOT_RUN: ("○", "not-run"),
}
_LONGEST = 180  # characters of a heading; a longer one ends at a semicolon
_GROUPS = {"trained": "trained depthwise kernels", "regular": "trained regular kernels", "untrained": "untrained ones"}


def message(says: str) -> tuple[str, str]:
    """Split an artifact's message into a heading (its first sentence, or a part of it) and the rest."""
    first = next((found.end() for found in re.finditer(r"\.(?= [A-ZΓ0-9])", says)), len(says))
    if first > _LONGEST:
        ends = [found.end() for found in re.finditer(";(?= )", says[:_LONGEST])]
        first = max((end for end in ends if says[:end].count("(") == says[:end].count(")")), default=first)
    return says[:first].removesuffix(";"), says[first:].strip()


def headline(structure: Sequence[pd.DataFrame], otherwise: str) -> str:
    """Summarise the finding in one sentence: how structured kernels are, compared with their controls.

    Parameters
    ----------
    structure : sequence of DataFrame
        Tables of schema "structure".
    otherwise : str
        What to say if no trained depthwise bank was measured.
    """
    found = pd.concat(structure) if structure else pd.DataFrame(columns=["role", "kind"])
    if not ((found.role == "trained") & (found.kind == "depthwise")).any():
        return message(otherwise)[0]
    forest = structure_forest(found)
    shares = forest.groupby("group").share.median()
    trained, *controls = [f"{percent(shares[group])} of {name}" for group, name in _GROUPS.items() if group in shares]
    return (
        f"{trained} resemble a Difference of Gaussians more than {percent(1 - CHANCE, 0)} of shuffled kernels do, against "
        f"{', '.join(controls)}{' and ' if controls else ''}{percent(CHANCE, 0)} by chance "
        "(medians over networks and kernel sizes)."
    )


def claims(path: Path, titles: Mapping[str, str], root: Path) -> dict[str, Any]:
    """Read the verdicts: a summary, and a row for each claim, with those that this scale cannot decide listed separately.

    Parameters
    ----------
    path : Path
        Table of schema "verdicts".
    titles : mapping of str to str
        Titles of the artifacts on the page, by id.
    root : Path
        Folder of the workflow, whose presets may decide more.
    """
    found = verdicts_by_claim(read({"verdicts": str(path)})["verdicts"])
    undecided = {INCONCLUSIVE, NOT_RUN}
    decided = _decided_in_published_runs(root) if undecided & set(found.verdict) else {}
    rows = [
        row
        | dict(zip(("sign", "kind"), SIGNS[row["verdict"]], strict=True))
        | {"title": titles.get(row["artifact"])}
        | {"decided": decided.get(row["statement"], []) if row["verdict"] in undecided else []}
        for row in _cells(found)
    ]
    open_rows = [row for row in rows if row["verdict"] == NOT_RUN]
    elsewhere = _elsewhere(root, {one["id"]: one["statement"] for one in open_rows}) if open_rows else {}
    return {
        "says": count_verdicts(found),
        "measured": [row for row in rows if row["verdict"] != NOT_RUN],
        "open": [row | {"elsewhere": elsewhere.get(row["id"], "no preset here")} for row in open_rows],
    }


def _cells(found: pd.DataFrame) -> list[dict[Hashable, Any]]:
    cells = verdict_cells(found).rename(columns={"ours, % or points": "ours"})
    return cells.assign(id=found.claim).to_dict("records")


def _decided_in_published_runs(root: Path) -> dict[str, list[dict[Hashable, Any]]]:
    """Find, for each claim's statement, the published runs whose rule decided it, with their number.

    Not by id: a preset may decide an id for another dataset than the paper's, and then says so in its statement.
    """
    decided: dict[str, list[dict[Hashable, Any]]] = {}
    for path in sorted((root / "results" / "published").glob("*/verdicts.parquet")):
        found = verdicts_by_claim(read({"verdicts": str(path)})["verdicts"])
        for row in _cells(found[found.verdict.isin([SUPPORTED, NOT_SUPPORTED])]):
            decided.setdefault(row["statement"], []).append({"preset": path.parent.name} | row)
    return decided


def _elsewhere(root: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """Find the preset that decides each statement, given by claim, with the least training, and describe that training."""
    best: dict[str, tuple[float, str]] = {}
    artifacts = load_artifacts(root)
    for path in sorted((root / "config" / "presets").glob("*.yaml")):
        try:
            files = preset_files(root, path.stem)[1:]
            if not any(name in file.read_text(encoding="utf-8") for file in files for name in wanted):
                continue
            preset = Preset(load_preset(root, path.stem, artifacts=artifacts))
        except EchosError:  # `echos doctor` says why
            continue
        images, told = _training(preset)
        for claim in preset.config.claims:
            if (
                wanted.get(claim.id) == claim.statement
                and _decides(preset, claim)
                and images < best.get(claim.id, (float("inf"),))[0]
            ):
                best[claim.id] = (images, f"{path.stem}: {told}{_hours(preset, root)}")
    return {name: told for name, (_, told) in best.items()}


def _decides(preset: Preset, claim: Any) -> bool:
    """Whether a preset covers what a claim is about: runs on its datasets, or networks trained on them."""
    about = {claim.needs} if isinstance(claim.needs, str) else set(claim.needs)
    options = claim.options.model_dump()
    if "pairs" in options:
        return about <= {pair["dataset"] for pair in options["pairs"]}
    if "dataset" in options:
        drawn = {one.initialisation for one in preset.conditions if one.dataset == options["dataset"]}
        several = [value for value in options.values() if isinstance(value, list | dict)]
        named = {value for value in options.values() if isinstance(value, str)}.union(*several)
        return about == {options["dataset"]} and bool(drawn) and named & set(preset.config.initialisations) <= drawn
    return about <= {one.trained_on for one in preset.models.values() if one.role == options.get("role", "trained")}


def _training(preset: Preset) -> tuple[float, str]:
    """Number of training images over all epochs and runs of a preset, and a description of its trainings."""
    images, runs = 0.0, 0
    epochs: list[int] = []
    for dataset, architecture in sorted({(one.dataset, one.architecture) for one in preset.conditions}):
        count, recipe = preset.runs_of(dataset, architecture), preset.recipe(dataset, architecture)
        shape = preset.config.datasets[dataset].shape
        images += count * recipe["epochs"] * (shape.train if shape else 0)
        runs += count
        epochs.append(recipe["epochs"])
    if not runs:
        return images, "no training"
    spread = f"{min(epochs)} to {max(epochs)}" if min(epochs) < max(epochs) else f"{epochs[0]}"
    on = " on GPUs" if preset.config.gpu else ""
    return images, f"{count_of(runs, 'training')}{on} of {spread} epochs, {_large(images)} images in all"


def _hours(preset: Preset, root: Path) -> str:
    """Estimate how long a preset's unpublished trainings take, at the speed of published runs of its networks; "" without some."""
    runs = read_published(preset, root)
    if not preset.conditions or not len(runs):
        return ""
    wanted, left = len(preset.conditions) * len(preset.config.seeds), runs_to_train(preset, runs)
    if not left:
        return "; all of them are published, and none has to be repeated"
    runs = runs.to_pandas()
    made = pd.DataFrame(
        [json.loads(one) for one in runs.provenance], columns=["seconds", "device", "devices", "machine"]
    )
    whole = ~runs.diverged
    per_image = (made.seconds * made.devices / (runs.epochs * runs.train_images))[whole]
    speeds = per_image.groupby([runs.dataset[whole], runs.architecture[whole]]).median()
    hours = 0.0
    for (dataset, architecture, _), _ in left:
        shape = preset.config.datasets[dataset].shape
        if (dataset, architecture) not in speeds or not shape:
            return ""
        epochs = preset.recipe(dataset, architecture)["epochs"]
        hours += speeds[dataset, architecture] * epochs * shape.train / 3600
    if made.device.nunique() > 1:
        return ""
    machines = ", ".join(sorted({str(one.get("processor")) for one in made.machine}))
    device = "CPU" if made.device[0] == "cpu" else "GPU"
    adopted = f"{wanted - len(left)} of them are published, the others take " if len(left) < wanted else ""
    speed = f"at the speed of {count_of(int(whole.sum()), 'published run')}"
    return f"; {adopted}{hours:,.1f} h on one {device} ({machines}), {speed}"


def _large(number: float) -> str:
    return f"{number / 1e9:,.1f} billion" if number >= 1e9 else f"{number / 1e6:,.0f} million"


def merged(artifacts: Sequence[Mapping[str, str]]) -> dict[str, list[Mapping[str, str]]]:
    """Gather artifacts by group, in the order in which groups first appear."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for one in artifacts:
        found.setdefault(one["group"] or "Artifacts", []).append(one)
    return found
