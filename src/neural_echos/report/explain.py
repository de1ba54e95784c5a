"""Explain: how a result was made, step by step back to the external inputs, and the one command that rebuilds it.

The steps are those that Snakemake recorded in `.snakemake/metadata`; commit, options, versions and machine come from the JSON
beside the result, seeds from the steps, licences from datasets and from the JSON beside fetched inputs.
"""

import base64
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from neural_echos.code import Code
from neural_echos.design.load import preset_files
from neural_echos.design.yaml import read_yaml
from neural_echos.errors import EchosError
from neural_echos.files import read_json, sha256, uncommitted
from neural_echos.storage import ADDRESS, plain

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One job on the way to a result.

    Attributes
    ----------
    rule : str
    made : tuple of str
        Files that it made on the way to the result.
    seconds : float
    ended : str
        UTC, ISO 8601.
    command : str
    changed : tuple of str
        Inputs whose content, and commands whose code, has changed since.
    """

    rule: str
    made: tuple[str, ...]
    seconds: float
    ended: str
    command: str
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """How a result was made.

    Attributes
    ----------
    path : str
    facts : mapping
        The JSON beside it: its message, inputs, options, commit, uncommitted changes, versions, machine, time.
    seeds : mapping of str to tuple of int
        Seeds of the random steps, by the first word of the rule's name.
    steps : tuple of Step
        In order; empty without Snakemake's records, as for published results.
    sources : mapping of str to mapping
        Datasets and fetched inputs, each with its licence, citation and checksums.
    rebuild : str
        The command that rebuilds the result and nothing else.
    """

    path: str
    facts: Mapping[str, Any]
    seeds: Mapping[str, tuple[int, ...]]
    steps: tuple[Step, ...]
    sources: Mapping[str, Mapping[str, Any]]
    rebuild: str


class Records:
    """Snakemake's records of the files that it made in a folder or a bucket; everything is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.code = Code()
        self.prefix = f"{os.environ[ADDRESS]}/" if os.environ.get(ADDRESS) else ""
        self._records: dict[str, Record | None] = {}
        self._checksums: dict[str, str | None] = {}
        own = sorted((root / "config" / "presets").glob("*.yaml")), sorted(root.glob("*.yaml"))  # and the user's own
        self.presets = {results: path for path in chain(*own) if (results := _results_of(path))}

    def of(self, name: str) -> Record | None:
        """Read the record of a file; None if there is none or it is truncated."""
        if name not in self._records:
            encoded = base64.urlsafe_b64encode(f"{self.prefix}{name}".encode()).decode()
            parts = [encoded[start : start + 254] for start in range(0, len(encoded), 254)]  # long names become folders
            place = (self.root / ".snakemake/metadata").joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
            try:
                self._records[name] = json.loads(place.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                self._records[name] = None
        return self._records[name]

    def behind(self, names: Iterable[str]) -> dict[str, Record]:
        """Collect the records of files and of everything that they were made from."""
        found: dict[str, Record] = {}
        waiting = list(names)
        while waiting:
            one = waiting.pop()
            if one not in found and (record := self.of(one)) is not None:
                found[one] = record
                waiting += [other.removeprefix(self.prefix) for other in record["input"] if not other.endswith(".py")]
        return found

    def checksum(self, name: str) -> str | None:
        """Current SHA-256 of a file; None if it is gone."""
        if name not in self._checksums:
            path = self.root / name
            self._checksums[name] = sha256(path) if path.is_file() else None
        return self._checksums[name]

    def has_other_code(self, record: Record, command: str, *notebook: str) -> bool:
        """Whether the fingerprint of a command, and of the notebook that it rendered, differs from the one in a job's params."""
        then = {words.strip("'") for words in record.get("params") or () if re.fullmatch(r"'[0-9a-f]{16}'", words)}
        try:
            return bool(then) and self.code.fingerprint(command, *(self.root / one for one in notebook)) not in then
        except EchosError:  # the command or the notebook is gone
            return True

    def preset_of(self, name: str) -> str:
        """Option that names the preset of a file's results, and the presets below it; "" for the demo."""
        for results, path in self.presets.items():
            if name.startswith(f"{results}/"):
                files = preset_files(self.root, path)[1:]
                return f"--configfile {' '.join(str(file.relative_to(self.root)) for file in files)} "
        return ""


def _results_of(path: Path) -> str:
    """Folder of a preset's results; "" for a YAML file that is not a preset."""
    try:
        folders = read_yaml(path).get("pathvars")
    except EchosError:
        return ""
    return str(folders.get("results") or "") if isinstance(folders, dict) else ""


def explain(path: str | Path, root: Path, records: Records | None = None) -> Explanation:
    """Trace a result back to its sources.

    Parameters
    ----------
    path : path
        The result, as named by the workflow: relative to `root`, or below it.
    root : Path
        Folder in which Snakemake ran.
    records : Records
        Records of `root`, to be reused if you explain many results.

    Raises
    ------
    EchosError
        The file does not exist, or neither a record nor a JSON file beside it says how it was made.
    """
    records = records or Records(root)
    name = _named(Path(path), root)
    if not (root / name).is_file():
        if (root / name).is_dir():
            raise EchosError(f"{path}: this is a folder; name a file in it")
        raise EchosError(f"{path}: there is no such file; build it with snakemake first")
    found = records.behind([name])
    facts = _facts(root / name)
    if not found and "command" not in facts:
        raise EchosError(
            f"{path}: {root / '.snakemake/metadata'} has no record of how this file was made, nor does a JSON file beside it "
            "say so; name the output of a rule, in the folder where snakemake ran, or a published figure or table"
        )
    steps = tuple(sorted(_steps(found, records), key=lambda step: step.ended))
    sources = {key: source for key in sorted(found) if (source := source_of(root / key))}
    return Explanation(name, facts, _seeds(steps), steps, sources, _again(name if found else "", facts, records))


def _again(name: str, facts: Mapping[str, Any], records: Records) -> str:
    """The command that rebuilds a result: by its `name` if Snakemake recorded it, otherwise from the JSON beside it."""
    if not name:
        program, *_, name = facts["command"]
        if program != "snakemake":
            return shlex.join(facts["command"])
    return f".venv/bin/snakemake {records.preset_of(name)}--force -- {name}"


def _named(path: Path, root: Path) -> str:
    full = path if path.is_absolute() else root / path
    try:
        return str(full.resolve().relative_to(root.resolve()))
    except ValueError:
        return str(path)


def _steps(found: Mapping[str, Record], records: Records) -> Iterator[Step]:
    jobs: dict[str, list[str]] = {}
    for name, record in found.items():
        jobs.setdefault(plain(record["shellcmd"] or record["rule"]), []).append(name)
    for command, names in jobs.items():
        record = found[names[0]]
        # Snakemake keeps checksums of small files only; the others are not compared.
        then = {
            plain(other): value.removeprefix("sha256:")
            for other, value in (record.get("input_checksums") or {}).items()
            if value
        }
        changed = [other for other, value in sorted(then.items()) if records.checksum(other) not in (None, value)]
        if (ran := _ran(command)) and records.has_other_code(record, *ran):
            changed.append(f"the code of echos {ran[0]}")
        ended = datetime.fromtimestamp(record["endtime"], UTC).isoformat(timespec="seconds")
        yield Step(
            record["rule"],
            tuple(sorted(names)),
            record["endtime"] - record["starttime"],
            ended,
            command,
            tuple(changed),
        )


def _ran(command: str) -> list[str]:
    """The `echos` command that a job ran, with the notebook if it is `render`; empty if it ran none."""
    found = re.search(r"neural_echos (?:--log (?:'[^']*'|\S+) )?(\w+)(?: (\S+\.ipynb))?", command)
    return [word for word in found.groups() if word] if found else []


def _seeds(steps: Sequence[Step]) -> dict[str, tuple[int, ...]]:
    """Seeds that the steps' commands name, and the runs that they made."""
    found: dict[str, set[int]] = {}
    for step in steps:
        named = [seed for words in re.findall(r"--seeds?((?: \d+)+)", step.command) for seed in words.split()]
        named += re.findall(r'"seed": (\d+)', step.command)
        named += [seed for name in step.made for seed in re.findall(r"/seed(\d+)/", name)]
        if named:
            found.setdefault(first_word(step.rule), set()).update(map(int, named))
    return {rule: tuple(sorted(seeds)) for rule, seeds in sorted(found.items())}


def first_word(rule: str) -> str:
    """The common name of rules of one kind: "train" of "train_0". Their benchmarks are in a folder of that name."""
    return rule.partition("_")[0]


def _facts(path: Path) -> dict[str, Any]:
    for beside in (path.with_suffix(".json"), path.with_name("run.json"), path.with_name(f"{path.name}.json")):
        if beside.is_file() and beside != path:
            found = read_json(beside)
            return {key: value for key, value in found.items() if key not in ("layers", "did")}
    return {}


def source_of(path: Path) -> dict[str, Any] | None:
    """Licence and origin of a dataset or a fetched input; None for other files."""
    if path.parent.name == "datasets" and path.suffix == ".safetensors" and path.is_file():
        from neural_echos.datasets import dataset_facts

        return {
            key: value
            for key, value in dataset_facts(path).items()
            if key in ("kind", "how", "seed", "files", "licence", "citation")
        }
    beside = path.with_name(f"{path.name}.json")
    if path.parent.parent.name == "inputs" and beside.is_file():
        found = read_json(beside)
        return {key: found.get(key) for key in ("input", "source", "origin", "sha256", "licence", "citation")}
    return None


def render_explanation(found: Explanation) -> str:
    """Write an explanation as text."""
    facts, lines = found.facts, [found.path]

    def add(head: str, text: object) -> None:
        lines.append(f"  {head:<9}{text}")

    if facts:
        add("says", facts.get("says", "–"))
        add("written", facts.get("written", "unknown"))
        add("commit", f"{facts.get('commit') or 'unknown'}{uncommitted(facts)}")
        add("versions", ", ".join(f"{key} {value}" for key, value in facts.get("versions", {}).items()))
        machine = facts.get("machine", {})
        add("machine", f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('system')}")
        add("options", json.dumps(facts.get("options", {}), ensure_ascii=False))
    if found.steps:
        told = [f"{rule} {', '.join(map(str, seeds))}" for rule, seeds in found.seeds.items()]
        add("seeds", "; ".join(told) or "none, as no step is random")
        add("steps", f"{len(found.steps)}, {sum(step.seconds for step in found.steps):,.0f} s of work")
        lines += _step_lines(found.steps)
        add("sources", f"{len(found.sources)} datasets and fetched inputs" if found.sources else "none")
        lines += _source_lines(found.sources)
    else:
        inputs = facts.get("inputs", {})
        add("steps", "not recorded here; it was made elsewhere, or Snakemake's records are gone")
        add("inputs", "none" if not inputs else "1 file" if len(inputs) == 1 else f"{len(inputs)} files")
        lines += [f"    {one['path']} sha256 {one['sha256']}" for one in inputs.values()]
    changed = sorted({one for step in found.steps for one in step.changed})
    if changed:
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        add("changed", f"since then: {shown}; the next snakemake run rebuilds it")
    add("rebuild", found.rebuild)
    return "\n".join(lines)


def _step_lines(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        more = f" and {len(step.made) - 1} more" if len(step.made) > 1 else ""
        yield f"    {step.ended}  {step.seconds:7.1f} s  {step.rule}: {step.made[0]}{more}"


def _source_lines(sources: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, source in sources.items():
        yield f"    {name}: {source.get('origin') or source.get('how')}; licence: {source.get('licence')}"
        files = source.get("files") or ({name: source["sha256"]} if source.get("sha256") else {})
        yield from (f"      {file} sha256 {digest}" for file, digest in files.items())


def explanation_json(found: Explanation) -> str:
    """Write an explanation as JSON, commands included."""
    return json.dumps(asdict(found), indent=2, ensure_ascii=False)
