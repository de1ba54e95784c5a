"""Notebooks run by hand: where the tables and options are that an artifact was last made from."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import read_json

Parameters = tuple[dict[str, list[str]], dict[str, Any], dict[str, Any]]


def find_parameters(name: str, folder: Path | None = None) -> Parameters:
    """Find what an artifact was made from, for a notebook that was opened in the repository or in a folder of results.

    Parameters
    ----------
    name : str
        Name of the artifact.
    folder : Path, optional
        Where the notebook runs; the working folder by default. Results that lie above it win over those below the repository,
        those over published ones, and among several the newest. Which one was taken is printed.

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
        facts = read_json(path)
        inputs = _tables(path, facts)
        if inputs is not None:
            print(f"Tables and options of {path}", file=sys.stderr)
            return inputs, facts["options"], facts.get("style", {})
    raise EchosError(
        f"{found[0]}: the tables that it was made from are gone; make it again, or fill in inputs and options"
    )


def _tables(record: Path, facts: dict[str, Any]) -> dict[str, list[str]] | None:
    """Where an artifact's tables are: below a folder above its JSON, or beside it, as those of published ones; None if gone."""
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
    """The JSON files beside the artifact: of the results above a folder, then of the repository's, then published ones."""
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
