"""The documentation against the code: the data dictionary, the config reference, links, and the presets that it names."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import neural_echos
from neural_echos.design.inputs import Input
from neural_echos.files import provenance
from neural_echos.initialisations import LayerReport
from neural_echos.kernels import Layer
from neural_echos.tables import SCHEMAS

ROOT = Path(__file__).resolve().parent.parent
DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), ROOT / "config" / "README.md"])


def rows_under(heading: str) -> list[list[str]]:
    """The cells of the first table below a `## heading`, or of the table whose first column has that name."""
    text = DATA.partition(f"\n## {heading}\n")[2] or DATA.partition(f"\n| {heading} |")[2]
    body = re.search(r"^\|---.*\n((?:\|.*\n)*)", re.split(r"^#", text, flags=re.MULTILINE)[0], re.MULTILINE)
    lines = body.group(1).splitlines() if body else []
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def keys_of(heading: str) -> list[str]:
    return [row[0] for row in rows_under(heading)]


def test_the_data_dictionary_holds_the_keys_of_json_files():
    assert keys_of("key of provenance") == list(provenance())
    assert keys_of("key of layers") == [field.name for field in fields(Layer) if field.compare]
    assert keys_of("key of did") == [field.name for field in fields(LayerReport)]
    runs = set(SCHEMAS["runs"].names) - {"dataset", "architecture", "initialisation", "seed", "area"}
    assert set(keys_of("key of metrics.json")) == runs
    declared = {"sha256", "bytes", "licence", "citation", "origin", "trained_on", "note", "revision", "part"}
    found = {"source", "etag", "header_sha256", "moved_bytes", "why_whole"}
    assert set(keys_of("Inputs")) == {"input"} | declared | found
    assert declared <= set(Input.model_fields)


@pytest.mark.parametrize(
    ("page", "script"),
    [
        ("commands.md", "make_command_reference"),
        ("config.md", "make_config_reference"),
        ("engines.md", "make_engines"),
        ("results.md", "make_results"),
        ("tables.md", "make_table_reference"),
    ],
)
def test_a_reference_is_what_the_code_says(page, script):
    spec = importlib.util.spec_from_file_location(script, ROOT / "docs" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == module.render(), f"run docs/{script}.py"


def test_the_readme_shows_the_published_verdicts_and_fits_two_screens():
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == module.with_summary(readme), "run docs/make_results.py"
    assert len(readme.split()) <= 700


def test_the_schemas_are_what_the_models_say():
    script = [sys.executable, "docs/make_config_reference.py", "--check"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_stale_config_reference_is_told_in_one_sentence(tmp_path):
    for folder in ("docs", "workflow/schemas", "workflow/notebooks"):
        (tmp_path / folder).mkdir(parents=True)
        for file in (ROOT / folder).iterdir():
            if file.is_file():
                (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    script = [sys.executable, "docs/make_config_reference.py"]
    assert subprocess.run([*script, "--check"], cwd=tmp_path).returncode == 0
    (tmp_path / "docs" / "config.md").write_text("old")
    stale = subprocess.run([*script, "--check"], cwd=tmp_path, capture_output=True, text=True)
    assert stale.returncode == 1
    assert len(stale.stderr.splitlines()) == 1
    assert subprocess.run(script, cwd=tmp_path).returncode == 0
    assert (tmp_path / "docs" / "config.md").read_text() == (ROOT / "docs" / "config.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_are_named_exist(page):
    """Paths in code spans that start at a folder of the repository, but for results and what has a placeholder."""
    folders = "config|docs|envs|profiles|src|tests|workflow"
    for target in re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


def test_every_preset_is_described():
    described = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    for preset in (ROOT / "config" / "presets").glob("*.yaml"):
        assert f"config/presets/{preset.name}" in described


@pytest.mark.parametrize("page", ["initialise.md", "receptive_fields.md"])
def test_examples_run_and_print_what_the_page_says(page, tmp_path):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|text)\n(.*?)```", text, re.DOTALL)
    code = "\n".join(body for language, body in blocks if language == "python")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(body for language, body in blocks if language == "text")


def test_the_training_page_shows_code_that_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "docs/training.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in printed[:2]] == ["epoch 1/2", "epoch 2/2"]
    assert float(printed[2]) > 0.2
    assert {path.name for path in (tmp_path / "runs" / "dog").iterdir()} == {
        *("history.parquet", "kernels.safetensors", "metrics.json", "run.json", "weights.safetensors")
    }


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "--keep-going",
        "-d",
        tmp_path / "doctrees",
    ]
    done = subprocess.run([*command, "-c", "docs", ".", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'url=docs/contents.html"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    library = (tmp_path / "site" / "docs" / "library.html").read_text(encoding="utf-8")
    assert re.findall(r'<dt class="sig sig-object py" id="neural_echos\.(\w+)"', library) == neural_echos.__all__
