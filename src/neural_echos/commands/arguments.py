"""Arguments that several commands take, each described once."""

from pathlib import Path
from typing import Annotated, Any, Literal, NewType

from typer import Argument, Option

from neural_echos.commands.parsing import LARGEST, json_list_of, json_object
from neural_echos.errors import EchosError

Objects = NewType("Objects", list[dict[str, Any]])  # typer would read a plain list as an argument with several values

Output = Annotated[Path, Option(help="Output file.")]
Data = Annotated[Path, Option(help="Dataset file written by `echos dataset`.")]
Seed = Annotated[int, Option(min=0, max=LARGEST, help="Random seed.")]
Seeds = Annotated[list[int], Option(min=0, max=LARGEST, help="Seeds, one network each.")]
Threads = Annotated[int, Option(min=1, help="CPU threads.")]
Device = Annotated[str, Option(help="auto, cpu or cuda.")]
Root = Annotated[Path, Option(help="Folder of the workflow, in which snakemake runs.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON.")]
Bank = Annotated[Path, Argument(help="Bank of kernels written by `echos extract`.")]

Model = Annotated[str, Argument(help="timm model, or one that this library registers.")]
ModelKeywords = Annotated[
    dict[str, Any], Option(parser=json_object, help="Keyword arguments of the model; JSON or @file.")
]
Initialisations = Annotated[
    dict[str, Any],
    Option(
        parser=json_object,
        help="Object that maps each name to its scheme and that scheme's options; JSON or @file.",
    ),
]
Checkpoint = Annotated[
    Path | None, Option(help="Trained weights of the model, whose kernels are redrawn; the classifier may differ.")
]
Initial = Annotated[list[Path], Option(help="Initial weights of each run, written by `echos initialise`.")]
TrainedRuns = Annotated[list[Path], Option(help="Folders of the trained runs, in the same order.")]
RecipeJson = Annotated[dict[str, Any], Option(parser=json_object, help="Training recipe; JSON or @file.")]
DatasetName = Annotated[str, Option(help="Dataset name for the tables.")]
ArchitectureName = Annotated[str, Option(help="Architecture name for the tables.")]
Kind = Literal["depthwise", "regular"]
TimmName = Annotated[str, Option(help="timm model that the weights belong to; by default inferred from the shapes.")]

Options = Annotated[dict[str, Any], Option(parser=json_object, help="Options; JSON or @file.")]
Artifacts = Annotated[
    Objects,
    Argument(
        parser=json_list_of("id", "title", "caption", "group", "kind", "stem"),
        help="List of {id, title, caption, group, kind, stem}; JSON or @file.",
    ),
]


def pair_runs(initial: list[Path], run: list[Path]) -> list[tuple[Path, Path]]:
    """Return (initial weights, folder) of every run given to a command."""
    if len(initial) != len(run):
        raise EchosError(f"--run: {len(run)} folders for {len(initial)} initial weights; give one folder for each")
    return list(zip(initial, run, strict=True))
