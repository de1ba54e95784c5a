"""A results folder as a Workflow Run RO-Crate: its files, the workflow that made them, and the provenance of every artifact.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) with the profiles Workflow RO-Crate 1.0 and Workflow Run Crate 0.5. External inputs
are described with origin, checksum and licence, but not included: their licences differ, and the workflow can fetch or
rebuild them.
"""

from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from neural_echos.design.checked import load_artifacts
from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, read_json, sha256, uncommitted
from neural_echos.report.explain import Records, source_of

CODE = ("Snakefile", "workflow", "config", "src", "envs", "pyproject.toml", "LICENSE", "CITATION.cff", "README.md")
LICENCE = "https://spdx.org/licenses/MIT"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
PAPER = "https://arxiv.org/abs/2401.10178"
AUTHOR = "#contributors"
FORMATS = {
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "md": "text/markdown",
    "tex": "application/x-tex",
    "html": "text/html",
    "json": "application/json",
    "ipynb": "application/x-ipynb+json",
    "yaml": "application/yaml",
    "py": "text/x-python",
    "parquet": "application/vnd.apache.parquet",
    "safetensors": "application/octet-stream",
}


def write_crate(results: Path, output: Path, root: Path = Path()) -> int:
    """Write a results folder as a zipped RO-Crate with the layout of the repository.

    Datasets and fetched inputs, logs, checkpoints, other presets' results and temporary files are not included.

    Parameters
    ----------
    results : Path
        A preset's results, below `root`.
    output : Path
        The crate, a `.zip`; the same files give the same bytes.
    root : Path
        Folder of the workflow, in which Snakemake ran; its records trace an artifact to its sources.

    Returns
    -------
    int
        Number of files in the crate, its metadata not counted.

    Raises
    ------
    EchosError
        `results` contains no finished artifacts or is not below `root`, or `output` is not a .zip file.
    """
    from rocrate.rocrate import ROCrate

    if output.suffix != ".zip":
        raise EchosError(f"{output}: the name must end in .zip; rename it")
    if not results.resolve().is_relative_to(root.resolve()):
        raise EchosError(f"{results}: this folder is outside {root.resolve()}; set --root")
    made = {
        path: read_json(path) for path in sorted(results.glob("figures/*.json")) + sorted(results.glob("tables/*.json"))
    }
    if not results.is_dir():
        raise EchosError(f"{results}: there is no such folder; check the path")
    if not made:
        raise EchosError(
            f"{results}: there are no figures or tables with their JSON files; build them with snakemake first"
        )
    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "http://schema.org/sha256"  # from schema.org, not yet a term of RO-Crate 1.1
    workflow = crate.add_workflow(root / "Snakefile", "Snakefile", main=True, lang="snakemake", lang_version=_version())
    for path in _code(root):
        _add_file(
            crate, path, path.relative_to(root).as_posix(), "the workflow, its library, config and pinned environment"
        )
    base = results.resolve().relative_to(root.resolve()).as_posix()
    records = Records(root)
    kept = list(_results(results, output, root, records))
    for path in kept:
        _add_file(crate, path, f"{base}/{path.relative_to(results).as_posix()}", "a result of the workflow")
    workflow["sha256"] = sha256(root / "Snakefile")
    _describe(crate, results, workflow, max(str(one["written"]) for one in made.values()))
    sources = _add_sources(crate, results, base)
    titles = load_artifacts(root)
    for path, facts in made.items():
        place = f"{base}/{path.relative_to(results).as_posix()}"
        behind = records.behind([place]) if records.of(place) else {}
        title = titles.get(path.stem, {}).get("title", path.stem)
        _add_action(crate, place, title, facts, {key: one for key, one in sources.items() if key in behind})
    with atomic_path(output) as temporary:
        crate.write_zip(temporary)
    return len(kept)


def _version() -> str:
    return metadata.version("snakemake")


def _code(root: Path) -> Iterator[Path]:
    """Files of the workflow itself, except the Snakefile, which is the crate's main entity."""
    for name in CODE[1:]:
        paths = [root / name] if (root / name).is_file() else sorted((root / name).rglob("*"))
        for path in paths:
            hidden = any(part.startswith((".", "__pycache__")) or part.endswith(".egg-info") for part in path.parts)
            if path.is_file() and not hidden:
                yield path


def _results(results: Path, output: Path, root: Path, records: Records) -> Iterator[Path]:
    others = {(root / one).resolve() for one in (*records.presets, "results/published")} - {results.resolve()}
    out = others | {(results / "logs").resolve()}
    for path in sorted(results.rglob("*")):
        parts = path.relative_to(results).parts
        brought = parts[0] in ("datasets", "inputs") and path.suffix != ".json"
        passing = path.name.startswith("checkpoint") or any(part.startswith(".") for part in parts)
        own = path.resolve() != output.resolve() and not out & {path.resolve(), *path.resolve().parents}
        if path.is_file() and own and not (brought or passing):
            yield path


