"""Artifacts in the config: those that a preset makes, with their options, and how config/artifacts.yaml declares each."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from neural_echos.design.base import (
    ArchitectureName,
    ArtifactName,
    Count,
    DatasetName,
    InitialisationName,
    Model,
    ModelName,
    Ratio,
    Ref,
    Seed,
    Share,
    option,
)

_TABLES = (
    *(
        "ablated",
        "bank",
        "centroids",
        "choices",
        "clusters",
        "comparisons",
        "eliminations",
        "explained",
        "fits",
        "history",
    ),
    *(
        "matches",
        "pattern_centroids",
        "pattern_shares",
        "patterns",
        "replacement_errors",
        "replacements",
        "runs",
        "scales",
    ),
    *("signals", "spread", "structure", "verdicts"),
)


class TrainingPair(Model):
    """A model before and after training."""

    label: str = Field(description="What stands beside it.")
    before: ModelName = Field(description="Id of the model before.")
    after: ModelName = Field(description="Id of the model after.")


class ArtifactOptions(Model):
    """Options of artifacts; each takes some of these."""

    dataset: DatasetName | None = option("Data set of the runs.")
    datasets: list[DatasetName] | None = option("Data sets of the runs.")
    architecture: ArchitectureName | None = option("Architecture of the runs.")
    architectures: list[ArchitectureName] | None = option("Architectures of the runs.")
    initialisation: InitialisationName | None = option("Initialisation that is shown.")
    initialisations: list[InitialisationName] | None = option("Initialisations that are shown.")
    variants: list[InitialisationName] | None = option(
        "Initialisations that are shown, with what the config declares of them."
    )
    baseline: InitialisationName | None = option("Initialisation that others are compared with.")
    baselines: list[InitialisationName] | None = option("Initialisations that it is compared with.")
    reference: InitialisationName | None = option("Initialisation of which the others are variants.")
    control: Annotated[str, Ref("initialisation, set of filters or model")] | None = option(
        "Initialisation, set of filters or model that is the control."
    )
    series: dict[str, list[Annotated[list[int | InitialisationName], Field(min_length=2, max_length=2)]]] | None = (
        option("Points of each line, a number of filters and its initialisation.")
    )
    models: list[ModelName] | None = option("Ids of the models whose banks are shown.")
    pairs: list[TrainingPair] | None = option("Models before and after training.")
    families: dict[str, str] | None = option("Pattern of the models' names of each family.")
    methods: list[str] | None = option("Ways to fit scales.")
    size: Count | None = option("Side of the kernels, taps.")
    kernels: Count | None = option("How many kernels are shown.")
    gamma: Ratio | None = option("Centre-to-surround ratio.")
    gammas: list[Ratio] | None = option("Centre-to-surround ratios.")
    threshold: Share | None = option("Least cosine of a fit that counts.")
    quantile: Share | None = option("Quantile of the shuffled taps that counts as structure.")
    least: Count | None = option("Least number of kernels of a group that is shown.")
    seed: Seed | None = option("Seed of the sample of kernels.")
    published: dict[str, Any] | list[Any] | None = option("Published numbers, which stand beside ours.")
    note: str | None = option("Sentence that is put at the end of what it says.")


class Artifact(Model):
    """One artifact that a preset makes."""

    id: ArtifactName = Field(description="Its id in config/artifacts.yaml.")
    options: ArtifactOptions = Field(
        default_factory=ArtifactOptions,
        description="Options of the function that makes it (src/neural_echos/artifacts), each of which takes some of these.",
    )


class DeclaredArtifact(Model):
    """One artifact; its notebook is workflow/notebooks/<id>.ipynb."""

    kind: Literal["figure", "table"] = Field(description="What it is.")
    group: str = Field(default="", description="Heading under which the report lists it.")
    title: str = Field(description="Number and name; where the paper's caption could not be read, the title says so.")
    caption: str = Field(description="What is drawn, and where the caption comes from.")
    code: str = Field(
        default="",
        description="Module of src/neural_echos/artifacts that makes it; figures or summaries without it.",
    )
    reads: list[Literal[_TABLES]] = Field(description="Tables that it reads, by schema name (docs/tables.md).")  # type: ignore[valid-type]
    asks: list[Literal["scale"]] = Field(
        default=[], description="Options that the workflow fills in from the rest of the config."
    )


class DeclaredArtifacts(RootModel[dict[str, DeclaredArtifact]]):
    """Every figure and table that the workflow can make, by id; a preset's config chooses among them and sets their options."""

    model_config = ConfigDict(defer_build=True)
