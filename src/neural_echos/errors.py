"""The one error that users meet: a sentence that names the file, what was expected, what was found and what to do."""

import difflib
from collections.abc import Iterable


class EchosError(Exception):
    """An input that cannot be used, told in one sentence; the command line prints it without a traceback.

    Attributes
    ----------
    code : int
        Exit code of the command line.
    """

    code = 1


class Preempted(EchosError):
    """Work that a signal stopped, and that the same command goes on with; the exit code is EX_TEMPFAIL of sysexits.h."""

    code = 75


def nearest(name: str, names: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known name closest to `name`, or "" where none is close."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
