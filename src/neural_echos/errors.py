"""The only error that users see: a sentence that says which file, what is wrong and what to do."""

import difflib
import re
from collections.abc import Iterable


class EchosError(Exception):
    """An input that cannot be used, described in one sentence, which the command line prints without a traceback.

    Attributes
    ----------
    code : int
        Exit code of the command line.
    """

    code = 1


class Preempted(EchosError):
    """Work that a signal stopped and that the same command resumes; the exit code is EX_TEMPFAIL from sysexits.h."""

    code = 75


def missing_package(error: ModuleNotFoundError, what: str) -> EchosError | None:
    """Say how to install a package that an optional part of the library needs; None if no extra provides the package.

    Parameters
    ----------
    error : ModuleNotFoundError
    what : str
        What needs the package, such as "echos show".
    """
    from importlib.metadata import PackageNotFoundError, requires

    package = (error.name or "").partition(".")[0]
    try:
        optional = [line for line in requires("neural-echos") or [] if "extra ==" in line]
    except PackageNotFoundError:
        return None
    for line in optional:
        found = re.match(r"([\w-]+).*extra == [\"']([\w-]+)[\"']", line)
        if found and found[1].lower().replace("-", "_") == package.lower():
            return EchosError(
                f"{what} needs the package {package}, which is not installed; "
                f"install it with `pip install 'neural-echos[{found[2]}]'`"
            )
    return None


def nearest(name: str, names: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" with the known name closest to `name`, preferring names that begin with it, or ""."""
    known = list(names)
    begun = [one for one in known if len(name) > 2 and one.startswith(name)]
    close = difflib.get_close_matches(name, begun or known, n=1, cutoff=0.0 if begun else 0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
