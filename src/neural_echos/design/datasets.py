"""Datasets in the config: one model per kind, with the options of the kind's maker in `neural_echos.datasets`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from neural_echos.design import signatures
from neural_echos.design.base import Count, InputName, Model, RecipeName, default_of, option, options_of, union, variant


class Shape(Model):
    """What `echos plan` assumes until the dataset is made."""

    train: Count = Field(description="Number of training images.")
    test: Count = Field(description="Number of test images.")
    classes: Annotated[int, Field(ge=2)] = Field(description="Number of classes.")
    channels: Count = Field(description="Channels per image.")
    size: Count = Field(description="Side of an image as the network sees it, pixels.")


class Files(Model):
    """Ids of the declared inputs that the dataset is made from."""

    train: list[InputName] = Field(default=[], description="Ids for the train split.")
    test: list[InputName] = Field(default=[], description="Ids for the test split.")


class Dataset(Model):
    """One dataset; each kind has its own `options`."""

    kind: str = Field(description="How it is made (docs/datasets.md).")
    recipe: RecipeName = Field(description="Name of the recipe for runs on this dataset.")
    options: Any = Field(default_factory=dict, description="The kind's own options.")
    shape: Shape | None = option("What `echos plan` assumes until the dataset is made.")
    files: Files = default_of(Files)


# options shared by several kinds whose docstrings do not describe them
_SHARED = signatures.attributes("datasets/selection", "Selection") | signatures.function("datasets", "assembled")


def _options(kind: str, taken: dict[str, signatures.Option]) -> Any:
    described = {
        name: one if one.description else replace(one, kind=_SHARED[name].kind, description=_SHARED[name].description)
        for name, one in taken.items()
        if name != "seed"
    }
    return options_of(Dataset, kind, signatures.fields(described))


KINDS = {
    kind: variant(Dataset, "kind", kind, options=_options(kind, taken))
    for kind, taken in signatures.decorated("datasets", "maker").items()
}
if TYPE_CHECKING:
    AnyDataset = Dataset
else:
    AnyDataset = union(KINDS, "kind")
