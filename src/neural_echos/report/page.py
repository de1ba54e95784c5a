"""The page that a reader opens first: verdicts, every artifact with what made it, the work behind it, machine, inputs, config."""

import base64
import html
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from neural_echos.artifacts import read, verdict_table
from neural_echos.artifacts.base import FORMATS
from neural_echos.errors import EchosError
from neural_echos.files import provenance, read_json, sha256, write_json, write_text
from neural_echos.report.explain import Explanation, Records, explain, source_of
from neural_echos.report.style import CSS
from neural_echos.report.work import costs, draw, training_seconds, walk
from neural_echos.verdicts import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, SUPPORTED

Artifact = Mapping[str, str]
SIGNS = {
    SUPPORTED: ("✓", "supported"),
    NOT_SUPPORTED: ("✗", "not-supported"),
    INCONCLUSIVE: ("?", "inconclusive"),
    NOT_RUN: ("○", "not-run"),
}
PICTURES = 9e6  # bytes of all embedded pictures together, before base64 adds a third
NO_RECORDS = (
    "Snakemake's records of the steps (.snakemake/metadata) are not here, so this page cannot tell which rules were walked, "
    "their seeds, and the sources of each artifact."
)
_esc = html.escape


@dataclass(frozen=True)
class Made:
    """What is known of an artifact: the JSON beside it, and the way back where Snakemake recorded it."""

    facts: Mapping[str, Any]
    way: Explanation | None


def write_report(
    output: Path,
    artifacts: Sequence[Artifact],
    *,
    verdicts: Path,
    config: Mapping[str, Any],
    benchmarks: Path,
    root: Path = Path(),
) -> None:
    """Write the report of a preset as one HTML file that needs no other, and its config beside it as `config.json`.

    Parameters
    ----------
    output : Path
        The page; links to the artifacts' files are relative to it, and data sets, inputs and runs are looked for beside it.
    artifacts : sequence of mappings
        Each with id, kind ("figure" or "table"), group, title, caption and stem (path without suffix, relative to `root`).
    verdicts : Path
        Table of schema "verdicts".
    config : mapping
        The preset's, as the workflow checked and completed it.
    benchmarks : Path
        Folder of Snakemake's benchmarks, a folder or file for each kind of rule.
    root : Path
        Folder in which Snakemake ran; its records may be missing, and the page says so.

    Raises
    ------
    EchosError
        An artifact's files, the verdicts or a benchmark are missing or broken.
    """
    records = Records(root)
    made = {one["id"]: _made(one, root, records) for one in artifacts}
    digest = _write_config(output.with_name("config.json"), config)
    groups = [
        (name, list(members)) for name, members in groupby(artifacts, key=lambda one: one["group"] or "Artifacts")
    ]
    most = int(PICTURES / max(1, sum(one["kind"] == "figure" for one in artifacts)))
    parts = [_verdicts(verdicts, config, {one["id"]: one["title"] for one in artifacts}), _contents(groups)]
    for number, (name, members) in enumerate(groups):
        parts.append(f'<h2 id="group-{number}">{_esc(name)}</h2>')
        parts += [_section(one, made[one["id"]], output.parent, most, digest) for one in members]
    files = [f"{one['stem']}.{FORMATS[one['kind']][0]}" for one in artifacts]
    parts += [
        _work(records, [*files, str(verdicts)]),
        _costs(benchmarks, output.parent / "runs", config.get("watts", {})),
    ]
    parts += [_environment(made), _inputs(output.parent), _config(config, digest)]
    write_text(
        output, _PAGE.format(scale=_esc(config["scale"]), css=CSS, body="\n".join(part for part in parts if part))
    )


def _write_config(path: Path, config: Mapping[str, Any]) -> str:
    write_json(path, config)
    return sha256(path)


def _made(artifact: Artifact, root: Path, records: Records) -> Made:
    stem = artifact["stem"]
    facts = read_json(root / f"{stem}.json")
    try:
        return Made(facts, explain(f"{stem}.{FORMATS[artifact['kind']][0]}", root, records))
    except EchosError:  # Snakemake recorded nothing of it
        return Made(facts, None)


