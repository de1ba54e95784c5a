"""The configuration is a contract: YAML read strictly, checked against a JSON schema, completed with its defaults.

The schemas (Draft 2020-12, in YAML) describe every key, give its default and refuse all others. Whatever is wrong is
told in one sentence: file and line, dotted key, what was expected, what was found.
"""

import copy
import itertools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from neural_echos.errors import EchosError, nearest

_MOST_VALUES = 1_000_000  # of one file
Mistake = Any  # a jsonschema ValidationError, imported only where it is needed

_TYPES = {
    "integer": "a whole number",
    "number": "a finite number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_LIMITS = {
    "minimum": "a number of at least {}",
    "exclusiveMinimum": "a number above {}",
    "maximum": "a number of at most {}",
    "exclusiveMaximum": "a number below {}",
    "multipleOf": "a multiple of {}",
    "pattern": "text of the form {}",
    "minLength": "text of at least {} characters",
    "maxLength": "text of at most {} characters",
    "minItems": "a list of at least {}",
    "maxItems": "a list of at most {}",
    "minProperties": "a mapping of at least {} keys",
    "maxProperties": "a mapping of at most {} keys",
    "uniqueItems": "a list without repetition",
    "const": "{!r}",
}
_NAMED = {  # what options of claims and artifacts name
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
    **dict.fromkeys(("architecture", "architectures"), "architecture"),
    **dict.fromkeys(("initialisation", "initialisations", "variants", "reference", "baseline"), "initialisation"),
    **dict.fromkeys(("baselines", "varied", "fixed_gamma", "one_centre", "depthwise", "pointwise"), "initialisation"),
    **dict.fromkeys(("models", "before", "after"), "model"),
    "candidates": "set of filters",
    "control": "initialisation, set of filters or model",
}


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a mapping that holds one key twice, and aliases that stand for too much."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            self._count(node, {})
        return node

    def _count(self, node: yaml.Node, counted: dict[int, int]) -> int:
        """Count the values of a node as if its aliases were written out, each node once."""
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) not in counted:
            counted[id(node)] = _MOST_VALUES + 1  # until it is known: of a node that holds itself
            inner = node.value if isinstance(node, yaml.SequenceNode) else itertools.chain.from_iterable(node.value)
            counted[id(node)] = 1 + sum(self._count(item, counted) for item in inner)
        if counted[id(node)] > _MOST_VALUES:
            raise yaml.constructor.ConstructorError(
                problem=f"more than {_MOST_VALUES:,} values, aliases written out", problem_mark=node.start_mark
            )
        return counted[id(node)]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(problem="a key that is no text", problem_mark=key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                problem = f"the key {key.value!r} twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping; an empty file is an empty mapping.

    Raises
    ------
    EchosError
        The file is missing, not UTF-8, broken YAML, holds a key twice, is not a mapping, or its aliases stand for more than
        a million values.
    """
    return copy.deepcopy(_parse(str(path), _read_text(path)))


def _read_text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise EchosError(f"{path}: expected a YAML file, found {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise EchosError(f"{path}: expected YAML in UTF-8, found other bytes; save it as UTF-8") from None


@lru_cache(maxsize=64)
def _parse(path: str, text: str) -> dict[str, Any]:
    """Read the text of a YAML file, once as long as it stays the same: presets share the files below them."""
    try:
        value = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        found = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise EchosError(f"{where}: expected valid YAML, found {found}; correct that line") from None
    except RecursionError:
        raise EchosError(f"{path}: expected valid YAML, found it nested too deeply; write it flatter") from None
    except (ValueError, LookupError, TypeError) as error:  # of a value that is not of its tag, such as the 99th month
        found = " ".join(str(error).split())[:100]
        raise EchosError(
            f"{path}: expected valid YAML, found a value that cannot be read ({found}); correct it"
        ) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise EchosError(f"{path}: expected a mapping (key: value), found {_show(value)}; write it as keys and values")
    return value


def merge(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put config documents on top of one another as the workflow does: mappings key by key, all else as a whole."""
    merged: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            below = merged.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                value = merge([below, value])
            merged[key] = copy.deepcopy(value)
    return merged


def preset_files(root: Path, *presets: str) -> list[Path]:
    """Files of presets, the demo's config first, each after those that it declares to lie on top of."""
    files = [root / "config/config.yaml"]
    for name in presets:
        path = root / f"config/presets/{name}.yaml"
        below = read_yaml(path).get("on_top_of")
        files += [*(preset_files(root, below)[1:] if isinstance(below, str) else []), path]
    return list(dict.fromkeys(files))


def load_preset(root: Path, *presets: str) -> dict[str, Any]:
    """Read presets on top of the demo's config, and check them and the names that they use; without any, the demo's.

    Parameters
    ----------
    root : Path
        Folder that holds the Snakefile.
    *presets : str
        Names of files in config/presets, those on top last.

    Raises
    ------
    EchosError
        See `read_yaml`, `check` and `check_references`.
    """
    files = preset_files(root, *presets)
    config = check(merge(map(read_yaml, files)), load_schema(root / "workflow/schemas/config.schema.yaml"), files=files)
    inputs, artifacts = (read_yaml(root / f"config/{name}.yaml") for name in ("inputs", "artifacts"))
    check_references(config, inputs=inputs, artifacts=artifacts, files=files)
    return config


def require_below(files: Sequence[str | Path]) -> None:
    """Refuse a preset that is given without the one that it declares to lie on top of.

    Raises
    ------
    EchosError
        No file before it has that preset's name.
    """
    for place, path in enumerate(files):
        below = read_yaml(path).get("on_top_of")
        if below is not None and below not in [Path(file).stem for file in files[:place]]:
            raise EchosError(
                f"{path}: expected the preset {below!r} below it, found it not given; run with --configfile "
                f"config/presets/{below}.yaml {path}"
            )


def load_schema(path: str | Path) -> dict[str, Any]:
    """Read one of this repository's JSON schemas (Draft 2020-12), written in YAML.

    Every Snakemake that starts reads them, twice for each job of a cluster, so it is done fast: they are code, and the tests check
    that they are strict YAML and sound schemas.
    """
    schema: dict[str, Any] = yaml.load(
        Path(path).read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return schema


def check(document: dict[str, Any], schema: dict[str, Any], *, files: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Check a document against a schema and return a copy completed with the schema's defaults.

    Defaults are filled in under `properties`, `additionalProperties`, `items`, `allOf` and local `$ref`, at every
    depth; the alternatives of `anyOf`, `oneOf` and `if` are checked, never filled in. A whole number must be written as
    one (5, not 5.0), and a number must be finite.

    Parameters
    ----------
    document : dict
        What the files say together. It is not changed.
    schema : dict
        JSON schema, Draft 2020-12.
    files : sequence of path
        The YAML files that `document` came from, to name the line of a mistake; the last one that holds a key wins.

    Raises
    ------
    EchosError
        The first thing that is wrong; an unknown key comes before a wrong value.
    """
    paths = [Path(file) for file in files]
    _require_text_keys(document, [], paths)
    completed: dict[str, Any] = _fill(copy.deepcopy(document), schema, schema)
    mistakes = sorted(_validator()(schema).iter_errors(completed), key=_rank)
    if mistakes:
        raise EchosError(_sentence(mistakes[0], paths))
    return completed


@lru_cache(maxsize=1)
def _validator() -> Any:
    from jsonschema import Draft202012Validator, validators

    def whole(_: Any, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def finite(checker: Any, value: Any) -> bool:
        return whole(checker, value) or (isinstance(value, float) and math.isfinite(value))

    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": whole, "number": finite})
    return validators.extend(Draft202012Validator, type_checker=types)


def _require_text_keys(value: Any, keys: list[str], files: list[Path]) -> None:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(value, dict) and not isinstance(key, str):
            where = _locate(files, keys) or "configuration"
            raise EchosError(f"{where}: expected text as the keys of {_dotted(keys)}, found {key!r}; put it in quotes")
        _require_text_keys(item, [*keys, str(key)], files)


def _resolve(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """Follow a local `$ref`; keywords beside it (a default, a description) stay."""
    while isinstance(schema, dict) and str(schema.get("$ref", "")).startswith("#"):
        target: Any = root
        for part in schema["$ref"].removeprefix("#").strip("/").split("/"):
            target = target[part] if part else target
        schema = {**target, **{key: item for key, item in schema.items() if key != "$ref"}}
    return schema if isinstance(schema, dict) else {}


def _fill(value: Any, schema: Any, root: dict[str, Any]) -> Any:
    schema = _resolve(schema, root)
    for part in schema.get("allOf", ()):
        value = _fill(value, part, root)
    if isinstance(value, list):
        return [_fill(item, schema.get("items"), root) for item in value]
    if not isinstance(value, dict):
        return value
    properties = {key: _resolve(part, root) for key, part in schema.get("properties", {}).items()}
    missing = {key: copy.deepcopy(part["default"]) for key, part in properties.items() if "default" in part}
    rest = schema.get("additionalProperties")
    return {key: _fill(item, properties.get(key, rest), root) for key, item in {**missing, **value}.items()}


def _rank(error: Mistake) -> tuple[bool, list[str]]:
    return not _unknown_keys(error), [str(key) for key in error.absolute_path]


def _unknown_keys(error: Mistake) -> list[str]:
    """Return the keys that the schema does not know, where that is what the error says."""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        return [key for key in error.instance if key not in known]
    return [error.instance] if "propertyNames" in error.absolute_schema_path else []


def _sentence(error: Mistake, files: list[Path]) -> str:
    keys = [str(key) for key in error.absolute_path]
    unknown = _unknown_keys(error)
    if unknown and error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        guess = nearest(unknown[0], known) or f" (known: {', '.join(known)})"
        where = _locate(files, [*keys, unknown[0]]) or "configuration"
        found = f"the unknown key {_dotted([*keys, unknown[0]])}{guess}"
        return f"{where}: expected a key of {_dotted(keys)}, found {found}; correct it or take it out"
    if unknown:
        where = _locate(files, [*keys, unknown[0]]) or "configuration"
        found = _dotted([*keys, unknown[0]])
        return f"{where}: expected as the name of a key {_expected(error)}, found {found}; rename it"
    path = list(error.absolute_schema_path)
    if "dependentSchemas" in path:
        option = [*keys[:-1], str(path[path.index("dependentSchemas") + 1])]
        where = _locate(files, option) or "configuration"
        only = f"only where {_dotted(keys)} is {_expected(error)}"
        return f"{where}: {_dotted(option)}: expected {only}, found it beside {_show(error.instance)}; correct one or take it out"
    where = _locate(files, keys) or "configuration"
    if error.validator == "required":
        absent = next(key for key in error.validator_value if key not in error.instance)
        about = _about(error.schema.get("properties", {}).get(absent, {}))
        return f"{where}: expected the key {_dotted([*keys, absent])}{about}, found none; add it"
    found = f"{_show(error.instance)}{_guess(error)}"
    return f"{where}: {_dotted(keys)}: expected {_expected(error)}{_about(error.schema)}, found {found}; correct it"


def _expected(error: Mistake) -> str:
    """Say what one failed keyword of the schema asks for."""
    rule, value = str(error.validator), error.validator_value
    if rule == "type":
        return " or ".join(_TYPES[name] for name in ([value] if isinstance(value, str) else value))
    if rule == "enum":
        return "one of " + ", ".join(_show(item) for item in value)
    if rule in ("anyOf", "oneOf") and error.context:
        return " or ".join(dict.fromkeys(_expected(part) for part in error.context))
    return _LIMITS[rule].format(value) if rule in _LIMITS else f"that the rule {rule!r} of the schema holds"


def _guess(error: Mistake) -> str:
    """Offer the nearest allowed text, or explain a number that YAML reads as text."""
    if not isinstance(error.instance, str):
        return ""
    if error.validator == "enum":
        return nearest(error.instance, [item for item in error.validator_value if isinstance(item, str)])
    try:
        number = float(error.instance)
    except ValueError:
        return ""
    wanted = _listed(error.validator_value) if error.validator == "type" else []
    if "integer" in wanted and number.is_integer():
        return f" (YAML reads this as text; write {int(number)})"
    return f" (YAML reads this as text; write {number!r})" if "number" in wanted and math.isfinite(number) else ""


def _about(schema: Any) -> str:
    text = schema.get("description", "") if isinstance(schema, dict) else ""
    return f" ({' '.join(text.split()).rstrip('.')})" if text else ""


def _show(value: Any) -> str:
    text = "true" if value is True else "false" if value is False else "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dotted(keys: Sequence[str]) -> str:
    return repr(".".join(keys)) if keys else "the top level"


def _locate(files: Sequence[Path], keys: Sequence[str]) -> str:
    """Return "file:line" of the deepest key of the path `keys` that a file holds, the last file first, or ""."""
    found: list[tuple[int, str]] = []
    for file in reversed(files):
        try:
            node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        marks = list(_marks(node, keys))
        found.append((len(marks), f"{file}:{marks[-1].line + 1}" if marks else str(file)))
    return max(found, key=lambda item: item[0])[1] if found else ""


def _marks(node: yaml.Node | None, keys: Sequence[str]) -> Iterator[yaml.Mark]:
    """Yield where each key of the path `keys` stands, as far as the file follows it."""
    for key in keys:
        step: tuple[yaml.Mark, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            step = next(((name.start_mark, item) for name, item in node.value if name.value == key), None)
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            step = node.value[int(key)].start_mark, node.value[int(key)]
        if step is None:
            return
        yield step[0]
        node = step[1]


def check_references(
    config: dict[str, Any], *, inputs: Iterable[str], artifacts: Iterable[str], files: Sequence[str | Path] = ()
) -> None:
    """Check that every name that a config uses is declared: data sets, recipes, architectures, runs, inputs, artifacts.

    Names in the options of claims and artifacts count, too, but for a data set that the claim `needs`: a preset may keep a
    claim about one that it does not have.

    Parameters
    ----------
    config : dict
        As `check` completed it.
    inputs, artifacts : iterable of str
        Ids declared in config/inputs.yaml and config/artifacts.yaml.
    files : sequence of path
        See `check`.

    Raises
    ------
    EchosError
        A name that is declared nowhere, with its place and the nearest declared one; two models, artifacts or claims of one id; or
        a model, or an entry of `zeroed`, of a run that no experiment trains.
    """
    _require_distinct(config, [Path(file) for file in files])
    known = {
        "dataset": set(config["datasets"]),
        "recipe": set(config["recipes"]),
        "architecture": set(config["architectures"]),
        "initialisation": set(config["initialisations"]),
        "seed": set(config["seeds"]),
        "input": set(inputs),
        "artifact": set(artifacts),
        "set of filters": set(config["replacement"]["candidates"]),
        "selection": {entry[key] for entry in config["models"] for key in ("id", "group")},
    }
    known["model"] = {entry["id"] for entry in config["models"]}
    known["initialisation, set of filters or model"] = (
        known["initialisation"] | known["set of filters"] | known["model"]
    )
    for keys, kind, name in _references(config):
        if name not in known[kind]:
            where = _locate([Path(file) for file in files], keys)
            place = f"{where}: {_dotted(keys)}" if where else _dotted(keys)
            guess = nearest(name, sorted(known[kind])) if isinstance(name, str) else ""
            raise EchosError(f"{place}: expected a declared {kind}, found {name!r}{guess}; correct it or declare it")
    _require_runs(config, [Path(file) for file in files])


def _require_runs(config: dict[str, Any], files: list[Path]) -> None:
    """Refuse a model whose run no experiment trains, and runs to be zeroed that none does: nothing would make them."""
    cells = {cell for experiment in config["experiments"] for cell in _cells(experiment)}
    wanted = [
        (
            ["models", str(index), "run"],
            tuple(model["run"][key] for key in ("dataset", "architecture", "initialisation")),
        )
        for index, model in enumerate(config["models"])
        if "run" in model
    ]
    wanted += [(["zeroed", str(index)], cell) for index, entry in enumerate(config["zeroed"]) for cell in _cells(entry)]
    for keys, cell in wanted:
        if cell not in cells:
            where = _locate(files, keys)
            place = f"{where}: {_dotted(keys)}" if where else _dotted(keys)
            raise EchosError(
                f"{place}: expected a run that an experiment trains, found {'/'.join(cell)}; add it to an experiment or "
                "take it out"
            )


def _cells(entry: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """All (data set, architecture, initialisation) that an experiment, or an entry like one, names."""
    yield from itertools.product(entry["datasets"], entry["architectures"], entry["initialisations"])


def _require_distinct(config: dict[str, Any], files: list[Path]) -> None:
    """Refuse two entries of one id: their outputs would have one path, or their verdicts one name."""
    for kind in ("models", "artifacts", "claims"):
        seen: dict[str, int] = {}
        for index, entry in enumerate(config[kind]):
            first = seen.setdefault(entry["id"], index)
            if first != index:
                where = _locate(files, [kind, str(index), "id"])
                place = f"{where}: " if where else ""
                raise EchosError(
                    f"{place}'{kind}.{index}.id': expected another id for each of the {kind}, found {entry['id']!r}, which is "
                    f"{kind}.{first} already; rename one or take it out"
                )


def _references(config: dict[str, Any]) -> Iterator[tuple[list[str], str, Any]]:
    """Yield (keys, kind, name) for every name that a config uses."""
    for name, dataset in config["datasets"].items():
        yield ["datasets", name, "recipe"], "recipe", dataset["recipe"]
        for split, files in dataset["files"].items():
            for file in files:
                yield ["datasets", name, "files", split], "input", file
    used = [name for experiment in config["experiments"] for name in experiment["initialisations"]]
    used += [entry["initialisation"] for part in ("replaced", "eliminated") for entry in config["replacement"][part]]
    for name in dict.fromkeys([*used, *config["signals"]["initialisations"]]):
        initialisation = config["initialisations"].get(name, {})
        for option in ("bank", "fits", "centroids", "weights", "filters"):
            if option in initialisation:
                kind = "input" if option == "filters" else "model"
                yield ["initialisations", name, option], kind, initialisation[option]
    yield from _replacement_references(config["replacement"])
    if config["signals"]["architectures"]:
        yield ["signals", "dataset"], "dataset", config["signals"]["dataset"]
    for name in config["comparisons"]["baselines"]:
        yield ["comparisons", "baselines"], "initialisation", name
    for kind in ("architecture", "initialisation"):
        for name in config["signals"][f"{kind}s"]:
            yield ["signals", f"{kind}s"], kind, name
    for key in ("experiments", "zeroed"):
        for index, entry in enumerate(config[key]):
            for kind in ("dataset", "architecture", "initialisation"):
                for name in entry[f"{kind}s"]:
                    yield [key, str(index), f"{kind}s"], kind, name
    for index, model in enumerate(config["models"]):
        if "input" in model:
            yield ["models", str(index), "input"], "input", model["input"]
        for kind in ("dataset", "architecture", "initialisation", "seed"):
            if "run" in model:
                yield ["models", str(index), "run", kind], kind, model["run"][kind]
    if config["filters"] is not None:
        yield ["filters"], "input", config["filters"]
    for name in config["select"]:
        yield ["select"], "selection", name
    for index, claim in enumerate(config["claims"]):
        yield ["claims", str(index), "artifact"], "artifact", claim["artifact"]
        for keys, kind, name in _option_references(claim["options"], ["claims", str(index), "options"]):
            if kind != "dataset" or name not in _listed(claim["needs"]):  # it may be about one that this preset lacks
                yield keys, kind, name
    for index, artifact in enumerate(config["artifacts"]):
        yield ["artifacts", str(index), "id"], "artifact", artifact["id"]
        yield from _option_references(artifact["options"], ["artifacts", str(index), "options"])


def _option_references(options: Mapping[str, Any], place: list[str]) -> Iterator[tuple[list[str], str, Any]]:
    """Yield the references of the options of a claim or an artifact; what a name of an option means is the same in all."""
    for option, value in options.items():
        if option == "pairs":
            for index, pair in enumerate(value):
                yield from _option_references(pair, [*place, option, str(index)])
        elif option == "series":
            for line, points in value.items():
                for _, name in points:
                    yield [*place, option, line], "initialisation", name
        elif option == "sources":
            for name, dataset in value.items():
                yield [*place, option, name], "initialisation", name
                yield [*place, option, name], "dataset", dataset
        elif option in _NAMED:
            for name in _listed(value):
                yield [*place, option], _NAMED[option], name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _replacement_references(replacement: dict[str, Any]) -> Iterator[tuple[list[str], str, Any]]:
    """Yield the references of the part on replacement."""
    for name, declared in replacement["candidates"].items():
        for option, kind in (("bank", "model"), ("filters", "input")):
            if option in declared:
                yield ["replacement", "candidates", name, option], kind, declared[option]
    if replacement["recipe"]:
        yield ["replacement", "recipe"], "recipe", replacement["recipe"]
    for part in ("replaced", "eliminated"):
        for index, entry in enumerate(replacement[part]):
            place = ["replacement", part, str(index)]
            for kind in ("dataset", "initialisation"):
                yield [*place, kind], kind, entry[kind]
            for architecture in entry["architectures"]:
                yield [*place, "architectures"], "architecture", architecture
            for candidates in entry["candidates"]:
                yield [*place, "candidates"], "set of filters", candidates
