"""The page to read first: verdicts, every artifact with its provenance, rules, costs, machine, inputs and config."""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from neural_echos.artifacts.saving import FORMATS, read
from neural_echos.artifacts.style import Style
from neural_echos.files import provenance, read_json, sha256, uncommitted, write_json, write_text
from neural_echos.report.costs import adopted_seconds, costs, training_seconds
from neural_echos.report.explain import Explanation, Records, explain, source_of
from neural_echos.report.front import claims, headline, merged, message
from neural_echos.report.pictures import picture_of
from neural_echos.report.rule_graph import draw, rule_graph
from neural_echos.report.templates import FOLDER, render

Artifact = Mapping[str, str]
UNREADABLE = " (caption not readable)"  # in the title of a figure of the paper
PICTURES = 9e6  # total bytes of all embedded pictures, before base64 adds a third


@dataclass(frozen=True)
class Made:
    """What is known of an artifact: the JSON beside it, and how it was made."""

    facts: Mapping[str, Any]
    way: Explanation


def write_report(
    output: Path,
    artifacts: Sequence[Artifact],
    *,
    verdicts: Path,
    config: Mapping[str, Any],
    benchmarks: Path,
    structure: Sequence[Path] = (),
    atlas: Sequence[Path] = (),
    root: Path = Path(),
) -> None:
    """Write the report of a preset as one self-contained HTML file, and its config beside it as `config.json`.

    Parameters
    ----------
    output : Path
        The page. Links to the artifacts' files are relative to it; datasets, inputs and runs are expected beside it.
    artifacts : sequence of mappings
        Each with id, kind ("figure" or "table"), group, title, caption and stem (path without suffix, relative to `root`).
    verdicts : Path
        Table of schema "verdicts".
    config : mapping
        The preset's config, as checked and completed by the workflow.
    benchmarks : Path
        Folder of Snakemake's benchmarks, with a folder or file for each kind of rule.
    structure : sequence of Path
        Tables of schema "structure", from which the page's first sentence is computed; otherwise it is the first figure's message.
    atlas : sequence of Path
        Indices of networks that the page links to: none or one.
    root : Path
        Folder in which Snakemake ran; if its records are missing, the page says so.

    Raises
    ------
    EchosError
        An artifact's files, the verdicts or a benchmark are missing or broken.
    """
    records = Records(root)
    made = {one["id"]: _made(one, root, records) for one in artifacts}
    write_json(output.with_name("config.json"), config)
    most = int(PICTURES / max(1, sum(one["kind"] == "figure" for one in artifacts)))
    shown = {one["id"]: _shown(one, made[one["id"]], output.parent, most) for one in artifacts}
    lead = next((one for one in shown.values() if one["picture"]), None)
    decided = claims(verdicts, {name: one["title"] for name, one in shown.items()}, root)
    verdict_tables = [
        one for one in shown.values() if "verdict" in one["id"] and (decided["measured"] or decided["open"])
    ]
    table = next(iter(verdict_tables), None)
    apart = [one["id"] for one in (lead, table) if one]
    groups = merged([one for one in shown.values() if one["id"] not in apart])
    files = [f"{one['stem']}.{FORMATS[one['kind']][0]}" for one in artifacts]
    behind = records.behind([*files, str(verdicts)])
    graph = rule_graph(behind) if behind else None
    beside = sorted((output.parent / "inputs").glob("*/*.json"))
    page = render(
        "report.html.j2",
        scale=config["scale"],
        css=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),
        js=Markup((FOLDER / "report.js").read_text(encoding="utf-8")),
        headline=headline(
            [read({"structure": str(one)})["structure"] for one in structure], lead["says"] if lead else ""
        ),
        atlas=[os.path.relpath(one, output.parent) for one in atlas],
        lead=lead,
        table=table,
        claims=decided,
        groups=groups,
        unread=any(one["unread"] for one in shown.values()),
        digest=sha256(output.with_name("config.json")),
        graph=graph,
        drawing=draw(graph) if graph else "",
        costs=_costs(benchmarks, output.parent / "runs", config.get("watts", {})),
        environment=_environment(made),
        inputs=_inputs(output.parent),
        absent=[one["absent"] for one in map(read_json, beside) if one.get("absent")],
        config=json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False),
    )
    write_text(output, page)


def _made(artifact: Artifact, root: Path, records: Records) -> Made:
    stem = artifact["stem"]
    return Made(read_json(root / f"{stem}.json"), explain(f"{stem}.{FORMATS[artifact['kind']][0]}", root, records))


