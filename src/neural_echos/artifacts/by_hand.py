"""Notebooks run by hand: where the tables and options are that an artifact was last made from."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError

Parameters = tuple[dict[str, list[str]], dict[str, Any], dict[str, Any]]


def find_parameters(name: str, folder: Path | None = None) -> Parameters:
    """Find what an artifact was made from, for a notebook that was opened in the repository or in a folder of results.

    Parameters
    ----------
    name : str
        Name of the artifact.
    folder : Path, optional
        Where the notebook runs; the working folder by default. Results that lie above it win over those below the repository,
        and among several the newest. Which one was taken is printed.

    Returns
    -------
    inputs, options, style : dict

    Raises
    ------
    EchosError
        No results hold this artifact, or the tables that it was made from are gone.
    """
    start = (folder or Path.cwd()).resolve()
    found = list(_records(name, start))
    if not found:
        raise EchosError(
            f"{name}: no results above or below {start} hold this artifact; make it first, or fill in inputs and options"
        )
    for path in found:
        facts = json.loads(path.read_text(encoding="utf-8"))
        root = next((one for one in path.parents if _all_there(one, facts)), None)
        if root:
            print(f"Tables and options of {path}", file=sys.stderr)
            inputs = {table: [str(root / one) for one in paths] for table, paths in facts["reads"].items()}
            return inputs, facts["options"], facts.get("style", {})
    raise EchosError(
        f"{found[0]}: the tables that it was made from are gone; make it again, or fill in inputs and options"
    )


def _records(name: str, start: Path) -> Iterator[Path]:
    """The JSON files beside the artifact: of the results above a folder, then of the repository's, the newest first."""
    for above in (start, *start.parents):
        yield from _in_results(name, above)
        below = [path for folder in above.glob("results/**/") for path in _in_results(name, folder)]
        if below:
            yield from sorted(below, key=lambda path: path.stat().st_mtime, reverse=True)
            return


def _in_results(name: str, folder: Path) -> Iterator[Path]:
    yield from (path for kind in ("figures", "tables") if (path := folder / kind / f"{name}.json").is_file())


def _all_there(root: Path, facts: dict[str, Any]) -> bool:
    return "reads" in facts and all((root / path).is_file() for paths in facts["reads"].values() for path in paths)
