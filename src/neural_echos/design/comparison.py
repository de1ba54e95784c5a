"""A preset that compares initialisations on the user's own image folder, written to be read and edited.

`write_preset` writes it for `echos compare`, after the config's own loader has read it.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neural_echos.design.base import references
from neural_echos.design.initialisations import SCHEMES
from neural_echos.design.load import load_preset
from neural_echos.design.schema import Config
from neural_echos.design.yaml import read_yaml
from neural_echos.errors import EchosError, nearest
from neural_echos.files import atomic_path
from neural_echos.words import count_of

SEED = 0  # of everything that is not a run, such as the split
_IN_MEMORY = 1e9  # maximum, bytes of decoded images
_LARGEST_BATCH = 64
_WIDTH = 120


@dataclass(frozen=True)
class Comparison:
    """What is compared, and on which images.

    Attributes
    ----------
    root : Path
        Absolute path of the image folder.
    classes, train, test : int
        Numbers of classes, training images and test images.
    said : sequence of str
        Sentences about the images.
    test_share : float or None
        Share of each class that is drawn for testing; None if the folder has its own split.
    leave_out : sequence of str
        Images to exclude, by their paths relative to `root`.
    side : int
        Side of the images as the network sees them, pixels.
    model : str
        Name of a timm model.
    kwargs : mapping
        Its keyword arguments.
    checkpoint : Path or None
        Trained weights that all runs start from.
    initialisations : mapping of str to mapping
        As the config declares them; the others are compared with `default` or, if that is not among them, with the first.
    seeds, epochs : int
        How many of each.
    results : str
        Folder of the results.
    cores, gpus : int
        Of the machine.
    """

    root: Path
    classes: int
    train: int
    test: int
    said: Sequence[str]
    test_share: float | None
    leave_out: Sequence[str]
    side: int
    model: str
    kwargs: Mapping[str, Any]
    checkpoint: Path | None
    initialisations: Mapping[str, Mapping[str, Any]]
    seeds: int
    epochs: int
    results: str
    cores: int
    gpus: int

    @property
    def baseline(self) -> str:
        """The initialisation that others are compared with."""
        return "default" if "default" in self.initialisations else next(iter(self.initialisations))

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all images, decoded."""
        return (self.train + self.test) * 3 * self.side**2

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded once, rather than read from disk in every epoch."""
        return self.decoded_bytes <= _IN_MEMORY

    @property
    def threads(self) -> int:
        """Threads per training: one if several run at the same time and nothing has to be decoded."""
        if self.gpus:
            return min(self.cores, 2 if self.in_memory else 8)
        return min(self.cores, 1 if self.in_memory else 2)

    @property
    def jobs(self) -> int:
        """Trainings that run at the same time."""
        return 1 if self.gpus else max(1, self.cores // self.threads)

    @property
    def seeds_per_job(self) -> int:
        """Largest number of seeds that leaves two jobs per slot, because starting a job takes some seconds."""
        for parts in range(1, self.seeds):
            if len(self.initialisations) * parts >= 2 * self.jobs:
                return -(-self.seeds // parts)
        return 1


def choose_initialisations(root: Path, names: Sequence[str], *, frozen: bool = False) -> dict[str, dict[str, Any]]:
    """Find initialisations by name: those that config/config.yaml declares, or schemes with their defaults.

    Parameters
    ----------
    root : Path
        Folder that contains the Snakefile.
    names : sequence of str
    frozen : bool
        Freeze the kernels in all of them.

    Raises
    ------
    EchosError
        There are fewer than two, one is repeated or unknown, or one is drawn from a model or file that the preset would have to
        declare.
    """
    if len(names) < 2:
        raise EchosError("a comparison needs at least two initialisations, such as --initialisations default,dog")
    if repeated := [name for place, name in enumerate(names) if name in names[:place]]:
        raise EchosError(f"the initialisation {repeated[0]!r} is given twice; remove one of them")
    written = read_yaml(root / "config/config.yaml")["initialisations"]
    declared, chosen = load_preset(root).initialisations, {}
    for name in names:
        if name not in declared and name not in SCHEMES:
            known = sorted({*declared, *SCHEMES})
            raise EchosError(f"unknown initialisation {name!r}{nearest(name, known)}; choose from {', '.join(known)}")
        borrowed = [kind for _, kind, _ in references(declared[name])] if name in declared else []
        if borrowed:
            raise EchosError(
                f"the initialisation {name!r} is drawn from a trained {borrowed[0]}, which this command cannot choose; leave it "
                "out here and add it to the preset by hand (docs/compare.md)"
            )
        chosen[name] = dict(written.get(name, {"scheme": name})) | ({"frozen": True} if frozen else {})
    return chosen


def free_name(text: str, taken: Mapping[str, Any]) -> str:
    """Make a name of letters, digits, dots, - and _ that the demo's config does not declare."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or "images"
    return f"my_{name}" if name in taken else name


