"""The notebooks in workflow/notebooks, as a researcher opens them."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "workflow/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_caption_and_a_few_short_cells_without_outputs(path: Path) -> None:
    caption, *cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert caption["cell_type"] == "markdown" and "".join(caption["source"]).startswith("# ")
    assert cells[0]["metadata"] == {"tags": ["parameters"]} and len(cells) == 4
    for cell in cells:
        assert not cell["outputs"] and cell["execution_count"] is None
        lines = [line for line in "".join(cell["source"]).splitlines() if line.strip()]
        assert len(lines) <= 40, f"{path.name}: a cell of {len(lines)} lines; compute in the library, draw here"
