"""Claims: those of the papers in config/claims.yaml, and the config's own, with the options of their rules.

There is one model for each decision rule of `neural_echos.verdicts`, with the options of the rule's function. What an option of
that name means in all rules is written here; a docstring of a rule's own says it better and comes first.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from neural_echos.design import signatures
from neural_echos.design.base import (
    ArchitectureName,
    Architectures,
    ArtifactName,
    Count,
    DatasetName,
    FilterSetName,
    InitialisationName,
    Model,
    Number,
    Ref,
    option,
    options_of,
    union,
    variant,
)
from neural_echos.design.checked import check
from neural_echos.design.yaml import read_yaml
from neural_echos.errors import EchosError, nearest

Role = Literal["trained", "untrained", "trained from dog", "drawn", "lender", "shown"]


class TransferPair(Model):
    """Runs with transferred filters, one A → B."""

    dataset: DatasetName = Field(description="Data set of the runs.")
    architecture: ArchitectureName = Field(description="Architecture of the runs.")
    initialisation: InitialisationName = Field(description="Initialisation that transfers.")


_WORDS: dict[str, tuple[Any, str]] = {
    "dataset": (DatasetName, "Data set of the runs."),
    "architecture": (ArchitectureName, "Architecture of the runs."),
    "architectures": (Architectures, "Architectures, over which is averaged."),
    "initialisation": (InitialisationName, "Initialisation that the claim is about."),
    "baseline": (InitialisationName, "Initialisation that it is compared with."),
    "control": (
        Annotated[str, Ref("initialisation, set of filters or model")],
        "Initialisation, or set of filters, that is the control.",
    ),
    "candidates": (FilterSetName, "Set of filters that replaces kernels."),
    "varied": (InitialisationName, "Initialisation of many ratios and both centre types."),
    "fixed_gamma": (list[InitialisationName], "Initialisations of one ratio each."),
    "one_centre": (list[InitialisationName], "Initialisations of one centre type each."),
    "depthwise": (InitialisationName, "Initialisation with frozen depthwise kernels of a source."),
    "pointwise": (InitialisationName, "Initialisation with frozen pointwise weights of that source."),
    "sources": (dict[InitialisationName, DatasetName], "Data set of the source of each initialisation."),
    "pairs": (Annotated[list[TransferPair], Field(min_length=1)], "Runs with transferred filters."),
    "role": (Role, "Role of the models whose banks are read."),
    "stage": (
        Literal["trained", "replaced", "batch_norm", "fine_tuned"],
        "When the replaced models are scored.",
    ),
    "by": (Literal["cluster", "kernel"], "Whether kernels are named by their cluster or by themselves."),
    "expect": (Literal["positive", "none"], "What the claim says of the difference."),
    "margin": (Number, "A difference too small to matter."),
    "least": (None, "What the claim asks for at least, of each family where it is about several."),
    "least_kernels": (Count, "Kernels from which on a layer counts."),
    "controls": (
        list[str],
        "Data sets whose regular networks are controls, beside those that the depthwise networks were trained on.",
    ),
    "least_networks": (Count, "Networks of either kind from which on a kernel size is decided."),
}


class PapersClaim(Model):
    """One claim of a paper."""

    paper: str = Field(default="Neural Echos", description="The paper that makes it.")
    statement: str = Field(description="The claim in one sentence.")
    rule: str = Field(description="Decision rule (src/neural_echos/verdicts).")
    needs: str | list[str] = Field(
        description='Data set that the claim is about, or a list of them; on others the verdict is "not run at this scale".'
    )
    artifact: ArtifactName = Field(description="The artifact that shows the numbers.")
    published: str | None = option("What the paper prints for it, where that could be read.")


class PapersClaims(Model):
    """What the papers claim, each once; a config names a claim by its id, and adds the options of its rule."""

    claims: dict[str, PapersClaim] = Field(description="Claims, by id.")


class Claim(PapersClaim):
    """One claim with the rule that decides its verdict; each rule asks for its own `options`.

    Of a claim in config/claims.yaml the config need not repeat anything but its id.
    """

    id: str = Field(description="Its short name.", pattern="^[A-Z]+[0-9]+$")
    options: Any = Field(default_factory=dict, description="The rule's own options.")


def with_papers_claims(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Complete the claims of a config that it names by their ids.

    Parameters
    ----------
    document : mapping
        A config that is not checked yet. It is not changed.
    path : Path
        config/claims.yaml.

    Raises
    ------
    EchosError
        The file cannot be read, does not say of each claim what it should, or lacks one that the config only names.
    """
    known = check(read_yaml(path), PapersClaims, [path]).model_dump()["claims"]
    asked = document.get("claims")
    if not isinstance(asked, list):
        return dict(document)
    claims = [known.get(str(one.get("id")), {}) | one if isinstance(one, Mapping) else one for one in asked]
    for one in claims:
        if isinstance(one, dict) and "rule" not in one and isinstance(one.get("id"), str):
            raise EchosError(
                f"claims: {path} has no claim {one['id']!r}{nearest(one['id'], known)}; a claim of your own also needs paper, "
                "statement, rule, needs and artifact"
            )
    return {**document, "claims": claims}


RULES = {
    rule: variant(Claim, "rule", rule, options=options_of(Claim, rule, signatures.fields(taken, words=_WORDS)))
    for rule, taken in signatures.decorated("verdicts", "rule").items()
}
if TYPE_CHECKING:
    AnyClaim = Claim
else:
    AnyClaim = union(RULES, "rule")
