"""Conditions: combinations of a dataset, an architecture and an initialisation, as named by a config's entries."""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple


class Condition(NamedTuple):
    """A dataset, an architecture and an initialisation."""

    dataset: str
    architecture: str
    initialisation: str


class Filtered(NamedTuple):
    """A condition with the set of filters that replaces its trained kernels, or from which filters are eliminated."""

    dataset: str
    architecture: str
    initialisation: str
    candidates: str

    @property
    def condition(self) -> Condition:
        """The condition without the set of filters."""
        return Condition(*self[:3])


def conditions_of(entry: Any) -> Iterator[Condition]:
    """All conditions that an experiment, or a similar entry, names."""
    yield from map(Condition._make, product(entry.datasets, entry.architectures, entry.initialisations))
