"""The options of the library's own functions, read from their source: names, types, defaults and descriptions.

The config's models of initialisations, claim rules, datasets and recipes are built from these, so that a new function brings its
own options. Nothing is imported, because the functions need torch or scipy and Snakemake reads the config whenever it starts. A
parameter's type in a numpydoc docstring may narrow the annotation: ``{"a", "b"}`` lists the allowed strings, ``in [0, 1)`` or ``at
least 1`` bounds a number, ``sequence of three floats`` sets the length of a list. An annotation may do the same: ``Literal["a",
"b"]``, ``Annotated[int, "at least 1"]``.
"""

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import Field

from neural_echos.design.base import AS_WRITTEN, Count, InputName, ModelName, Number, Positive, Share, option

LIBRARY = Path(__file__).resolve().parents[1]
REQUIRED = ast.Constant(...)
_ANY = ast.Name("Any")
_SECTION = re.compile(r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=\n\n\w+\n-+\n|\Z)", re.M | re.S)
_ENTRY = re.compile(r"^(\w+(?:, \w+)*) : (.*)\n((?:(?:    .*)?\n?)*)", re.M)
_CHOICES = re.compile(r"\{((?:\"[^\"]*\"(?:, )?)+)\}")
_BOUNDS = (
    (r"in \[([-\d.]+), ", "ge"),
    (r"in \(([-\d.]+), ", "gt"),
    (r"in [\[(][-\d.]+, ([-\d.]+)\]", "le"),
    (r"in [\[(][-\d.]+, ([-\d.]+)\)", "lt"),
    (r"at least ([-\d.]+)", "ge"),
    (r"above ([-\d.]+)", "gt"),
)
_LENGTHS = {"two": 2, "three": 3, "four": 4, "eight": 8}


@dataclass(frozen=True)
class Option:
    """One option of a function.

    Attributes
    ----------
    annotation : str
        Its annotation in the source.
    default : ast.expr
        Its default in the source; `REQUIRED` if it has none.
    kind : str
        Its type in the docstring; "" if the docstring does not mention it.
    description : str
        What it means, from the docstring.
    """

    annotation: str
    default: ast.expr
    kind: str
    description: str


def decorated(room: str, decorator: str) -> dict[str, dict[str, Option]]:
    """Return the options of every function of a room that a decorator registers.

    They are listed by the name given to the decorator, or else by the function's name.
    """
    head = re.compile(rf"^@{decorator}\b(?:\(\"(\w+)\"\))?[^\n]*\n(def (\w+)\(.*?\"\"\".*?\"\"\")", re.M | re.S)
    texts = (text for text in _sources(room) if f"@{decorator}" in text)
    found = {match[1] or match[3]: match[2] for text in texts for match in head.finditer(text)}
    return {name: _options(found[name]) for name in sorted(found)}


def function(room: str, name: str) -> dict[str, Option]:
    """Return the options (the keyword-only parameters) of one function of a room."""
    head = re.compile(rf"^def {name}\(.*?\"\"\".*?\"\"\"", re.M | re.S)
    match = next(match for text in _sources(room) if (match := head.search(text)))
    return _options(match[0])


