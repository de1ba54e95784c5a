"""Artifacts: what a notebook declares about its figure or table, which artifacts a preset makes, and how figures look.

A notebook in workflow/notebooks is its artifact. Its first cell contains the title and caption; its metadata, under `neural_echos`,
contains the rest (`DeclaredArtifact`). The model that checks the artifact's options in a preset is built from the options that it
declares.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import Field, create_model

from neural_echos.design.artifact_files import FILLED
from neural_echos.design.base import (
    ArchitectureName,
    ArtifactName,
    Count,
    DatasetName,
    InitialisationName,
    M,
    Model,
    ModelName,
    Positive,
    Ratio,
    Ref,
    Seed,
    Share,
    option,
    options_of,
    union,
    variant,
)
from neural_echos.design.signatures import constant


class TrainingPair(Model):
    """A model before and after training."""

    label: str = Field(description="Label shown beside the pair.")
    before: ModelName = Field(description="Id of the model before.")
    after: ModelName = Field(description="Id of the model after.")


# Types of an artifact's options, by their name in the notebook's metadata.
OPTION_TYPES: dict[str, Any] = {
    "dataset": DatasetName,
    "datasets": list[DatasetName],
    "architecture": ArchitectureName,
    "architectures": list[ArchitectureName],
    "initialisation": InitialisationName,
    "initialisations": list[InitialisationName],
    "variants": list[InitialisationName],  # filled in with what the config declares about each
    "series": dict[str, list[Annotated[list[int | InitialisationName], Field(min_length=2, max_length=2)]]],
    "model": ModelName,
    "models": list[ModelName],  # narrowed to what `select` keeps
    "pairs": list[TrainingPair],
    "control": Annotated[str, Ref("initialisation, set of filters or model")],
    "count": Count,
    "seed": Seed,
    "ratio": Ratio,
    "ratios": list[Ratio],
    "share": Share,
    "text": str,
    "texts": list[str],
    "mapping": dict[str, str],
    "published": dict[str, Any] | list[Any],
    FILLED: str,
}


class DeclaredOption(Model):
    """One option of an artifact."""

    type: Literal[tuple(OPTION_TYPES)] = Field(  # type: ignore[valid-type]
        description="Type of the option; a name must be declared in the config."
    )
    required: bool = Field(default=False, description="Whether a preset must set it.")
    default: Any = Field(default=None, description="Its value if a preset sets none.")
    description: str = Field(description="What it means.")


class DeclaredArtifact(Model):
    """What a notebook in workflow/notebooks declares about its artifact: metadata, and the title and caption of its first cell."""

    kind: Literal["figure", "table"] = Field(description="Figure or table.")
    group: str = Field(description="Heading under which the report lists it.")
    title: str = Field(description="Number and name; if the paper's caption could not be read, the title says so.")
    caption: str = Field(description="What is drawn, and the source of the caption.")
    reads: list[Literal[tuple(constant("tables/columns/__init__", "TABLES"))]] = Field(  # type: ignore[valid-type]
        default=[], description="Tables that it reads, by name (docs/tables.md)."
    )
    options: dict[str, DeclaredOption] = Field(default={}, description="Its options, by name.")


class Artifact(Model):
    """One artifact that a preset makes."""

    id: ArtifactName = Field(description="Name of its notebook in workflow/notebooks.")
    options: Any = Field(default_factory=dict, description="Options of the artifact.")


class Figures(Model):
    """How figures look."""

    font_scale: Positive = Field(default=1.0, description="Factor of all text sizes.")
    palette: str | list[str] | None = Field(
        default=None,
        description="Colours that replace the project's own, in the order of the names that they belong to: the name of a "
        "seaborn palette, or a list of colours.",
    )
    colour_map: str = Field(
        default="RdBu_r", description="Diverging Matplotlib colour map for kernels; 0 gets the colour in the middle."
    )
    width: Positive = Field(default=7.2, description="Width of a figure that spans two journal columns, inches.")
    column: Positive = Field(default=3.5, description="Width of a figure that spans one journal column, inches.")
    dpi: Count = Field(default=200, description="Resolution of PNG files, dots per inch.")
    formats: list[Literal["eps", "svg", "tiff"]] = Field(
        default=["svg"], description="Formats written in addition to PDF and PNG."
    )


def with_options(config: type[M], declared: Mapping[str, Mapping[str, Any]], used: Iterable[str]) -> type[M]:
    """Extend a config's model so that it checks the options of artifacts.

    Parameters
    ----------
    config : type
        Its field `artifacts` is a list of `Artifact`.
    declared : mapping of str to mapping
        What the notebooks declare, by id (`DeclaredArtifact`).
    used : iterable of str
        Ids that the config may use; one that is not declared accepts any options.
    """
    models = {name: _model_of(name, declared.get(name)) for name in dict.fromkeys(used)}
    if not models:
        return config
    entry = union(models, "id") if len(models) > 1 else next(iter(models.values()))
    field = config.model_fields["artifacts"]
    made: Any = (list[entry], Field(default=[], description=field.description))  # type: ignore[valid-type]
    extended: Any = create_model(config.__name__, __base__=config, __doc__=config.__doc__, artifacts=made)
    return extended


def _model_of(name: str, declared: Mapping[str, Any] | None) -> type[Model]:
    """Make the model of an artifact's entry in the config."""
    if declared is None:
        return variant(Artifact, "id", name)
    fields: dict[str, Any] = {}
    for key, one in declared["options"].items():
        kind = OPTION_TYPES[one["type"]]
        if one["type"] == FILLED:
            continue
        if one["required"]:
            fields[key] = (kind, Field(description=one["description"]))
        else:
            fields[key] = (Union[kind, None], option(one["description"], one["default"]))  # noqa: UP007
    return variant(Artifact, "id", name, options=options_of(Artifact, name, fields))