def _add_file(crate: Any, path: Path, place: str, what: str) -> None:
    facts = {
        "name": place,
        "description": what,
        "encodingFormat": FORMATS.get(path.suffix.lstrip("."), "text/plain"),
        "contentSize": str(path.stat().st_size),
        "sha256": sha256(path),
        "license": {"@id": LICENCE},
        "author": {"@id": AUTHOR},
    }
    crate.add_file(path, place, properties=facts)


def _entity(crate: Any, identifier: str, **facts: Any) -> Any:
    from rocrate.model.contextentity import ContextEntity

    kind = facts.pop("kind")
    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **facts}))


def _describe(crate: Any, results: Path, workflow: Any, written: str) -> None:
    """Add name, licence, author, date and citation of the crate and of its workflow."""
    config = read_json(results / "config.json") if (results / "config.json").is_file() else {}
    author = _entity(crate, AUTHOR, kind="Organization", name="The Neural Echos reproduction contributors")
    licence = _entity(crate, LICENCE, kind="CreativeWork", name="MIT License", url=LICENCE)
    paper = _entity(
        crate,
        PAPER,
        kind="ScholarlyArticle",
        name="Neural Echos: Depthwise Convolutional Filters Replicate Biological Receptive Fields",
        author="Zahra Babaiee, Peyman M. Kiasari, Daniela Rus, Radu Grosu",
        datePublished="2024",
    )
    about = {
        "name": f"Neural Echos, reproduced: {config.get('scale', results.name)}",
        "description": "Results of one preset and the workflow that made them; external inputs are described, not included.",
        "datePublished": written,
        "license": licence,
        "author": author,
        "publisher": author,
        "citation": paper,
        "conformsTo": [
            _entity(crate, url, kind="CreativeWork", name=name, version=version)
            for url, (name, version) in PROFILES.items()
        ],
    }
    for key, value in about.items():
        crate.root_dataset[key] = value
    facts = {"name": "Neural Echos, reproduced", "license": licence, "author": author, "citation": paper}
    facts |= {"version": metadata.version("neural-echos"), "encodingFormat": "text/plain"}
    facts["conformsTo"] = _entity(
        crate, BIOSCHEMAS, kind="CreativeWork", name="Bioschemas ComputationalWorkflow", version="1.0"
    )
    for key, value in facts.items():
        workflow[key] = value
    if readme := crate.get("README.md"):
        readme["about"] = crate.root_dataset


def _add_sources(crate: Any, results: Path, base: str) -> dict[str, Any]:
    """Describe every dataset and fetched input of the results; returns the entities by path."""
    found = {}
    for path in sorted(results.glob("datasets/*.safetensors")) + sorted(results.glob("inputs/*/*")):
        source = source_of(path)
        if source is None:
            continue
        place = f"{base}/{path.relative_to(results).as_posix()}"
        origin = str(source.get("origin") or source.get("how"))
        facts = {
            "name": place,
            "description": f"Not included in this crate. Origin: {origin}",
            "sha256": source.get("sha256") or sha256(path),
            "license": _entity(crate, f"#licence-of/{place}", kind="CreativeWork", name=str(source.get("licence"))),
            "citation": str(source.get("citation") or ""),
        }
        if origin.startswith("https://"):
            facts["url"] = origin
        found[place] = _entity(crate, f"#source/{place}", kind="CreativeWork", **facts)
    return found


def _add_action(crate: Any, place: str, title: str, facts: Mapping[str, Any], sources: Mapping[str, Any]) -> None:
    """Describe how an artifact was made: by the workflow, from which tables, when, and on which machine."""
    stem = place.removesuffix(".json")
    reads = [crate.get(str(one["path"])) for one in facts["inputs"].values()]
    machine = facts["machine"]
    action = _entity(
        crate,
        f"#made/{stem}",
        kind="CreateAction",
        name=f"Made {title}",
        description=f"{facts['says']} Commit {facts['commit'] or 'unknown'}{uncommitted(facts)}; "
        f"{machine['processor']}, {machine['cores']} cores.",
        endTime=facts["written"],
        actionStatus="http://schema.org/CompletedActionStatus",
    )
    action["instrument"] = crate.mainEntity
    action["agent"] = crate.get(AUTHOR)
    action["object"] = [one for one in (*reads, *sources.values()) if one is not None]
    action["result"] = [one for one in crate.data_entities if one.id.rpartition(".")[0] == stem]
    crate.root_dataset.append_to("mentions", action)
