"""The registry of initialisations: how one is entered, looked up, and what it may ask for.

An initialisation is a function `(n, height, width, rng, *, options…) -> (n, height, width)` that draws n kernels from a seeded
generator. Among its keywords, seven are no options but *facts* of the layer, which `init_depthwise_` fills in: `depth` in [0, 1],
`outputs` (kernels of the layer), `multiplier` (kernels per channel), `layer` (its module path), `channels` (which of its kernels
are drawn, int64 (n,)), `seed` (of the whole model's draw), and `report`, a dictionary for what it has to say.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_echos.errors import EchosError, nearest
from neural_echos.tables import read_table

Draw = Callable[..., np.ndarray]
Distribution = float | Sequence[float] | Mapping[str, Sequence[float]]
Table = pa.Table | str | Path
Filters = str | Path | np.ndarray

FACTS = ("depth", "outputs", "multiplier", "layer", "channels", "seed", "report")
TABLES = ("bank", "fits", "centroids")  # options that are tables of that schema, or the paths of their files


@dataclass(frozen=True)
class Initialisation:
    """An entry of the registry.

    Attributes
    ----------
    draw : callable
        The function itself.
    frozen : bool
        Whether its paper keeps the kernels as they are drawn; `init_depthwise_(…, frozen=…)` decides otherwise.
    options : dict
        The keywords that users give, and how each is annotated, which is how its type is checked.
    facts : tuple of str
        The keywords that the layer gives.
    """

    draw: Draw
    frozen: bool
    options: dict[str, Any]
    facts: tuple[str, ...]


_REGISTRY: dict[str, Initialisation] = {}


def is_number(value: object) -> bool:
    """Whether a value is a number of Python or numpy, and no truth value."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return is_number(value) and isinstance(value, int | np.integer)


def _is_array(value: object) -> bool:
    try:
        return not isinstance(value, str) and np.asarray(value, dtype=np.float64).ndim > 0
    except (TypeError, ValueError):
        return False


def _anything(_: object) -> bool:
    return True


# What an option must be, by its annotation; distributions are checked where they are drawn from.
_KINDS: dict[Any, tuple[str, Callable[[object], bool]]] = {
    bool: ("true or false", lambda value: isinstance(value, bool | np.bool_)),
    int: ("a whole number", _is_whole),
    int | None: ("a whole number", lambda value: value is None or _is_whole(value)),
    float: ("a number", is_number),
    str: ("a name", lambda value: isinstance(value, str)),
    Table | None: (
        "a table or the path of one",
        lambda value: value is None or isinstance(value, pa.Table | str | Path),
    ),
    Filters | None: (
        "a path or an array",
        lambda value: value is None or isinstance(value, str | Path) or _is_array(value),
    ),
    Sequence[float]: ("a list of numbers", _is_array),
    Sequence[Sequence[float]]: ("a list of lists of numbers", _is_array),
}


def register(*, frozen: bool = False) -> Callable[[Draw], Draw]:
    """Enter a function in the registry under its own name; see the module's docstring for its signature."""

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
    """List the known initialisations; `default` keeps what the model's own code drew."""
    return ["default", *sorted(_REGISTRY)]


def lookup(name: str, options: Mapping[str, Any]) -> Initialisation | None:
    """Find an initialisation and check the names and types of its options; None for `default`, which draws nothing.

    Raises
    ------
    EchosError
        Unknown name or option, of which the nearest known one is suggested; an option of another type.
    """
    if name not in names():
        raise EchosError(f"initialisation {name!r}: expected one of {', '.join(names())}{nearest(str(name), names())}")
    entry = _REGISTRY.get(name)
    known = entry.options if entry else {}
    for option, value in options.items():
        if option not in known:
            raise EchosError(
                f"initialisation {name!r}: expected options among {', '.join(known) or 'none'}, "
                f"found {option!r}{nearest(option, known)}"
            )
        kind, fits = _KINDS.get(known[option], ("", _anything))
        if not fits(value):
            found = " ".join(repr(value).split())
            raise EchosError(f"initialisation {name!r}: expected {option} to be {kind}, found {found}; correct it")
    return entry