def _verdicts(path: Path, config: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    published = next((one["options"].get("published") for one in config["artifacts"] if "verdict" in one["id"]), None)
    table = verdict_table(read({"verdicts": str(path)}), published=published)
    cells = table.content
    assert isinstance(cells, pd.DataFrame)
    if not len(cells):
        return '<section><h2 id="verdicts">Verdicts</h2><p>This preset has no claims.</p></section>'
    rows = []
    for row in cells.to_dict("records"):
        sign, kind = SIGNS[row["verdict"]]
        shown = row["artifact"]
        link = f'<a href="#{_esc(shown)}">{_esc(titles[shown])}</a>' if shown in titles else _esc(shown)
        rows.append(
            [
                f"<strong>{_esc(row['claim'])}</strong> {_esc(row['statement'])}<small>{link}</small>",
                _esc(row["published"]),
                f"{_esc(row['ours, % or points [interval]'])}<small>{_esc(row['measured'])}</small>",
                _esc(row["scale"]),
                f'<span class="verdict {kind}">{sign} {_esc(row["verdict"])}</span><small>{_esc(row["why"])}</small>',
            ]
        )
    head = ("claim", "published", "ours, % or points [95 % interval]", "scale", "verdict")
    return (
        f'<section><h2 id="verdicts">Verdicts</h2><p class="says">{_esc(table.says)}</p>'
        f"{_table(head, rows, 'stack')}</section>"
    )


def _contents(groups: Sequence[tuple[str, Sequence[Artifact]]]) -> str:
    """A table of contents: every artifact by group, then what stands after them."""
    parts = []
    for number, (name, members) in enumerate(groups):
        links = "".join(f'<li><a href="#{_esc(one["id"])}">{_esc(one["title"])}</a></li>' for one in members)
        parts.append(f'<strong><a href="#group-{number}">{_esc(name)}</a></strong><ul>{links}</ul>')
    names = {"work": "The walk", "costs": "Run times and cost", "environment": "Environment", "inputs": "Inputs"}
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name in (names | {"config": "Config"}).items())
    parts.append(f"<strong>What made it</strong><ul>{links}</ul>")
    return f'<nav aria-label="Contents"><h2>Contents</h2>{"".join(parts)}</nav>'


def _section(artifact: Artifact, made: Made, folder: Path, most: int, digest: str) -> str:
    stem, says = Path(artifact["stem"]), made.facts["says"]
    if artifact["kind"] == "figure":
        shown = f'<div class="card"><img src="{_picture(stem, most)}" alt="{_esc(says)}"></div>'
    else:
        page = stem.with_name(f"{stem.name}.html").read_text(encoding="utf-8")
        shown = f'<div class="scroll" tabindex="0">{page[page.index("<table") : page.index("</table>") + 8]}</div>'
    base = os.path.relpath(stem, folder)
    files = " · ".join(f'<a href="{_esc(base)}.{one}">{one}</a>' for one in (*FORMATS[artifact["kind"]], "json"))
    return (
        f'<section id="{_esc(artifact["id"])}"><h3>{_esc(artifact["title"])}</h3><figure>{shown}'
        f'<figcaption>{_esc(artifact["caption"])}</figcaption></figure><p class="says">{_esc(says)}</p>'
        f'<p class="files">Files: {files}</p>{_provenance(artifact, made, digest)}</section>'
    )


def _picture(stem: Path, most: int) -> str:
    """Embed a figure as SVG or PNG, whichever is smaller; where both are larger than `most` bytes, as a PNG of fewer pixels."""
    from PIL import Image

    drawn, pixels = (stem.with_name(f"{stem.name}.{kind}").read_bytes() for kind in ("svg", "png"))
    smallest, kind = min((pixels, "png"), (drawn, "svg+xml"), key=lambda one: len(one[0]))
    for width in (1600, 1000, 600):
        if len(smallest) <= most:
            break
        with Image.open(io.BytesIO(pixels)) as image:
            reduced = image.convert("RGB").resize((width, round(image.height * width / image.width)))
        buffer = io.BytesIO()
        reduced.save(buffer, "PNG")
        smallest, kind = min((smallest, kind), (buffer.getvalue(), "png"), key=lambda one: len(one[0]))
    return f"data:image/{kind};base64,{base64.b64encode(smallest).decode()}"


