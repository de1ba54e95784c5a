"""The config as a typed model: what a preset is, which keys it has, their types, defaults and meanings.

The schemas in workflow/schemas and docs/config.md are generated from these models by docs/make_config_reference.py.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from neural_echos.design.artifacts import Artifact, Figures
from neural_echos.design.base import (
    DISTINCT,
    ArchitectureName,
    Architectures,
    Count,
    DatasetName,
    FilterSetName,
    InitialisationName,
    Initialisations,
    InputName,
    Model,
    ModelName,
    Positive,
    RecipeName,
    Ref,
    Seed,
    Share,
    default_of,
    option,
)
from neural_echos.design.claims import AnyClaim, Role
from neural_echos.design.datasets import AnyDataset
from neural_echos.design.initialisations import AnyInitialisation
from neural_echos.design.recipes import Architecture, Recipe

SETS = ("kept", "eight", "ideal", "decoded", "centroids", "dog", "random")
_Table = Annotated[str, Field(min_length=1)]
_Folder = Annotated[str, Field(pattern="^[^{}]+$")]
_RunSeed = Annotated[Seed, Ref("seed")]
_Datasets = Annotated[list[DatasetName], Field(min_length=1)]


class Pathvars(Model):
    """Snakemake's path variables: where a preset's outputs go."""

    results: _Folder | None = option("Results folder, a path without braces.")
    logs: _Folder | None = option("Folder for the jobs' logs, a path without braces.")
    benchmarks: _Folder | None = option("Folder for the jobs' benchmarks (time and memory), a path without braces.")


class Watts(Model):
    """Declared power under load, W, from which the report estimates energy; without it, energy is reported as not measured."""

    core: Positive | None = Field(default=None, description="Power of one core, applied to the core-hours of all jobs.")
    gpu: Positive | None = Field(
        default=None, description="Power of one GPU, applied to the device-hours of training on GPUs."
    )


class Conditions(Model):
    """All combinations of some datasets, architectures and initialisations, with every seed."""

    datasets: _Datasets = Field(description="Names of datasets.")
    architectures: Architectures = Field(description="Names of architectures.")
    initialisations: Initialisations = Field(description="Names of initialisations.")


class Experiment(Conditions):
    """All combinations of these datasets, architectures and initialisations, with every seed."""

    name: str = Field(description="What the experiment is for.")


class Zeroed(Conditions):
    """All combinations of these datasets, architectures and initialisations, with every seed; each must be in an experiment."""


class Comparisons(Model):
    """How runs that differ only in their initialisation are compared, seed by seed."""

    baselines: Annotated[Initialisations, *DISTINCT] = Field(
        default=["default", "kaiming", "dog"],
        description="Names of initialisations that all others are compared with; one without runs is skipped.",
    )
    target: Annotated[Positive, Field(le=1)] = Field(
        default=0.9,
        description="Share of a baseline's mean final top-1; the first epoch that reaches it is also compared.",
    )


class FilterSet(Model):
    """One set of filters."""

    set: Literal[SETS] = Field(description="Kind of set; kept, the control, changes no kernels.")  # type: ignore[valid-type]
    method: Literal["D1", "B"] | None = option("Fit that provides the scales of the set ideal; D1 by default.")
    number: Count | None = option("Number of filters, for sets of variable size.")
    size: Annotated[int, Field(ge=3)] | None = option("Side of the filters, taps; 7 by default.")
    seed: Seed | None = option("Seed for random sets; the run's seed by default.")
    filters: InputName | None = option("Id of the declared input with the eight published filters.")
    bank: ModelName | None = option("Id of the model whose kernels the sets decoded and centroids summarise.")
    resample: bool | None = option("Resample the filters for kernels of another size; an error by default.")


class Replaced(Model):
    """All combinations of these runs, with every seed, and sets of filters."""

    dataset: DatasetName = Field(description="Name of a dataset.")
    architectures: Architectures = Field(description="Names of architectures.")
    initialisation: InitialisationName = Field(
        default="default", description="Name of the initialisation that the runs started from."
    )
    candidates: Annotated[list[FilterSetName], Field(min_length=1)] = Field(description="Names of sets of filters.")


class Replacement(Model):
    """Replacement of trained kernels by the best a·x + b of a few filters (docs/replacement.md)."""

    candidates: dict[str, FilterSet] = Field(default={}, description="Sets of filters, by name.")
    replaced: list[Replaced] = Field(
        default=[],
        description="Runs whose kernels are replaced, and by which sets; runs that no experiment names are also trained.",
    )
    eliminated: list[Replaced] = Field(
        default=[], description="Runs for which filters are eliminated, and from which sets."
    )
    recipe: RecipeName = Field(
        default="",
        description="Name of the recipe for fine-tuning, to which the architecture's changes apply; the dataset's recipe by "
        "default.",
    )
    batch_norm_images: Count = Field(
        default=1024,
        description="Number of training images from which batch norm statistics are re-estimated after replacement.",
    )
    images: Annotated[int, Field(ge=2)] = Field(
        default=256,
        description="Number of training images that decide which filters are eliminated; test images are never used.",
    )
    elbow: Annotated[Share, Field(lt=1)] = Field(
        default=0.01, description="Largest drop of top-1 on these images, as a share, up to the elbow."
    )
    neighbours: Annotated[int, Field(ge=0)] = Field(
        default=2, description="Number of filters that a survivor may be exchanged for."
    )
    checks: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], description="Numbers of filters at which all test images are also scored."
    )


class Signals(Model):
    """How initialisations transform images and gradients before any training."""

    dataset: DatasetName = Field(
        default="", description="Dataset whose training images are passed through the networks."
    )
    architectures: list[ArchitectureName] = Field(default=[], description="Names of architectures.")
    initialisations: list[InitialisationName] = Field(
        default=[],
        description="Names of initialisations; those drawn from a model that `select` excludes are excluded too.",
    )
    images: Annotated[int, Field(ge=2)] = Field(default=64, description="Number of images.")


class Run(Model):
    """A run of this preset."""

    dataset: DatasetName = Field(description="Its dataset.")
    architecture: ArchitectureName = Field(description="Its architecture.")
    initialisation: InitialisationName = Field(description="Its initialisation.")
    seed: _RunSeed | Annotated[list[_RunSeed], Field(min_length=1), *DISTINCT] = Field(
        description="Its seed, or several: the entry then declares one model per seed, and `-s` and the seed are added to its id."
    )
    weights: Literal["initial", "trained"] = Field(description="Before or after training.")

    def seeds(self) -> list[int]:
        """Return its seeds as a list."""
        return [self.seed] if isinstance(self.seed, int) else self.seed


class SourceModel(Model):
    """A model whose bank is analysed: a declared input, a run of this preset or, with `timm` alone, an untrained timm model."""

    id: str = Field(description="Name of its bank.", pattern="^[A-Za-z0-9._-]+$")
    group: str = Field(default="", description="A name with which `select` chooses several models.")
    role: Role = Field(
        description='Role in comparisons: "untrained" is the negative control, "drawn" a DoG initialisation before training, '
        '"lender" a model that initialisations are drawn from, "shown" a model only for figures. No claim is evaluated on a '
        "lender or shown model."
    )
    trained_on: str = Field(default="nothing", description="Dataset that the model was trained on.")
    family: str = Field(
        default="", description="Family of networks that the model belongs to; networks are compared within a family."
    )
    input: InputName | None = option("Id of the declared input with its weights.")
    optional: bool = Field(
        default=False,
        description="Continue without the model if its input is not available, for example because a package index does not "
        "respond; every artifact then reports what is excluded.",
    )
    patterns: bool = Field(
        default=True,
        description="Whether its named patterns are counted along with the others'; this requires training an autoencoder.",
    )
    timm: str = Field(
        default="",
        description="timm model that the weights belong to; by default it is inferred from the shapes of the tensors. Without "
        "`input` and `run`, the model as timm initialises it.",
    )
    run: Run | None = option("The run of this preset that its weights come from.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        untrained = self.input is None and self.run is None and self.timm and self.role == "untrained"
        if (self.input is None) == (self.run is None) and not untrained:
            found = "neither" if self.input is None else "both"
            raise PydanticCustomError(
                "one_source",
                "must have either 'input' or 'run', but has {found}; only an untrained timm model has neither",
                {"found": found},
            )
        if self.optional and self.input is None:
            raise PydanticCustomError("optional_input", "must have an 'input' to be 'optional'")
        return self

    def each(self) -> list[Self]:
        """Return the models that the entry declares: one, or one per seed of its run."""
        if self.run is None or isinstance(self.run.seed, int):
            return [self]
        return [
            self.model_copy(update={"id": f"{self.id}-s{seed}", "run": self.run.model_copy(update={"seed": seed})})
            for seed in self.run.seed
        ]


class Clusters(Model):
    """k-means."""

    k: Annotated[int, Field(ge=2)] = Field(
        default=3,
        description="Number of clusters, as in the papers; a number chosen by silhouette is reported beside it.",
    )
    restarts: Count = Field(default=10, description="Restarts of k-means; the one with the best inertia is kept.")
    threshold: Share = Field(
        default=0.7,
        description="Minimum cosine between a cluster's average and its best DoG for the cluster to be named a centre.",
    )


class Fits(Model):
    """Receptive-field fits."""

    threshold: Share = Field(
        default=0.7, description="Minimum cosine between a kernel and its best DoG for the kernel to be named a centre."
    )


class Matches(Model):
    """Fits of the DoG, the Gaussian and its derivatives."""

    null_every: Count = Field(
        default=1,
        description="Shuffled taps are fitted for every n-th row of a bank. They take more than half of the time; for millions "
        "of kernels, a tenth is as informative.",
    )
    restarts: Annotated[int, Field(ge=0)] = Field(
        default=6,
        description="Maximum number of restarts of the fit of a Gaussian or a derivative if the first fit is doubtful. With 0, "
        "the fits of trained kernels and of noise are two to four times faster but end more often in a poorer optimum.",
    )


class Patterns(Model):
    """Patterns by autoencoder; most of these settings could not be read in the papers and were chosen on planted kernels."""

    clusters: Annotated[int, Field(ge=2)] = Field(
        default=10, description="Number of clusters of codes; the paper reports about ten patterns."
    )
    threshold: Share = Field(
        default=0.8,
        description="Minimum cosine between a decoded centroid, or a kernel, and the template that names it.",
    )
    trainings: Count = Field(
        default=5,
        description="Number of trainings of each autoencoder, with seeds derived from the config's seed; shares are means over "
        "them.",
    )
    hidden: list[Count] = Field(
        default=[64, 32],
        description="Widths of the hidden layers between kernel and code, reversed between code and kernel.",
    )
    squash: bool = Field(default=True, description="Squash the code to [0, 1] with a sigmoid, as later work does.")
    steps: Count = Field(default=500, description="Optimiser steps, the same for small and large banks.")
    batch: Count = Field(default=256, description="Kernels per step.")
    learning_rate: Positive = Field(default=0.01, description="Peak learning rate.")
    threads: Count = Field(default=1, description="Threads of a job; more than one may change the last bits.")


class Config(Model):
    """The config of a preset: config/config.yaml is the demo, and config/presets/*.yaml replace parts of it."""

    pathvars: Pathvars = default_of(Pathvars)
    on_top_of: str | None = Field(
        default=None,
        description="The preset that this one builds on, if it is not the demo; give both to --configfile, that one first.",
    )
    scale: str = Field(
        min_length=1,
        description="A phrase that states the scale of this preset; it is shown beside every number.",
    )
    mirrors: list[str] = Field(
        default=[],
        description="Folders in which declared inputs are searched for before their URLs; ECHOS_MIRRORS adds more.",
    )
    seed: Seed = Field(
        default=0, description="Seed of everything that is not a run (datasets, clustering, shuffled taps)."
    )
    seeds: Annotated[list[Seed], Field(min_length=1), *DISTINCT] = Field(
        default=[0, 1, 2], description="Seeds of the runs; every comparison is paired by seed."
    )
    seeds_per_job: Count = Field(
        default=1, description="Number of seeds of a condition that one job trains, one after another; 1 on a cluster."
    )
    initialisations_per_job: Count = Field(
        default=1,
        description="Number of initialisations of an architecture that one job trains, one after another; 1 on a cluster.",
    )
    threads: Count = Field(default=1, description="Threads of a training job.")
    gpu: Annotated[int, Field(ge=0)] = Field(default=0, description="GPUs of a training job; several share each batch.")
    memory_mb: Annotated[int, Field(ge=100)] = Field(
        default=4000, description="Memory of a training job, MB; it grows with every attempt."
    )
    runtime_minutes: Count = Field(default=60, description="Time limit of a training job, minutes.")
    watts: Watts = default_of(Watts)
    container: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Container image of the jobs for `--sdm apptainer`, an address or a `.sif` file (docs/clusters.md); null if "
        "there is none.",
    )
    adopt: _Table | Annotated[list[_Table], Field(min_length=1)] | Literal[False] = Field(
        default=False,
        description="Table of published runs, or a list of them, as paths relative to the Snakefile's folder. A published run is "
        "adopted instead of trained, unless more of it is needed than is published (docs/training.md); false trains all runs.",
    )
    datasets: dict[str, AnyDataset] = Field(description="Datasets, by name.")
    recipes: dict[str, Recipe] = Field(description="How runs are trained, by name.")
    architectures: dict[str, Architecture] = Field(description="Architectures, by name.")
    initialisations: dict[str, AnyInitialisation] = Field(description="Initialisations, by name.")
    experiments: list[Experiment] = Field(
        default=[], description="Runs to train; runs that several experiments share are trained once."
    )
    zeroed: list[Zeroed] = Field(
        default=[],
        description="Runs that are re-evaluated with the kernels of one depthwise layer set to 0, for each layer.",
    )
    comparisons: Comparisons = default_of(Comparisons)
    replacement: Replacement = default_of(Replacement)
    signals: Signals = default_of(Signals)
    models: list[SourceModel] = Field(default=[], description="Models whose banks are analysed.")
    select: list[Annotated[str, Ref("selection")]] = Field(
        default=[], description="Ids and groups of the models to keep; an empty list keeps all."
    )
    atlas: bool = Field(
        default=False,
        description="Make a page about the kernels of each model, and an index of the pages (docs/inspect.md).",
    )
    clusters: Clusters = default_of(Clusters)
    fits: Fits = default_of(Fits)
    matches: Matches = default_of(Matches)
    patterns: Patterns = default_of(Patterns)
    filters: InputName | None = Field(
        default=None,
        description="Id of the declared input with the eight master key filters, whose scales are fitted; null if none are "
        "fitted.",
    )
    claims: list[AnyClaim] = Field(
        default=[], description="Claims of the papers, each with the decision rule for its verdict."
    )
    artifacts: list[Artifact] = Field(
        default=[], description="Artifacts that this preset makes, each named after its notebook in workflow/notebooks."
    )
    figures: Figures = default_of(Figures)
