"""The command that compares initialisations on your own images: it writes a preset and runs the workflow on it."""

import logging
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from neural_echos.commands.arguments import ModelKeywords, Root
from neural_echos.commands.printing import print_table
from neural_echos.errors import EchosError

if TYPE_CHECKING:
    from neural_echos.datasets.look import Look
    from neural_echos.design.comparison import Comparison

_LOG = logging.getLogger("neural_echos")


def compare(
    *,
    data: Annotated[Path, Option(help="Image folder: train/CLASS and val/CLASS, or class folders only.")],
    model: Annotated[str, Option(help="timm model with depthwise convolutions, or one that this library registers.")],
    initialisations: Annotated[
        list[str], Option(help="Initialisations, separated by commas; all others are compared with default.")
    ] = ["default,dog"],
    seeds: Annotated[int, Option(min=1, help="Runs per initialisation.")] = 5,
    epochs: Annotated[int, Option(min=1, help="Epochs per run.")] = 10,
    checkpoint: Annotated[
        Path | None, Option(help="Trained weights of the model, to fine-tune instead of training from scratch.")
    ] = None,
    frozen: Annotated[bool, Option("--frozen", help="Freeze the depthwise kernels.")] = False,
    image_size: Annotated[
        int | None, Option(min=8, help="Side of the images, pixels; by default chosen for the model and the images.")
    ] = None,
    test_share: Annotated[
        float, Option(help="Share of each class that is drawn for testing if the folder has no split.")
    ] = 0.2,
    kwargs: ModelKeywords = {},
    output: Annotated[Path | None, Option(help="The preset, a .yaml file; by default named after the folder.")] = None,
    results: Annotated[
        Path | None, Option(help="Results folder; by default results/ followed by the preset's name.")
    ] = None,
    cores: Annotated[int | None, Option(min=1, help="CPU cores; all by default.")] = None,
    seconds: Annotated[float, Option(help="Time for calibrating this machine, in seconds.")] = 10,
    write_only: Annotated[bool, Option("--write-only", help="Write the preset and stop.")] = False,
    root: Root = Path(),
) -> None:
    """Compare initialisations of a model on an image folder: write a preset, estimate its cost, and run it."""
    from neural_echos.architectures import timm_name
    from neural_echos.datasets.look import describe_look, look_at_folder
    from neural_echos.design import comparison as design
    from neural_echos.training import cost
    from neural_echos.training.trial import WEAK, image_side, try_network

    require_workflow(root, run=not write_only)
    model, names = timm_name(model), [name for words in initialisations for name in words.split(",") if name]
    chosen = design.choose_initialisations(root, names, frozen=frozen)
    path = output or Path(f"compare_{design.free_name(data.resolve().name, {})}.yaml")
    if path.suffix != ".yaml":
        raise EchosError(f"{path}: a preset is a .yaml file; give --output this suffix")
    look = look_at_folder(data, test_share=test_share, seed=design.SEED)
    said = describe_look(look)
    for line in said:
        _LOG.info("%s", line)
    side = image_size or image_side(model, look.shorter_side)
    differ = try_network(
        model, kwargs, classes=len(look.classes), side=side, checkpoint=checkpoint, initialisations=chosen
    )
    if differ < WEAK:
        _LOG.warning(
            "%s hardly depends on its depthwise kernels when training starts (relative change of its output: %.0e), for example "
            "because of a small layer scale; short trainings may show no difference at all",
            model,
            differ,
        )
    made = design.Comparison(
        **_facts(look),
        **_machine(cores),
        said=said,
        side=side,
        model=model,
        kwargs=kwargs,
        checkpoint=checkpoint.resolve() if checkpoint else None,
        initialisations=chosen,
        seeds=seeds,
        epochs=epochs,
        results=_results(results, path, root),
    )
    config = design.write_preset(path, made, root)
    _LOG.info("%s: preset written; you can read and edit it", path)
    device = "cuda" if made.gpus else "cpu"
    found = cost.plan(config, root, seconds=seconds, device=device, threads=made.threads, devices=made.jobs)
    print(cost.tell_plan(*found))
    words = [
        sys.executable,
        "-m",
        "snakemake",
        *(["--cores", str(cores)] if cores else []),
        "--configfile",
        str(path.resolve()),
    ]
    if write_only:
        print(f"\nRun it with:\n  cd {shlex.quote(str(root.resolve()))} && {shlex.join(words)}")
        return
    _run(words, root)
    _show(made, root / made.results)


def require_workflow(root: Path, *, run: bool) -> None:
    """Refuse a folder without the workflow, and a Python that cannot run it if it is to be run."""
    from importlib.util import find_spec

    if not (root / "Snakefile").is_file() or not (root / "config/config.yaml").is_file():
        raise EchosError(
            f"{root.resolve()}: the workflow is not here; run this command in a clone of the project, or give its path with --root"
        )
    if run and find_spec("snakemake") is None:
        raise EchosError(
            "Snakemake, which runs the comparison, is not installed for this Python; use the project's environment (python3 "
            "envs/install.py), or only write the preset with --write-only"
        )


def _facts(look: "Look") -> dict[str, Any]:
    """What a comparison needs to know about the images."""
    return {
        "root": look.root,
        "classes": len(look.classes),
        "train": int(look.train.sum()),
        "test": int(look.test.sum()),
        "test_share": look.test_share,
        "leave_out": list(look.unreadable),
    }


def _machine(cores: int | None) -> dict[str, Any]:
    """What a comparison needs to know about this machine."""
    import os

    import torch

    return {"cores": cores or os.cpu_count() or 1, "gpus": torch.cuda.device_count()}


def _results(results: Path | None, preset: Path, root: Path) -> str:
    """Results folder, relative to the workflow's folder if it is inside."""
    if results is None:
        return f"results/{preset.stem}"
    whole = results.resolve()
    return str(whole.relative_to(root.resolve()) if whole.is_relative_to(root.resolve()) else whole)


def _run(words: list[str], root: Path) -> None:
    done = subprocess.run(words, cwd=root, check=False)
    if done.returncode:
        raise EchosError(
            "the workflow did not finish, for the reason above; finished results are kept, and the same command resumes it"
        )


def _show(made: "Comparison", results: Path) -> None:
    """Print the comparison and the paths of the other results."""
    import csv

    from neural_echos.files import read_json

    table = results / "tables/initialisations_compared.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    heads = ("measure", "initialisation", "value", "difference [95 %]", "p", "detects")
    print()
    print_table(heads, _cells(rows), whole=("difference [95 %]",))
    print(f"\nDifferences from {made.baseline}, paired by seed. Last column: minimum detectable effect at 80 % power.")
    print(f"\n{read_json(table.with_suffix('.json'))['says']}\n")
    for what, path in (("curves", "figures/figure_09_training_curves.png"), ("report", "report.html")):
        print(f"  {what}  {results / path}")


def _cells(rows: Sequence[Mapping[str, str]]) -> Iterator[list[str]]:
    """Cells of the table for a terminal: a measure is named once, an interval follows its difference."""
    measure = ""
    for row in rows:
        interval = row["95 % interval"].replace(" to ", ", ")
        difference = row["difference"] + ("" if interval == "–" else f" [{interval}]")
        again = row["measure"] == measure
        measure = row["measure"]
        yield ["" if again else measure, row["initialisation"], row["value"], difference, row["p"], row["detectable"]]
