"""Preset: the runs, models, jobs and files that a config requires.

The rules, `echos plan`, `echos doctor` and the config check all use this. Paths begin with `<results>`, which Snakemake replaces
with the preset's results folder.

A *condition* is a dataset, an architecture and an initialisation; a *run* is a condition with a seed. A *source model* is a model
from which an initialisation takes kernels, weights or statistics; it must exist before the initialisation can be drawn.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from neural_echos.design.base import references
from neural_echos.design.conditions import Condition, Filtered, conditions_of
from neural_echos.design.jobs import InitialiseJob, TrainJob
from neural_echos.errors import EchosError

if TYPE_CHECKING:
    from neural_echos.design.inputs import Input
    from neural_echos.design.schema import Config, SourceModel

# The table of a model that an option refers to; `weights` refers to its checkpoint or a run's weights.
_TABLES = {
    "bank": "<results>/banks/{}.parquet",
    "fits": "<results>/fits/{}.parquet",
    "centroids": "<results>/clusters/{}.centroids.parquet",
}


class Preset:
    """What a config requires.

    Parameters
    ----------
    config : Config
    inputs : mapping of str to Input
    artifacts : mapping of str to mapping
        What config/inputs.yaml and the notebooks declare, by id; needed only by what depends on them.
    """

    def __init__(
        self,
        config: "Config",
        inputs: Mapping[str, "Input"] | None = None,
        artifacts: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.config = config
        self.inputs = inputs or {}
        self.declared = artifacts or {}

    # Runs

    @cached_property
    def replaced(self) -> list[Filtered]:
        """Conditions whose kernels are replaced, each with its set of filters; sorted."""
        return self._filtered("replaced")

    @cached_property
    def eliminated(self) -> list[Filtered]:
        """Conditions for which filters are eliminated, each with its set of filters; sorted."""
        return self._filtered("eliminated")

    def _filtered(self, part: str) -> list[Filtered]:
        return sorted(
            Filtered(entry.dataset, architecture, entry.initialisation, candidates)
            for entry in getattr(self.config.replacement, part)
            for architecture in entry.architectures
            for candidates in entry.candidates
        )

    @cached_property
    def conditions(self) -> list[Condition]:
        """Every condition that is trained, for an experiment or only for replacement; sorted."""
        found = {one for entry in self.config.experiments for one in conditions_of(entry)}
        return sorted(found | {one.condition for one in (*self.replaced, *self.eliminated)})

    @cached_property
    def zeroed(self) -> list[Condition]:
        """Conditions that are re-evaluated with single layers zeroed, in the order of the config."""
        return [one for entry in self.config.zeroed for one in conditions_of(entry)]

    def runs_of(self, dataset: str, architecture: str) -> int:
        """Number of runs of an architecture on a dataset."""
        return len(self.initialisations_of(dataset, architecture)) * len(self.config.seeds)

    @cached_property
    def seed_groups(self) -> list[tuple[int, ...]]:
        """The seeds, grouped by job."""
        seeds, size = self.config.seeds, self.config.seeds_per_job
        return [tuple(seeds[start : start + size]) for start in range(0, len(seeds), size)]

    def run_folders(self, conditions: Iterable[Condition]) -> list[str]:
        """Folders of all runs of the given conditions."""
        return [f"<results>/runs/{'/'.join(one)}/seed{seed}" for one, seed in product(conditions, self.config.seeds)]

    @property
    def launcher(self) -> str:
        """Command that starts a training: plain Python, or torchrun with one process per GPU."""
        gpus = self.config.gpu
        return f"torchrun --standalone --nproc-per-node {gpus} -m --" if gpus > 1 else "python -m"

    def recipe(self, dataset: str, architecture: str) -> dict[str, Any]:
        """The recipe of a run: the dataset's, with the architecture's changes."""
        return self._changed(self.config.datasets[dataset].recipe, architecture)

    def tuning_recipe(self, dataset: str, architecture: str) -> dict[str, Any]:
        """The recipe for fine-tuning after replacement: the declared one or the dataset's, with the architecture's changes."""
        return self._changed(self.config.replacement.recipe or self.config.datasets[dataset].recipe, architecture)

    def _changed(self, recipe: str, architecture: str) -> dict[str, Any]:
        return self.config.recipes[recipe].model_dump() | self.config.architectures[architecture].recipe.model_dump()

    def checkpoint_files(self, architecture: str) -> list[str]:
        """The trained weights that runs of an architecture start from: one file or none."""
        declared = self.config.architectures[architecture].checkpoint
        return [declared] if declared else []

    # Models and what initialisations take from them

    @cached_property
    def models(self) -> dict[str, "SourceModel"]:
        """Models whose banks are analysed, by id: those that `select` keeps."""
        kept = set(self.config.select)
        declared = [one for entry in self.config.models for one in entry.each()]
        return {one.id: one for one in declared if not kept or {one.id, one.group} & kept}

    def models_from(self, source: str) -> list[str]:
        """Ids of the models whose weights come from an "input" or a "run"."""
        return [name for name, model in self.models.items() if getattr(model, source) is not None]

    def drawn_models(self) -> list[str]:
        """Ids of the models in timm's own initialisation, which have neither an input nor a run."""
        return [name for name, model in self.models.items() if model.input is None and model.run is None]

    def optional_inputs(self) -> set[str]:
        """Ids of the inputs that only optional models read; the preset continues without them."""
        named = [(model.input, model.optional) for model in self.models.values() if model.input is not None]
        return {name for name, _ in named} - {name for name, optional in named if not optional}

    def compared_models(self) -> list[str]:
        """Ids of the models on which claims about patterns are evaluated, and of their untrained controls."""
        counted = ("trained", "untrained")
        return [name for name, model in self.models.items() if model.patterns and model.role in counted]

    def source_models(self, initialisation: str) -> tuple[tuple[str, str], ...]:
        """(option, id) of the models that an initialisation is drawn from."""
        return tuple((option, name) for option, kind, name in self._borrowed(initialisation) if kind == "model")

    def _borrowed(self, initialisation: str) -> list[tuple[str, str, str]]:
        """(option, "model" or "input", id) of everything that an initialisation is drawn from."""
        return _named(self.config.initialisations[initialisation])

    def borrowed_files(self, initialisations: Iterable[str]) -> list[str]:
        """Files that initialisations are drawn from, in the order that `initialisation_options` expects."""
        return [self._file(*named) for one in initialisations for named in self._borrowed(one)]

    def initialisation_options(
        self, initialisations: Iterable[str], files: Iterable[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        """The declared settings of initialisations, with ids replaced by the source files if these are given."""
        declared = {one: self.config.initialisations[one].model_dump() for one in initialisations}
        given = iter(files or ())
        for one, options in declared.items() if files is not None else ():
            options.update({option: str(next(given)) for option, *_ in self._borrowed(one)})
        return declared

    def model(self, name: str) -> "SourceModel":
        """A model of the preset.

        Raises
        ------
        EchosError
            `select` excludes it.
        """
        if name not in self.models:
            raise EchosError(
                f"config: the model {name!r} is needed, but 'select' excludes it; add its id or its group there"
            )
        return self.models[name]

    def weights_file(self, model: str, trained: str = "weights") -> str:
        """The weights file of a model; with `trained` "kernels", the smaller file that contains only a trained run's kernels."""
        run, declared = self.model(model).run, self.model(model).input
        if declared is not None or run is None:
            return self.input_file(str(declared))
        stem = f"{run.dataset}/{run.architecture}/{run.initialisation}/seed{run.seed}"
        if run.weights == "initial":
            return f"<results>/initial/{stem}.safetensors"
        return f"<results>/runs/{stem}/{trained}.safetensors"

    def layers_file(self, model: str) -> str:
        """The JSON beside a run's initial weights, which lists the model's layers."""
        run = self.model(model).run
        assert run is not None
        return f"<results>/initial/{run.dataset}/{run.architecture}/{run.initialisation}/seed{run.seed}.json"

    def describe_models(self, models: Iterable[str], **files: Sequence[str]) -> list[dict[str, Any]]:
        """What a measure over banks needs to know about each: name, role, and its file of each kind."""
        return [
            {"model": name, "role": self.models[name].role, "trained_on": self.models[name].trained_on}
            | {kind: files[kind][place] for kind in files}
            for place, name in enumerate(models)
        ]

    def published_accuracies(self) -> list[dict[str, Any]]:
        """The models whose input declares a published top-1, with their family."""
        found = [(name, one.family, self.inputs[one.input].top1) for name, one in self.models.items() if one.input]
        return [{"model": name, "family": family, "top1": top1} for name, family, top1 in found if top1 is not None]

    # Jobs

    def initialisations_of(self, dataset: str, architecture: str) -> list[str]:
        """Initialisations with which this architecture is run on this dataset, sorted."""
        return [one.initialisation for one in self.conditions if one[:2] == (dataset, architecture)]

    def initialise_jobs(self) -> list[InitialiseJob]:
        """Jobs that draw initial weights, one per set of source models, because these must be trained first."""
        jobs = sorted({(*one[:2], self.source_models(one.initialisation)) for one in self.conditions})
        return [
            InitialiseJob(
                "_".join(["initialise", dataset, architecture, *(part for pair in sources for part in pair)]),
                dataset,
                architecture,
                tuple(
                    name
                    for name in self.initialisations_of(dataset, architecture)
                    if self.source_models(name) == sources
                ),
            )
            for dataset, architecture, sources in jobs
        ]

    def train_jobs(self) -> Iterator[TrainJob]:
        """Training jobs, with wildcards if a job trains one initialisation, so that a cluster can submit them as an array.

        If published runs are adopted there are no wildcards, because only some runs need their weights.
        """
        size = self.config.initialisations_per_job
        parts: list[tuple[str, str, str, tuple[str, ...]]] = []
        if size == 1 and not self.published:
            parts.append(("train", "{dataset}", "{architecture}", ("{initialisation}",)))
        else:
            parts += [
                (
                    f"{job.name.replace('initialise', 'train', 1)}_{start // size}",
                    job.dataset,
                    job.architecture,
                    job.initialisations[start : start + size],
                )
                for job in self.initialise_jobs()
                for start in range(0, len(job.initialisations), size)
            ]
        for (name, dataset, architecture, names), (number, seeds) in product(parts, enumerate(self.seed_groups)):
            runs = [(Condition(dataset, architecture, one), seed) for one, seed in product(names, seeds)]
            whole, part = (
                tuple(not self.published or one in needed for one in runs)
                for needed in (self.needed_weights, self.needed_kernels)
            )
            yield TrainJob(f"{name}_{number}", dataset, architecture, names, number, seeds, whole, part)

    @cached_property
    def needed_weights(self) -> set[tuple[Condition, int]]:
        """Runs whose complete trained weights are read: by initialisations, replacement or zeroed layers."""
        read = {one.condition for one in (*self.replaced, *self.eliminated)} | set(self.zeroed)
        lent = {pair for one in self.conditions for pair in self.source_models(one.initialisation)}
        return set(product(read, self.config.seeds)) | self._trained(
            model for option, model in lent if option not in _TABLES and model in self.models
        )

    @cached_property
    def needed_kernels(self) -> set[tuple[Condition, int]]:
        """Runs from whose trained kernels a bank is made."""
        return self._trained(self.models)

    def _trained(self, models: Iterable[str]) -> set[tuple[Condition, int]]:
        runs = (self.models[name].run for name in models)
        return {
            (Condition(run.dataset, run.architecture, run.initialisation), seed)
            for run in runs
            if run is not None and run.weights == "trained"
            for seed in run.seeds()
        }

    @property
    def published(self) -> list[str]:
        """Tables of published runs to adopt."""
        adopt = self.config.adopt
        return [adopt] if isinstance(adopt, str) else list(adopt or [])

    def adopted_weights(self, read: Callable[[str], Mapping[str, Any]]) -> list[str]:
        """Weights of the runs that are in the results as adopted although the config adopts none.

        An adopted run has no weights, so a job that requires them causes it to be trained.

        Parameters
        ----------
        read : callable
            Given the name of a JSON file, "<results>/…", returns its content; an empty mapping if there is no such file.
        """
        folders = [] if self.published else self.run_folders(self.conditions)
        return [f"{folder}/weights.safetensors" for folder in folders if read(f"{folder}/metrics.json").get("adopted")]

    # Files

    def input_file(self, name: str) -> str:
        """Path of a declared input once it is fetched."""
        return f"<results>/inputs/{name}/{PurePosixPath(self.inputs[name].file).name}"

    def dataset_files(self, dataset: str, split: str) -> list[str]:
        """Fetched files of one split of a dataset made from declared inputs."""
        return [self.input_file(name) for name in getattr(self.config.datasets[dataset].files, split)]

    def filters_file(self) -> str:
        """The eight master key filters whose scales are fitted.

        Raises
        ------
        EchosError
            The config declares none.
        """
        if self.config.filters is None:
            raise EchosError(
                "config: 'filters' is null; set it to the id of the input with the eight master key filters"
            )
        return self.input_file(self.config.filters)

    def _file(self, option: str, kind: str, name: str) -> str:
        if kind == "input":
            return self.input_file(name)
        return _TABLES[option].format(name) if option in _TABLES else self.weights_file(name)

    def candidate_files(self, candidates: str) -> dict[str, str]:
        """Source files of a set of filters, by option."""
        return {named[0]: self._file(*named) for named in _named(self.config.replacement.candidates[candidates])}

    def candidate_options(self, candidates: str, files: Iterable[str] | None = None) -> dict[str, Any]:
        """A declared set of filters, with ids replaced by the source files if these are given."""
        declared = self.config.replacement.candidates[candidates].model_dump()
        lent = [] if files is None else zip(self.candidate_files(candidates), map(str, files), strict=True)
        return declared | dict(lent)

    def transfer_files(self, conditions: Iterable[Filtered], table: str) -> list[str]:
        """Tables of replacement or elimination, one per condition and group of seeds."""
        numbers = range(len(self.seed_groups))
        return [
            f"<results>/transfer/{'/'.join(one)}.{number}.{table}.parquet"
            for one, number in product(conditions, numbers)
        ]

    def needed_datasets(self) -> set[str]:
        """Datasets that are used for training or for measuring signals."""
        return {one.dataset for one in self.conditions} | (
            {self.config.signals.dataset} if self.config.signals.architectures else set()
        )

    def needed_inputs(self) -> set[str]:
        """Ids of the declared inputs that this preset reads, for datasets, models, initialisations and sets of filters."""
        files = [self.config.datasets[one].files for one in self.needed_datasets()]
        found = {name for one in files for name in (*one.train, *one.test)}
        found |= {one.input for one in self.models.values() if one.input is not None}
        drawn = {one.initialisation for one in self.conditions} | set(self.measured_initialisations())
        sets = {one.candidates for one in (*self.replaced, *self.eliminated)}
        used: list[Any] = [self.config.initialisations[one] for one in drawn]
        used += [self.config.replacement.candidates[one] for one in sets]
        found |= {name for one in used for _, kind, name in _named(one) if kind == "input"}
        reads = {table for one in self.config.artifacts for table in self.declared[one.id]["reads"]}
        if self.config.filters is not None and reads & {"spread", "scales"}:
            found.add(self.config.filters)
        return found

    def measured_initialisations(self) -> list[str]:
        """Initialisations whose signals are measured, namely those whose source models `select` keeps."""
        signals = self.config.signals
        names = signals.initialisations if signals.architectures else []
        return [name for name in names if all(model in self.models for _, model in self.source_models(name))]

    # Claims

    def needs_patterns(self) -> bool:
        """Whether a claim is about named patterns, which need a training per bank."""
        return bool(self.models) and any(claim.rule.startswith("patterns_") for claim in self.config.claims)

    def needs_structure(self) -> bool:
        """Whether a claim is about the structure of banks, which needs their fits and clusters."""
        return bool(self.models) and any(
            claim.rule in ("structure_beats_controls", "centres_dominate") for claim in self.config.claims
        )


def _named(declared: Any) -> list[tuple[str, str, str]]:
    """(option, "model" or "input", id) of the sources of an initialisation or a set of filters, models first."""
    found = [(keys[-1], kind, name) for keys, kind, name in references(declared) if kind in ("model", "input")]
    return sorted(found, key=lambda named: named[1] == "input")
