"""Names in the config: each name used must be declared in the config itself, its inputs or its artifacts."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from neural_echos.design.base import Reference, references
from neural_echos.design.conditions import conditions_of
from neural_echos.design.preset import Preset
from neural_echos.design.schema import Config
from neural_echos.design.yaml import Layer, dotted, locate
from neural_echos.errors import EchosError, nearest


def check_references(
    config: Config, *, inputs: Iterable[str], artifacts: Iterable[str], layers: Sequence[Layer] = ()
) -> None:
    """Check that every name that a config uses is declared: datasets, recipes, architectures, runs, inputs, artifacts.

    A preset may keep a claim whose required dataset it lacks, and an unused initialisation whose source it lacks.

    Parameters
    ----------
    config : Config
    inputs, artifacts : iterable of str
        Ids declared in config/inputs.yaml, and names of notebooks.
    layers : sequence of path or CommandLine
        What the config was read from, to report the line of a mistake.

    Raises
    ------
    EchosError
        A name is not declared (the message gives its place and the nearest declared name); two models, artifacts or claims have the
        same id; or a model or an entry of `zeroed` refers to a run that no experiment trains.
    """
    _require_distinct(config, layers)
    known = declared(config, inputs, artifacts)
    for keys, kind, name in _used(config):
        if name not in known[kind]:
            guess = nearest(name, sorted(known[kind])) if isinstance(name, str) else ""
            raise EchosError(
                f"{locate(layers, keys)}: {dotted(keys)} refers to an undeclared {kind}: {name!r}{guess}; correct the name or "
                "declare it"
            )
    _require_runs(config, layers)


def declared(config: Config, inputs: Iterable[str], artifacts: Iterable[str]) -> dict[str, set[Any]]:
    """Return the declared names of every kind that a `Ref` may have."""
    models = [model for entry in config.models for model in entry.each()]
    known: dict[str, set[Any]] = {
        "dataset": set(config.datasets),
        "recipe": set(config.recipes),
        "architecture": set(config.architectures),
        "initialisation": set(config.initialisations),
        "seed": set(config.seeds),
        "input": set(inputs),
        "artifact": set(artifacts),
        "set of filters": set(config.replacement.candidates),
        "model": {model.id for model in models},
        "selection": {name for model in models for name in (model.id, model.group)},
    }
    known["initialisation, set of filters or model"] = (
        known["initialisation"] | known["set of filters"] | known["model"]
    )
    return known


def _used(config: Config) -> Iterator[Reference]:
    """Yield the references to check: skip those of initialisations without a run, and datasets that claims need."""
    used = {name for experiment in config.experiments for name in experiment.initialisations}
    used |= {entry.initialisation for entry in (*config.replacement.replaced, *config.replacement.eliminated)}
    used |= {*config.signals.initialisations}
    for keys, kind, name in references(config):
        if keys[0] == "initialisations" and keys[1] not in used:
            continue
        if kind == "dataset" and keys[0] == "claims":
            needs = config.claims[int(keys[1])].needs
            if name in ([needs] if isinstance(needs, str) else needs):
                continue
        if keys == ["signals", "dataset"] and not config.signals.architectures:
            continue
        if keys == ["replacement", "recipe"] and not name:
            continue
        if keys == ["comparisons", "baselines"]:
            continue
        yield keys, kind, name


def _require_runs(config: Config, layers: Sequence[Layer]) -> None:
    """Refuse models and zeroed entries whose run is not trained: nothing would produce it."""
    preset = Preset(config)
    wanted = [
        (["models", str(place), "run"], (model.run.dataset, model.run.architecture, model.run.initialisation))
        for place, model in enumerate(config.models)
        if model.run
    ]
    wanted += [
        (["zeroed", str(place)], cell) for place, entry in enumerate(config.zeroed) for cell in conditions_of(entry)
    ]
    for keys, cell in wanted:
        if cell not in preset.conditions:
            raise EchosError(
                f"{locate(layers, keys)}: {dotted(keys)} is about {'/'.join(cell)}, which no experiment trains; add it to an "
                "experiment or remove it"
            )


def _require_distinct(config: Config, layers: Sequence[Layer]) -> None:
    """Refuse two entries with the same id: their outputs would share a path, or their verdicts a name."""
    ids = {
        "models": [(place, model.id) for place, entry in enumerate(config.models) for model in entry.each()],
        "artifacts": [(place, artifact.id) for place, artifact in enumerate(config.artifacts)],
        "claims": [(place, claim.id) for place, claim in enumerate(config.claims)],
    }
    for kind, names in ids.items():
        seen: dict[str, int] = {}
        for place, name in names:
            first = seen.setdefault(name, place)
            if first != place:
                keys = [kind, str(place), "id"]
                raise EchosError(
                    f"{locate(layers, keys)}: {dotted(keys)} repeats the id {name!r} of {kind}.{first}; rename one or remove it"
                )
