"""The report: the page, the work that it draws, the manuscript's folder and the RO-Crate, of a small results folder."""

import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import needs_chromium, shown
from test_explain import record

from neural_echos import commands
from neural_echos.artifacts.saving import _LATEX, Artifact, latex
from neural_echos.artifacts.style import canvas
from neural_echos.datasets import make_digits, save_dataset
from neural_echos.design.artifact_files import paper_name
from neural_echos.design.checked import load_artifacts
from neural_echos.errors import EchosError
from neural_echos.files import read_json, write_json
from neural_echos.report import write_crate
from neural_echos.report.costs import costs, training_seconds
from neural_echos.report.page import _costs
from neural_echos.report.paper import write_paper
from neural_echos.report.rule_graph import RuleGraph, draw, rule_graph
from neural_echos.tables import SCHEMAS, write_table
from neural_echos.verdicts import decide

ROOT = Path(__file__).resolve().parents[2]
BANK, RUN = "results/banks/a.parquet", "results/runs/digits/net/dog/seed1"
SAYS = "Half < all & 5 % of γ."
TITLES = {"figure_05_clusters": "Figure 5. Clusters & averages", "numbers": "Numbers"}
CLAIM = {"id": "NE5", "paper": "Neural Echos", "statement": "No <gain>.", "rule": "gain", "needs": "cifar10"}
OPTIONS = {"dataset": "digits", "architectures": ["net"], "initialisation": "dog", "baseline": "kaiming", "margin": 0.5}
CONFIG = {
    "scale": "tests: digits",
    "seeds": [0, 1],
    "artifacts": [{"id": "table_4_verdicts", "options": {}}],
}


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neural_echos.commands.app.log_to", lambda path: None)


