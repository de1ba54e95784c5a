"""Code fingerprints: what they contain, what changes them, and what Snakemake then reruns."""

import ast
import importlib
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml

from dry_runs import dry_run
from neural_echos import commands
from neural_echos.code import Code, bare_lines
from neural_echos.errors import EchosError

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "src/neural_echos"
RULES = [
    (path.name, command, rule)
    for path in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for rule in re.split(r"(?m)^(?: {4})?rule\b", path.read_text(encoding="utf-8"))[1:]
    for command in re.findall(r"neural_echos --log \S+ (\w+)", rule)
    if command != "fetch"  # its checksum decides
]


@pytest.fixture(scope="module")
def code() -> Code:
    return Code()


@pytest.mark.parametrize(("file", "command", "rule"), RULES, ids=[f"{file}-{command}" for file, command, _ in RULES])
def test_a_rule_has_the_fingerprint_of_its_command_among_its_params(file: str, command: str, rule: str) -> None:
    [named] = re.findall(r'fingerprint\("(\w+)"', rule.partition("params:")[2])
    assert named == command
    if command == "render":  # a function of `input` would be derived from it, and Snakemake would not compare it
        assert re.search(r'code=lambda w: fingerprint\("render", ', rule)


@pytest.mark.parametrize(
    ("command", "contains", "lacks"),
    [
        ("extract", {"kernels/bank.py", "tables/io.py"}, {"training/loop.py", "kernels/survey.py"}),
        ("fit", {"receptive_fields/banks.py"}, {"receptive_fields/templates.py", "structure/kmeans.py"}),
        (
            "initialise",
            {"receptive_fields/master_key.py", "structure/kmeans.py", "structure/autoencoder.py"}
            | {"initialisations/noise.py", "architectures/hornet.py"},
            {"training/loop.py", "datasets/shards.py"},
        ),
        ("train", {"training/loop.py", "architectures/small.py"}, {"initialisations/noise.py", "report/page.py"}),
        ("report", {"verdicts/readings.py", "report/page.py"}, {"training/loop.py"}),
        ("paper", {"report/paper.py"}, {"report/page.py"}),
        ("verdicts", {"structure/intervals.py"}, {"report/page.py"}),
    ],
)
def test_what_a_command_depends_on(code: Code, command: str, contains: set[str], lacks: set[str]) -> None:
    modules = set(code.modules(command))
    assert contains <= modules
    assert not lacks & modules


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_depends_on_what_draws_it_and_not_on_all_artifacts(code: Code, path: Path) -> None:
    modules = code.modules(path)
    assert "artifacts/saving.py" in modules
    drawn = {
        "accuracy",
        "clusters",
        "comparisons",
        "controls",
        "fits",
        "initialisations",
        "kernels",
        "patterns",
        "replacements",
    }
    subjects = drawn | {"receptive_fields", "scale_space", "structure", "transfers", "verdicts"}
    assert len([name for name in modules if name in {f"artifacts/{one}.py" for one in subjects}]) <= 4
    assert not [name for name in modules if name.startswith("training/")]


def called(command: list[str]) -> set[str]:
    """Files of the library, relative to it, whose functions run while a command does."""
    found = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            found.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        assert commands.main(command) == 0
    finally:
        sys.setprofile(None)
    return {str(Path(path).relative_to(LIBRARY)) for path in found if path.startswith(f"{LIBRARY}/")}


def small_commands(folder: Path) -> Iterator[list[str]]:
    data, bank = str(folder / "digits.safetensors"), str(folder / "bank.parquet")
    schemes = ["default", "kaiming", "dog", "oocs", "random_frozen"]
    initial = str(folder / "{initialisation}" / "{seed}.safetensors")
    yield ["dataset", "digits", "--options", '{"size": 8}', "--output", data]
    yield [
        *["initialise", "convmixer_small", "--data", data, "--kwargs", '{"dim": 8, "depth": 1, "kernel_size": 7}'],
        *["--initialisations", json.dumps({name: {"scheme": name} for name in schemes}), "--seeds", "0"],
        *["--output", initial],
    ]
    first = initial.format(initialisation="dog", seed=0)
    yield ["extract", first, "--model", "m", "--layers", first.replace("safetensors", "json"), "--output", bank]
    yield ["fit", bank, "--output", str(folder / "fits.parquet")]
    yield [
        "cluster",
        bank,
        "--centroids",
        str(folder / "centroids.parquet"),
        "--output",
        str(folder / "clusters.parquet"),
    ]
    yield [
        *["train", "--data", data, "--initial", first, "--run", str(folder / "run"), "--recipe", '{"epochs": 1}'],
        *["--dataset", "digits", "--architecture", "convmixer", "--initialisation", "dog", "--device", "cpu"],
    ]


