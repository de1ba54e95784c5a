"""The registry of initialisations: register and look them up, and check their options.

An initialisation is a function `(n, height, width, rng, *, options…) -> (n, height, width)` that draws n kernels from a seeded
generator. Its signature is the only place where its options are declared: names, types, limits, defaults, and what it
borrows (a `Table` or `Weights` of another model, or `Filters`, a declared input). Eight keywords are not options but *facts* about
the layer, filled in by `init_depthwise_`: `depth` in [0, 1], `outputs` (kernels of the layer), `multiplier` (kernels per channel),
`layer` (module path), `channels` (indices of the kernels drawn, int64 (n,)), `seed` (of the whole model's draw), `report`, a
dictionary for notes, and `shared`, a dictionary for values that are computed once for all layers.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pyarrow as pa

from neural_echos.errors import EchosError, nearest
from neural_echos.tables import read_table

Draw = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Limits:
    """Limits of a numeric option; None is no limit."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None

    def allow(self, value: float) -> bool:
        """Whether a number is within the limits; NaN and infinity never are."""
        low = (self.ge is None or value >= self.ge) and (self.gt is None or value > self.gt)
        return bool(low and (self.le is None or value <= self.le) and np.isfinite(value))

    def __str__(self) -> str:
        low = f"of at least {self.ge:g}" if self.ge is not None else f"above {self.gt:g}"
        return low if self.le is None else f"from {self.ge:g} to {self.le:g}"


@dataclass(frozen=True)
class Borrowed:
    """Marks a borrowed option: in a config, the name of a "model" or of a declared "input"."""

    of: str


Positive = Annotated[float, Limits(gt=0)]
Share = Annotated[float, Limits(ge=0, le=1)]
Count = Annotated[int, Limits(ge=1)]
Distribution = float | Sequence[float] | Mapping[str, Sequence[float]]
Table = Annotated[pa.Table | str | Path, Borrowed("model")]
Filters = Annotated[str | Path | np.ndarray, Borrowed("input")]
Weights = Annotated[str | Path | Mapping[str, np.ndarray], Borrowed("model")]

FACTS = ("depth", "outputs", "multiplier", "layer", "channels", "seed", "report", "shared")
TABLES = ("bank", "fits", "centroids")  # options that are tables of that schema, or the paths of their files


@dataclass(frozen=True)
class Initialisation:
    """An entry of the registry.

    Attributes
    ----------
    draw : callable
        The function itself.
    frozen : bool
        Whether its paper freezes the kernels; `init_depthwise_(…, frozen=…)` overrides it.
    options : dict
        Keywords set by users, with their annotations, against which values are checked.
    facts : tuple of str
        Keywords filled in for each layer.
    """

    draw: Draw
    frozen: bool
    options: dict[str, Any]
    facts: tuple[str, ...]


_REGISTRY: dict[str, Initialisation] = {}


def is_number(value: object) -> bool:
    """Whether a value is a Python or NumPy number, but not a bool."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether a value is a Python or NumPy integer, but not a bool."""
    return is_number(value) and isinstance(value, int | np.integer)


def _is_array(value: object) -> bool:
    try:
        return not isinstance(value, str) and np.asarray(value, dtype=np.float64).ndim > 0
    except (TypeError, ValueError):
        return False


# Allowed values of an option, by annotation; distributions are checked when they are drawn from.
_KINDS: dict[Any, tuple[str, Callable[[object], bool]]] = {
    bool: ("true or false", lambda value: isinstance(value, bool | np.bool_)),
    int: ("a whole number", is_whole),
    float: ("a number", is_number),
    Table: ("a table or the path of one", lambda value: isinstance(value, pa.Table | str | Path)),
    Filters: ("a path or an array", lambda value: isinstance(value, str | Path) or _is_array(value)),
    Weights: ("a path or a mapping of arrays", lambda value: isinstance(value, str | Path | Mapping)),
    Sequence[float]: ("a list of numbers", _is_array),
    Sequence[Sequence[float]]: ("a list of lists of numbers", _is_array),
}


def _kind(annotation: Any) -> tuple[str, Callable[[Any], bool]]:
    """What an annotation requires, in words, and a check of a value."""
    if annotation in _KINDS:
        return _KINDS[annotation]
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(parts)}", lambda value: isinstance(value, str) and value in parts
    if get_origin(annotation) in (Union, UnionType) and NoneType in parts:
        text, fits = _kind(Union[tuple(part for part in parts if part is not NoneType)])  # noqa: UP007 (made at run time)
        return text, lambda value: value is None or fits(value)
    if get_origin(annotation) is Annotated:
        (text, fits), limits = _kind(parts[0]), parts[1]
        return f"{text} {limits}", lambda value: fits(value) and limits.allow(value)
    return "", lambda value: True


def check_option(name: str, option: str, annotation: Any, value: Any) -> None:
    """Raise `EchosError` unless a value fits an option's annotation; `name` is the initialisation's name."""
    kind, fits = _kind(annotation)
    if not fits(value):
        guess = nearest(value, kind.removeprefix("one of ").split(", ")) if isinstance(value, str) else ""
        found = " ".join(repr(value).split())
        raise EchosError(f"initialisation {name!r}: {option} must be {kind}, not {found}{guess}")


def borrowed(annotation: Any) -> str | None:
    """What an annotation borrows: "model", "input", or None."""
    marks = [mark for part in (annotation, *get_args(annotation)) for mark in getattr(part, "__metadata__", ())]
    return next((mark.of for mark in marks if isinstance(mark, Borrowed)), None)


