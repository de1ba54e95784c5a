"""Faults: every rule's command killed at every write, a full and a read-only disk, two writers, odd clocks and languages.

`docs/faults.md` names the test of each fault; those of a room lie with its other tests. Run as a script, this file walks through
all commands in the folder that it is given, undisturbed and killed; children are forked, so that imports are paid for once.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands_in_trouble import ENVIRONMENT, ROOT, contents, line
from neural_echos import commands
from neural_echos.errors import EchosError
from neural_echos.files import sha256, write_json, write_text
from neural_echos.training.checkpoints import CHECKPOINT

PAGES = [ROOT / "docs" / name for name in ("faults.md", "security.md")]
CHEAP = 1.5  # seconds of a command that is killed at every write


# Killed at every write ------------------------------------------------------------------------------------------------


KWARGS = '{"dim": 8, "depth": 1, "kernel_size": 7, "patch_size": 2}'
RUNS = [f"runs/{name}/{seed}" for name in ("default", "dog") for seed in (0, 1)]
INITIAL = [f"initial/{name}-{seed}.safetensors" for name in ("default", "dog") for seed in (0, 1)]
DATA = ["--data", "data.safetensors"]
DRAWN = ["convmixer_small", *DATA, "--kwargs", KWARGS, "--seeds", "0", "1"]
DRAWS = ["--initialisations", '{"default": {"scheme": "default"}, "dog": {"scheme": "dog"}}']
NAMES = ["--dataset", "digits", "--architecture", "convmixer"]
RECIPE = ["--recipe", '{"epochs": 1, "batch_size": 500}', "--device", "cpu"]
FEW = [*DATA, "--initial", INITIAL[0], "--run", RUNS[0], *RECIPE, *NAMES, "--initialisation", "default"]
FILTERS = ["--candidates", '{"set": "random", "number": 3}', "--name", "random"]


CLAIM: dict[str, Any] = {
    "id": "NE5",
    "paper": "p",
    "statement": "s",
    "rule": "gain",
    "needs": "digits",
    "artifact": "a",
}


CLAIM |= {"options": {"expect": "none", "margin": 0.5, "dataset": "digits", "architectures": ["convmixer"]}}


CLAIM["options"] |= {"initialisation": "dog", "baseline": "default"}


PAGE = {"id": "a", "kind": "figure", "group": "g", "title": "t", "caption": "c", "stem": "figures/a"}


def of_bank(**files: str) -> str:
    return json.dumps([{"model": "m", "role": "trained", "trained_on": "digits", **files}])


ATLAS = of_bank(bank="bank.parquet", clusters="clusters.parquet", page="atlas/m.html", family="f")

# The command of every rule, on tiny inputs, in the order of the walk.
FIGURE = str(ROOT / "workflow/notebooks/figure_02_dog_profile.ipynb")


WALK: list[list[str]] = [
    line("fetch filters --declared config/inputs.yaml --mirror mirror --output filters.txt"),
    line("dataset digits --output data.safetensors --options", '{"size": 8}'),
    line("initialise --output initial/{initialisation}-{seed}.safetensors", *DRAWN, *DRAWS),
    line("signals --images 16 --output signals.parquet", *DRAWN, *DRAWS, *NAMES),
    line("train --initialisation default", *DATA, "--initial", *INITIAL[:2], "--run", *RUNS[:2], *RECIPE, *NAMES),
    line("train --initialisation dog", *DATA, "--initial", *INITIAL[2:], "--run", *RUNS[2:], *RECIPE, *NAMES),
    line("replace --batch-norm-images 64 --errors errors.parquet --output replaced.parquet", *FEW, *FILTERS),
    line("eliminate --images 16 --output eliminated.parquet", *FEW, *FILTERS),
    line("zero --device cpu --output zeroed.parquet", *DATA, "--initial", *INITIAL, "--run", *RUNS),
    line(f"extract {RUNS[2]}/weights.safetensors --model m --output bank.parquet"),
    line("cluster bank.parquet --restarts 1 --centroids centroids.parquet --output clusters.parquet"),
    line("fit bank.parquet --output fits.parquet"),
    line("match bank.parquet --fits fits.parquet --output matches.parquet"),
    line("scales filters.txt --spread spread.parquet --output scales.parquet"),
    line("patterns bank.parquet --clusters 3 --trainings 1 --steps 5 --hidden 4 --output patterns.parquet")
    + line("--centroids pattern_centroids.parquet"),
    line("structure --output structure.parquet", of_bank(bank="bank.parquet", clusters="clusters.parquet")),
    line("explained --output explained.parquet", of_bank(matches="matches.parquet")),
    line("shares --output shares.parquet", of_bank(patterns="patterns.parquet")),
    line("evaluate --histories histories.parquet --comparisons comparisons.parquet --output runs.parquet", *RUNS)
    + line("--baselines default"),
    line("verdicts --runs runs.parquet --scale tests --output verdicts.parquet", json.dumps([CLAIM])),
    line("inspect bank.parquet --zoo structure.parquet --index index.html --output atlas/m.html"),
    line("atlas --structure structure.parquet --shares shares.parquet --output atlas/index.html", ATLAS),
    line("render --output figures/a --rendered notebooks/a.ipynb --draft drafts/a.ipynb", FIGURE)
    + line("--options", '{"size": 9, "gamma": 0.5}'),
    line("paper --title t --output paper", json.dumps([PAGE])),
    line("report --verdicts verdicts.parquet --benchmarks benchmarks --output report.html", json.dumps([PAGE]))
    + line("--config", json.dumps({"scale": "tests", "claims": [CLAIM], "artifacts": []})),
]


def prepare(folder: Path) -> None:
    """What the walk starts from: a declared input in a mirror folder."""
    from neural_echos.initialisations.filter_sets import make_filter_set

    blocks = [
        f"Filter {number}:\n" + "\n".join(" ".join(f"{tap:.6f}" for tap in row) for row in kernel)
        for number, kernel in enumerate(make_filter_set({"set": "ideal"}), start=1)
    ]
    write_text(folder / "mirror/filters.txt", "\n".join(blocks) + "\n")
    about = {key: "test" for key in ("origin", "licence", "citation")}
    file = folder / "mirror/filters.txt"
    declared = {"filters": {"file": "filters.txt", "sha256": sha256(file), "bytes": file.stat().st_size, **about}}
    write_json(folder / "config/inputs.yaml", declared)  # JSON is YAML


def forked(folder: Path, command: list[str], fault: Callable[[], None] = lambda: None) -> int:
    """Run a command in a forked child, in `folder`, after a fault is set up; returns its process id."""
    child = os.fork()
    if child:
        return child
    os.chdir(folder)
    sys.argv = ["echos", *command]
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    fault()
    os._exit(commands.main(command))


def die_at_write(number: int) -> Callable[[], None]:
    """Set up that this process is killed when it has written file `number`, before that file gets its name."""

    def set_up() -> None:
        flush, left = os.fsync, iter(range(number))

        def fsync(handle: int) -> None:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            flush(handle)

        os.fsync = fsync

    return set_up


def die_after(seconds: float) -> Callable[[], None]:
    def set_up() -> None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, seconds)

    return set_up


def walk(folder: Path) -> None:
    """Walk undisturbed, then killed; after each kill, what has a name must be whole, and in the end all is as undisturbed.

    A command is killed midway; where that costs little, at every write too.
    """
    whole, killed = folder / "whole", folder / "killed"
    for place in (whole, killed):
        prepare(place)
    for command in WALK:
        before, began = set(contents(whole)), time.monotonic()
        assert os.waitpid(forked(whole, command), 0)[1] == 0, command
        seconds = time.monotonic() - began
        undisturbed = contents(whole)
        assert undisturbed.keys() - before, f"{command[0]} wrote nothing"
        writes = map(die_at_write, range(20)) if seconds < CHEAP else ()
        kills = 0
        for fault in (die_after(seconds / 3), *writes, lambda: None):
            _, status = os.waitpid(forked(killed, command, fault), 0)
            kills += status == signal.SIGKILL
            left = contents(killed)
            half = [name for name in left if is_result(name) and left[name] != undisturbed.get(name)]
            assert not half, f"{command[0]}: {half} half-written"
            if status == 0 and kills:
                break
            assert status in (0, signal.SIGKILL), command
        assert left == undisturbed, (command[0], [n for n in left | undisturbed if left.get(n) != undisturbed.get(n)])
        print(command[0], kills, f"{time.monotonic() - began:.1f} s", flush=True)


def is_result(name: str) -> bool:
    """Whether a file has the name of a result, not that of a temporary file or of a checkpoint."""
    path = Path(name)
    return not any(part.startswith(".") for part in path.parts) and path.name != CHECKPOINT


def test_every_command_killed_at_every_write_ends_with_the_same_bytes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    kills = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(kills) == len(WALK) <= sum(kills)  # a slow machine leaves out the kills at writes, but not those midway


# Disks ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount something at a new folder, and take it away in the end."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mounted(*options: str) -> Path:
        if subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode:
            pytest.skip("no right to mount a disk here")
        return folder

    yield mounted
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)  # a log in it may still be open


def writers() -> dict[str, Callable[[Path], Any]]:
    """Every way in which the library writes a file, with more than 64 kB of content."""
    import pyarrow as pa
    import torch
    from matplotlib.figure import Figure

    from neural_echos import datasets
    from neural_echos.artifacts.style import save_figure
    from neural_echos.files import write_tensors
    from neural_echos.tables import SCHEMAS, write_batches, write_table

    noise = np.random.default_rng(0).normal(size=(400, 400))
    rows = [{"filter": 1, "taps": row} for row in noise]
    table = pa.Table.from_pylist(rows, schema=SCHEMAS["spread"])
    data, facts = datasets.make_dataset("digits")
    figure = Figure()
    figure.subplots().imshow(noise)
    figure.set_dpi(300)
    saved = {f"a.{suffix}": lambda path: save_figure(figure, path) for suffix in ("png", "pdf", "svg")}
    return saved | {
        "table.parquet": lambda path: write_table(path, table, "spread"),
        "batches.parquet": lambda path: write_batches(path, [table], "spread"),
        "tensors.safetensors": lambda path: write_tensors(path, {"a": torch.zeros(100_000)}),
        "data.safetensors": lambda path: datasets.save_dataset(path, data, facts),
        "a.json": lambda path: write_json(path, noise.ravel().tolist()),
    }


def test_every_writer_on_a_full_disk_leaves_what_was_there_and_names_its_file(mount) -> None:
    small = mount("-t", "tmpfs", "-o", "size=64k", "none")
    for name, write in writers().items():
        (small / name).write_bytes(b"old")
        with pytest.raises((EchosError, OSError), match=r"No space left on device") as caught:
            write(small / name)
        assert name in f"{caught.value} {getattr(caught.value, 'filename', '')}"
        assert {path.name: path.read_bytes() for path in small.iterdir()} == {name: b"old"}
        (small / name).unlink()


def test_a_command_on_a_full_disk_ends_with_one_sentence_even_where_its_log_is_there(mount, digits) -> None:
    small = mount("-t", "tmpfs", "-o", "size=8k", "none")
    (small / "ballast").write_bytes(bytes(4096))
    for log in ([], ["--log", str(small / "a.log")]):
        code, told = digits(small / "a.safetensors", *log)
        assert code == 1
        assert re.fullmatch(rf"echos: {small}/a.safetensors: cannot be written .*No space .*\n", told)
        assert sorted(path.name for path in small.iterdir() if path.suffix != ".log") == ["ballast"]


def test_a_command_in_read_only_results_ends_with_one_sentence(mount, digits, tmp_path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.safetensors").write_bytes(b"old")
    results = mount("--bind", str(tmp_path / "results"))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(results)], check=True)
    code, told = digits(results / "a.safetensors")
    assert code == 1
    found = "cannot be read or written: Read-only file system"
    assert re.fullmatch(rf"echos: {results}/a.safetensors: {found}; [^\n]*\n", told)
    assert (results / "a.safetensors").read_bytes() == b"old"


# Snakemake ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a run needs, with a lock of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "workflow", "config", "profiles", "src", "envs"):
        if (ROOT / name).is_dir():  # the other tests compile into these folders meanwhile
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


TARGET = "results/tiny/datasets/digits.safetensors"
SNAKEMAKE = [str(Path(sys.executable).parent / "snakemake"), "--configfile", "config/presets/tiny.yaml", "--cores", "1"]


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake and return its exit code and what it said."""
    done = subprocess.run([*SNAKEMAKE, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    return f"{done.returncode} {done.stdout}{done.stderr}"


def test_a_second_run_is_refused_a_killed_one_unlocked_and_a_clock_that_jumped_changes_nothing(checkout) -> None:
    first = subprocess.Popen(
        [*SNAKEMAKE, TARGET], cwd=checkout, env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    locks = checkout / ".snakemake" / "locks"
    while first.poll() is None and not any(lock.stat().st_size for lock in locks.glob("*.output.lock")):
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGSTOP)
    told = snakemake(checkout, TARGET)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert told.startswith("1 ") and "Directory cannot be locked" in told and "--unlock" in told
    assert snakemake(checkout, "--unlock").startswith("0 ")
    assert snakemake(checkout, TARGET).startswith("0 ")
    for path in (checkout / "src").rglob("*.py"):
        os.utime(path, (4e9, 4e9))  # in 2096
    os.utime(checkout / TARGET, (1e8, 1e8))  # in 1973
    assert "Nothing to be done" in snakemake(checkout, TARGET)
    assert not list((checkout / TARGET).parent.glob(".*"))


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page_names_tests_that_exist_and_a_kill_of_every_rule() -> None:
    named = re.findall(r"`(test_\w+)\.py::(test_\w+)`", "".join(page.read_text(encoding="utf-8") for page in PAGES))
    assert len(named) > 20
    for file, name in named:
        assert f"\ndef {name}(" in next((ROOT / "tests").rglob(f"{file}.py")).read_text(encoding="utf-8"), (
            f"{file}::{name}"
        )
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    commands = set(re.findall(r"neural_echos --log \{log[^}]*\} (\w+)", rules))
    assert commands - {"survey"} == {command[0] for command in WALK}  # which asks all of timm, and writes as they do


if __name__ == "__main__":
    for needed in (
        "matplotlib.figure",
        "pandas",
        "papermill",
        "PIL",
        "scipy.optimize",
        "sklearn.cluster",
        "timm",
        "torch",
    ):
        import_module(needed)
    for room in ("artifacts", "datasets", "structure.patterns", "training", "verdicts"):
        import_module(f"neural_echos.{room}")
    for module in ("replacement", "elimination", "zeroing"):
        import_module(f"neural_echos.transfer.{module}")
    import_module("neural_echos.initialisations.signal_propagation")
    sys.modules["torch"].set_num_threads(1)
    walk(Path(sys.argv[1]))
