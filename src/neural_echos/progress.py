"""Progress of long work: a bar if standard error is a terminal, otherwise one line per minute in the log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_LOG = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_EVERY = 60.0  # seconds between two lines


def tracked(items: Iterable[_Item], what: str, total: int) -> Iterator[_Item]:
    """Yield items one after another and show progress; work of less than a minute is not logged.

    Parameters
    ----------
    items : iterable
    what : str
        What the items are, in the plural: "architectures".
    total : int
        Number of items.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, what, total=total, console=Console(stderr=True), transient=True)
        return
    began = said = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - said >= _EVERY:
            minutes = (now - began) / done * (total - done) / 60
            _LOG.info("%s: %d of %d, about %.0f min left", what, done, total, max(minutes, 1))
            said = now
        yield item
