"""Commands of all rules on tiny inputs, and what happens to them in the tests of faults."""

import os
import re
from pathlib import Path
from typing import Any

import neural_echos
from neural_echos.files import read_json

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(neural_echos.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def line(words: str, *more: str) -> list[str]:
    return [*words.split(), *more]


def contents(folder: Path) -> dict[str, Any]:
    """Every file below a folder by its name, temporary ones too; of JSON what does not depend on when it was made."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "drafts" not in path.parts:
            found[str(path.relative_to(folder))] = timeless(path)
    return found


def timeless(path: Path) -> Any:
    if path.suffix == ".json":
        made = read_json(path)
        timed = ("written", "seconds", "images_per_second", "energy", "inputs")
        return {key: value for key, value in made.items() if key not in timed} if isinstance(made, dict) else made
    if path.suffix == ".html":  # the report tells when each artifact was made
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "", path.read_text(encoding="utf-8"))
    if path.suffix == ".ipynb":
        return [(cell["source"], cell["outputs"]) for cell in read_json(path)["cells"] if cell["cell_type"] == "code"]
    return path.read_bytes()
