"""Say what is wrong with a config in one sentence: its place, the key, the mistake, the nearest valid name, what to do."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from neural_echos.design.yaml import Layer, dotted, locate, show
from neural_echos.errors import nearest

_EXPECTED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "string_type": lambda _: "text",
    "bool_type": lambda _: "true or false",
    "list_type": lambda _: "a list",
    "dict_type": lambda _: "a mapping",
    "model_type": lambda _: "a mapping",
    "model_attributes_type": lambda _: "a mapping",
    "greater_than": lambda limit: f"above {limit['gt']:.10g}",
    "greater_than_equal": lambda limit: f"at least {limit['ge']:.10g}",
    "less_than": lambda limit: f"below {limit['lt']:.10g}",
    "less_than_equal": lambda limit: f"at most {limit['le']:.10g}",
    "string_pattern_mismatch": lambda limit: f"text of the form {limit['pattern']}",
    "string_too_short": lambda limit: f"text of at least {limit['min_length']} characters",
    "too_short": lambda limit: f"at least {limit['min_length']} long",
    "too_long": lambda limit: f"at most {limit['max_length']} long",
    "literal_error": lambda limit: f"one of {limit['expected'].replace(' or ', ', ')}",
}
_UNKNOWN = ("extra_forbidden", "invalid_key")


@dataclass(frozen=True)
class _Mistake:
    """One of pydantic's errors, with the keys that lead to it and to the union, if any, whose branch it belongs to."""

    keys: tuple[str, ...]
    union: tuple[str, ...]
    kind: str
    value: Any
    limits: Mapping[str, Any]
    message: str

    @property
    def unknown(self) -> bool:
        return self.kind in _UNKNOWN


def sentence(error: ValidationError, document: Any, model: type[BaseModel], layers: Sequence[Layer]) -> str:
    """Describe the first mistake in a document; unknown keys come before wrong values."""
    mistakes = [_read(one, document) for one in error.errors(include_url=False)]
    first = min(mistakes, key=lambda one: not one.unknown)
    rivals = [one for one in mistakes if one.union == first.union and one.unknown == first.unknown]
    deepest = max(rivals, key=lambda one: len(one.keys))
    same = [one for one in rivals if one.keys == deepest.keys]
    keys = list(deepest.keys)
    schema = _schema(model)
    if deepest.kind == "extra_forbidden":
        return f"{locate(layers, keys)}: {_unknown_key(keys, schema, document)}"
    if deepest.kind == "invalid_key":
        where = f"{locate(layers, keys[:-1])}: the keys of {dotted(keys[:-1])}"
        return f"{where} must be text, not {show(deepest.value)}; put it in quotes"
    if deepest.kind in ("missing", "union_tag_not_found"):
        about = _part(schema, keys, document).get("description", "")
        told = f" ({about[:1].lower()}{about[1:].rstrip('.')})" if about else ""
        return f"{locate(layers, keys)}: {dotted(keys[:-1])} lacks the key {keys[-1]!r}{told}; add it"
    if deepest.kind not in _EXPECTED and deepest.kind != "union_tag_invalid":
        return f"{locate(layers, keys)}: {dotted(keys)} {deepest.message}; correct it"
    expected = " or ".join(dict.fromkeys(map(_expected, same)))
    found = f"{show(deepest.value)}{_hint(deepest.value, same)}"
    return f"{locate(layers, keys)}: {dotted(keys)} must be {expected}, not {found}; correct it"


@lru_cache(maxsize=4)
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema, which is generated only if something is wrong."""
    return model.model_json_schema()


def _read(error: Any, document: Any) -> _Mistake:
    """Remove the names of union branches from the location of an error, so that only the document's keys remain."""
    keys: list[str] = []
    union: list[str] | None = None
    value, limits = document, error.get("ctx", {})
    for part in error["loc"]:
        inner = dict(enumerate(value)) if isinstance(value, list) else value if isinstance(value, dict) else {}
        if part in inner:
            keys.append(str(part))
            value = inner[part]
        elif part != "[key]" and part not in inner.values() and _is_key(part):
            keys.append(str(part))
            value = {}
        elif part not in inner.values():
            union = list(keys) if union is None else union
    if "discriminator" in limits:
        keys.append(limits["discriminator"].strip("'"))
    if "key" in limits:
        keys.append(limits["key"])
    found = limits.get("tag", error["input"])
    kind = "invalid_key" if error["loc"][-1:] == ("[key]",) and error["type"] == "string_type" else error["type"]
    return _Mistake(tuple(keys), tuple(keys if union is None else union), kind, found, limits, error["msg"])


