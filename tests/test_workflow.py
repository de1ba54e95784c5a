"""The workflow as its users run it: dry runs of every preset, a tiny preset end to end, killed on the way, and typos."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from dry_runs import dry_run
from neural_echos.design.artifact_files import paper_name
from neural_echos.design.load import load_preset, preset_files
from neural_echos.training import Recipe

ROOT = Path(__file__).resolve().parents[1]
SNAKEMAKE = [str(Path(sys.executable).parent / "snakemake")]
TINY = "config/presets/tiny.yaml"
PRESETS = sorted(path.stem for path in (ROOT / "config/presets").glob("*.yaml"))


def snakemake(*arguments: str | Path, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in the repository, without its lock so that it can run beside another one."""
    command = [*SNAKEMAKE, "--nolock", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def into(folder: Path) -> Path:
    """Write a config that sends a preset's outputs to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"results": f"{folder}/results", "logs": f"{folder}/logs", "benchmarks": f"{folder}/benchmarks"}
    config = folder / "paths.yaml"
    config.write_text(yaml.safe_dump({"pathvars": paths}))
    return config


def checksums(folder: Path) -> dict[str, str]:
    """Checksum every file that must not depend on when or how it was made; the report tells times."""
    kinds = {".parquet", ".safetensors", ".csv", ".md", ".tex", ".html", ".pdf", ".png", ".svg"}
    files = [path for path in folder.rglob("*") if path.suffix in kinds or path.name == "metrics.json"]
    files = [path for path in files if path.name != "report.html"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_dry_runs(preset: str, tmp_path: Path) -> None:
    code, told = dry_run("--configfile", *preset_files(ROOT, preset), into(tmp_path))
    assert code == 0, told
    assert "total" in told


def test_what_reads_trained_runs_declares_all_that_it_reads(tmp_path: Path) -> None:
    cell = "photographs/convnext/default"
    tables = [f"transfer/{cell}/decoded.0.{table}" for table in ("replacements", "eliminations")]
    targets = [f"{tmp_path}/results/{table}.parquet" for table in (*tables, f"ablated/{cell}")]
    files = preset_files(ROOT, "quest")
    code, told = dry_run("--quiet", "progress", "--configfile", *files, into(tmp_path), "--", *targets)
    assert code == 0, told
    run = [f"runs/{cell}/seed0/{file}" for file in ("metrics.json", "weights.safetensors")]
    read = [f"initial/{cell}/seed0.{suffix}" for suffix in ("safetensors", "json")] + run
    more = {"zero": [f"runs/{cell}/seed0/{file}" for file in ("run.json", "history.parquet")]}
    for rule in ("replace_0", "eliminate_0", "zero"):
        [inputs] = re.findall(rf"rule {rule}:\n    input: (.*)", told)
        missing = {f"{tmp_path}/results/{file}" for file in read + more.get(rule, [])} - set(inputs.split(", "))
        assert not missing, f"{rule}: {missing}"


def test_a_preset_without_the_one_below_it_is_one_sentence() -> None:
    code, told = dry_run("--configfile", "config/presets/imagenet100.yaml")
    assert code != 0
    assert "builds on 'imagenet', which is not given" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("presets", [(), *((name,) for name in PRESETS)])
def test_every_recipe_of_a_preset_can_be_trained_with(presets: tuple[str, ...]) -> None:
    config = load_preset(ROOT, *presets).model_dump()
    for experiment in config["experiments"]:
        for dataset, architecture in product(experiment["datasets"], experiment["architectures"]):
            base = config["recipes"][config["datasets"][dataset]["recipe"]]
            Recipe.from_dict(base | config["architectures"][architecture].get("recipe", {}))


def test_the_demo_dry_runs_from_nothing(tmp_path: Path) -> None:
    code, told = dry_run("--configfile", into(tmp_path))
    assert code == 0, told


# A slice of the tiny preset: every room, with an initialisation that is drawn from a trained model. The demo, which `make test`
# builds before, has every artifact, and Slurm's test is another slice.
SLICE = {
    "signals": {"architectures": [], "initialisations": []},
    "experiments": [
        {"name": name, "datasets": ["photographs"], "architectures": ["convmixer"], "initialisations": initialisations}
        for name, initialisations in (("main", ["default", "dog"]), ("borrowed", ["transfer"]))
    ],
    "models": [
        {
            "id": f"convmixer{suffix}",
            "role": role,
            "trained_on": "photographs",
            "run": {"dataset": "photographs", "architecture": "convmixer", "initialisation": "default"}
            | {"seed": 0, "weights": weights},
        }
        for suffix, role, weights in (("", "trained", "trained"), ("-untrained", "untrained", "initial"))
    ],
    "artifacts": [
        {"id": "figure_05_clusters", "options": {"models": ["convmixer"], "seed": 0}},
        {"id": "table_4_verdicts"},
    ],
}
RUNS = 6  # three initialisations, two seeds


def slice_into(folder: Path) -> list[str]:
    """Arguments that build the slice below `folder`."""
    paths = into(folder)
    (folder / "slice.yaml").write_text(yaml.safe_dump(SLICE))
    return ["--configfile", TINY, str(folder / "slice.yaml"), str(paths)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of an undisturbed run of the slice, in a folder with a space and a letter outside ASCII."""
    folder = tmp_path_factory.mktemp("tiny run é")
    done = snakemake(*slice_into(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_tiny_preset_makes_what_is_asked_for_and_keeps_no_checkpoint(tiny: Path) -> None:
    page = (tiny / "results/report.html").read_text()
    for entry in SLICE["artifacts"]:
        kind, suffixes = ("figure", ("pdf", "png", "svg", "json"))
        if entry["id"].startswith("table"):
            kind, suffixes = ("table", ("csv", "md", "tex", "html", "json"))
        assert all((tiny / f"results/{kind}s/{entry['id']}.{suffix}").stat().st_size > 0 for suffix in suffixes)
        assert f'id="{entry["id"]}"' in page
        assert paper_name(entry["id"], kind) in (tiny / "results/paper/paper.tex").read_text()
    assert "kinds of rule" in page and "core-hours" in page  # Snakemake's records and benchmarks were found
    assert len(list(tiny.glob("results/runs/*/*/*/*/weights.safetensors"))) == RUNS
    assert not list((tiny / "results").rglob("checkpoint*"))


@pytest.mark.slow
def test_second_run_finds_nothing_to_do(tiny: Path) -> None:
    done = snakemake(*slice_into(tiny))
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"recipes": {"photographs": {"epochs": 3}}}, {"train_photographs_convmixer_0_0"}),
        ({"initialisations": {"dog": {"gamma": 0.4}}}, {"initialise_photographs_convmixer"}),
        ({}, set()),
    ],
    ids=["recipe", "initialisation", "nothing"],
)
def test_a_changed_recipe_or_initialisation_runs_again(
    tiny: Path, tmp_path: Path, changed: dict[str, Any], first: set[str]
) -> None:
    more = tmp_path / "changed.yaml"
    more.write_text(yaml.safe_dump(changed))
    code, told = dry_run(*slice_into(tiny), more)
    assert code == 0, told
    found = re.findall(r"params have changed since last execution:\n\s+(.*)", told)
    assert first <= {name for line in found for name in line.split(", ")}
    assert bool(first) != ("Nothing to be done" in told)


