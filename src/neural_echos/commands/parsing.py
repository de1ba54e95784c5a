"""How `echos` reads its command line: lists after one option, JSON values, and one-sentence errors.

Values are converted here rather than by typer's pydantic adapters, whose import would delay every job by 0.15 s.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo

from neural_echos.errors import nearest
from neural_echos.files import read_json

LARGEST = (1 << 32) - 1  # the largest seed that every library accepts


def spread_lists(words: Sequence[str], lists: set[str]) -> list[str]:
    """Repeat a list option before each of its values: `--seeds 0 1` becomes `--seeds=0 --seeds=1`.

    Rules pass a whole list after one option; an option with an empty list disappears. A list ends at the next option.

    Parameters
    ----------
    words : sequence of str
        Words of the command line.
    lists : set of str
        Options that take a list, such as "--seeds".

    Returns
    -------
    list of str
    """
    spread: list[str] = []
    option = ""
    for position, word in enumerate(words):
        if word == "--":
            return [*spread, *words[position:]]
        if word.startswith("-") and not _is_number(word):
            option = word if word in lists else ""
            if not option:
                spread.append(word)
        else:
            spread.append(f"{option}={word}" if option else word)
    return spread


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object given on the command line, or in a file given as @path."""
    value = _json(text)
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{text!r} is not a JSON object")
    return value


def json_list_of(*keys: str) -> Callable[[str], list[dict[str, Any]]]:
    """Return a parser of JSON lists of objects that have all `keys`."""

    def read(text: str) -> list[dict[str, Any]]:
        value = _json(text)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise typer.BadParameter(f"{text!r} is not a JSON list of objects")
        for item in value:
            if missing := [key for key in keys if key not in item]:
                raise typer.BadParameter(f"each object needs {', '.join(keys)}; one has no {missing[0]}")
        return value

    return read


def _json(text: str) -> Any:
    try:
        return read_json(text[1:]) if text.startswith("@") else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{text!r} is neither JSON nor @file ({error})") from None


class _Reader:
    """Converts the words given for one parameter, in place of typer's own adapter."""

    def __init__(self, descriptor: Any) -> None:
        self.many = descriptor.is_list
        self.annotation = get_args(descriptor.annotation)[0] if self.many else descriptor.annotation
        self.info = descriptor.parameter_info
        self.choices = descriptor.choices

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value or values in the annotated type."""
        if value is None:
            return () if self.many else None
        try:
            return [self._read(one) for one in value] if self.many else self._read(value)
        except typer.BadParameter as error:
            error.param, error.ctx = param, ctx
            raise

    def describe(self, ctx: Any) -> str | None:
        """Return what the help shows for the type: nothing for a flag, `<path> ...` for an option with a list of paths."""
        if self.annotation is bool:
            return None
        name = "json" if self.info.parser else "|".join(self.choices or (self.annotation.__name__.lower(),))
        return f"<{name}> ..." if self.many and isinstance(self.info, OptionInfo) else f"<{name}>"

    def _read(self, value: Any) -> Any:
        if not isinstance(value, str):  # a default
            return value
        if self.info.parser:
            return self.info.parser(value)
        if self.choices and value not in self.choices:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(self.choices)}{nearest(value, self.choices)}")
        if self.annotation is int:
            return self._whole(value)
        if self.annotation is float:
            return self._number(value)
        return Path(value) if self.annotation is Path else value

    def _whole(self, text: str) -> int:
        least, most = self.info.min, self.info.max or LARGEST
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number > most or (least is not None and number < least):
            limits = "" if least is None else f" from {least} to {most}"
            raise typer.BadParameter(f"{text!r} is not a whole number{limits}")
        return number

    def _number(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not a number") from None


class _Parameters:
    """Gives every parameter of a command or group our reader if it knows the type."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for one in parameters:
            if one._runtime_param is None:
                reader = _Reader(one.type_descriptor)
                if reader.choices or reader.info.parser or reader.annotation in (str, int, float, bool, Path):
                    one._runtime_param = reader
                    one.display_type_rich = reader.describe
        return parameters


class Command(_Parameters, TyperCommand):
    """One command, whose list options take all words up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of a command line."""
        lists = {name for one in self.params if getattr(one, "multiple", False) for name in one.opts}
        return super().parse_args(ctx, spread_lists(args, lists))


class Group(_Parameters, TyperGroup):
    """The program itself."""
