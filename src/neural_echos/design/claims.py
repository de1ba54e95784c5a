"""Claims: the papers' in config/claims.yaml and the config's own, with the options of their rules.

There is one model per decision rule of `neural_echos.verdicts`, with the options of the rule's function. Options that several rules
share are described here; a description in a rule's own docstring takes precedence.
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
    """Runs with transferred filters for one A → B."""

    dataset: DatasetName = Field(description="Dataset of the runs.")
    architecture: ArchitectureName = Field(description="Architecture of the runs.")
    initialisation: InitialisationName = Field(description="Initialisation that transfers.")


_WORDS: dict[str, tuple[Any, str]] = {
    "dataset": (DatasetName, "Dataset of the runs."),
    "architecture": (ArchitectureName, "Architecture of the runs."),
    "architectures": (Architectures, "Architectures to average over."),
    "initialisation": (InitialisationName, "Initialisation that the claim is about."),
    "baseline": (InitialisationName, "Initialisation that it is compared with."),
    "control": (
        Annotated[str, Ref("initialisation, set of filters or model")],
        "Initialisation or set of filters that serves as the control.",
    ),
    "candidates": (FilterSetName, "Set of filters that replaces kernels."),
    "varied": (InitialisationName, "Initialisation with many ratios and both centre types."),
    "fixed_gamma": (list[InitialisationName], "Initialisations with one ratio each."),
    "one_centre": (list[InitialisationName], "Initialisations with one centre type each."),
    "depthwise": (InitialisationName, "Initialisation with frozen depthwise kernels from a source model."),
    "pointwise": (InitialisationName, "Initialisation with frozen pointwise weights from that source model."),
    "sources": (dict[InitialisationName, DatasetName], "Dataset of each initialisation's source model."),
    "pairs": (Annotated[list[TransferPair], Field(min_length=1)], "Runs with transferred filters."),
    "role": (Role, "Role of the models whose banks count."),
    "stage": (
        Literal["trained", "replaced", "batch_norm", "fine_tuned"],
        "Stage at which the replaced models are scored.",
    ),
    "by": (Literal["cluster", "kernel"], "Whether kernels are named by their cluster or individually."),
    "expect": (Literal["positive", "none"], "What the claim says about the difference."),
    "margin": (Number, "A difference too small to matter."),
    "least": (None, "Minimum that the claim requires, from each family if it is about several."),
    "least_kernels": (Count, "Minimum number of kernels for a layer to count."),
    "controls": (
        list[str],
        "Datasets whose regular networks are controls, in addition to the depthwise networks' own datasets.",
    ),
    "least_networks": (Count, "Minimum number of networks of each kind for a kernel size to be decided."),
}


class PapersClaim(Model):
    """One claim of a paper."""

    paper: str = Field(default="Neural Echos", description="The paper that makes it.")
    statement: str = Field(description="The claim in one sentence.")
    rule: str = Field(description="Decision rule (src/neural_echos/verdicts).")
    needs: str | list[str] = Field(
        description='Dataset that the claim is about, or a list of them; on others the verdict is "not run at this scale".'
    )
    artifact: ArtifactName = Field(description="The artifact that shows the numbers.")
    published: str | None = option("What the paper reports for it, if that could be read.")


class PapersClaims(Model):
    """The papers' claims; a config refers to a claim by its id and adds the options of its rule."""

    claims: dict[str, PapersClaim] = Field(description="Claims, by id.")


class Claim(PapersClaim):
    """One claim with the rule that decides its verdict; each rule has its own `options`.

    For a claim in config/claims.yaml, the config only needs the id.
    """

    id: str = Field(description="Short name.", pattern="^[A-Z]+[0-9]+$")
    options: Any = Field(default_factory=dict, description="The rule's own options.")


def with_papers_claims(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Complete the claims that a config refers to by id.

    Parameters
    ----------
    document : mapping
        A config that has not been checked yet. It is not modified.
    path : Path
        config/claims.yaml.

    Raises
    ------
    EchosError
        The file cannot be read, is not valid, or lacks a claim that the config refers to only by id.
    """
    known = check(read_yaml(path), PapersClaims, [path]).model_dump()["claims"]
    asked = document.get("claims")
    if not isinstance(asked, list):
        return dict(document)
    claims = [known.get(str(one.get("id")), {}) | one if isinstance(one, Mapping) else one for one in asked]
    for one in claims:
        if isinstance(one, dict) and "rule" not in one and isinstance(one.get("id"), str):
            raise EchosError(
                f"claims: {path} has no claim {one['id']!r}{nearest(one['id'], known)}; your own claims also need paper, "
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
