"""Notebooks run by hand: find the tables and options from which an artifact was last made."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import read_json

Parameters = tuple[dict[str, list[str]], dict[str, Any], dict[str, Any]]


def find_parameters(name: str, folder: Path | None = None) -> Parameters:
    """Find what an artifact was made from, for a notebook opened in the repository or in a results folder.

    Parameters
    ----------
    name : str
        Name of the artifact.
    folder : Path, optional
        Folder in which the notebook runs; the working folder by default. Results above it are preferred to results in the
        repository, these to published ones, and newer results to older ones. The choice is printed.

    Returns
    -------
    inputs, options, style : dict

    Raises
    ------
    EchosError
        No results contain this artifact, or the tables from which it was made are missing.
    """
    start = (folder or Path.cwd()).resolve()
    found = list(_records(name, start))
    if not found:
        raise EchosError(
            f"{name}: no results above or below {start} contain this artifact; make it first, or fill in inputs and options"
        )
    for path in found:
        facts = read_json(path)
        inputs = _tables(path, facts)
        if inputs is not None:
            print(f"Tables and options of {path}", file=sys.stderr)
            return inputs, facts["options"], facts.get("style", {})
    raise EchosError(
        f"{found[0]}: the tables from which it was made are missing; make it again, or fill in inputs and options"
    )


def _tables(record: Path, facts: dict[str, Any]) -> dict[str, list[str]] | None:
    """Find an artifact's tables: relative to a folder above its JSON, or, if published, beside it; None if missing."""
    if "reads" not in facts:
        return None
    reads = facts["reads"].items()
    places = [{table: [root / path for path in paths] for table, paths in reads} for root in record.parents]
    places.append({table: [record.with_name(Path(path).name) for path in paths] for table, paths in reads})
    for found in places:
        if all(path.is_file() for paths in found.values() for path in paths):
            return {table: [str(path) for path in paths] for table, paths in found.items()}
    return None


def _records(name: str, start: Path) -> Iterator[Path]:
    """JSON files of the artifact: from results above the folder, then from the repository's results, then published ones."""
    for above in (start, *start.parents):
        yield from _in_results(name, above)
        below = [path for folder in above.glob("results/**/") for path in _in_results(name, folder)]
        published = list(above.glob(f"results/published/*/{name}.json"))
        if below or published:
            yield from sorted(below, key=lambda path: path.stat().st_mtime, reverse=True)
            yield from sorted(published, key=lambda path: str(read_json(path)["written"]), reverse=True)
            return


def _in_results(name: str, folder: Path) -> Iterator[Path]:
    yield from (path for kind in ("figures", "tables") if (path := folder / kind / f"{name}.json").is_file())
