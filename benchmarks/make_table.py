"""Write the table of benchmarks/README.md and the plot beside it from benchmarks/measured: `python benchmarks/make_table.py`."""

import json
from pathlib import Path

import pandas as pd
from record import FOLDER

PAGE, PLOT = FOLDER.parent / "README.md", FOLDER.parent / "ratios.png"
HEAD = """# Benchmarks

Each script compares a design choice with its alternative in the same run and records the ratio. Machines are noisy: read
the ratios, not the seconds. `python benchmarks/<script>.py` replaces the script's rows in `measured/`, and
`python benchmarks/make_table.py` then writes this page.

![Ratios](ratios.png)

| script | what | against | ratio | ours | alternative | unit | load | date |
|---|---|---|---|---|---|---|---|---|
"""


def rows() -> pd.DataFrame:
    """Every recorded measurement, by script."""
    found = [
        {"script": path.stem} | row
        for path in sorted(FOLDER.glob("*.json"))
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]
    return pd.DataFrame(found)


def render(table: pd.DataFrame) -> str:
    """Return the page: a row for each measurement, then the machines."""
    lines = [
        f"| `{row.script}.py` | {row.what} | {row.against} | {_number(row.ratio)} | {_number(row.ours)} | {_number(row.theirs)} "
        f"| {row.unit} | {row.load} | {row.date} |"
        for row in table.itertuples()
    ]
    machines = sorted({f"{one['processor']}, {one['cores']} cores, {one['system']}" for one in table.machine})
    commits = ", ".join(f"`{commit[:7]}`" for commit in dict.fromkeys(table.commit))
    not_run = [
        path.name for path in FOLDER.parent.glob("*.py") if path.stem not in {*table.script, "record", "make_table"}
    ]
    notes = f"Machine: {'; '.join(machines)}. Commits: {commits}. Not run: {', '.join(sorted(not_run)) or 'none'}."
    return f"{HEAD}{chr(10).join(lines)}\n\n{notes}\n"


def _number(value: float | None) -> str:
    return "" if pd.isna(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw each ratio on a logarithmic axis, with the range of the rounds."""
    import matplotlib
    import seaborn as sns

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    labels = table.what + "\nagainst " + table.against
    with sns.axes_style("whitegrid"):
        figure, axes = plt.subplots(figsize=(8, 0.42 * len(table) + 1), layout="constrained")
        sns.scatterplot(x=table.ratio, y=labels, hue=table.script, ax=axes, s=50, legend=False, zorder=3)
        for place, rounds in enumerate(table.rounds):
            axes.hlines(place, min(rounds), max(rounds), color=".6", zorder=2)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set(xscale="log", xlabel="ratio to the alternative, log scale (line: range of the rounds)", ylabel="")
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_size(8)
        axes.margins(y=0.02)
        axes.xaxis.set_major_formatter("{x:g}")
        figure.savefig(path, dpi=130, metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    made = rows()
    draw(made, PLOT)
    PAGE.write_text(render(made), encoding="utf-8")
