"""Write docs/results.md, and the results in the README, from the published verdicts: `python docs/make_results.py`."""

import math
import re
from pathlib import Path

from neural_echos.design.yaml import read_yaml
from neural_echos.tables import read_table
from neural_echos.verdicts.readings import LOSS

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "results" / "published"
PAGE, README = ROOT / "docs" / "results.md", ROOT / "README.md"
START, END = "<!-- results: written by docs/make_results.py -->", "<!-- end of results -->"
PRESETS = (
    "zoo",
    "demo",
    "cifar10_cpu",
    "cifar10_twins",
    "cifar10_sizes",
    "cifar10_ablation",
    "cifar10_master_key",
    "imagenette64",
    "siblings",
    "quest",
    "cifar10_sigmas",
)
SHOWN = (("NE1", "zoo"), ("NE2", "zoo"), ("NE3", "demo"), ("NE4", "demo"), ("NE5", "cifar10_cpu"), ("NE6", "demo"))
HEAD = """# Results

Every claim for which a published run has a number, by preset. Values are shares in %, or differences in top-1 in points, paired
by seed, with 95 % intervals. *Not run at this scale* means that the claim is about another dataset or scale than the run, so
the number only shows what the same rule gives here. See [how numbers are compared](numbers.md) and, for the rules, each
preset's config.

This page is generated from `results/published/*/verdicts.parquet` by `docs/make_results.py`.
"""
Verdict = dict[str, object]


def verdicts(preset: str) -> dict[str, Verdict]:
    """The published verdicts of a preset that have a number, by claim."""
    rows = read_table(PUBLISHED / preset / "verdicts.parquet", "verdicts").to_pylist()
    return {row["claim"]: row for row in rows if row["value"] is not None and not math.isnan(row["value"])}


def render() -> str:
    """Return the page: the claims, then a table for each preset."""
    found = {preset: verdicts(preset) for preset in PRESETS}
    papers = read_yaml(ROOT / "config/claims.yaml")["claims"]
    claims = {name: row | papers.get(name, {}) for rows in found.values() for name, row in rows.items()}
    lines = [f"| {name} | {row['paper']} | {row['statement']} |" for name, row in sorted(claims.items())]
    parts = [HEAD, _table("## Claims", "claim | paper | statement", lines)]
    for preset, rows in found.items():
        scale = next(iter(rows.values()))["scale"]
        lines = [
            f"| {name} | {_value(row)} | {_verdict(row)} | {row['measured']} |" for name, row in sorted(rows.items())
        ]
        intro = f"## {preset}\n\n{scale}. [Figures, tables and notes](../results/published/{preset}/README.md)"
        parts.append(_table(intro, "claim | ours [95 %] | verdict | measured", lines))
        parts += [
            f"\n{name} reads here: {row['statement']}\n"
            for name, row in sorted(rows.items())
            if row["statement"] != claims[name]["statement"]
        ]
    return "".join(parts)


def summary() -> str:
    """Return the README's table: each claim of the paper where it was measured closest to its own terms."""
    rows = [(verdicts(preset)[claim], preset) for claim, preset in SHOWN]
    lines = [
        f"| {row['claim']} | {row['statement']} | {_value(row)}{_sizes(row)} | {_verdict(row)} "
        f"| [{preset}](results/published/{preset}/README.md) |"
        for row, preset in rows
    ]
    return _table("", "claim | the paper says | ours [95 %] | verdict | preset", lines).strip()


def _table(intro: str, head: str, lines: list[str]) -> str:
    rule = "|---" * (head.count("|") + 1)
    return f"\n{intro}\n\n| {head} |\n{rule}|\n" + "\n".join(lines) + "\n"


def _value(row: Verdict) -> str:
    """A share in %, or a difference in points with its sign, and the interval: 84.7 [74.6, 94.9], +0.1 [−0.6, +0.8]."""
    sign = "+" if " − " in str(row["measured"]) or "slope" in str(row["measured"]) else ""
    value, low, high = (
        f"{100 * float(str(row[key])):{sign}z.1f}".replace("-", "−") for key in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]"


def _verdict(row: Verdict) -> str:
    """The verdict, marked as a loss if the whole interval of a difference is below 0."""
    return f"{row['verdict']} ({LOSS})" if LOSS in str(row["reason"]) else str(row["verdict"])


def _sizes(row: Verdict) -> str:
    """Say for which kernel sizes a claim was decided, where its measure names them."""
    found = re.search(r" at \d+×\d+(, \d+×\d+)*$", str(row["measured"]))
    return found[0] if found else ""


def with_summary(readme: str) -> str:
    """Put the table between its markers in the README's text."""
    return re.sub(f"(?s){re.escape(START)}.*{re.escape(END)}", f"{START}\n{summary()}\n{END}", readme)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    README.write_text(with_summary(README.read_text(encoding="utf-8")), encoding="utf-8")
