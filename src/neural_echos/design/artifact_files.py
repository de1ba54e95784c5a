"""Artifact files: the tables that each artifact of a preset reads, its options, and the files that it writes."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from neural_echos.design.preset import Preset

if TYPE_CHECKING:
    from neural_echos.design.artifacts import Artifact

# Tables that artifacts read, by schema: one per model that the artifact shows, or one per preset.
_OF_EACH_MODEL = {
    "bank": "<results>/banks/{}.parquet",
    "clusters": "<results>/clusters/{}.parquet",
    "centroids": "<results>/clusters/{}.centroids.parquet",
    "choices": "<results>/clusters/{}.choices.parquet",
    "fits": "<results>/fits/{}.parquet",
    "matches": "<results>/matches/{}.parquet",
    "patterns": "<results>/patterns/{}.parquet",
    "pattern_centroids": "<results>/patterns/{}.centroids.parquet",
}
_OF_ALL = {
    "runs": "<results>/evaluation/runs.parquet",
    "history": "<results>/evaluation/histories.parquet",
    "comparisons": "<results>/evaluation/comparisons.parquet",
    "structure": "<results>/evaluation/structure.parquet",
    "explained": "<results>/evaluation/explained.parquet",
    "pattern_shares": "<results>/evaluation/pattern_shares.parquet",
    "spread": "<results>/scale_space/spread.parquet",
    "scales": "<results>/scale_space/scales.parquet",
    "verdicts": "<results>/verdicts.parquet",
}
_SUFFIXES = {"figure": ("pdf", "png"), "table": ("csv", "md", "tex", "html")}
FILLED = "scale"  # type of an option that the workflow fills in from the rest of the config
IN_PAPER = {"figure": "pdf", "table": "tex"}


class ArtifactFiles:
    """The artifacts of a preset.

    Attributes
    ----------
    preset : Preset
    artifacts : dict
        By id: the notebook's declaration (`DeclaredArtifact`) and the preset's entry.
    """

    def __init__(self, preset: Preset) -> None:
        self.preset = preset
        self.artifacts: dict[str, tuple[Mapping[str, Any], Artifact]] = {
            one.id: (preset.declared[one.id], one) for one in preset.config.artifacts
        }

    def declared(self, artifact: str) -> Mapping[str, Any]:
        """What the notebook of an artifact declares."""
        return self.artifacts[artifact][0]

    def of_kind(self, kind: str) -> list[str]:
        """Ids of the artifacts of a kind, "figure" or "table"."""
        return [name for name, (declared, _) in self.artifacts.items() if declared["kind"] == kind]

    def main_files(self) -> list[str]:
        """The main file of each artifact: a figure's PDF, a table's CSV."""
        return [
            f"<results>/{declared['kind']}s/{name}.{_SUFFIXES[declared['kind']][0]}"
            for name, (declared, _) in self.artifacts.items()
        ]

    def other_files(self) -> list[str]:
        """The other files of each artifact."""
        return [
            f"<results>/{declared['kind']}s/{name}.{suffix}"
            for name, (declared, _) in self.artifacts.items()
            for suffix in (*_SUFFIXES[declared["kind"]][1:], *self.more_formats(declared["kind"]), "json")
        ]

    def more_formats(self, kind: str) -> list[str]:
        """Suffixes of the formats that the config requests on top of those that every artifact of a kind has."""
        return list(self.preset.config.figures.formats) if kind == "figure" else []

    def paper_files(self) -> list[str]:
        """The manuscript, and every artifact file that it includes."""
        names = [paper_name(name, declared["kind"]) for name, (declared, _) in self.artifacts.items()]
        return [f"<results>/paper/{name}" for name in ("paper.tex", *names)]

    def shown_models(self, artifact: str) -> list[str]:
        """Models whose banks an artifact shows: those that its options name and `select` keeps, or all."""
        options = self.artifacts[artifact][1].options
        pairs = [name for pair in getattr(options, "pairs", None) or [] for name in (pair.before, pair.after)]
        named = getattr(options, "models", None)
        named = pairs if named is None else named
        return [name for name in named if name in self.preset.models] or list(self.preset.models)

    def _models_beside(self, artifact: str) -> list[str]:
        """Models whose bank is all that an artifact reads: the ones named by its options of type `model`."""
        declared, asked = self.artifacts[artifact]
        named = [
            getattr(asked.options, name, None) for name, one in declared["options"].items() if one["type"] == "model"
        ]
        return [name for name in named if name in self.preset.models and name not in self.shown_models(artifact)]

    def inputs(self, artifact: str) -> dict[str, list[str]]:
        """The tables that an artifact reads, by schema."""
        return {schema: self._tables(schema, artifact) for schema in self.artifacts[artifact][0]["reads"]}

    def _tables(self, schema: str, artifact: str) -> list[str]:
        if schema in _OF_EACH_MODEL:
            beside = self._models_beside(artifact) if schema == "bank" else []
            return [_OF_EACH_MODEL[schema].format(name) for name in [*self.shown_models(artifact), *beside]]
        if schema == "ablated":
            return [f"<results>/ablated/{'/'.join(one)}.parquet" for one in self.preset.zeroed]
        if schema == "signals":
            return [f"<results>/signals/{name}.parquet" for name in self.preset.config.signals.architectures]
        if schema == "eliminations":
            return self.preset.transfer_files(self.preset.eliminated, "eliminations")
        if schema in ("replacements", "replacement_errors"):
            return self.preset.transfer_files(self.preset.replaced, schema.removeprefix("replacement_"))
        return [_OF_ALL[schema]]

    def options(self, artifact: str) -> dict[str, Any]:
        """An artifact's options with their defaults; values that the config gives elsewhere are filled in."""
        declared, asked = self.artifacts[artifact]
        given = asked.options.model_dump()
        options: dict[str, Any] = {}
        for name, one in declared["options"].items():
            value = given.get(name, one["default"])
            if one["type"] == "models" and name in given:
                value = self.shown_models(artifact)
            elif one["type"] == "variants":
                value = {variant: self._variant(variant) for variant in value or []}
            elif one["type"] == FILLED:
                value = self.preset.config.scale
            options[name] = value
        return options

    def _variant(self, initialisation: str) -> dict[str, Any]:
        """What the config declares about an initialisation and its source model."""
        declared = self.preset.config.initialisations[initialisation].model_dump()
        for _, name in self.preset.source_models(initialisation):
            model = self.preset.model(name)
            declared |= {"trained_on": model.trained_on, "of": model.run.architecture if model.run else name}
        return declared

    def atlas_file(self) -> list[str]:
        """The index of networks, if the preset requests one and has networks."""
        return ["<results>/atlas/index.html"] * bool(self.preset.config.atlas and self.preset.models)

    def atlas_entries(self, **files: Sequence[str]) -> list[dict[str, Any]]:
        """What the atlas shows for each network, with its file of each kind."""
        described = self.preset.describe_models(self.preset.models, **files)
        return [one | {"family": self.preset.models[one["model"]].family} for one in described]

    def entries(self, files: Sequence[str]) -> list[dict[str, str]]:
        """What the report and the manuscript show for each artifact, given the files of `main_files`."""
        return [
            {"id": name}
            | {key: declared[key] for key in ("kind", "group", "title", "caption")}
            | {"stem": str(PurePosixPath(file).with_suffix(""))}
            for (name, (declared, _)), file in zip(self.artifacts.items(), files, strict=True)
        ]


def paper_name(artifact: str, kind: str) -> str:
    """Name of an artifact's file in the manuscript: figure_05_clusters becomes figure-05-clusters.pdf."""
    name = artifact.replace("_", "-")
    return f"{name if name.startswith(f'{kind}-') else f'{kind}-{name}'}.{IN_PAPER[kind]}"
