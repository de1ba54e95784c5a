"""Initialisations in the config: one model for each scheme, whose options are those of the scheme's function.

A scheme is a function of `neural_echos.initialisations` that `@register` enters, `pointwise`, which freezes pointwise weights,
or `default`, which keeps what the model's own code draws.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from neural_echos.design import signatures
from neural_echos.design.base import Model, Positive, Share, option, union, variant


class Initialisation(Model):
    """One initialisation; each scheme adds its own options."""

    scheme: str = Field(description="The scheme that draws the kernels (docs/initialise.md).")
    share: Share = Field(default=1.0, description="Share of each layer's kernels that are replaced.")
    scale: Literal["raw", "unit_l2", "match_default"] | Positive = Field(
        default="raw",
        description="The scheme's own scale, unit L2 norm, the layer's root mean square before, or a factor on the scheme's own.",
    )
    frozen: bool | None = option(
        "Keep the kernels from training; without it, frozen where the scheme's paper has it so (oocs, random_frozen, pointwise)."
    )
    layers: Annotated[list[str], Field(min_length=1)] | None = option(
        "Patterns of the names of the layers that are drawn anew, for instance stages.3.*; all without it."
    )
    depths: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = option(
        "Least and greatest relative depth, in [0, 1], of the layers that are drawn anew (and frozen), bounds included; all "
        "without it."
    )


_FUNCTIONS = signatures.decorated("initialisations", "register") | {
    "default": {},
    "pointwise": signatures.function("initialisations", "init_pointwise_"),
}
_GIVEN = {*signatures.constant("initialisations/registry", "FACTS"), *Initialisation.model_fields}
SCHEMES = {
    scheme: variant(Initialisation, "scheme", scheme, **signatures.fields(taken, without=_GIVEN))
    for scheme, taken in sorted(_FUNCTIONS.items())
}
if TYPE_CHECKING:
    AnyInitialisation = Initialisation
else:
    AnyInitialisation = union(SCHEMES, "scheme")