def _provenance(artifact: Artifact, made: Made, digest: str) -> str:
    """Answer "what made you?" for one artifact; the summary is its short form, which also stands on paper."""
    facts, way = made.facts, made.way
    name = f"{artifact['stem']}.{FORMATS[artifact['kind']][0]}"
    own = next((step.seconds for step in way.steps if name in step.made), None) if way else None
    short = _esc(f"What made it: commit {_commit(facts)[:7]}{_dirty(facts)}, {facts.get('written')}")
    told = {
        "commit": f"<code>{_esc(_commit(facts))}</code>{_dirty(facts)}",
        "config": f"<code>{_esc(json.dumps(facts.get('options', {}), ensure_ascii=False))}</code>; the "
        f"preset's whole config when this page was written: SHA-256 <code>{digest}</code>",
        "inputs": _checksums({str(one["path"]): one["sha256"] for one in facts.get("inputs", {}).values()}),
        "versions": _esc(_versions(facts)),
        "machine": _esc(_machine(facts)),
    }
    if way:
        told["seeds"] = _esc("; ".join(f"{rule} {', '.join(map(str, seeds))}" for rule, seeds in way.seeds.items()))
        told["sources"] = "<br>".join(
            f"{_esc(key)}: licence {_esc(str(one.get('licence')))}" for key, one in way.sources.items()
        )
        steps = f"{len(way.steps)} steps, {sum(step.seconds for step in way.steps):,.1f} s of work"
        told["time"] = steps if own is None else f"{own:,.1f} s; with all steps behind it {steps}"
    again = way.rebuild if way else " ".join(facts.get("command", []))
    told["again"] = f"<code>{_esc(again)}</code>"
    return f"<details><summary>{short}</summary>{_list(told)}</details>"


def _commit(facts: Mapping[str, Any]) -> str:
    return str(facts.get("commit") or "unknown")


def _dirty(facts: Mapping[str, Any]) -> str:
    return ", with uncommitted changes" if facts.get("uncommitted_changes") else ", nothing uncommitted"


def _versions(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(facts.get("versions", {}).items()))


def _machine(facts: Mapping[str, Any]) -> str:
    machine = facts.get("machine", {})
    return f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('system')}"


def _checksums(files: Mapping[str, str]) -> str:
    if not files:
        return "none"
    lines = "<br>".join(f"{_esc(name)} <code>{_esc(digest)}</code>" for name, digest in files.items())
    return lines if len(files) < 3 else f"<details><summary>{len(files)} files with SHA-256</summary>{lines}</details>"


def _work(records: Records, files: Iterable[str]) -> str:
    found = records.behind(files)
    if not found:
        return f'<h2 id="work">The walk</h2><p>{NO_RECORDS}</p>'
    walked = walk(found)
    jobs = sum(walked.jobs.values())
    return (
        f'<h2 id="work">The walk</h2><p>{jobs} jobs of {len(walked.jobs)} kinds of rule made what is on this page. An arrow leads '
        "from a kind of rule to one that reads what it left; one that a longer way implies is left out; a dashed one leads back, "
        f'to a rule that ran again later.</p><div class="drawing">{draw(walked)}</div>'
    )


def _costs(benchmarks: Path, runs: Path, watts: Mapping[str, float | None]) -> str:
    found = costs(benchmarks)
    if not found:
        return '<h2 id="costs">Run times and cost</h2><p>There are no benchmarks: no job was measured.</p>'
    rows = [
        [
            _esc(one.rule),
            f"{one.jobs}",
            f"{one.seconds:,.1f}",
            f"{one.seconds / one.jobs:,.1f}",
            f"{one.core_seconds:,.1f}".replace("nan", "–"),
            f"{one.peak_mb:,.0f}".replace("nan", "–"),
        ]
        for one in found
    ]
    hours, cores = (sum(getattr(one, key) for one in found) / 3600 for key in ("seconds", "core_seconds"))
    training = training_seconds(runs)
    trained = [
        f"{count} run{'s' * (count != 1)} on {device}: {seconds / 3600:.2f} device-hours of training"
        for device, (count, seconds) in training.items()
    ]
    gpus = sum(seconds for device, (_, seconds) in training.items() if device != "cpu") / 3600
    told = "; ".join(
        [f"{hours:.2f} h of jobs, {cores:.2f} core-hours".replace("nan", "an unknown number of"), *trained]
    )
    head = ("rule", "jobs", "s in all", "s per job", "core-s", "most memory of one, MB")
    return (
        f'<h2 id="costs">Run times and cost</h2><p class="says">{_esc(told)}.</p><p class="soft">As Snakemake measured the jobs '
        "whose benchmarks lie beside these results; jobs run side by side, so the wall time of the whole is less. "
        f'{_energy({"core": cores, "gpu": gpus}, watts)}</p><div class="scroll">{_table(head, rows, numbers=5)}</div>'
    )


