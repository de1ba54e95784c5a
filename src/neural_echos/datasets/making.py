"""Make a dataset of any kind: check its options and files, and call its maker."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from neural_echos.datasets.base import Dataset, Facts
from neural_echos.datasets.registry import MAKERS
from neural_echos.datasets.streamed import StreamedDataset
from neural_echos.discovery import import_modules
from neural_echos.errors import EchosError, nearest

import_modules("neural_echos.datasets")


def make_dataset(
    kind: str,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    files: Mapping[str, Sequence[str | Path]] | None = None,
) -> tuple[Dataset | StreamedDataset, Facts]:
    """Make a dataset of one of the registered kinds.

    Parameters
    ----------
    kind : str
        One of `MAKERS`.
    options : mapping
        Keyword arguments of that maker, other than its seed and files.
    seed : int
        Determines every draw.
    files : mapping
        For the kind parquet: {"train": files, "test": files}; for an archive, which contains both splits: {"train": [file]}. The
        other kinds take no files.

    Returns
    -------
    dataset : Dataset or StreamedDataset
    facts : dict
        Kind, options, seed, how it was made, licence, citation, and the checksum of every file read.

    Raises
    ------
    EchosError
        The kind or an option is unknown, an option or files are missing, or the input itself is unusable.
    """
    if kind not in MAKERS:
        raise EchosError(f"there is no dataset kind {kind!r}{nearest(kind, MAKERS)}; kinds are {', '.join(MAKERS)}")
    if seed < 0:
        raise EchosError(f"dataset kind {kind}: the seed must be 0 or more, not {seed}")
    maker = MAKERS[kind]
    arguments = _checked_options(kind, maker, dict(options or {}))
    found = {split: list(paths) for split, paths in (files or {}).items() if paths}
    expected = [
        name.removesuffix("_files")
        for name, parameter in inspect.signature(maker).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    if set(found) != set(expected):
        raise EchosError(
            f"dataset kind {kind} takes {' and '.join(expected) or 'no'} files, not {' and '.join(sorted(found)) or 'none'}; "
            "correct the declaration"
        )
    dataset, facts = maker(*(found[split] for split in expected), seed=seed, **arguments)
    return dataset, {"kind": kind, **facts}


def _checked_options(kind: str, maker: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    keywords = {
        name: parameter
        for name, parameter in inspect.signature(maker).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "seed"
    }
    for name in options:
        if name not in keywords:
            raise EchosError(
                f"dataset kind {kind} has no option {name!r}{nearest(name, keywords)}; its options are {', '.join(keywords)}"
            )
    hints = get_type_hints(maker)
    for name, value in options.items():
        if not _fits(value, hints[name]):
            expected = _words(hints[name])
            raise EchosError(f"dataset kind {kind}: the option {name!r} must be {expected}, not {value!r}")
    for name, parameter in keywords.items():
        if parameter.default is parameter.empty and name not in options:
            raise EchosError(f"dataset kind {kind} needs the option {name!r}")
    return options


def _fits(value: Any, hint: Any) -> bool:
    """Whether a config value has the annotated type of a maker's option."""
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is Sequence:
        return isinstance(value, list | tuple) and all(_fits(one, get_args(hint)[0]) for one in value)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """Describe the type of an option in words."""
    if isinstance(hint, UnionType):
        return " or ".join(_words(one) for one in get_args(hint))
    if get_origin(hint) is Sequence:
        return f"a list, each item {_words(get_args(hint)[0])},"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(hint, "null")