def attributes(module: str, name: str) -> dict[str, Option]:
    """Return the attributes of a dataclass of a module, such as ``training/recipe``, in order."""
    tree = ast.parse((LIBRARY / f"{module}.py").read_text(encoding="utf-8"))
    record = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    told = _described(ast.get_docstring(record) or "")
    lines = [node for node in record.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    return {
        node.target.id: Option(
            ast.unparse(node.annotation), node.value or REQUIRED, *told.get(node.target.id, ("", ""))
        )
        for node in lines
        if isinstance(node.target, ast.Name)
    }


@lru_cache(maxsize=8)
def constant(module: str, name: str) -> Any:
    """Return the keys of a dictionary, or the value of another literal, that a module assigns to a name."""
    text = (LIBRARY / f"{module}.py").read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == name and isinstance(node, ast.Assign | ast.AnnAssign):
            if isinstance(node.value, ast.Dict):
                return {
                    ast.literal_eval(key): ast.unparse(value)
                    for key, value in zip(node.value.keys, node.value.values, strict=True)
                    if key
                }
            return ast.literal_eval(node.value) if node.value else None
    raise LookupError(f"{module}.py assigns nothing to {name}")


def fields(
    options: Mapping[str, Option], without: Collection[str] = (), words: Mapping[str, tuple[Any, str]] | None = None
) -> dict[str, Any]:
    """Turn options into the fields of a model (`pydantic.create_model`); those with a default may be omitted.

    Parameters
    ----------
    options : mapping of str to Option
    without : collection of str
        Names that are not options in the config.
    words : mapping of str to (type, description), optional
        Type and description of a name in functions whose docstring does not describe it; None means the annotated type.
    """
    made: dict[str, Any] = {}
    for name, one in options.items():
        if name in without:
            continue
        kind, description = (words or {}).get(name, (None, ""))
        kind, description = kind or _type(one), one.description or description
        if one.default is REQUIRED:
            made[name] = (kind, Field(description=description))
            continue
        made[name] = (Union[kind, None], option(description, _literal(one.default)))  # noqa: UP007 (kind is no literal)
    return made


def _sources(room: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((LIBRARY / room).glob("*.py"))]


def _options(head: str) -> dict[str, Option]:
    """Read the keyword-only parameters of a function from its source up to the end of its docstring."""
    node = ast.parse(head).body[0]
    assert isinstance(node, ast.FunctionDef)
    told = _described(ast.get_docstring(node) or "")
    return {
        one.arg: Option(ast.unparse(one.annotation or _ANY), default or REQUIRED, *told.get(one.arg, ("", "")))
        for one, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    }


def _described(docstring: str) -> dict[str, tuple[str, str]]:
    """Return the type and the description that a numpydoc docstring gives for each parameter."""
    section = _SECTION.search(docstring)
    entries = _ENTRY.findall(section[1] if section else "")
    return {name: (kind, " ".join(text.split())) for names, kind, text in entries for name in names.split(", ")}


def _literal(default: ast.expr) -> Any:
    """Return a default as YAML would show it; None if it is None or not a literal."""
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return None
    return list(value) if isinstance(value, tuple) else value


@lru_cache(maxsize=256)
def _resolved(annotation: str, kind: str) -> Any:
    told = annotation + kind
    bounds: dict[str, Any] = {limit: float(found[1]) for form, limit in _BOUNDS if (found := re.search(form, told))}
    whole: dict[str, Any] = {limit: int(value) for limit, value in bounds.items()}
    number: Any = Annotated[float, Field(**bounds), AS_WRITTEN] if bounds else Number
    choices = _CHOICES.search(kind)
    names = {
        "int": Annotated[int, Field(**whole)] if whole else int,
        "float": number,
        "str": Literal[ast.literal_eval(f"({choices[1]},)")] if choices else str,
        "bool": bool,
        "tuple": _Tuple,
        "Sequence": list,
        "Mapping": dict,
        "Any": Any,
        "Literal": Literal,
        "Annotated": Annotated,
        "Positive": Positive,
        "Share": Share,
        "Count": Count,
        "Table": ModelName,
        "Weights": ModelName,
        "Filters": InputName,
        "Distribution": distribution(number),
    }
    made = eval(annotation, {"__builtins__": {}}, names)
    length = next((number for word, number in _LENGTHS.items() if f"sequence of {word} " in kind), None)
    return Annotated[made, Field(min_length=length, max_length=length)] if length else made


def _type(one: Option) -> Any:
    """Return the type of an option in the config, where a table becomes the id of a model and filters the id of an input."""
    return _resolved(one.annotation.removesuffix(" | None"), one.kind)


class _Tuple:
    """Reads `tuple[float, ...]`, which YAML writes as a list."""

    def __class_getitem__(cls, kinds: tuple[Any, ...]) -> Any:
        return list[kinds[0]]  # type: ignore[valid-type]


def distribution(number: Any) -> Any:
    """Return the type of a random value: a number, a list of numbers to choose from, or a uniform or normal distribution."""
    pair = Annotated[list[number], Field(min_length=2, max_length=2)]
    drawn = Annotated[dict[Literal["uniform", "normal"], pair], Field(min_length=1, max_length=1)]
    return number | Annotated[list[number], Field(min_length=1)] | drawn
