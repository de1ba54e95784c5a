"""Import every module of a room, so that whatever registers itself there is known; a new file in the room is then enough."""

from importlib import import_module
from pkgutil import iter_modules


def import_modules(package: str) -> None:
    """Import all modules of a package, in the order of their names.

    Whoever imports this function counts, for `code`, as depending on every module of its own folder.

    Parameters
    ----------
    package : str
        Its full name, such as "neural_echos.verdicts".
    """
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        import_module(module.name)