def register(*, frozen: bool = False) -> Callable[[Draw], Draw]:
    """Register a function under its own name; see the module's docstring for its signature."""

    def enter(draw: Draw) -> Draw:
        keywords = list(inspect.signature(draw).parameters.values())[4:]
        _REGISTRY[draw.__name__] = Initialisation(
            draw,
            frozen,
            {one.name: one.annotation for one in keywords if one.name not in FACTS},
            tuple(one.name for one in keywords if one.name in FACTS),
        )
        return draw

    return enter


def names() -> list[str]:
    """List the known initialisations; `default` keeps the weights drawn by the model's own code."""
    return ["default", *sorted(_REGISTRY)]


def lookup(name: str, options: Mapping[str, Any]) -> Initialisation | None:
    """Find an initialisation and check the names, types and limits of its options; None for `default`, which draws nothing.

    Raises
    ------
    EchosError
        Unknown name or option (the nearest known one is suggested), or an option of the wrong type or out of its limits.
    """
    if name not in names():
        raise EchosError(
            f"unknown initialisation {name!r}{nearest(str(name), names())}; known are {', '.join(names())}"
        )
    entry = _REGISTRY.get(name)
    known = entry.options if entry else {}
    for option, value in options.items():
        if option not in known:
            raise unknown_option(name, option, known)
        check_option(name, option, known[option], value)
    return entry


def unknown_option(name: str, option: str, known: Iterable[str]) -> EchosError:
    """The error for an option that an initialisation does not have."""
    takes = f"its options are {', '.join(known)}" if known else "it has none"
    return EchosError(f"initialisation {name!r} has no option {option!r}{nearest(option, known)}; {takes}")


def opened(options: Mapping[str, Any]) -> dict[str, Any]:
    """Read the tables that are given as paths, once for all layers."""
    return {
        name: read_table(value, name) if name in TABLES and isinstance(value, str | Path) else value
        for name, value in options.items()
    }


def draw_kernels(name: str, n: int, k: int | tuple[int, int], *, seed: int, **options: Any) -> np.ndarray:
    """Draw kernels of an initialisation without a model, to look at them or for a model in another framework.

    Parameters
    ----------
    name : str
        One of `names()`, except `default`, which needs a model.
    n : int
        Number of kernels.
    k : int or (height, width)
        Kernel size.
    seed : int
        Seed of the draw, ≥ 0.
    **options
        Options of the initialisation, and facts about a layer (`depth`, `outputs`, `multiplier`) if it uses them.

    Returns
    -------
    ndarray of float64, shape (n, height, width)

    Raises
    ------
    EchosError
        Unknown name or option; an invalid number, size or seed; or a size that the initialisation cannot draw.
    """
    facts = {key: options.pop(key) for key in FACTS if key in options}
    entry = lookup(name, options)
    if entry is None:
        raise EchosError("initialisation 'default' keeps a model's kernels and draws none; name another")
    for fact in facts:
        if fact not in entry.facts:
            known = f"only {', '.join(entry.facts)}" if entry.facts else "none at all"
            raise EchosError(f"initialisation {name!r} does not use the layer fact {fact!r}, {known}")
    check_seed(seed)
    if not is_whole(n) or n < 0:
        raise EchosError(f"n must be a whole number of kernels, not {n!r}")
    sides = [k, k] if isinstance(k, int | np.integer) else list(k) if isinstance(k, Iterable) else []
    if len(sides) != 2 or not all(map(is_whole, sides)):
        raise EchosError(f"k must be a whole number or (height, width), not {k!r}")
    height, width = map(int, sides)
    check_size(name, height, width)
    return entry.draw(n, height, width, np.random.default_rng(seed), **opened(options), **facts)


def check_seed(seed: object) -> None:
    """Raise `EchosError` unless a seed is a non-negative integer."""
    if not is_whole(seed) or seed < 0:  # type: ignore[operator]
        raise EchosError(f"seed must be a whole number of at least 0, not {seed!r}")


def check_switch(name: str, value: object) -> None:
    """Raise `EchosError` unless a switch is true, false or None."""
    if not isinstance(value, bool | np.bool_ | None):
        raise EchosError(f"{name} must be true or false, not {value!r}")


def check_size(name: str, height: int, width: int, *, square: bool = False, centred: bool = False) -> None:
    """Raise `EchosError` unless a kernel has several taps and, if required, is square or has a centre tap."""
    size = f"{height}×{width}"
    if height < 1 or width < 1 or height * width < 2:
        raise EchosError(f"{name} needs kernels of at least two taps, not {size}")
    if square and height != width:
        raise EchosError(f"{name} draws square kernels only, not {size}; exclude that layer with layers=…")
    if centred and (height % 2 == 0 or width % 2 == 0):
        raise EchosError(
            f"{name} needs a centre tap, so odd sides, but these kernels are {size}; exclude that layer with layers=…"
        )


def drawn(name: str, option: Distribution, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n numbers from a declared distribution.

    Parameters
    ----------
    name : str
        Name of the option in error messages.
    option : float, sequence of float, {"uniform": [low, high]} or {"normal": [mean, std]}
        One number; a list to choose from; or a distribution.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    try:
        if isinstance(option, Mapping):
            ((distribution, (first, second)),) = option.items()
            if distribution == "uniform" and first <= second:
                return rng.uniform(first, second, n)
            if distribution == "normal" and second >= 0:
                return rng.normal(first, second, n)
        elif not isinstance(option, str | bool):
            values = np.asarray(option, dtype=np.float64)
            if values.ndim == 0 and np.isfinite(values):
                return np.full(n, values)
            if values.ndim == 1 and values.size and np.isfinite(values).all():
                return rng.choice(values, n)
    except (TypeError, ValueError):
        pass
    raise EchosError(
        f"{name} must be a number, a list of numbers, {{'uniform': [low, high]}} or {{'normal': [mean, std]}}, not {option!r}"
    )
