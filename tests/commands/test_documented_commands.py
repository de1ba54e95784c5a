"""Every command of the documentation, executed: as it stands where that takes seconds, else as a dry run or by a named test."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dry_runs import dry_run
from neural_echos.commands.app import program
from neural_echos.datasets import load_dataset
from neural_echos.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "config/*.md", "benchmarks/*.md", "results/*.md", "results/published/*/*.md")
    for path in ROOT.glob(pattern)
)
SHARED = ROOT.parent / "shared"
# What needs minutes, a hub, several GPUs or a preset's results, and the test that runs the same command on less.
ELSEWHERE = {
    "echos inspect": "test_the_command_makes_the_page_of_a_checkpoint_beside_its_untrained_layers",
    "torchrun": "test_two_processes_give_the_result_of_one",
    "echos compare": "test_a_preset_is_written_and_the_workflow_takes_it",
    "echos replace": "test_commands_from_initial_weights_to_artifacts",
    "echos survey": "test_a_survey_writes_its_table_and_its_page",
    "echos plan": "test_the_command_prints_a_plan",
    "echos publish": "test_the_command_publishes_finished_runs_and_writes_no_empty_table",
    "echos explain": "test_a_figure_of_the_demo_goes_back_to_packages_or_photographs",
    "echos crate": "test_a_crate_describes_every_file_and_what_made_every_artifact",
    "python benchmarks/": "nothing: benchmarks measure",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """One line each, without comments."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [bare for line in lines if (bare := re.sub(r"(^|\s)#.*", "", line).strip())]


def elsewhere(command: str) -> str | None:
    bare = command.removeprefix(".venv/bin/")
    if re.fullmatch(r"snakemake( --configfile( config/presets/\w+\.yaml)+)?( --dry-run)?", bare):
        return "test_every_preset_dry_runs"
    return next((test for start, test in ELSEWHERE.items() if bare.startswith(start)), None)


def as_executed(command: str) -> str:
    """A workflow is planned, not run, and so is a make target."""
    if command.startswith(".venv/bin/snakemake"):
        head, *tail = command.partition(" -- ")
        return f"{head} --quiet all {''.join(tail)}"
    return command.replace("make ", "make -n ", 1) if command.startswith("make ") else command


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's files, with the environment and the shared folder where the documentation has them."""
    folder = tmp_path_factory.mktemp("copy")
    copy = folder / "checkout"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines() or [
        str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()
    ]:
        if (ROOT / name).is_file() and not re.match(r"\.venv|results/(?!published/demo/)", name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    [mine] = blocks(ROOT / "docs/tutorial.md", "yaml")  # the tutorial's own config
    (copy / "mine.yaml").write_text(mine)
    (copy / ".venv").symlink_to(Path(sys.executable).parent.parent)
    if SHARED.exists():
        (folder / "shared").symlink_to(SHARED)
    return copy


def execute(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    if command.startswith(".venv/bin/snakemake"):
        code, told = dry_run(*shlex.split(command)[1:], folder=folder)
        assert code == 0, f"{command}\n{told[-2000:]}"
        return subprocess.CompletedProcess(command, code, told, "")
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


def executed() -> Iterator[object]:
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for number, command in enumerate(commands(page) if name != "docs/adding.md" else []):
            if elsewhere(command) is None and not command.startswith("python3 envs/install.py"):
                yield pytest.param(command, id=f"{name}:{number}")


@pytest.mark.parametrize("command", list(executed()))
def test_a_command_of_the_documentation_runs(command: str, checkout: Path) -> None:
    execute(as_executed(command), checkout)


@pytest.mark.parametrize("command", sorted({one for page in PAGES for one in commands(page) if elsewhere(one)}))
def test_a_command_that_takes_long_is_spelled_well_and_run_on_less_by_a_test(command: str) -> None:
    words = shlex.split(command.removeprefix(".venv/bin/"))
    if words[0] == "echos":
        program().get_command(None, words[1]).make_context(words[1], words[2:])
    test = elsewhere(command)
    assert test
    if test.startswith("test_"):
        assert any(f"def {test}(" in file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))


def test_the_installation_is_the_one_that_made_this_environment() -> None:
    """`python3 envs/install.py` finds its environment finished, or this is not that environment."""
    if not (ROOT / ".venv/.installed").exists() or (ROOT / ".venv").is_symlink():
        pytest.skip("no .venv of envs/install.py here, or one that another checkout lends and must not be changed")
    done = subprocess.run([sys.executable, "envs/install.py"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def put(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.skipif(
    not (SHARED / "data").exists(), reason="the real checkpoints lie in ../shared/data, which is not here"
)
def test_the_walks_of_adding_something(checkout: Path) -> None:
    """docs/adding.md from its first line to its last, with the code and the configs that it shows; workflows as dry runs."""
    page = ROOT / "docs/adding.md"
    [*zoo, reference, ring, look, gratings, speed, new, figure] = commands(page)
    drawn, example, kind, rule, reading, artifact = blocks(page, "python")
    model, of_ring, of_gratings, of_speed, chosen = blocks(page, "yaml")
    noise = checkout / "src/neural_echos/initialisations/noise.py"

    put(checkout / "config/presets/zoo.yaml", "\nmodels:\n", f"\nmodels:\n{model}")
    for command in zoo:
        execute(as_executed(command), checkout)
    assert read_table(checkout / "results/try/fits.parquet", "fits").num_rows > 1000

    noise.write_text(noise.read_text(encoding="utf-8") + "\n\n" + drawn, encoding="utf-8")
    shown = execute(f"{sys.executable} -c {shlex.quote(example)}", checkout).stdout
    assert "ring" in shown or "LayerReport" in shown
    execute(reference, checkout)
    assert "`ring`" in (checkout / "docs/config.md").read_text(encoding="utf-8")
    (checkout / "ring.yaml").write_text(of_ring, encoding="utf-8")
    execute(as_executed(ring), checkout)

    (checkout / "src/neural_echos/datasets/gratings.py").write_text(kind, encoding="utf-8")
    (checkout / "gratings.yaml").write_text(of_gratings, encoding="utf-8")
    execute(as_executed(look), checkout)
    assert load_dataset(checkout / "results/try/gratings.safetensors").train_images.shape == (1600, 1, 16, 16)
    execute(as_executed(gratings), checkout)

    (checkout / "src/neural_echos/verdicts/speed.py").write_text(rule, encoding="utf-8")
    (checkout / "speed.yaml").write_text(of_speed, encoding="utf-8")
    assert "low=" in execute(f"{sys.executable} -c {shlex.quote(reading)}", checkout).stdout
    execute(as_executed(speed), checkout)

    execute(as_executed(new), checkout)
    path = checkout / "workflow/notebooks/figure_gammas.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][-2]["source"] = artifact
    path.write_text(json.dumps(notebook), encoding="utf-8")
    put(checkout / "config/presets/zoo.yaml", "\nartifacts:\n", f"\nartifacts:\n{chosen}")
    execute(as_executed(figure), checkout)
    inputs = json.dumps({"fits": ["results/try/fits.parquet"]})
    execute(
        f".venv/bin/echos render {path} --inputs '{inputs}'"
        " --output results/try/gammas --rendered results/try/gammas.ipynb --draft results/try/draft.ipynb",
        checkout,
    )
    assert "rows in 1 groups" in json.loads((checkout / "results/try/gammas.json").read_text())["says"]
    rendered = json.loads((checkout / "results/try/gammas.ipynb").read_text(encoding="utf-8"))
    assert any("image/png" in output.get("data", {}) for output in rendered["cells"][-1]["outputs"])
