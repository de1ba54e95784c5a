"""Initialisations in the config: one model per scheme, with the options of the scheme's function.

A scheme is a function of `neural_echos.initialisations` registered with `@register`; `pointwise`, which freezes pointwise weights;
or `default`, which keeps the weights that the model's own code draws.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from neural_echos.design import signatures
from neural_echos.design.base import Model, Positive, Share, option, union, variant


class Initialisation(Model):
    """One initialisation; each scheme has its own options."""

    scheme: str = Field(description="The scheme that draws the kernels (docs/initialise.md).")
    share: Share = Field(default=1.0, description="Share of each layer's kernels that is replaced.")
    scale: Literal["raw", "unit_l2", "match_default"] | Positive = Field(
        default="raw",
        description="Scale of the kernels: the scheme's own, unit L2 norm, the root mean square that the layer had before, or a "
        "factor on the scheme's own.",
    )
    frozen: bool | None = option(
        "Freeze the kernels during training; by default as in the scheme's paper (frozen for oocs, random_frozen and pointwise)."
    )
    layers: Annotated[list[str], Field(min_length=1)] | None = option(
        "Name patterns of the layers to redraw, for instance stages.3.*; all layers by default."
    )
    depths: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = option(
        "Minimum and maximum relative depth, in [0, 1] and inclusive, of the layers to redraw (and freeze); all layers by "
        "default."
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