def _is_key(part: int | str) -> bool:
    """Whether a part of a location is a key rather than the name of a union branch such as float or list[int]."""
    return isinstance(part, int) or (
        part not in ("int", "float", "str", "bool") and re.fullmatch(r"[\w.-]+", part) is not None and "-" not in part
    )


def _unknown_key(keys: list[str], schema: dict[str, Any], document: Any) -> str:
    """Say that a key is unknown, and which known key was probably meant or which entries accept it."""
    parent = _part(schema, keys[:-1], document)
    known = list(parent.get("properties", {}))
    takers = [
        name for name, branch in _branches(schema, keys[:-1], document).items() if keys[-1] in branch["properties"]
    ]
    if takers:
        return f"{dotted(keys)} is an option of {' and '.join(takers)} only; correct one or remove it"
    guess = nearest(keys[-1], known) or f" (known: {', '.join(known)})"
    return f"unknown key {dotted(keys)}{guess}; correct or remove it"


def _expected(mistake: _Mistake) -> str:
    if mistake.kind == "union_tag_invalid":
        return f"one of {mistake.limits['expected_tags']}"
    return _EXPECTED[mistake.kind](mistake.limits) if mistake.kind in _EXPECTED else mistake.message


def _hint(value: Any, mistakes: Sequence[_Mistake]) -> str:
    """Suggest the nearest allowed value, or explain a number that YAML reads as text."""
    if not isinstance(value, str):
        return ""
    kinds = {one.kind for one in mistakes}
    choices = [text for one in mistakes for text in re.findall(r"'([^']*)'", _choices(one))]
    if choices:
        return nearest(value, choices)
    try:
        number = float(value)
    except ValueError:
        return ""
    if kinds & {"int_type", "int_from_float"} and number.is_integer():
        return f" (YAML reads this as text; write {int(number)})"
    return f" (YAML reads this as text; write {number!r})" if "float_type" in kinds and math.isfinite(number) else ""


def _choices(mistake: _Mistake) -> str:
    key = {"literal_error": "expected", "union_tag_invalid": "expected_tags"}.get(mistake.kind)
    return str(mistake.limits[key]) if key else ""


# The JSON schema at a place ------------------------------------------------------------------------------------------


def _part(schema: dict[str, Any], keys: Sequence[str], document: Any) -> dict[str, Any]:
    """Return the part of a JSON schema that describes the value at a path of keys, in the branch that the document takes."""
    part, value = schema, document
    for place in range(len(keys) + 1):
        part = _resolved(part, schema, value)
        if place == len(keys):
            return part
        key = keys[place]
        if part.get("type") == "array":
            part = part.get("items", {})
            value = value[int(key)] if isinstance(value, list) and int(key) < len(value) else None
        else:
            any_key: Any = part.get("additionalProperties") or next(
                iter(part.get("patternProperties", {}).values()), {}
            )
            part = part.get("properties", {}).get(key) or any_key
            value = value.get(key) if isinstance(value, dict) else None
        part = part if isinstance(part, dict) else {}
    return part


def _resolved(part: dict[str, Any], schema: dict[str, Any], value: Any) -> dict[str, Any]:
    """Follow references and take the branch of a union that the value belongs to; keep the outer description."""
    outside = {key: part[key] for key in ("description",) if key in part}
    if "$ref" in part:
        return {**_resolved(schema["$defs"][part["$ref"].rpartition("/")[2]], schema, value), **outside}
    if "discriminator" in part and isinstance(value, dict):
        chosen = part["discriminator"]["mapping"].get(value.get(part["discriminator"]["propertyName"]))
        return {**_resolved({"$ref": chosen}, schema, value), **outside} if chosen else part
    if "anyOf" in part:
        branches = [_resolved(one, schema, value) for one in part["anyOf"]]
        kind = "array" if isinstance(value, list) else "object"
        return {**next((one for one in branches if one.get("type") == kind), {}), **outside}
    return part


def _branches(schema: dict[str, Any], keys: Sequence[str], document: Any) -> dict[str, dict[str, Any]]:
    """Return the properties of all branches of the union at a path of keys, or one level above (its options)."""
    for depth, inner in ((len(keys), None), (len(keys) - 1, keys[-1] if keys else None)):
        if depth < 1:
            continue
        parent = _part(schema, keys[: depth - 1], document)
        union = parent.get("items") or parent.get("additionalProperties") or {}
        if not isinstance(union, dict) or "discriminator" not in union:
            continue
        found = {}
        for tag, target in union["discriminator"]["mapping"].items():
            branch = schema["$defs"][target.rpartition("/")[2]]
            if inner is not None:
                branch = _resolved(branch.get("properties", {}).get(inner, {}), schema, None)
            found[f"the {union['discriminator']['propertyName']} {tag!r}"] = {
                "properties": branch.get("properties", {})
            }
        return found
    return {}
