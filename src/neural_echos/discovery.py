"""Import every module of a room, so that everything that registers itself there is known; adding a file to the room is enough."""

from importlib import import_module
from pkgutil import iter_modules


def import_modules(package: str) -> None:
    """Import all modules of a package in order of their names.

    For `code`, a module that imports this function depends on every module of its own folder.

    Parameters
    ----------
    package : str
        Its full name, such as "neural_echos.verdicts".
    """
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        import_module(module.name)