def write_preset(path: Path, comparison: Comparison, root: Path) -> Config:
    """Write a preset after the config's own loader has read it; an identical existing file is kept.

    Parameters
    ----------
    path : Path
    comparison : Comparison
    root : Path
        Folder that contains the Snakefile.

    Returns
    -------
    Config
        The loaded config.

    Raises
    ------
    EchosError
        A different file exists at `path`; it is not changed.
    """
    text = render(comparison, root)
    if path.exists() or path.is_symlink():
        if not path.is_file() or path.read_bytes() != text.encode():
            raise EchosError(
                f"{path}: this file already exists with other content and is not overwritten; choose another with --output, "
                f"remove it, or run it as it is: snakemake --configfile {path.resolve()}"
            )
        return load_preset(root, path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        return load_preset(root, temporary)


def render(comparison: Comparison, root: Path) -> str:
    """Return the preset as YAML with comments."""
    below = read_yaml(root / "config/config.yaml")
    data = free_name(comparison.root.name, below["datasets"] | below["recipes"])
    architecture = free_name(comparison.model, below["architectures"])
    parts = [
        _head(comparison, data),
        _runs(comparison),
        _data_set(comparison, data),
        _recipe(comparison, data),
        _networks(comparison, data, architecture),
        _artifacts(comparison, data, architecture),
    ]
    return "\n".join(parts)


def _head(one: Comparison, data: str) -> str:
    names = ", ".join(one.initialisations)
    told = f"Initialisations of {one.model} compared on {one.root}: {names}."
    start = f"fine-tuned from {one.checkpoint.name}" if one.checkpoint else "from scratch"
    kept = ", kernels frozen" if all(declared.get("frozen") for declared in one.initialisations.values()) else ""
    images = f"{one.train:,} images of {one.side}×{one.side}"
    scale = f"{data}: {images}, {one.model} {start}{kept}, {count_of(one.epochs, 'epoch')}"
    return f"""{_comment(told)}
# Written by `echos compare`, on top of config/config.yaml. Edit it freely: docs/config.md describes every key.
# Run or resume it in the project's folder with `snakemake --configfile` and the path of this file.

pathvars:
  results: {_flow(one.results)}
  logs: {_flow(f"{one.results}/logs")}
  benchmarks: {_flow(f"{one.results}/benchmarks")}

# Shown beside every number.
scale: {_flow(scale)}
"""


def _runs(one: Comparison) -> str:
    conditions = len(one.initialisations)
    told = (
        f"{conditions} initialisations with {count_of(one.seeds, 'seed')} each: {conditions * one.seeds} runs. Runs with the same "
        "seed differ only in their depthwise kernels, so comparisons are paired by seed. More seeds detect smaller differences."
    )
    least = 3000 + 3 * one.decoded_bytes // 10**6 if one.in_memory else 6000
    return f"""{_rule("Runs")}
{_comment(told)}
seeds: {_flow(list(range(one.seeds)))}
# Seed of what all runs share, such as a random split.
seed: {SEED}
# One job trains this many, one after another; 1 and 1 on a cluster.
seeds_per_job: {one.seeds_per_job}
initialisations_per_job: 1
threads: {one.threads}
gpu: {min(one.gpus, 1)}
memory_mb: {least}
# Time limit of a job on a cluster.
runtime_minutes: 600
"""


def _data_set(one: Comparison, data: str) -> str:
    options: dict[str, Any] = {"root": str(one.root)}
    if one.test_share is not None:
        options["test_share"] = one.test_share
    if one.leave_out:
        options["leave_out"] = list(one.leave_out)
    options |= {"memory": True, "size": one.side} if one.in_memory else {"memory": False}
    shape = {"train": one.train, "test": one.test, "classes": one.classes, "channels": 3, "size": one.side}
    if one.in_memory:
        told = f"Images are decoded once: the shorter side is resized to {one.side} pixels, and the centre is kept."
    else:
        told = f"Images stay on disk and are read in every epoch, at {one.side}×{one.side} pixels (image_size of the recipe)."
    accuracy = f"One test image is {100 / one.test:.2g} points of top-1."
    return f"""{_rule("The dataset")}
{chr(10).join(map(_comment, [*one.said, told, accuracy]))}
datasets:
  {_flow(data)}:
    kind: folder
    recipe: {_flow(data)}
    options: {_flow(options)}
    # What `echos plan` assumes until the dataset is made.
    shape: {_flow(shape)}
"""


def _recipe(one: Comparison, data: str) -> str:
    batch = _LARGEST_BATCH
    while batch > max(2, one.train // 4):
        batch //= 2
    rate, smallest = (0.0002, 0.5) if one.checkpoint else (0.002, 0.35)
    size = "" if one.in_memory else f"\n    image_size: {one.side}"
    return f"""{_rule("How each run is trained: AdamW, cosine schedule, plain augmentation")}
recipes:
  {_flow(data)}:
    epochs: {one.epochs}
    batch_size: {batch}{size}
    lr: {rate}  # peak learning rate
    warmup_epochs: {min(2.0, round(one.epochs / 10, 2)):g}
    weight_decay: 0.05
    label_smoothing: 0.1
    resized_crop: [{smallest}, 1]  # share of an image's area that a random crop keeps
    flip: true  # false if left and right differ, as in letters
"""


def _networks(one: Comparison, data: str, architecture: str) -> str:
    network: dict[str, Any] = {"model": one.model, "kwargs": dict(one.kwargs)}
    start = ""
    if one.checkpoint:
        network["checkpoint"] = str(one.checkpoint)
        start = "# All runs start from the checkpoint's weights with new kernels; `default` keeps the checkpoint's kernels.\n"
    declared = "\n".join(f"  {_flow(name)}: {_flow(dict(made))}" for name, made in one.initialisations.items())
    names = _flow(list(one.initialisations))
    return f"""{_rule("What is compared")}
# Any timm model with depthwise convolutions (docs/zoo.md).
{start}architectures:
  {_flow(architecture)}: {_flow({key: value for key, value in network.items() if value != {}})}

# Each is a scheme with its options (docs/initialise.md).
initialisations:
{declared}

experiments:
  - name: main
    datasets: [{_flow(data)}]
    architectures: [{_flow(architecture)}]
    initialisations: {names}

# All others are compared with this one by final top-1, area under the learning curve, and the first epoch that reaches
# this share of its final top-1.
comparisons: {{baselines: [{_flow(one.baseline)}], target: 0.9}}

# How each initialisation transforms a batch of images before any training.
signals:
  dataset: {_flow(data)}
  architectures: [{_flow(architecture)}]
  initialisations: {names}
  images: {min(64, one.train)}
"""


def _artifacts(one: Comparison, data: str, architecture: str) -> str:
    cell = {"dataset": data, "architectures": [architecture]}
    ordered = [one.baseline, *(name for name in one.initialisations if name != one.baseline)]
    return f"""{_rule("What is produced")}
# No kernels of other networks and none of the papers' claims: they are not about these images.
models: []
claims: []

artifacts:
  - id: figure_09_training_curves
    options: {_flow(cell | {"initialisations": ordered})}
  - id: initialisations_compared
    options: {_flow(cell | {"baseline": one.baseline})}
  - id: initialisation_signals
"""


def _rule(title: str) -> str:
    return f"# {title} ".ljust(_WIDTH, "-")


def _comment(text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )


def _flow(value: Any) -> str:
    """Write a value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")
