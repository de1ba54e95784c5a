"""The report: the page, the work that it draws, the manuscript's folder and the RO-Crate, of a small results folder."""

import hashlib
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import needs_chromium, shown
from small_results import BANK, entries

from neural_echos import commands
from neural_echos.errors import EchosError
from neural_echos.files import read_json, write_json
from neural_echos.report.costs import costs, training_seconds
from neural_echos.report.page import _costs
from neural_echos.report.rule_graph import RuleGraph, draw, rule_graph
from neural_echos.tables import SCHEMAS, write_table

CONFIG = {
    "scale": "tests: digits",
    "seeds": [0, 1],
    "artifacts": [{"id": "table_4_verdicts", "options": {}}],
}


def page(verdicts: str = "results/verdicts.parquet", *more: str) -> str:
    files = [*more, "--verdicts", verdicts, "--benchmarks", "results/benchmarks", "--output", "results/report.html"]
    assert commands.main(["report", entries(), "--config", json.dumps(CONFIG), *files]) == 0
    return Path("results/report.html").read_text(encoding="utf-8")


def test_an_input_that_no_place_held_is_told_first(made: Path) -> None:
    assert "Built without an input" not in page()
    reason = "weights/x.pth: the package index configured for pip does not respond"
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
        "2.5 s; in total 4 steps, 10.0 s of work",
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
    assert "records of the steps (.snakemake/metadata) are missing" in text
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


@needs_chromium
def test_on_a_phone_a_wide_figure_scrolls_in_its_own_frame_and_says_so(made: Path) -> None:
    steps = """
      addEventListener("load", () => {
        const card = document.querySelector(".card"), hint = getComputedStyle(document.querySelector("figcaption"), "::before");
        const told = [card.classList.contains("wide"), card.tabIndex, document.documentElement.scrollWidth > innerWidth];
        document.title = JSON.stringify([...told, hint.content.includes("sideways"), card.scrollWidth]);
      });"""
    given = re.sub(r"--width: \d+px", "--width: 1000px", page())
    [told] = re.findall("<title>(.*)</title>", shown(given, made, steps, 500))
    assert json.loads(told)[:4] == [True, 0, False, True]
    assert json.loads(told)[4] >= 800


def test_a_preset_without_claims_has_no_verdicts_and_one_with_an_atlas_links_to_it(made: Path) -> None:
    write_table("results/none.parquet", SCHEMAS["verdicts"].empty_table(), "verdicts")
    text = page("results/none.parquet", "--atlas", "results/atlas/index.html")
    assert "Verdicts" not in text and 'id="verdicts"' not in text
    assert text.count('<a href="atlas/index.html">') == 2
    assert "atlas/index.html" not in page()


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
        EchosError, match=r"odd\.tsv: not a benchmark with s, cpu_time and max_rss; its columns are \['a', 'b'\]"
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
            "Energy was not measured; at the declared 400 W per gpu it would be 0.02 kWh.",
        ),
    ],
)
def test_energy_is_told_at_the_declared_power_alone(made: Path, watts: dict[str, float | None], told: str) -> None:
    assert _costs(made / "results/benchmarks", made / "results/runs", watts)["energy"] == told
    (made / "results/benchmarks/verdicts.tsv").unlink()
    known = _costs(made / "results/benchmarks", made / "results/runs", {"core": 9000.0})
    assert "at the declared 9000 W per core it would be 0.04 kWh" in known["energy"]  # of 16 s
