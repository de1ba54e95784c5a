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
_Datasets = Annotated[list[DatasetName], Field(min_length=1)]


class Pathvars(Model):
    """Snakemake's path variables, where a preset's outputs go."""

    results: _Folder | None = option("Folder of the results, a path without braces.")
    logs: _Folder | None = option("Folder of the logs of jobs, a path without braces.")
    benchmarks: _Folder | None = option("Folder of what jobs took, a path without braces.")


class Watts(Model):
    """Declared power at work, W, from which the report estimates energy; without it, energy is reported as not measured."""

    core: Positive | None = Field(default=None, description="Of one core; counts the core-hours of all jobs.")
    gpu: Positive | None = Field(default=None, description="Of one GPU; counts the device-hours of training on GPUs.")


class Conditions(Model):
    """All combinations of some data sets, architectures and initialisations, with every seed."""

    datasets: _Datasets = Field(description="Names of data sets.")
    architectures: Architectures = Field(description="Names of architectures.")
    initialisations: Initialisations = Field(description="Names of initialisations.")


class Experiment(Conditions):
    """All combinations of these data sets, architectures and initialisations, with every seed."""

    name: str = Field(description="What the experiment is for.")


class Zeroed(Conditions):
    """All combinations of these data sets, architectures and initialisations, with every seed; each must be in an experiment."""


class Comparisons(Model):
    """How runs that differ only in their initialisation are compared, seed by seed."""

    baselines: Annotated[Initialisations, *DISTINCT] = Field(
        default=["default", "kaiming", "dog"],
        description="Names of initialisations that all others are compared with; one without runs is passed over.",
    )
    target: Annotated[Positive, Field(le=1)] = Field(
        default=0.9,
        description="Share of a baseline's mean final top-1; the first epoch that reaches it is compared too.",
    )


class FilterSet(Model):
    """One set of filters."""

    set: Literal[SETS] = Field(description="What it is; kept is the control, whose kernels stay.")  # type: ignore[valid-type]
    method: Literal["D1", "B"] | None = option("Fit that the scales of the set ideal come from; D1 without it.")
    number: Count | None = option("How many filters, for sets of any number.")
    size: Annotated[int, Field(ge=3)] | None = option("Side of the filters, taps; 7 without it.")
    seed: Seed | None = option("Seed of what is drawn; that of the run without it.")
    filters: InputName | None = option("Id of the declared input that holds the published eight.")
    bank: ModelName | None = option("Id of the model whose kernels decoded samples and centroids summarise.")
    resample: bool | None = option("Stretch the filters to kernels of another size; an error without it.")


class Replaced(Model):
    """All combinations of these runs, of every seed, and sets of filters."""

    dataset: DatasetName = Field(description="Name of a data set.")
    architectures: Architectures = Field(description="Names of architectures.")
    initialisation: InitialisationName = Field(
        default="default", description="Name of the initialisation that the runs started from."
    )
    candidates: Annotated[list[FilterSetName], Field(min_length=1)] = Field(description="Names of sets of filters.")


class Replacement(Model):
    """Trained kernels that become the best a·x + b of a few filters (docs/replacement.md)."""

    candidates: dict[str, FilterSet] = Field(default={}, description="Sets of filters, by name.")
    replaced: list[Replaced] = Field(
        default=[],
        description="Which runs are replaced by which sets; those that no experiment names are trained too.",
    )
    eliminated: list[Replaced] = Field(default=[], description="For which runs filters are eliminated from which sets.")
    recipe: RecipeName = Field(
        default="",
        description="Name of the recipe of the fine-tuning, with what the architecture changes; the data set's without it.",
    )
    batch_norm_images: Count = Field(
        default=1024, description="Train images whose statistics batch norm takes over after replacement."
    )
    images: Annotated[int, Field(ge=2)] = Field(
        default=256, description="Train images that decide what is eliminated, never test images."
    )
    elbow: Annotated[Share, Field(lt=1)] = Field(
        default=0.01, description="Share of these images by which top-1 may fall down to the elbow."
    )
    neighbours: Annotated[int, Field(ge=0)] = Field(
        default=2, description="Filters that a survivor may be exchanged for."
    )
    checks: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], description="Numbers of filters at which all test images are scored too."
    )