def _shown(artifact: Artifact, made: Made, folder: Path, most: int) -> dict[str, Any]:
    """Everything that the page shows of one artifact."""
    stem = Path(artifact["stem"])
    picture = table = None
    if artifact["kind"] == "figure":
        picture = picture_of(stem, most, made.facts["style"].get("dpi", Style().dpi))
    else:
        page = stem.with_name(f"{stem.name}.html").read_text(encoding="utf-8")
        table = Markup(page[page.index("<table") : page.index("</table>") + 8])
    more = made.facts["style"].get("formats", []) if artifact["kind"] == "figure" else []
    suffixes = (*FORMATS[artifact["kind"]], *more, "json")
    heading, rest = message(made.facts["says"])
    return {
        **artifact,
        "title": artifact["title"].replace(UNREADABLE, ""),
        "unread": UNREADABLE in artifact["title"],
        "says": made.facts["says"],
        "message": heading,
        "rest": rest,
        "picture": picture,
        "table": table,
        "columns": table.partition("</thead>")[0].count("<th>") if table else 0,
        "files": [(suffix, f"{os.path.relpath(stem, folder)}.{suffix}") for suffix in suffixes],
        "provenance": _provenance(artifact, made),
    }


def _provenance(artifact: Artifact, made: Made) -> dict[str, Any]:
    """Provenance of one artifact."""
    facts, way = made.facts, made.way
    name = f"{artifact['stem']}.{FORMATS[artifact['kind']][0]}"
    return {
        "commit": _commit(facts),
        "uncommitted": uncommitted(facts),
        "written": facts.get("written"),
        "options": json.dumps(facts.get("options", {}), ensure_ascii=False),
        "inputs": {str(one["path"]): one["sha256"] for one in facts.get("inputs", {}).values()},
        "versions": _versions(facts),
        "machine": _machine(facts),
        "way": way,
        "work": sum(step.seconds for step in way.steps),
        "own": next((step.seconds for step in way.steps if name in step.made), None),
    }


def _commit(facts: Mapping[str, Any]) -> str:
    return str(facts.get("commit") or "unknown")


def _versions(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(facts.get("versions", {}).items()))


def _machine(facts: Mapping[str, Any]) -> str:
    machine = facts.get("machine", {})
    return f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('system')}"


def _costs(benchmarks: Path, runs: Path, watts: Mapping[str, float | None]) -> dict[str, Any] | None:
    """Costs of each kind of rule, their totals, and the energy at the declared power; None without benchmarks."""
    found = costs(benchmarks)
    if not found:
        return None
    hours, cores = (sum(getattr(one, key) for one in found) / 3600 for key in ("seconds", "core_seconds"))
    training = training_seconds(runs)
    gpus = sum(seconds for device, (_, seconds) in training.items() if device != "cpu") / 3600
    energy = _energy({"core": cores, "gpu": gpus}, watts)
    adopted = adopted_seconds(runs)
    return {
        "rows": found,
        "hours": hours,
        "core_hours": cores,
        "training": training,
        "adopted": adopted,
        "energy": energy,
    }


def _energy(hours: Mapping[str, float], watts: Mapping[str, float | None]) -> str:
    """Describe the energy of `hours` per device at the declared power, W; nothing was measured."""
    declared = {device: power for device, power in watts.items() if power is not None}
    kwh = sum(hours[device] * power for device, power in declared.items()) / 1000
    if not declared or math.isnan(kwh):
        return "Energy was not measured."
    at = " and ".join(f"{power:g} W per {device}" for device, power in declared.items())
    return f"Energy was not measured; at the declared {at} it would be {kwh:.3g} kWh."


def _environment(made: Mapping[str, Made]) -> dict[str, list[tuple[str, int | None]]]:
    """Commits, versions and machines of all artifacts, with the number of artifacts if they differ."""
    told: dict[str, list[tuple[str, int | None]]] = {}
    for name, say in (
        ("commit", lambda one: _commit(one) + uncommitted(one)),
        ("versions", _versions),
        ("machine", _machine),
    ):
        found = Counter(say(one.facts) for one in made.values())
        told[name] = [(text, count if len(found) > 1 else None) for text, count in found.most_common()]
    mine = provenance()
    told["this page"] = [(f"{mine['written']}, commit {_commit(mine)}{uncommitted(mine)}", None)]
    return told


def _inputs(folder: Path) -> list[dict[str, Any]]:
    """Every fetched input and dataset beside the page, with checksum and licence."""
    # Found by the JSON beside each input, because the inputs themselves may exist only in a bucket.
    fetched = [path.with_suffix("") for path in sorted((folder / "inputs").glob("*/*.json"))]
    paths = [
        *sorted((folder / "datasets").glob("*.safetensors")),
        *(path for path in fetched if not Path(f"{path}.json.json").exists()),
    ]
    found = [(path, source) for path in paths if (source := source_of(path)) is not None]
    return [
        {
            "file": path.relative_to(folder).as_posix(),
            "origin": source.get("origin") or source.get("how"),
            "citation": source.get("citation") or "",
            "licence": source.get("licence"),
            "sha256": source.get("sha256") or sha256(path),
            "files": source.get("files") or {},
        }
        for path, source in found
    ]
