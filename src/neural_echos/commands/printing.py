"""Tables that commands print for people."""

import io
import logging
from collections.abc import Iterable, Sequence

_LOG = logging.getLogger("neural_echos")
_LOG_WIDTH = 120  # characters


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = ()) -> None:
    """Print a table on standard output, as wide as the terminal; with `--log`, as in jobs, write it to the log instead.

    Parameters
    ----------
    heads : sequence of str
    rows : iterable of sequences of str
        Cells of each row.
    whole : sequence of str
        Heads of the columns whose cells must not wrap.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head in whole)
    for row in rows:
        table.add_row(*row)
    if any(isinstance(one, logging.FileHandler) for one in logging.getLogger().handlers):
        drawn = io.StringIO()
        Console(file=drawn, width=_LOG_WIDTH, markup=False).print(table)
        _LOG.info("\n%s", drawn.getvalue())
    else:
        Console(markup=False).print(table)