@pytest.mark.slow
def test_every_function_that_a_command_calls_is_in_a_module_of_its_fingerprint(code: Code, tmp_path: Path) -> None:
    """The imports are read, not run; here the commands run, and what they call is compared with what was read."""
    for module in pkgutil.walk_packages([str(LIBRARY)], "neural_echos."):
        if module.name != "neural_echos.__main__":
            importlib.import_module(module.name)  # what runs on import is not of interest
    for command in small_commands(tmp_path):
        ran = {name for name in called(command) if not name.startswith(("commands/", "__init__"))}
        # `storage` only moves files between a bucket and the job, around every command: it changes no result
        assert ran - {"storage.py"} <= set(code.modules(command[0])), command[0]


FILES = {
    "errors.py": "class EchosError(Exception): ...\n",
    "commands/__init__.py": "",
    "commands/drawing.py": '''
from neural_echos.errors import EchosError
from neural_echos.tables import read, write

LIMIT = 3
_SETTINGS = option(help="a limit")


def draw(options):
    """Draw."""
    from neural_echos import shapes

    return shapes.circle(read(), _few(LIMIT), settings=_SETTINGS)


def count(options):
    """Count."""
    draw = 1
    return read()


def _few(limit):
    return limit


def judge(options):
    from neural_echos.rules import decide

    decide()
''',
    "tables/__init__.py": "from neural_echos.tables.io import read\nfrom neural_echos.tables.output import write\n",
    "tables/io.py": "def read():\n    return 1\n",
    "tables/output.py": "def write():\n    return 1\n",
    "tables/words.txt": "a template",
    "shapes/__init__.py": "from neural_echos.shapes import square\nfrom neural_echos.shapes.circles import circle\n",
    "shapes/circles.py": """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neural_echos.types import Shape

def circle(*_, settings):
    from neural_echos.numbers import pi
    return pi
""",
    "shapes/square.py": "",
    "numbers.py": "pi = 3  # nearly\n",
    "discovery.py": "def import_modules(package): ...\n",
    "rules/__init__.py": "from neural_echos.rules.decide import decide\n",
    "rules/decide.py": """
from neural_echos.discovery import import_modules

import_modules('neural_echos.rules')

def decide(): ...
""",
    "rules/strict.py": "from neural_echos.numbers import pi\n",
    "types.py": "class Shape: ...\n",
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A small library in which `draw` uses shapes and tables, and `count` tables only."""
    for name, text in FILES.items():
        path = tmp_path / "neural_echos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "neural_echos"


def test_names_are_followed_to_the_modules_that_define_them(library: Path) -> None:
    found = Code(library)
    assert found.modules("count") == ["commands/drawing.py", "tables/io.py", "tables/words.txt"]
    drawing = {"numbers.py", "shapes/circles.py", "shapes/square.py"}
    assert found.modules("draw") == sorted({"commands/drawing.py", "tables/io.py", "tables/words.txt"} | drawing)
    rules = ["discovery.py", "numbers.py", "rules/decide.py", "rules/strict.py"]
    assert found.modules("judge") == ["commands/drawing.py", *rules]  # nobody imports `strict` by name
    assert [part for part in found.parts("draw") if part.startswith("commands")] == [
        *(
            "commands/drawing.py:LIMIT",
            "commands/drawing.py:_SETTINGS",
            "commands/drawing.py:_few",
            "commands/drawing.py:draw",
        )
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("tables/io.py", "return 1", "return 2", {"draw", "count"}),
        ("tables/output.py", "return 1", "return 2", set()),
        ("tables/words.txt", "template", "page", {"draw", "count"}),
        ("shapes/square.py", "", "side = 1\n", {"draw"}),
        ("numbers.py", "pi = 3 ", "pi = 3.1 ", {"draw"}),
        ("types.py", "...", "pass", set()),
        ("commands/drawing.py", "return limit", "return limit - 1", {"draw"}),
        ("commands/drawing.py", "LIMIT = 3", "LIMIT = 4", {"draw"}),
        ("commands/drawing.py", "return read()", "return read() + 1", {"count"}),
        ("numbers.py", "# nearly", "# roughly", set()),
        ("commands/drawing.py", '"""Draw."""', '"""Draw a\n    circle."""', set()),
        ("commands/drawing.py", 'help="a limit"', 'help="the limit"', set()),
    ],
)
def test_a_change_shows_in_the_commands_that_it_concerns(
    library: Path, file: str, old: str, new: str, changed: set[str]
) -> None:
    before = {name: Code(library).fingerprint(name) for name in ("draw", "count")}
    text = (library / file).read_text()
    assert old in text
    (library / file).write_text(text.replace(old, new, 1))
    assert {name for name, known in before.items() if Code(library).fingerprint(name) != known} == changed


def test_only_what_is_said_to_people_is_taken_out_of_the_source() -> None:
    source = 'x = "é # no comment"  # a comment\n\n\ndef f(a=g(help="é" "h", least=1)):\n    """Say.\n    """\n    return f"#{a}"\n'
    lines = [line for line in bare_lines(source, ast.parse(source)) if line]
    assert lines == ['x = "é # no comment"', "def f(a=g(help=, least=1)):", '    return f"#{a}"']


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("numbers.py", "pi = = 3", r"numbers\.py: cannot be parsed .*line 1"),
        ("numbers.py", "from . import types", r"numbers\.py: cannot be parsed .*relative import"),
        (
            "numbers.py",
            "from neural_echos.tables import nothing",
            r"numbers\.py: 'nothing' is not in .*tables/__init__\.py",
        ),
    ],
)
def test_a_module_that_cannot_be_followed_is_one_sentence(library: Path, file: str, text: str, words: str) -> None:
    (library / file).write_text(text)
    with pytest.raises(EchosError, match=words):
        Code(library).fingerprint("draw")


def test_an_unknown_command_and_a_broken_notebook_are_refused(library: Path, tmp_path: Path) -> None:
    with pytest.raises(EchosError, match=r"no echos command 'drwa'.*draw"):
        Code(library).fingerprint("drwa")
    (tmp_path / "one.ipynb").write_text("{}")
    with pytest.raises(EchosError, match=r"one\.ipynb: this notebook cannot be read"):
        Code(library).fingerprint(tmp_path / "one.ipynb")


def test_the_cache_makes_it_quick_and_never_stale(library: Path, tmp_path: Path) -> None:
    cache = tmp_path / "new folder" / "code.json"
    first = Code(library, cache)
    known = first.fingerprint("draw")
    first.save()
    stamp = cache.stat().st_mtime_ns
    again = Code(library, cache)
    assert again.fingerprint("draw") == known
    again.save()
    assert cache.stat().st_mtime_ns == stamp  # nothing new was read
    (library / "numbers.py").write_text("pi = 4\n")
    assert Code(library, cache).fingerprint("draw") == Code(library).fingerprint("draw") != known
    for broken in ("[]", "{", ""):
        cache.write_text(broken)
        assert Code(library, cache).fingerprint("draw") == Code(library).fingerprint("draw")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_read_only_folder_is_no_obstacle(library: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    code = Code(library, tmp_path / "closed/code.json")
    assert code.fingerprint("draw") == Code(library).fingerprint("draw")
    code.save()


def test_all_fingerprints_of_the_workflow_take_less_than_50_ms(tmp_path: Path) -> None:
    commands = sorted({command for _, command, _ in RULES})
    for code in (first := Code(cache=tmp_path / "code.json"), *(Code(cache=tmp_path / "code.json") for _ in range(5))):
        began = time.process_time()
        for command in commands:
            code.fingerprint(command)
        taken = time.process_time() - began
        first.save()
        if taken < 0.05:
            return
    pytest.fail(f"took {1000 * taken:.0f} ms of processor time with a warm cache")


FIGURE = ["--configfile", "config/presets/tiny.yaml", "slice.yaml", "one.yaml"]
FIGURE += ["--", "results/tiny/figures/figure_05_clusters.pdf"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow in which a bank was extracted, clustered, and drawn."""
    root = tmp_path_factory.mktemp("finished")
    for name in ("config", "src", "workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", root / "Snakefile")
    shutil.copy(ROOT / "tests/cluster/slice.yaml", root / "slice.yaml")
    (root / "one.yaml").write_text(yaml.safe_dump({"gpu": 0}))
    command = [str(Path(sys.executable).with_name("snakemake")), "--nolock", *FIGURE]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


BEHIND = ["extract_from_run", "cluster", "figure"]  # jobs that follow from initial weights, in this order


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "first", "then"),
    [
        ("artifacts/clusters.py", "LIMIT = 1", "figure", []),
        ("evaluation/comparisons.py", "LIMIT = 1", "", []),
        ("structure/kmeans.py", "LIMIT = 1", "initialise_photographs_convmixer", BEHIND),
        ("datasets/shards.py", "LIMIT = 1", "dataset", ["initialise_photographs_convmixer", *BEHIND]),
        ("training/loop.py", "LIMIT = 1", "", []),
        ("tables/io.py", "# a comment", "", []),
    ],
)
def test_a_changed_module_reruns_exactly_the_jobs_that_import_it(
    finished: Path, module: str, line: str, first: str, then: list[str]
) -> None:
    path = finished / "src/neural_echos" / module
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n\n{line}\n", encoding="utf-8")
    try:
        code, told = dry_run(*FIGURE, folder=finished)
    finally:
        path.write_text(before, encoding="utf-8")
    assert code == 0, told
    changed = re.findall(r"params have changed since last execution:\n\s+(.*)", told)
    assert changed == ([first] if first else [])  # what follows runs because its input is made anew
    planned = set(re.findall(r"^(\w+) +\d+$", told, re.MULTILINE)) - {"total"}
    assert planned == {first, *then} - {""}
    assert bool(first) != ("Nothing to be done" in told)