@pytest.fixture
def made(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with what `once` made."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a workflow made a data set, a run, a bank, a figure, a table, and verdicts."""
    tmp_path = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        make(tmp_path)
    return tmp_path


def make(tmp_path: Path) -> None:
    data, facts = make_digits(size=8, seed=0)
    save_dataset(tmp_path / "results/datasets/digits.safetensors", data, facts)
    write_json(tmp_path / "results/inputs/w/w.safetensors.json", {"input": "w", "licence": "MIT", "sha256": "ab12"})
    (tmp_path / "results/inputs/w/w.safetensors").write_bytes(b"weights")
    write_json(tmp_path / RUN / "run.json", {"device": "cuda", "devices": 2, "seconds": 90.0})
    command = "echos train --seeds 0 1 --threads 1"
    record(tmp_path, "results/datasets/digits.safetensors", "dataset", [], 1000.0)
    record(
        tmp_path, f"{RUN}/metrics.json", "train_0", ["results/datasets/digits.safetensors"], 1500.0, shellcmd=command
    )
    record(tmp_path, BANK, "extract_from_run", [f"{RUN}/metrics.json"], 2000.0)
    figure, axes = canvas(1, 1, (2, 1))
    axes[0, 0].imshow(np.arange(6).reshape(2, 3))
    figure_5 = Artifact("figure_05_clusters", {"bank": [BANK]}, {"k": 3}, "results/figures/figure_05_clusters")
    figure_5.save(figure, SAYS)
    cells = pd.DataFrame({"a_b": ["5 %", "<b>"], "what it is": ["γ ± 1", "a long text that fills more than one line"]})
    Artifact("numbers", output="results/tables/numbers").save(cells, SAYS)
    for suffix in ("pdf", "json"):
        name = f"results/figures/figure_05_clusters.{suffix}"
        record(tmp_path, name, "figure", [BANK], 3000.0, shellcmd="echos render f")
    record(tmp_path, "results/tables/numbers.csv", "table", [], 2500.0, shellcmd="echos render t")
    empty = {name: SCHEMAS[name].empty_table().to_pandas() for name in ("runs", "structure", "replacements")}
    claim = CLAIM | {"options": OPTIONS | {"expect": "none"}, "artifact": "numbers", "published": "92.6 %"}
    write_table("results/verdicts.parquet", decide([claim], empty, "tests"), "verdicts")
    for name, seconds in (("train/digits/0", "10.5"), ("train/digits/1", "4.5"), ("extract/a", "1"), ("verdicts", "2")):
        path = tmp_path / f"results/benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        cpu = "NA" if name == "verdicts" else seconds
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:10\t100.5\t{cpu}\n")


def entries() -> str:
    kinds = {"figure_05_clusters": "figure", "numbers": "table"}
    return json.dumps(
        [
            {"id": name, "kind": kind, "group": f"{kind}s", "title": TITLES[name], "stem": f"results/{kind}s/{name}"}
            | {"caption": "As in the paper: 100 % of <k>."}
            for name, kind in kinds.items()
        ]
    )


def page(verdicts: str = "results/verdicts.parquet") -> str:
    files = ["--verdicts", verdicts, "--benchmarks", "results/benchmarks", "--output", "results/report.html"]
    assert commands.main(["report", entries(), "--config", json.dumps(CONFIG), *files]) == 0
    return Path("results/report.html").read_text(encoding="utf-8")


def test_an_input_that_no_place_held_is_told_first(made: Path) -> None:
    assert "Made without an input" not in page()
    reason = "weights/x.pth: the package index that pip is set up for does not answer"
    write_json("results/inputs/x/x.pth.json", {"input": "x", "absent": reason, "licence": "MIT", "sha256": "ab12"})
    Path("results/inputs/x/x.pth").write_bytes(b"nothing")
    told = page()
    assert told.index(reason) < told.index('id="verdicts"')


class Tags(HTMLParser):
    """Collect tags, and see that every one is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, Mapping[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


# The page


def test_the_page_opens_with_the_verdicts_and_needs_no_other_file(made: Path) -> None:
    text = page()
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert headings == ["Verdicts", "tables", "Rules", "Run times and cost", "Environment", "Inputs", "Config"]
    assert text.index("data:image") < text.index("Verdicts</h2>")
    assert not {tag for tag, _ in tags.found} & {"link", "iframe", "object"}
    assert not [one for tag, one in tags.found if tag == "script" and one]
    assert not re.search(r"url\((?!#)|@import", text)
    assert [one["src"][:10] for tag, one in tags.found if tag == "img"] == ["data:image"]
    ids = [one["id"] for _, one in tags.found if "id" in one]
    assert len(ids) == len(set(ids))
    inside = {str(one["href"])[1:] for tag, one in tags.found if tag == "a" and str(one["href"]).startswith("#")}
    assert inside <= set(ids)
    files = {str(one["href"]) for tag, one in tags.found if tag == "a" and not str(one["href"]).startswith("#")}
    assert {"figures/figure_05_clusters.pdf", "tables/numbers.tex", "config.json"} <= files
    assert all((made / "results" / name).is_file() for name in files)


def test_a_verdict_is_told_by_a_sign_and_a_word_beside_what_was_published(made: Path) -> None:
    text = page()
    assert '<span class="verdict not-run">○ not run at this scale</span>' in text
    assert "<small>published: 92.6 %</small>" in text
    assert "No &lt;gain&gt;." in text and '<a href="#numbers">Numbers</a>' in text


def test_every_artifact_answers_what_made_it(made: Path) -> None:
    text = page()
    section = text[text.index('<section id="figure_05_clusters">') :].partition("</section>")[0]
    facts = read_json("results/figures/figure_05_clusters.json")
    assert 'alt="Half &lt; all &amp; 5 % of γ."' in section
    assert facts["options"] == {"k": 3} and "{&#34;k&#34;: 3}" in section
    assert hashlib.sha256((made / "results/config.json").read_bytes()).hexdigest() in section
    assert facts["inputs"][BANK]["sha256"] in section
    for told in (
        "train 0, 1",
        "scikit-learn",
        "2.5 s; with all steps behind it 4 steps, 10.0 s of work",
        facts["commit"],
    ):
        assert told in section
    assert ".venv/bin/snakemake --force -- results/figures/figure_05_clusters.pdf" in section
    assert read_json("results/config.json") == CONFIG


def test_work_cost_and_inputs_are_told(made: Path) -> None:
    text = page()
    assert "5 jobs of 5 kinds of rule" in text  # of the verdicts nothing was recorded
    assert re.findall(r">(\w+)</text>", text) == ["dataset", "extract", "figure", "table", "train"]
    assert "0.01 h of jobs, an unknown number of core-hours; 1 run on cuda: 0.05 device-hours of training." in text
    assert "<code>ab12</code>" in text and "scikit-learn" in text[text.index('id="inputs"') :]


def test_without_records_the_page_says_so(made: Path) -> None:
    (made / ".snakemake").rename(made / "elsewhere")
    text = page()
    assert "records of the steps (.snakemake/metadata) are not here" in text
    assert ".venv/bin/snakemake --force -- results/figures/figure_05_clusters.pdf" in text
    assert "<svg class" not in text


def test_all_but_times_is_the_same_each_time(made: Path) -> None:
    first, second = (re.sub(r"<dt>this page</dt><dd>[^<]*", "", page()) for _ in range(2))
    assert first == second


@needs_chromium
@pytest.mark.parametrize("width", [1280, 500])
def test_contents_follow_on_a_wide_screen_and_halves_of_a_figure_stack_on_a_narrow_one(made: Path, width: int) -> None:
    steps = """
      const told = () => {
        const halves = [...document.querySelectorAll(".half")].map((half) => half.getBoundingClientRect());
        const stacked = halves.length === 2 && halves[1].top >= halves[0].bottom && halves[0].height > 0;
        const wide = document.documentElement.scrollWidth > innerWidth;
        document.title = JSON.stringify([contents.open, stacked, wide, document.querySelector("[aria-current]")?.hash]);
      };
      scrollTo(0, document.documentElement.scrollHeight);
      document.dispatchEvent(new Event("scroll"));
      setTimeout(told, 500);"""
    given = page().replace('<div class="card">', '<div class="card" data-cut="0.4">')
    [told] = re.findall("<title>(.*)</title>", shown(given, made, steps, width))
    narrow = width == 500
    assert json.loads(told)[:3] == [not narrow, narrow, False]
    assert json.loads(told)[3] == "#config"


# The work


def test_rules_are_walked_by_kind_and_a_way_back_is_dashed() -> None:
    def of(rule: str, *inputs: str) -> dict[str, Any]:
        return {"rule": rule, "input": [*inputs, "code.py"], "shellcmd": None}

    records = {"d": of("dataset"), "i": of("initialise_a", "d"), "t": of("train_0", "d", "i"), "e": of("extract", "t")}
    records |= {"f": of("extract", "t"), "g": of("extract", "i")}
    found = rule_graph(records)
    assert found.jobs == {"dataset": 1, "extract": 3, "initialise": 1, "train": 1}
    assert found.rows == {"dataset": 0, "initialise": 1, "train": 2, "extract": 3}
    assert ("dataset", "train") in found.forward and not found.back
    drawn = draw(found)
    assert drawn.count("<path") - 1 == 3  # of the five arrows, longer ways imply two; the tip is a path, too
    assert "dasharray" not in drawn
    lent = rule_graph(records | {"j": of("initialise_b", "d", "e"), "u": of("train_1", "d", "j")})
    assert lent.jobs["initialise"] == lent.jobs["train"] == 2
    assert (lent.rows, lent.back) == (found.rows, {("extract", "initialise")})
    assert draw(lent).count("dasharray") == 1


def test_boxes_do_not_touch_and_arrows_pass_between_them() -> None:
    jobs = dict.fromkeys("abcdef", 1)
    edges = {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "f"), ("e", "f"), ("d", "f"), ("e", "d")}
    drawn = draw(RuleGraph(jobs, frozenset(edges), frozenset(), {"a": 0, "e": 0, "b": 1, "c": 1, "d": 2, "f": 3}))
    boxes = [(float(x), float(y)) for x, y in re.findall(r'<rect x="([-\d.]+)" y="([-\d.]+)"', drawn)]
    assert len(boxes) == 6
    for place, (x, y) in enumerate(boxes):
        assert all(v != y or abs(u - x) > 118 for u, v in boxes[place + 1 :])
    (lane,) = {float(x) for x in re.findall(r" ([-\d.]+) [-\d.]+V", drawn)}  # e to d passes the row of b and c
    assert all(not x <= lane <= x + 118 for x, y in boxes if y == boxes[1][1])


def test_benchmarks_are_added_up_by_rule(made: Path) -> None:
    found = {one.rule: one for one in costs(made / "results/benchmarks")}
    assert list(found) == ["train", "verdicts", "extract"]
    assert (found["train"].jobs, found["train"].seconds, found["train"].core_seconds) == (2, 15.0, 15.0)
    assert np.isnan(found["verdicts"].core_seconds)
    assert training_seconds(made / "results/runs") == {"cuda": (1, 180.0)}
    assert costs(made / "nowhere") == []
    (made / "results/benchmarks/train/odd.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(
        EchosError, match=r"odd\.tsv: not a benchmark with s, cpu_time and max_rss, but with \['a', 'b'\]"
    ):
        costs(made / "results/benchmarks")


@pytest.mark.parametrize(
    ("watts", "told"),
    [
        ({}, "Energy was not measured."),
        ({"core": None, "gpu": None}, "Energy was not measured."),
        ({"core": 5.0, "gpu": None}, "Energy was not measured."),  # one job's core-seconds are not known
        (
            {"core": None, "gpu": 400},
            "Energy was not measured; at the declared 400 W of a gpu it is 0.02 kWh.",
        ),
    ],
)
def test_energy_is_told_at_the_declared_power_alone(made: Path, watts: dict[str, float | None], told: str) -> None:
    assert _costs(made / "results/benchmarks", made / "results/runs", watts)["energy"] == told
    (made / "results/benchmarks/verdicts.tsv").unlink()
    known = _costs(made / "results/benchmarks", made / "results/runs", {"core": 9000.0})
    assert "at the declared 9000 W of a core it is 0.04 kWh" in known["energy"]  # of 16 s


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
        ("/etc", "x.zip", "/etc: this folder lies outside .*; name --root"),
        ("config", "x.zip", "config: there are no figures or tables with their JSON; make them"),
    ],
)
def test_what_makes_no_crate_is_one_sentence(kept: Path, results: str, output: str, words: str) -> None:
    with pytest.raises(EchosError, match=words) as caught:
        write_crate(Path(results), Path(output))
    assert "\n" not in str(caught.value) and not Path(output).exists()
