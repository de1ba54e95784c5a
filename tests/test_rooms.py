"""The house: data walks one way, so a module imports only from rooms to its left, and light commands stay light."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import neural_echos

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "src" / "neural_echos"
ROOMS = (
    ("errors", "words", "discovery", "code", "files", "storage", "progress", "tables", "design", "layouts"),
    ("inputs", "datasets"),
    ("architectures",),
    ("kernels",),
    ("receptive_fields",),
    ("structure",),
    ("initialisations",),
    ("training",),
    ("transfer",),
    ("evaluation", "verdicts"),
    ("artifacts",),
    ("report",),
    ("commands", "cli"),
    ("__main__",),
)
ORDER = [module for room in ROOMS for module in room]  # in one room, too, imports go to the left only
FILES = sorted(LIBRARY.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, at any depth; of `from a import b`, "a.b"."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides the room that it is from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name: str) -> str:
    """First name below the package: "tables" for "neural_echos.tables.SCHEMAS"."""
    return name.split(".")[1]


def test_every_module_has_its_room():
    modules = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert modules == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_a_module_imports_only_from_rooms_to_its_left(path):
    own = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
    ours = {module_of(name) for name in imported(path) if name.startswith("neural_echos.")} - {own}
    left = ORDER[: ORDER.index(own)] if own in ORDER else []  # the package itself imports no room until it is asked
    assert ours <= set(left)


def test_no_module_function_or_rule_file_grows_beyond_a_few_screens():
    """A body is what stands below a docstring."""
    folders = [LIBRARY, ROOT / "tests", ROOT / "benchmarks", ROOT / "docs"]
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1 if len(node.body) > 1 and ast.get_docstring(node, clean=False) is not None else 0]
                assert (node.end_lineno or 0) - first.lineno < 60, f"{path}: {node.name}"
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < (80 if path.stem == "common" else 200), path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_the_library_knows_nothing_of_snakemake(path):
    assert not [name for name in imported(path) if name.split(".")[0] == "snakemake"]


@pytest.mark.parametrize(
    ("room", "strangers"),
    [
        ("artifacts", {"torch", "timm", "torchvision", "neural_echos.training", "neural_echos.architectures"}),
        ("training", {"neural_echos.verdicts", "neural_echos.evaluation", "neural_echos.artifacts"}),
        ("receptive_fields", {"torch", "timm"}),
        ("verdicts", {"torch", "timm", "matplotlib"}),
    ],
)
def test_a_room_knows_nothing_of_strangers(room, strangers):
    for path in FILES:
        if path.relative_to(LIBRARY).parts[0].removesuffix(".py") == room:
            names = {".".join(name.split(".")[:depth]) for name in imported(path) for depth in (1, 2)}
            assert not names & strangers


@pytest.mark.parametrize(
    ("imports", "absent"),
    [
        (
            "import neural_echos; from neural_echos.commands import app; [app.function_of(name) for name in app.MODULES]",
            {"torch", "timm", "numpy", "pandas", "pyarrow", "sklearn", "matplotlib", "rich", "pydantic"},
        ),
        ("import neural_echos.artifacts", {"torch", "timm", "papermill", "snakemake"}),
    ],
)
def test_importing_loads_no_more_than_it_must(imports, absent):
    code = f"import sys; {imports}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "neural_echos" in loaded
    assert not absent & set(loaded)


def test_every_public_name_is_where_the_package_says():
    for name in neural_echos.__all__:
        assert getattr(neural_echos, name) is getattr(
            importlib.import_module(getattr(neural_echos, name).__module__), name
        )
    assert dir(neural_echos) == sorted(neural_echos.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        neural_echos.nothing  # noqa: B018