def _energy(hours: Mapping[str, float], watts: Mapping[str, float | None]) -> str:
    """Say what `hours` of devices take at their declared power, W, in kWh; nothing was measured."""
    declared = {device: power for device, power in watts.items() if power is not None}
    kwh = sum(hours[device] * power for device, power in declared.items()) / 1000
    if not declared or math.isnan(kwh):
        return "Energy was not measured."
    at = " and ".join(f"{power:g} W of a {device}" for device, power in declared.items())
    return f"Energy was not measured; at the declared {at} it is {kwh:.3g} kWh."


def _environment(made: Mapping[str, Made]) -> str:
    """Commits, versions and machines of all artifacts, with the number of artifacts where they differ."""
    told = {}
    for name, say in (
        ("commit", lambda one: _commit(one) + _dirty(one)),
        ("versions", _versions),
        ("machine", _machine),
    ):
        found = Counter(say(one.facts) for one in made.values())
        told[name] = "<br>".join(
            _esc(text) + (f" ({count} of {len(made)} artifacts)" if len(found) > 1 else "")
            for text, count in found.most_common()
        )
    mine = provenance()
    told["this page"] = _esc(f"{mine['written']}, commit {_commit(mine)}{_dirty(mine)}")
    return f'<h2 id="environment">Environment</h2>{_list(told)}'


def _inputs(folder: Path) -> str:
    """Every fetched input and data set that lies beside the page, with checksum and licence."""
    paths = [*sorted((folder / "datasets").glob("*.safetensors")), *sorted((folder / "inputs").glob("*/*"))]
    rows = []
    for path in paths:
        source = source_of(path)
        if source is not None:
            origin = str(source.get("origin") or source.get("how"))
            rows.append(
                [
                    _esc(path.relative_to(folder).as_posix()),
                    f"{_esc(origin)}<small>{_esc(str(source.get('citation') or ''))}</small>",
                    _esc(str(source.get("licence"))),
                    f"<code>{source.get('sha256') or sha256(path)}</code>{_files(source.get('files') or {})}",
                ]
            )
    told = _table(("file", "origin", "licence", "SHA-256"), rows, "stack") if rows else "<p>Nothing from outside.</p>"
    return f'<section><h2 id="inputs">Inputs</h2>{told}</section>'


def _files(files: Mapping[str, str]) -> str:
    lines = "<br>".join(f"{_esc(name)} <code>{_esc(str(digest))}</code>" for name, digest in list(files.items())[:100])
    return (
        f"<details><summary>made from {len(files)} file{'s' * (len(files) != 1)}</summary>{lines}</details>"
        if files
        else ""
    )


def _config(config: Mapping[str, Any], digest: str) -> str:
    text = json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False)
    return (
        f'<h2 id="config">Config</h2><p>SHA-256 of <a href="config.json">config.json</a>: <code>{digest}</code></p>'
        f"<details><summary>The whole config, defaults included</summary><pre>{_esc(text)}</pre></details>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "", numbers: int = 0) -> str:
    """Write a table of finished HTML cells; the last `numbers` columns are numbers."""
    first = len(head) - numbers
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-head="{_esc(name)}"{" class=number" * (place >= first)}>{cell}</td>'
            for place, (name, cell) in enumerate(zip(head, row, strict=True))
        )
        + "</tr>"
        for row in rows
    )
    heads = "".join(f"<th{' class=number' * (place >= first)}>{_esc(name)}</th>" for place, name in enumerate(head))
    return f'<table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _list(told: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{_esc(name)}</dt><dd>{text or 'none'}</dd>" for name, text in told.items()) + "</dl>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Neural Echos, reproduced: {scale}</title>
<style>{css}</style></head><body>
<header><h1>Neural Echos, reproduced</h1><p>{scale}</p></header>
<main>
{body}
</main>
</body></html>
"""
