"""Write docs/config.md, the reference of every key of every config file, from the schemas in workflow/schemas.

Run `python docs/make_config_reference.py` after a schema has changed. With `--check` nothing is written: it only tells
whether docs/config.md is what the schemas say.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neural_echos.design.config import load_schema

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "config.md"
# Schema, the files that it describes, and what stands for a name that the user chooses.
FILES = (
    ("config", "config/config.yaml, config/presets/*.yaml", "name"),
    ("artifacts", "config/artifacts.yaml", "artifact"),
    ("inputs", "config/inputs.yaml", "input"),
)
HEAD = """# Config reference

Every key of every config file, written from the schemas in `workflow/schemas` by `docs/make_config_reference.py`; do not edit
it by hand. `<name>` is a name that you choose, `[]` an entry of a list. A key that is not required and has no default may be
left out; the defaults of a recipe are those of `Recipe` in `src/neural_echos/training/recipe.py`. Unknown keys, wrong types and
undeclared names are refused before any job runs, with the line that holds them.
"""
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
    "array": "list",
}
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "pattern": "of the form `{}`",
}


def main() -> int:
    """Write the page, or check it."""
    text = render()
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE}: expected what the schemas say, found another text; run {Path(__file__).name}", file=sys.stderr)
        return 1
    return 0


def render() -> str:
    """Return the page."""
    parts = [HEAD]
    for name, files, placeholder in FILES:
        schema = load_schema(ROOT / "workflow" / "schemas" / f"{name}.schema.yaml")
        parts.append(f"## {schema['title']}: {files}\n\n{_sentence(schema)}\n")
        parts.append("| key | type | default | description |\n|---|---|---|---|")
        parts += [f"| {' | '.join(row)} |" for row in _rows(schema, schema, "", placeholder, {})]
        parts.append("")
    return "\n".join(parts)


def _rows(
    schema: dict[str, Any], root: dict[str, Any], path: str, placeholder: str, seen: dict[str, str]
) -> Iterator[list[str]]:
    """Yield key, type, default and description of all that stands below `path`; `seen` remembers shared parts by place."""
    required = schema.get("required", [])
    inner = {f"{path}.{key}".lstrip("."): part for key, part in schema.get("properties", {}).items()}
    if isinstance(schema.get("additionalProperties"), dict) and "properties" not in schema:
        inner[f"{path}.<{placeholder}>".lstrip(".")] = schema["additionalProperties"]
    for key, part in inner.items():
        target = part.get("$ref", "")
        if target:
            part = {**_resolve(root, target), **part}
        default = f"`{json.dumps(part['default'], ensure_ascii=False)}`" if "default" in part else ""
        if key.rpartition(".")[2] in required:
            default = "required"
        told = _cell(_sentence(part))
        if target in seen:
            yield [f"`{key}`", _kind(part), default, f"{told} Keys as in `{seen[target]}`."]
            continue
        yield [f"`{key}`", _kind(part), default, told]
        if target:
            seen[target] = key
        if part.get("type") == "array":
            yield from _rows(part["items"], root, f"{key}[]", placeholder, seen)
        else:
            yield from _rows(part, root, key, placeholder, seen)


def _resolve(root: dict[str, Any], target: str) -> dict[str, Any]:
    for step in target.removeprefix("#/").split("/"):
        root = root[step]
    return root


def _sentence(schema: dict[str, Any]) -> str:
    """Return the description on one line, with what the schema asks of the keys together."""
    told = " ".join(schema.get("description", "").split())
    if told and told[-1] not in ".;:":
        told += "."
    items = schema.get("items", {})
    if items.get("type") == "object":
        told += f" Each: {_sentence(items)[:1].lower()}{_sentence(items)[1:]}"
    if "oneOf" in schema:
        alternatives = " or ".join(f"`{key}`" for one in schema["oneOf"] for key in one["required"])
        told += f" It has either {alternatives}."
    return told


def _kind(schema: dict[str, Any]) -> str:
    """Say in words which values a schema takes."""
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return "; or ".join(_kind(one) for one in schema["anyOf"])
    types = schema.get("type", "any")
    kind = " or ".join(TYPES.get(one, one) for one in ([types] if isinstance(types, str) else types))
    if types == "array":
        items = _kind(schema["items"])
        plural = re.sub(r"^(mapping|number|whole number)\b", r"\1s", items)
        kind = f"list of ({plural})" if ", " in plural else f"list of {plural}"
    limits = [form.format(str(schema[key]).replace("|", "\\|")) for key, form in LIMITS.items() if key in schema]
    if schema.get("uniqueItems"):
        limits.append("without repetition")
    return ", ".join([kind, *limits])


def _cell(text: str) -> str:
    """Make a text safe inside a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;").strip()


if __name__ == "__main__":
    raise SystemExit(main())
