"""Write docs/tables.md from the columns that the library declares: `python docs/make_table_reference.py`."""

from pathlib import Path

from neural_echos.tables.columns import TABLES, Column

PAGE = Path(__file__).resolve().parent / "tables.md"
HEAD = """# Tables

Every table that passes between the rooms of the workflow, column by column. Paths are below the preset's results folder:
`results/` for the demo, `results/<preset>/` for the others. [data.md](data.md) describes all other files.

Tables are Parquet (zstd), except the survey, which ships with the repository as CSV. A file's metadata names its schema and version
(`neural_echos.schema`: `bank/1`); a file of another schema, or an incomplete one, is refused on reading. Any Parquet
reader opens them:

```python
import pandas as pd

kernels = pd.read_parquet("results/banks/convmixer.parquet")
print(kernels.taps[0].reshape(kernels.kernel_height[0], kernels.kernel_width[0]))
```

Shares and accuracies lie in [0, 1]. Intervals are 95 % intervals, from `low` to `high`. Null or NaN means that there is no value.

This page is generated from `src/neural_echos/tables/columns/` by `docs/make_table_reference.py`.
"""


def render() -> str:
    """Return the page."""
    parts = [HEAD]
    for name, table in TABLES.items():
        rows = "\n".join(map(_row, table.columns))
        places = " and ".join(f"`{path}`" for path in table.path.split(", "))
        parts.append(
            f"\n## {name}\n\n{places}. {table.rows}\n\n| column | dtype | unit | meaning |\n|---|---|---|---|\n{rows}\n"
        )
    return "".join(parts)


def _row(column: Column) -> str:
    return f"| {column.name} | {column.dtype} | {column.unit} | {column.meaning} |"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