class Signals(Model):
    """What initialisations do to images and gradients before any training."""

    dataset: DatasetName = Field(default="", description="Data set whose train images are passed through.")
    architectures: list[ArchitectureName] = Field(default=[], description="Names of architectures.")
    initialisations: list[InitialisationName] = Field(
        default=[],
        description="Names of initialisations; one that is drawn from a model that `select` leaves out is left out too.",
    )
    images: Annotated[int, Field(ge=2)] = Field(default=64, description="How many images.")


class Run(Model):
    """A run of this preset."""

    dataset: DatasetName = Field(description="Its data set.")
    architecture: ArchitectureName = Field(description="Its architecture.")
    initialisation: InitialisationName = Field(description="Its initialisation.")
    seed: Annotated[Seed, Ref("seed")] = Field(description="Its seed.")
    weights: Literal["initial", "trained"] = Field(description="Before or after training.")


class SourceModel(Model):
    """One model whose bank is analysed: from a declared input, a run of ours or, with `timm` alone, an untrained timm model."""

    id: str = Field(description="Name of its bank.", pattern="^[A-Za-z0-9._-]+$")
    group: str = Field(default="", description="A name by which `select` chooses several models.")
    role: Role = Field(
        description='What it is in comparisons; "untrained" is the negative control, "drawn" a DoG initialisation before '
        'training, "lender" one that initialisations are drawn from, "shown" one for figures; no claim is read on either.'
    )
    trained_on: str = Field(default="nothing", description="Data set that it was trained on.")
    family: str = Field(
        default="", description="Family of networks that it belongs to, within which networks are compared."
    )
    input: InputName | None = option("Id of the declared input that holds its weights.")
    optional: bool = Field(
        default=False,
        description="Go on without it where no place holds its input, such as a package index that does not answer; every artifact "
        "then says what is left out.",
    )
    patterns: bool = Field(
        default=True,
        description="Whether its named patterns, which take a training of an autoencoder, are counted beside those of the others.",
    )
    timm: str = Field(
        default="",
        description="timm model that the weights belong to; without it the shapes of the tensors decide. Without `input` and "
        "`run`, the model as timm draws it.",
    )
    run: Run | None = option("A run of this preset that its weights come from.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        untrained = self.input is None and self.run is None and self.timm and self.role == "untrained"
        if (self.input is None) == (self.run is None) and not untrained:
            found = "neither" if self.input is None else "both"
            raise PydanticCustomError(
                "one_source",
                "must have either 'input' or 'run', and has {found}; only an untrained timm model has neither",
                {"found": found},
            )
        if self.optional and self.input is None:
            raise PydanticCustomError("optional_input", "must have an 'input' to be 'optional'")
        return self


class Clusters(Model):
    """k-means."""

    k: Annotated[int, Field(ge=2)] = Field(
        default=3, description="The papers' number of clusters; a number chosen by silhouette is reported beside it."
    )
    restarts: Count = Field(default=10, description="Restarts of k-means; the best inertia is kept.")
    threshold: Share = Field(
        default=0.7,
        description="Least cosine between a cluster's average and its best DoG for it to be named a centre.",
    )


class Fits(Model):
    """Receptive-field fits."""

    threshold: Share = Field(
        default=0.7, description="Least cosine between a kernel and its best DoG for it to be named a centre."
    )


class Matches(Model):
    """Fits of the DoG, the Gaussian and its derivatives."""

    null_every: Count = Field(
        default=1,
        description="Shuffled taps are fitted for every n-th row of a bank. They take more than half of the time; a tenth of "
        "millions of kernels tells as much.",
    )
    restarts: Annotated[int, Field(ge=0)] = Field(
        default=6,
        description="Further starts of the fit of a Gaussian or a derivative, at most, where the first leaves doubt. With 0 the "
        "fits of trained kernels and of noise are two to four times faster and end more often in a lesser optimum.",
    )


class Patterns(Model):
    """Patterns by autoencoder; most of this could not be read in the papers, and was chosen on planted kernels."""

    clusters: Annotated[int, Field(ge=2)] = Field(
        default=10, description="Clusters of codes; the paper tells of about ten patterns."
    )
    threshold: Share = Field(
        default=0.8,
        description="Least cosine between a decoded centroid, or a kernel, and the template that names it.",
    )
    trainings: Count = Field(
        default=5,
        description="Trainings of each autoencoder, with seeds that follow from the config's; shares are means over them.",
    )
    hidden: list[Count] = Field(
        default=[64, 32], description="Widths between kernel and code, and in reverse from code to kernel."
    )
    squash: bool = Field(default=True, description="Squash the code to [0, 1] by a sigmoid, as later work does.")
    steps: Count = Field(default=500, description="Steps of the optimiser, the same for a small bank and a large one.")
    batch: Count = Field(default=256, description="Kernels per step.")
    learning_rate: Positive = Field(default=0.01, description="Peak learning rate.")
    threads: Count = Field(default=1, description="Threads of a job; more than one may change the last bits.")


class Config(Model):
    """What a preset is; config/config.yaml is the demo, config/presets/*.yaml replace parts of it."""

    pathvars: Pathvars = default_of(Pathvars)
    on_top_of: str | None = Field(
        default=None,
        description="The preset that this one lies on top of, where that is not the demo; both are given to --configfile, that "
        "one first.",
    )
    scale: str = Field(
        min_length=1,
        description="One phrase, shown beside every number, that says at which scale this preset runs.",
    )
    mirrors: list[str] = Field(
        default=[],
        description="Folders in which declared inputs are looked for before their URLs; ECHOS_MIRRORS adds more.",
    )
    seed: Seed = Field(
        default=0, description="Seed of everything that is not a run (data sets, clustering, shuffled taps)."
    )
    seeds: Annotated[list[Seed], Field(min_length=1), *DISTINCT] = Field(
        default=[0, 1, 2], description="Seeds of the runs; every comparison is paired by seed."
    )
    seeds_per_job: Count = Field(
        default=1, description="How many seeds of a cell one job trains, one after another; 1 on a cluster."
    )
    initialisations_per_job: Count = Field(
        default=1,
        description="How many initialisations of an architecture one job trains, one after another; 1 on a cluster.",
    )
    threads: Count = Field(default=1, description="Threads of a training job.")
    gpu: Annotated[int, Field(ge=0)] = Field(default=0, description="GPUs of a training job; several share each batch.")
    memory_mb: Annotated[int, Field(ge=100)] = Field(
        default=4000, description="Memory of a training job, MB; grows with every attempt."
    )
    runtime_minutes: Count = Field(default=60, description="Time limit of a training job, minutes.")
    watts: Watts = default_of(Watts)
    container: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Image of jobs for `--sdm apptainer`, an address or a `.sif` file (docs/clusters.md); null where there "
        "is none.",
    )
    adopt: _Table | Annotated[list[_Table], Field(min_length=1)] | Literal[False] = Field(
        default=False,
        description="Table of published runs, or several, paths from the folder of the Snakefile. A run that is published is "
        "adopted and not trained again, unless more of it is needed than is published (docs/training.md); false trains all.",
    )
    datasets: dict[str, AnyDataset] = Field(description="Data sets, by name.")
    recipes: dict[str, Recipe] = Field(description="How runs are trained, by name.")
    architectures: dict[str, Architecture] = Field(description="Architectures, by name.")
    initialisations: dict[str, AnyInitialisation] = Field(description="Initialisations, by name.")
    experiments: list[Experiment] = Field(
        default=[], description="Which runs are trained; runs that several experiments share are trained once."
    )
    zeroed: list[Zeroed] = Field(
        default=[],
        description="Runs that are evaluated again with one depthwise layer's kernels set to 0, for each layer.",
    )
    comparisons: Comparisons = default_of(Comparisons)
    replacement: Replacement = default_of(Replacement)
    signals: Signals = default_of(Signals)
    models: list[SourceModel] = Field(default=[], description="Models whose banks are analysed.")
    select: list[Annotated[str, Ref("selection")]] = Field(
        default=[], description="Ids and groups of the models to keep; empty keeps all."
    )
    atlas: bool = Field(
        default=False, description="Make a page on the kernels of each model, and an index of them (docs/inspect.md)."
    )
    clusters: Clusters = default_of(Clusters)
    fits: Fits = default_of(Fits)
    matches: Matches = default_of(Matches)
    patterns: Patterns = default_of(Patterns)
    filters: InputName | None = Field(
        default=None,
        description="Id of the declared input that holds the eight master key filters, whose scales are fitted; null where none "
        "are.",
    )
    claims: list[AnyClaim] = Field(
        default=[], description="Claims of the paper, each with the decision rule for its verdict."
    )
    artifacts: list[Artifact] = Field(
        default=[], description="Artifacts that this preset makes, each the name of a notebook in workflow/notebooks."
    )
    figures: Figures = default_of(Figures)