def test_killed_run_ends_with_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    """SIGKILL the whole process group twice on the way to the verdicts; every file that is left equals the undisturbed run's."""
    slice_to_verdicts = [*slice_into(tmp_path), "--", f"{tmp_path}/results/verdicts.parquet"]
    command = [*SNAKEMAKE, "--nolock", *slice_to_verdicts]
    for made in ("runs/*/*/*/*/metrics.json", "banks/convmixer.parquet"):  # the first training, and past it
        run = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 600
        while (
            not (found := list(tmp_path.glob(f"results/{made}"))) and run.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL, f"{made}: the run was over before"
        assert found, f"{made}: not there after ten minutes"
    done = snakemake(*slice_to_verdicts)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = ("figures/", "tables/", "paper/", "notebooks/")
    made = {name: checksum for name, checksum in checksums(tiny / "results").items() if not name.startswith(shown)}
    assert checksums(tmp_path / "results") == made


def test_the_workflow_is_a_module_of_another_as_the_documentation_shows(tmp_path: Path) -> None:
    page = (ROOT / "docs/presets.md").read_text(encoding="utf-8")
    [snakefile] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [mine] = re.findall(r"```yaml\n(pathvars.*?)```", page, re.DOTALL)
    (tmp_path / "neural-echos").symlink_to(ROOT)
    (tmp_path / "Snakefile").write_text(snakefile)
    (tmp_path / "mine.yaml").write_text(mine)
    code, told = dry_run("--cores", "1", "echos_all", folder=tmp_path)
    assert code == 0, told
    done = subprocess.run([*SNAKEMAKE, "--cores", "1"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results/echos/figures/figure_02_dog_profile.pdf").stat().st_size > 1000
    assert not (tmp_path / "results/figures").exists()


@pytest.mark.parametrize(
    ("mistake", "names"),
    [
        ("threds: 2\n", ("threds", "threads", "mistake.yaml:1")),
        ("select: [convmixr]\n", ("convmixr", "'convmixer'", "mistake.yaml:1")),
        ("seed: 1\ndatasets: {digits: {recipe: digit}}\n", ("digit", "'digits'", "mistake.yaml:2")),
        ("clusters: {k: 3, restart: 5}\n", ("clusters.restart", "restarts", "mistake.yaml:1")),
        ("seeds: many\n", ("seeds", "many", "mistake.yaml:1")),
        ("initialisations:\n  dog: {scheme: dgo}\n", ("dgo", "dog", "mistake.yaml:2")),
    ],
)
def test_a_typo_in_the_config_is_one_sentence(mistake: str, names: tuple[str, ...], tmp_path: Path) -> None:
    config = tmp_path / "mistake.yaml"
    config.write_text(mistake)
    code, told = dry_run("--configfile", config)
    assert code != 0
    assert all(name in told for name in names), told
    assert "Traceback" not in told


def test_a_failing_job_tells_its_sentence_and_leaves_no_output(tmp_path: Path) -> None:
    config = into(tmp_path)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({"datasets": {"photographs": {"options": {"scenes": ["brick", "gras"]}}}}))
    target = f"{tmp_path}/results/datasets/photographs.safetensors"
    done = snakemake("--configfile", TINY, config, wrong, "--", target)
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "gras" in told and "grass" in told
    assert "Traceback" not in told
    assert not Path(target).exists()


def test_a_value_from_the_config_never_reaches_a_shell_unquoted(tmp_path: Path) -> None:
    config = into(tmp_path)
    hostile = tmp_path / "hostile.yaml"
    hostile.write_text(
        yaml.safe_dump(
            {
                "scale": f"x'; touch {tmp_path}/touched; echo '",
                "experiments": [],
                "models": [],
                "artifacts": [],
                "signals": {"architectures": [], "initialisations": []},
            }
        )
    )
    done = snakemake("--configfile", TINY, config, hostile, "--", f"{tmp_path}/results/verdicts.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "touched").exists()