def opened(options: Mapping[str, Any]) -> dict[str, Any]:
    """Read the tables among the options that are given as paths, once for all layers."""
    return {
        name: read_table(value, name) if name in TABLES and isinstance(value, str | Path) else value
        for name, value in options.items()
    }


def draw_kernels(name: str, n: int, k: int | tuple[int, int], *, seed: int, **options: Any) -> np.ndarray:
    """Draw kernels of an initialisation without a model, for a look at them or a model of another framework.

    Parameters
    ----------
    name : str
        One of `names()`, but not `default`, which belongs to a model.
    n : int
        How many.
    k : int or (height, width)
        Their size.
    seed : int
        Seed of the draw, ≥ 0.
    **options
        The initialisation's own, and facts of a layer (`depth`, `outputs`, `multiplier`) where it asks for them.

    Returns
    -------
    ndarray of float64, shape (n, height, width)

    Raises
    ------
    EchosError
        Unknown name or option, a number, size or seed that is none, or a size that the initialisation cannot draw.
    """
    facts = {key: options.pop(key) for key in FACTS if key in options}
    entry = lookup(name, options)
    if entry is None:
        raise EchosError(
            "initialisation 'default': expected one that draws kernels, found the model's own; name another"
        )
    for fact in facts:
        if fact not in entry.facts:
            raise EchosError(
                f"initialisation {name!r}: expected facts among {', '.join(entry.facts) or 'none'}, found {fact!r}"
            )
    check_seed(seed)
    if not _is_whole(n) or n < 0:
        raise EchosError(f"n: expected a whole number of kernels, found {n!r}; correct it")
    sides = [k, k] if isinstance(k, int | np.integer) else list(k) if isinstance(k, Iterable) else []
    if len(sides) != 2 or not all(map(_is_whole, sides)):
        raise EchosError(f"k: expected a whole number or (height, width), found {k!r}; correct it")
    height, width = map(int, sides)
    check_size(name, height, width)
    return entry.draw(n, height, width, np.random.default_rng(seed), **opened(options), **facts)


def check_seed(seed: object) -> None:
    """Raise an `EchosError` unless a seed is a whole number of at least 0."""
    if not _is_whole(seed) or seed < 0:  # type: ignore[operator]
        raise EchosError(f"seed: expected a whole number of at least 0, found {seed!r}; correct it")


def check_switch(name: str, value: object) -> None:
    """Raise an `EchosError` unless a switch is on, off or left alone (None)."""
    if not isinstance(value, bool | np.bool_ | None):
        raise EchosError(f"{name}: expected true or false, found {value!r}; correct it")


def check_size(name: str, height: int, width: int, *, square: bool = False, centred: bool = False) -> None:
    """Raise an `EchosError` unless a kernel has several taps, and is square or has a centre tap where that is needed."""
    size = f"{height}×{width}"
    if height < 1 or width < 1 or height * width < 2:
        raise EchosError(f"{name}: expected a kernel of at least two taps, found {size}; leave it out")
    if square and height != width:
        raise EchosError(f"{name}: expected a square kernel, found {size}; leave that layer out with layers=…")
    if centred and (height % 2 == 0 or width % 2 == 0):
        raise EchosError(
            f"{name}: expected odd sides, for a centre tap, found {size}; leave that layer out with layers=…"
        )


def drawn(name: str, option: Distribution, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n numbers from a declared distribution.

    Parameters
    ----------
    name : str
        What error messages call it.
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
        f"{name}: expected a number, a list of numbers, {{'uniform': [low, high]}} or {{'normal': [mean, std]}}, "
        f"found {option!r}; correct it"
    )


def one_of(name: str, option: str, value: object, choices: Sequence[str]) -> None:
    """Raise an `EchosError` unless an option is one of its choices."""
    if value not in choices:
        raise EchosError(
            f"{name}: expected {option} to be one of {', '.join(choices)}, found {value!r}{nearest(str(value), choices)}"
        )
