"""Recipes and architectures in the config; the keys of a recipe are the attributes of `neural_echos.training.recipe.Recipe`."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from neural_echos.design import signatures
from neural_echos.design.base import Model, default_of, option

if TYPE_CHECKING:
    Recipe = Model
else:
    Recipe = create_model(
        "Recipe",
        __base__=Model,
        __doc__="How runs are trained, or an architecture's changes to it.",
        **signatures.fields(signatures.attributes("training/recipe", "Recipe")),
    )


class Architecture(Model):
    """One architecture."""

    model: str = Field(description="Name of a timm model, including those that this library registers.")
    kwargs: dict[str, Any] = Field(default={}, description="Keyword arguments of the model.")
    checkpoint: Annotated[str, Field(min_length=1)] | None = option(
        "File with trained weights of this model, whose kernels initialisations redraw; `default` keeps them. A classifier with "
        "a different number of classes is reinitialised."
    )
    recipe: Recipe = default_of(Recipe, "This architecture's changes to the dataset's recipe.")
