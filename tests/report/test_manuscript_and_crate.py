"""The manuscript and the crate of a results folder."""

import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from small_results import BANK, RUN, entries

from neural_echos import commands
from neural_echos.artifacts.saving import _LATEX, Artifact, latex
from neural_echos.design.artifact_files import paper_name
from neural_echos.design.checked import load_artifacts
from neural_echos.errors import EchosError
from neural_echos.report import write_crate
from neural_echos.report.paper import write_paper

ROOT = Path(__file__).resolve().parents[2]


# The manuscript


def test_a_manuscript_includes_every_artifact(made: Path) -> None:
    assert commands.main(["paper", entries(), "--title", "100 % & more", "--output", "results/paper"]) == 0
    paper = made / "results/paper"
    assert sorted(path.name for path in paper.iterdir()) == ["figure-05-clusters.pdf", "paper.tex", "table-numbers.tex"]
    assert (paper / "figure-05-clusters.pdf").read_bytes() == Path(
        "results/figures/figure_05_clusters.pdf"
    ).read_bytes()
    text, table = ((paper / name).read_text() for name in ("paper.tex", "table-numbers.tex"))
    assert r"\caption{Clusters \& averages. As in the paper: 100 \% of <k>. Half < all \& 5 \% of $\gamma$.}" in text
    assert set(re.findall(r"\\artifact(?:table|figure){(.*?)}", text)) == {path.name for path in paper.iterdir()} - {
        "paper.tex"
    }
    assert r"\begin{tabular}{lp{4.5cm}}" in table and r"a\_b & what it is \\" in table and r"$\gamma$ $\pm$ 1" in table
    for written in (text, table):
        assert sorted(re.findall(r"\\begin{(.*?)}", written)) == sorted(re.findall(r"\\end{(.*?)}", written))
        bare = re.sub(r"\\[{}]", "", written)
        assert bare.count("{") == bare.count("}")


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex (Debian's texlive-latex-recommended) is not here"
)
def test_a_manuscript_compiles_and_everything_fits_its_pages(made: Path) -> None:
    every = "".join(_LATEX) + " <é|ß> [a] 'b' \"c\""
    for name, columns, rows in (("wide", 9, 6), ("long", 3, 90), ("small", 2, 2)):
        cells = {
            f"column_{i} %": [f"{every}, a text of more than one line", f"figure_{'06_' * 12}x"] for i in range(columns)
        }
        Artifact(name, output=f"results/tables/{name}").save(
            pd.DataFrame(cells).loc[[i % 2 for i in range(rows)]], every
        )
    one = {"group": "g", "title": f"Table 1. {every}", "caption": every}
    listed = json.loads(entries()) + [
        one | {"id": name, "kind": "table", "stem": f"results/tables/{name}"} for name in ("wide", "long", "small")
    ]
    write_paper(made / "paper", listed, every)
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=made / "paper", capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Missing character" not in (made / "paper/paper.log").read_text(errors="replace")
    assert "Output written on paper.pdf (4 pages" in done.stdout


def test_what_the_config_says_can_be_printed_by_latex() -> None:
    declared = load_artifacts(ROOT)
    for name, one in declared.items():
        assert latex(one["title"] + one["caption"]).isascii(), name
        assert re.fullmatch(r"(figure|table)-[a-z0-9-]+\.(pdf|tex)", paper_name(name, one["kind"]))
    assert latex(r"[a] \ ~ ^ {_}") == r"{[}a] \textbackslash{} \textasciitilde{} \textasciicircum{} \{\_\}"


# The crate


@pytest.fixture
def kept(made: Path) -> Path:
    """The same folder with the workflow's own files, and with files that no crate may hold."""
    for name in (
        "Snakefile",
        "README.md",
        "workflow/notebooks/figure_05_clusters.ipynb",
        "config/presets/zoo.yaml",
        "workflow/rules/kernels.smk",
    ):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes((ROOT / name).read_bytes())
    for name in (f"{RUN}/checkpoint.safetensors", "logs/a.log", "banks/.b-12345678.parquet", "zoo/figures/a.json"):
        path = made / "results" / name.removeprefix("results/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return made


def test_a_crate_describes_every_file_and_what_made_every_artifact(kept: Path) -> None:
    from rocrate.rocrate import ROCrate

    for name in ("a.zip", "results/b.zip"):
        assert commands.main(["crate", "results", "--output", name]) == 0
    assert Path("a.zip").read_bytes() == Path("results/b.zip").read_bytes()
    with zipfile.ZipFile("a.zip") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    graph = {one["@id"]: one for one in json.loads(held.pop("ro-crate-metadata.json"))["@graph"]}
    for one in graph.values():
        for value in one.values():
            for link in value if isinstance(value, list) else [value]:
                assert not isinstance(link, dict) or link["@id"] in graph or link["@id"].startswith("https://")
    files = {name for name, one in graph.items() if "File" in one["@type"]}
    assert files == set(held)
    for name, content in held.items():
        assert graph[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert graph[name]["encodingFormat"] and graph[name]["license"] and graph[name]["author"]
    assert {"Snakefile", "workflow/rules/kernels.smk", BANK, "results/inputs/w/w.safetensors.json"} <= files
    assert not [name for name in files if re.search(r"checkpoint|\.log|/\.|zoo/f|datasets|w\.safetensors$|\.zip", name)]
    root = graph["./"]
    assert {"name", "description", "datePublished", "license", "author", "citation", "mainEntity"} <= set(root)
    made = graph["#made/results/figures/figure_05_clusters"]
    assert made["instrument"] == {"@id": "Snakefile"} and "ComputationalWorkflow" in graph["Snakefile"]["@type"]
    assert {one["@id"] for one in made["object"]} == {BANK, "#source/results/datasets/digits.safetensors"}
    assert {one["@id"][-3:] for one in made["result"]} == {"pdf", "png", "svg", "son"}
    source = graph["#source/results/datasets/digits.safetensors"]
    assert "scikit-learn" in graph[source["license"]["@id"]]["name"] and len(source["sha256"]) == 64
    again = ROCrate("a.zip")
    assert again.mainEntity.id == "Snakefile" and len(again.data_entities) == len(files)


@pytest.mark.parametrize(
    ("results", "output", "words"),
    [
        ("results", "x.tar", "x.tar: the name must end in .zip; rename it"),
        ("/etc", "x.zip", "/etc: this folder is outside .*; set --root"),
        ("config", "x.zip", "config: there are no figures or tables with their JSON files; build them"),
    ],
)
def test_what_makes_no_crate_is_one_sentence(kept: Path, results: str, output: str, words: str) -> None:
    with pytest.raises(EchosError, match=words) as caught:
        write_crate(Path(results), Path(output))
    assert "\n" not in str(caught.value) and not Path(output).exists()
