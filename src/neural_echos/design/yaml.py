"""Strict YAML reading: no repeated keys, only text as keys, no aliases that expand to millions of values; and the line of a key."""

import copy
import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from neural_echos.errors import EchosError

_MOST_VALUES = 1_000_000  # of one file
_DEEPEST = 100  # levels of nested mappings and lists; libyaml's loader overflows the stack at about ten thousand


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


class _StrictLoader(_Loader):
    """YAML's safe loader, which also refuses repeated keys in a mapping and aliases that expand to too many values."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            self._count(node, {})
        return node

    def _count(self, node: yaml.Node, counted: dict[int, int]) -> int:
        """Count the values of a node with its aliases expanded; each node is visited once."""
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) not in counted:
            counted[id(node)] = _MOST_VALUES + 1  # until it is known, for a node that contains itself
            inner = node.value if isinstance(node, yaml.SequenceNode) else itertools.chain.from_iterable(node.value)
            counted[id(node)] = 1 + sum(self._count(item, counted) for item in inner)
        if counted[id(node)] > _MOST_VALUES:
            raise yaml.constructor.ConstructorError(
                problem=f"its aliases expand to more than {_MOST_VALUES:,} values", problem_mark=node.start_mark
            )
        return counted[id(node)]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(problem="a key must be text", problem_mark=key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                problem = f"the key {key.value!r} is repeated here"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that contains one mapping; an empty file is an empty mapping.

    Raises
    ------
    EchosError
        The file is missing, not UTF-8, invalid YAML or not a mapping, repeats a key, or its aliases expand to more than a million
        values.
    """
    return copy.deepcopy(_parse(str(path), _read_text(path)))


def _read_text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EchosError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise EchosError(f"{path}: cannot read this YAML file ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise EchosError(f"{path}: not encoded in UTF-8; save it as UTF-8") from None


@lru_cache(maxsize=64)
def _parse(path: str, text: str) -> dict[str, Any]:
    """Parse the text of a YAML file, cached by content because presets share the files that they build on."""
    try:
        _require_shallow(text)
        value = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        found = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise EchosError(f"{where}: not valid YAML: {found}; correct that line") from None
    except (ValueError, LookupError, TypeError) as error:  # a value that does not fit its tag, such as month 99
        found = " ".join(str(error).split())[:100]
        raise EchosError(f"{path}: not valid YAML: a value cannot be read ({found}); correct it") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise EchosError(f"{path}: must be a mapping (key: value), not {show(value)}")
    return value


def _require_shallow(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            problem = f"nested more than {_DEEPEST} levels deep"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]


def merge(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge config documents as the workflow does: mappings key by key, everything else as a whole."""
    merged: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            below = merged.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                value = merge([below, value])
            merged[key] = copy.deepcopy(value)
    return merged


@dataclass(frozen=True)
class CommandLine:
    """The values of Snakemake's --config, which override all files."""

    values: Mapping[str, Any]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "CommandLine":
        """Read the values as YAML: Snakemake hands over lists and mappings of text, ["0", "1"] for ``--config seeds=[0,1]``."""
        return cls({key: _typed(value) for key, value in values.items()})


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, str):
        try:
            read = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            return value
        return read if isinstance(read, bool | int | float | None) else value
    return value


Layer = str | Path | CommandLine


def locate(layers: Sequence[Layer], keys: Sequence[str]) -> str:
    """Return where the deepest key of the path `keys` is, "file:line" or the command line; the last layer that has it wins."""
    found: list[tuple[int, str]] = []
    for layer in reversed(layers):
        if isinstance(layer, CommandLine):
            if keys and keys[0] in layer.values:
                found.append((_depth(layer.values, keys), f"command line (--config {keys[0]}=…)"))
            continue
        try:
            node = yaml.compose(Path(layer).read_text(encoding="utf-8"), Loader=_Loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        marks = list(_marks(node, keys))
        found.append((len(marks), f"{layer}:{marks[-1].line + 1}" if marks else str(layer)))
    return max(found, key=lambda item: item[0])[1] if found else "configuration"


def _depth(value: Any, keys: Sequence[str]) -> int:
    """Count how many keys of a path can be followed into a value."""
    for depth, key in enumerate(keys):
        inner = value if isinstance(value, Mapping) else dict(enumerate(value)) if isinstance(value, list) else {}
        known = {str(name): item for name, item in inner.items()}
        if key not in known:
            return depth
        value = known[key]
    return len(keys)


def _marks(node: yaml.Node | None, keys: Sequence[str]) -> Iterator[yaml.Mark]:
    """Yield the position of each key of the path `keys`, as far as the file has them."""
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


def show(value: Any) -> str:
    """Write a value as YAML would, cut to a line."""
    text = "true" if value is True else "false" if value is False else "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def dotted(keys: Sequence[str]) -> str:
    """Write a path of keys."""
    return repr(".".join(keys)) if keys else "the top level"
