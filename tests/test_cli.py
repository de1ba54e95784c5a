"""The command line by hand: the whole walk, exit codes, one sentence for every mistake, and nothing half-written."""

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from neural_echos.commands import app, main
from neural_echos.files import read_json, write_json
from neural_echos.tables import read_table

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "mobilenet_v2_w035_imagenet.depthwise.safetensors"
SMALL = {"dim": 16, "depth": 2, "kernel_size": 5, "patch_size": 2}
NAMES = ["--dataset", "digits", "--architecture", "convmixer", "--initialisation"]


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Give the process its own log handlers back: every `echos` command sets them."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def echos(*arguments: object) -> int:
    """Run a command in this process, and return its exit code however it ends."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# Help


def run_echos(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m neural_echos` as a process of its own."""
    given = os.environ | {"COLUMNS": "80"} | environment
    return subprocess.run([sys.executable, "-m", "neural_echos", *words], env=given, capture_output=True, text=True)


@pytest.mark.parametrize("columns", [80, 120])
def test_help_lists_commands_by_room_and_exit_codes(columns):
    done = run_echos("--help", COLUMNS=str(columns))
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= columns
    panels = dict(re.findall(r"╭─ (.*?) ─+╮\n(.*?)╰", done.stdout, re.DOTALL))
    listed = {
        room: re.findall(r"^│ (\w+) ", panel, re.MULTILINE) for room, panel in panels.items() if room != "Options"
    }
    assert listed == {room: list(commands) for room, commands in app.ROOMS.items()}
    codes = re.findall(r"^ +(\d+)  \w", done.stdout.split("Exit codes:")[1], re.MULTILINE)
    assert codes == [str(code) for code in app.EXIT_CODES]
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", app.MODULES)
def test_every_command_has_help(capsys, command):
    assert echos(command, "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"Usage: echos {command} ")
    assert " ".join((app.function_of(command).__doc__ or "").split()[:3]) in said


def test_every_argument_has_help():
    for name in app.MODULES:
        for argument in app.program().get_command(None, name).params:
            assert argument.help, f"{name} {argument.name}"


def test_version_is_the_distribution_s(capsys):
    assert echos("--version") == 0
    assert capsys.readouterr().out == f"echos {version('neural-echos')}\n"


def test_only_the_module_of_a_command_is_imported():
    code = (
        "import sys; from neural_echos.commands import main; main(['fetch', 'x', '--declared', 'y', '--output', 'z'])"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}; print(*sys.modules)"], capture_output=True, text=True)
    loaded = {name.split(".")[-1] for name in done.stdout.split() if name.startswith("neural_echos.commands.")}
    assert loaded == {"app", "arguments", "parsing", "inputs"}
    assert not {"torch", "numpy", "pyarrow", "pandas", "pydantic", "rich"} & set(done.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell):
    script = run_echos("--show-completion", SHELL=f"/bin/{shell}", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert script.returncode in (0, 2)  # without detection a shell must be named
    script = run_echos("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_ECHOS_COMPLETE" in script.stdout
    for words, expected in [("echos ext", "extract"), ("echos extract --reg", "--regular-per-layer")]:
        given = {"_ECHOS_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        given |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        assert expected in run_echos(**given).stdout


# The walk


def test_show_draws_the_kernels_of_a_layer(trained, tmp_path, capsys):
    weights = trained / "dog" / "0.safetensors"
    assert echos("extract", weights, "--model", "digits-net", "--output", tmp_path / "bank.parquet") == 0
    capsys.readouterr()
    assert echos("show", tmp_path / "bank.parquet", "--layer", "blocks.0.*", "--output", tmp_path / "a.png") == 0
    assert "digits-net: 16 of 16 depthwise kernels in 1 layers" in capsys.readouterr().err
    for suffix in ("png", "pdf", "svg"):
        assert echos("show", weights, "--output", tmp_path / f"b.{suffix}") == 0
        assert (tmp_path / f"b.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "show bank.parquet --layer blocks.7.* --output x.png",
            "none that matches 'blocks.7.*' (did you mean 'blocks.",
        ),
        ("show bank.parquet --kind regular --output x.png", "expected a regular layer, found none"),
        ("show bank.parquet --output x.jpeg", "x.jpeg: figures are written as .png, .pdf or .svg"),
        ("show absent.parquet --output x.png", "absent.parquet: expected a bank table, found no file"),
        (
            "show good.json --output x.png",
            "a checkpoint (.safetensors, .pth, .pt, .bin) by its suffix '.json'; rename or",
        ),
        ("show convnext_tine --output x.png", "did you mean 'convnext_tiny'?"),
        ("show convmixer_small --output x.png", "no pretrained weights on the hub"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(desk, capsys, command, expected):
    capsys.readouterr()
    assert echos(*command.split()) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"echos: [^\n]+\n", said)
    assert expected in said
    assert not list(desk.glob("x.*"))


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="needs the data folder beside the checkout (../shared/data)")
def test_real_kernels_walk_from_extract_to_structure(tmp_path, capsys):
    bank, fits, clusters, centroids, found = (tmp_path / f"{n}.parquet" for n in ("bank", "fits", "cl", "ce", "st"))
    assert echos("extract", WEIGHTS, "--model", "mobilenet", "--output", bank) == 0
    assert echos("fit", bank, "--output", fits) == 0
    assert echos("cluster", bank, "--restarts", 2, "--centroids", centroids, "--output", clusters) == 0
    entry = {"model": "mobilenet", "role": "trained", "trained_on": "imagenet"}
    write_json(tmp_path / "models.json", [{**entry, "fits": str(fits), "centroids": str(centroids)}])
    assert echos("structure", f"@{tmp_path / 'models.json'}", "--output", found) == 0
    (row,) = read_table(found, "structure").to_pylist()
    assert (row["kernels"], row["kernel_size"], row["layers"]) == (2605, 3, 17)  # three kernels are zero
    assert row["low"] > 0.05  # trained kernels have more structure than shuffled ones
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"echos: {bank}: 2608 kernels"
    assert "'dropped_zero': 3" in said[1]
    assert "'clustered': 2605" in said[2]
    assert all(line.startswith("echos: ") for line in said)


def test_frozen_kernels_are_trained_around(trained, tmp_path):
    from safetensors.numpy import load_file

    files = ["--data", trained / "digits.safetensors", "--kwargs", json.dumps(SMALL), "--seeds", 0]
    draws = {
        "oocs": {"scheme": "oocs"},
        "lent": {"scheme": "transfer", "bank": str(tmp_path / "bank.parquet"), "frozen": True},
    }
    assert (
        echos("extract", trained / "dog" / "0.safetensors", "--model", "m", "--output", tmp_path / "bank.parquet") == 0
    )
    pattern = tmp_path / "{initialisation}-{seed}.safetensors"
    given = ["--initialisations", json.dumps(draws), "--output", pattern]
    assert echos("initialise", "convmixer_small", *files, *given) == 0
    made = read_json(tmp_path / "lent-0.json")
    assert [entry["frozen"] for entry in made["did"]] == [True, True]
    assert set(made["inputs"]) >= {"bank", "data"}
    for name in draws:
        initial, run = tmp_path / f"{name}-0.safetensors", tmp_path / name
        recipe = ["--recipe", '{"epochs": 1, "batch_size": 256, "weight_decay": 0.5}', "--device", "cpu"]
        assert echos("train", *files[:2], "--initial", initial, "--run", run, *recipe, *NAMES, name) == 0
        before, after = load_file(initial), load_file(run / "weights.safetensors")
        kept = {key for key in before if (before[key] == after[key]).all()}
        assert kept == {"blocks.0.0.fn.0.weight", "blocks.1.0.fn.0.weight"}


def test_signals_are_measured_before_training(trained, tmp_path):
    draws = {"default": {"scheme": "default"}, "small": {"scheme": "dog", "scale": 0.5}, "dog": {"scheme": "dog"}}
    given = ["--data", trained / "digits.safetensors", "--kwargs", json.dumps(SMALL), "--seeds", 0, 1, "--images", 32]
    names = ["--initialisations", json.dumps(draws), *NAMES[:4], "--output", tmp_path / "signals.parquet"]
    assert echos("signals", "convmixer_small", *given, *names) == 0
    table = read_table(tmp_path / "signals.parquet", "signals").to_pandas()
    assert len(table) == 3 * 2 * 2
    norms = table.groupby("initialisation").kernel_l2.mean()
    assert norms["small"] == pytest.approx(norms["dog"] / 2)
    assert (table[table.initialisation == "default"].replaced == 0).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, two initialisations and two seeds of a tiny network, trained for one epoch, all by typed commands."""
    folder = tmp_path_factory.mktemp("trained")
    data = folder / "digits.safetensors"
    draws = {"kaiming": {"scheme": "kaiming"}, "dog": {"scheme": "dog", "gamma": {"uniform": [0.3, 0.7]}, "share": 0.5}}
    assert echos("dataset", "digits", "--options", '{"size": 8}', "--output", data) == 0
    pattern = folder / "{initialisation}/{seed}.safetensors"
    given = ["--kwargs", json.dumps(SMALL), "--initialisations", json.dumps(draws), "--seeds", 0, 1]
    assert echos("initialise", "convmixer_small", "--data", data, *given, "--output", pattern) == 0
    for name in draws:
        initial = [folder / name / f"{seed}.safetensors" for seed in (0, 1)]
        runs = [folder / "runs" / name / str(seed) for seed in (0, 1)]
        recipe = ["--recipe", '{"epochs": 1, "batch_size": 256}', "--device", "cpu"]
        files = ["--data", data, "--initial", *initial, "--run", *runs]
        assert echos("train", *files, *recipe, *NAMES, name) == 0
    return folder


def test_initial_weights_differ_in_depthwise_kernels_only(trained):
    from safetensors.numpy import load_file

    first, other = (load_file(trained / name / "0.safetensors") for name in ("kaiming", "dog"))
    differ = {key for key in first if not (first[key] == other[key]).all()}
    assert differ == {"blocks.0.0.fn.0.weight", "blocks.1.0.fn.0.weight"}
    made = read_json(trained / "dog" / "0.json")
    assert [(one["layer"], one["replaced"]) for one in made["did"]] == [("blocks.0.0.fn.0", 8), ("blocks.1.0.fn.0", 8)]
    assert (made["seed"], made["initialisation"]["share"], made["kwargs"]) == (0, 0.5, SMALL)


def test_images_in_folders_stay_there_and_give_initial_weights_and_signals(tmp_path):
    from PIL import Image

    for split, name, level in [
        (split, name, 40 * len(name)) for split in ("train", "val") for name in ("a", "bb", "c")
    ]:
        (tmp_path / split / name).mkdir(parents=True)
        for one in range(2):
            Image.new("RGB", (40 + one, 30), (level, 9, 100 * one)).save(tmp_path / split / name / f"{one}.png")
    data, table = tmp_path / "data.safetensors", tmp_path / "signals.parquet"
    assert echos("dataset", "folder", "--options", json.dumps({"root": str(tmp_path)}), "--output", data) == 0
    given = ["--kwargs", json.dumps(SMALL), "--initialisations", '{"dog": {"scheme": "dog"}}', "--seeds", 0]
    pattern = tmp_path / "{initialisation}-{seed}.safetensors"
    assert echos("initialise", "convmixer_small", "--data", data, *given, "--output", pattern) == 0
    named = ["--dataset", "d", "--architecture", "a", "--images", 4, "--output", table]
    assert echos("signals", "convmixer_small", "--data", data, *given, *named) == 0
    assert len(read_table(table, "signals")) == 2


def test_runs_walk_to_verdicts(trained, tmp_path):
    runs = sorted((trained / "runs").glob("*/*"))
    table, history, comparisons = (tmp_path / f"{name}.parquet" for name in ("runs", "history", "comparisons"))
    assert echos("evaluate", *runs, "--histories", history, "--comparisons", comparisons, "--output", table) == 0
    rows = read_table(table, "runs").to_pylist()
    found = {
        (row["dataset"], row["architecture"], row["initialisation"], row["seed"], row["kernel_size"]) for row in rows
    }
    assert found == {("digits", "convmixer", name, seed, 5) for name in ("dog", "kaiming") for seed in (0, 1)}
    assert read_table(history, "history").num_rows == 4
    rows = read_table(comparisons, "comparisons").to_pylist()
    assert [(row["baseline"], row["measure"]) for row in rows] == [
        (name, measure) for name in ("kaiming", "dog") for measure in ("top1", "area", "epochs_to_target")
    ]
    compared = rows[0]
    assert (compared["initialisation"], compared["baseline"], compared["seeds"]) == ("dog", "kaiming", 2)

    options = {"dataset": "digits", "architectures": ["convmixer"], "initialisation": "dog", "baseline": "kaiming"}
    claim = {"id": "NE5", "paper": "p", "statement": "s", "rule": "gain", "needs": "digits", "artifact": "a"}
    claims = json.dumps([{**claim, "options": {**options, "expect": "none", "margin": 0.5}}])
    assert echos("verdicts", claims, "--runs", table, "--scale", "tests", "--output", tmp_path / "v.parquet") == 0
    (verdict,) = read_table(tmp_path / "v.parquet", "verdicts").to_pylist()
    assert verdict["value"] == pytest.approx(compared["difference"])
    assert verdict["verdict"] in ("supported", "not supported", "inconclusive")


def test_a_bank_of_a_run_takes_its_layers_from_the_json_beside_the_initial_weights(trained, tmp_path):
    weights = trained / "runs" / "dog" / "0" / "weights.safetensors"
    bank = tmp_path / "bank.parquet"
    layers = ["--layers", trained / "dog" / "0.json"]
    assert echos("extract", weights, "--model", "m", *layers, "--regular-per-layer", 10, "--output", bank) == 0
    table = read_table(bank, "bank").to_pandas()
    assert table.kind.value_counts().to_dict() == {"depthwise": 32, "regular": 10}
    assert set(table[table.kind == "regular"].stride) == {2}


def test_the_same_command_writes_the_same_bytes(trained, tmp_path):
    weights = trained / "dog" / "0.safetensors"
    for name in "ab":
        folder = tmp_path / name
        assert echos("extract", weights, "--model", "m", "--output", folder / "bank.parquet") == 0
        assert echos("fit", folder / "bank.parquet", "--output", folder / "fits.parquet") == 0
        made = ["--restarts", 2, "--centroids", folder / "ce.parquet", "--output", folder / "cl.parquet"]
        assert echos("cluster", folder / "bank.parquet", *made) == 0
    assert under(tmp_path / "a") == under(tmp_path / "b")
    assert len(under(tmp_path / "a")) == 4


def test_a_survey_writes_its_table_and_its_page(tmp_path, monkeypatch):
    from neural_echos.kernels import survey

    monkeypatch.setattr(survey, "_architectures", lambda: ["convmixer_768_32", "vgg11"])
    assert echos("survey", "--page", tmp_path / "zoo.md", "--output", tmp_path / "survey.csv") == 0
    table = survey.read_survey(tmp_path / "survey.csv")
    assert table["architecture"].to_pylist() == ["convmixer_768_32"]
    assert "| convmixer | 1 | 1 | 7×7 24,576 | mit |" in (tmp_path / "zoo.md").read_text(encoding="utf-8")


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Missing command."),
        (["sing"], "No such command 'sing'."),
        (["extrac"], "No such command 'extrac'. Did you mean 'extract'?"),
        (["fit", "x"], "Missing option '--output'."),
        (["fit", "--output", "y"], "Missing argument 'bank'."),
        (["fit", "x", "--output", "y", "--sed", "1"], "No such option: --sed (Possible options: --seed)"),
        (["fit", "x", "--output", "y", "--seed", "one"], "'--seed': expected a whole number from 0"),
        (["fit", "x", "--output", "y", "--threshold", "half"], "'--threshold': expected a number, found 'half'"),
        (["fit", "x", "y", "--output", "z"], "Got unexpected extra argument(s) (y)"),
        (["show", "x", "--output", "y", "--kind", "regulr"], "depthwise, regular (did you mean 'regular'?)"),
        (
            ["match", "x", "--output", "y", "--seed", "-1"],
            "'--seed': expected a whole number from 0 to 4294967295, found '-1'",
        ),
        (["match", "x", "--output", "y", "--threads", "0"], "'--threads': expected a whole number from 1"),
        (["show", "x", "--output", "y", "--kernels", "0"], "'--kernels': expected a whole number from 1"),
        (["structure", "{", "--output", "x"], "'models': expected JSON or @file, found '{'"),
        (["structure", "{}", "--output", "x"], "'models': expected a JSON list of objects, found '{}'"),
        (["structure", "[1]", "--output", "x"], "'models': expected a JSON list of objects, found '[1]'"),
        (["structure", '[{"model": "m"}]', "--output", "x"], "one has no role"),
        (["verdicts", '[{"id": "NE1"}]', "--scale", "s", "--output", "x"], "one has no paper"),
        (["paper", "5", "--title", "t", "--output", "x"], "expected a JSON list of objects, found '5'"),
        (
            ["dataset", "digits", "--options", "[]", "--output", "x"],
            "'--options': expected a JSON object, found '[]'",
        ),
    ],
)
def test_a_mistyped_command_ends_with_2_and_its_usage(tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert echos(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage: echos")
    assert expected in said.splitlines()[-1]
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def desk(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with some good files and some bad ones."""
    (tmp_path / "digits.safetensors").symlink_to(trained / "digits.safetensors")
    (tmp_path / "good.safetensors").symlink_to(trained / "dog" / "0.safetensors")
    (tmp_path / "good.json").symlink_to(trained / "dog" / "0.json")
    (tmp_path / "cut.safetensors").write_bytes((trained / "dog" / "0.safetensors").read_bytes()[:-10])
    (tmp_path / "cut.json").symlink_to(trained / "dog" / "0.json")
    (tmp_path / "other.safetensors").symlink_to(trained / "dog" / "0.safetensors")
    write_json(tmp_path / "other.json", read_json(trained / "dog" / "0.json") | {"kwargs": {**SMALL, "dim": 8}})
    write_json(tmp_path / "list.json", [1])
    (tmp_path / "folder").mkdir()
    assert echos("extract", tmp_path / "good.safetensors", "--model", "m", "--output", tmp_path / "bank.parquet") == 0
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "bank.parquet").read_bytes()[:-10])
    write_json(tmp_path / "run" / "metrics.json", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


ENTRY = '[{"model": "m", "role": "trained", "trained_on": "d", "fits": "bank.parquet", "centroids": "bank.parquet"}]'
CLAIM = '[{"id": "NE1", "paper": "p", "statement": "s", "rule": "gian", "needs": "d", "artifact": "a", "options": {}}]'
ARTIFACT = '[{"id": "a", "kind": "figure", "group": "g", "title": "t", "caption": "c", "stem": "figures/a"}]'
INITIALISE = (
    "initialise convmixer_small --data digits.safetensors --seeds 0 1 --output {initialisation}-{seed}.safetensors"
)
SIGNALS = "signals convmixer_small --data digits.safetensors --dataset d --architecture a --seeds 0 --output x"
TRAIN = "train --data digits.safetensors --dataset d --architecture a --initialisation i --device cpu"


@pytest.mark.parametrize(
    ("command", "more", "expected"),
    [
        ("fetch nothing --output x", [], "config/inputs.yaml"),
        ("dataset digitz --output x", [], "digits"),
        ("extract absent.pth --model m --output x", [], "absent.pth: expected a checkpoint, found no file"),
        ("extract cut.safetensors --model m --output x", [], "cut.safetensors: expected a whole safetensors file"),
        ("extract good.safetensors --model m --timm convnext_ato --output x", [], "did you mean 'convnext_atto'?"),
        ("extract good.safetensors --model m --timm convnext_atto --output x", [], "belongs to another architecture"),
        ("extract good.safetensors --model m --layers absent.json --output x", [], "absent.json: expected a JSON file"),
        (
            "extract good.safetensors --model m --layers list.json --output x",
            [],
            "list.json: expected a list of layers",
        ),
        ("extract good.safetensors --model m --regular-per-layer -1 --output x", [], "at least 0, found -1"),
        (
            "extract good.safetensors --model m --output folder",
            [],
            "folder: expected a file or nothing there, found a folder or device",
        ),
        ("extract good.safetensors --model m --output good.json/x", [], "good.json: cannot be read or written: "),
        ("cluster absent.parquet --centroids c --output x", [], "absent.parquet: expected a bank table, found no file"),
        ("cluster bank.parquet --k 1 --centroids c --output x", [], "found 1"),
        ("fit cut.parquet --output x", [], "cut.parquet: expected a bank table in Parquet"),
        ("fit bank.parquet --threshold 2 --output x", [], "threshold: expected a cosine in [0, 1], found 2.0"),
        ("structure --output x", [ENTRY], "bank.parquet: expected a table of schema fits/1, found bank/1"),
        ("structure @absent.json --output x", [], "absent.json: expected a JSON file, found nothing"),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "dgo"}}'], "did you mean 'dog'?"),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "dog", "gama": 0.5}}'], "did you mean 'gamma'?"),
        (
            INITIALISE,
            ["--initialisations", '{"a": {}}'],
            "initialisation 'a': expected an object with a scheme, found {}",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": 5}'],
            "initialisation 'a': expected an object with a scheme, found 5",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": "transfer", "bank": "cut.parquet"}}'],
            "cut.parquet: expected a bank",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": "transfer", "bank": "bank.parquet"}}'],
            "found sizes 2×2, 5×5",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": ["dog"]}}'],
            "initialisation 'a': expected an object with a scheme, found {'scheme': ['dog']}",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": "dog", "seed": 3}}'],
            "initialisation 'a': 'seed' is set by the command; take it out of the options",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": "default", "gamma": 0.5}}'],
            "initialisation 'default': expected options among none, found 'gamma'",
        ),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "default", "share": "1"}}'], "share: expected the share"),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "dog", "depths": 0.5}}'], "found 0.5"),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "transfer", "bank": [1]}}'], "found [1]"),
        (f"{SIGNALS} --images 9999", ["--initialisations", '{"a": {"scheme": "dog"}}'], "found 9999"),
        (SIGNALS, ["--initialisations", '{"a": {}}'], "expected an object with a scheme"),
        (
            INITIALISE.replace("-{seed}", ""),
            ["--initialisations", '{"a": {"scheme": "dog"}}'],
            "'{initialisation}.safetensors' does not give a different path for each of 2 networks",
        ),
        *[
            (
                INITIALISE.removesuffix(".safetensors") + suffix,
                ["--initialisations", '{"a": {"scheme": "dog"}}'],
                f"--output: '{{initialisation}}-{{seed}}{suffix}' does not end in .safetensors; rename it",
            )
            for suffix in (".json", "", ".pth")
        ],
        (
            INITIALISE.replace("{seed}", "{sed}"),
            ["--initialisations", '{"a": {"scheme": "dog"}}'],
            "{initialisation}-{sed}",
        ),
        (
            INITIALISE + " --kwargs",
            ['{"kernel_sise": 3}', "--initialisations", '{"a": {"scheme": "dog"}}'],
            "kernel_sise",
        ),
        (
            f"{TRAIN} --initial good.safetensors --run r s",
            [],
            "--run: 2 folders for 1 initial weights; name one folder for each",
        ),
        (f"{TRAIN} --initial absent.safetensors --run r", [], "absent.json: expected a JSON file, found nothing"),
        (
            f"{TRAIN} --initial list.safetensors --run r",
            [],
            "list.json: not written by echos initialise: no did, kwargs, layers, model, seed",
        ),
        (
            f"{TRAIN} --initial cut.safetensors --run r",
            [],
            "cut.safetensors: not the initial weights of convmixer_small",
        ),
        (
            f"{TRAIN} --initial other.safetensors --run r",
            [],
            "other.safetensors: not the initial weights of convmixer_small",
        ),
        (f"{TRAIN} --initial good.safetensors --run r --recipe", ['{"epoch": 1}'], "did you mean 'epochs'?"),
        ("evaluate run --histories h --comparisons c --output x", [], "history.parquet: expected a history table"),
        ("verdicts --scale s --output x", [CLAIM], "did you mean 'gain'?"),
        ("render absent.ipynb --output x --rendered r --draft d", [], "absent.ipynb: expected a notebook, found"),
        ("render list.json --output x --rendered r --draft d", [], "list.json: expected a notebook, found"),
        ("paper --title t --output x", [ARTIFACT], "figures/a.pdf: expected the artifact a, found no file"),
        (
            "report --verdicts v --config {} --benchmarks b --output x",
            [ARTIFACT],
            "figures/a.json: expected a JSON file",
        ),
        ("crate folder --output x.zip", [], "folder: expected figures or tables with their JSON, found none"),
        ("--log folder fit bank.parquet --output x", [], "folder: cannot be read or written: Is a directory"),
        (
            "fit bank.parquet --output bank.parquet",
            [],
            "bank.parquet: --output is the same file as bank; name another output",
        ),
        (
            "cluster bank.parquet --centroids x --output ./x",
            [],
            "x: --output is the same file as centroids; name another output",
        ),
    ],
)
def test_a_mistake_ends_with_1_and_one_sentence_and_writes_nothing(desk, capsys, command, more, expected):
    capsys.readouterr()
    before = under(desk)
    assert echos(*command.split(), *more) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"echos: [^\n]+\n", said)
    assert expected in said
    assert under(desk) == before


# Logs


def test_the_log_holds_everything_and_the_terminal_errors_only(desk, capsys):
    capsys.readouterr()
    assert echos("--log", "new/fit.log", "fit", "bank.parquet", "--output", "fits.parquet") == 0
    assert capsys.readouterr().err == ""
    assert re.fullmatch(r"[\d\-]+ [\d:,]+ INFO fits\.parquet: .*\n", (desk / "new/fit.log").read_text())

    assert echos("--log", "new/fit.log", "fit", "absent.parquet", "--output", "fits.parquet") == 1
    said = capsys.readouterr().err
    assert said.startswith("echos: absent.parquet: expected a bank table")
    assert f"ERROR {said.removeprefix('echos: ')}" in (desk / "new/fit.log").read_text()
    assert "INFO" not in (desk / "new/fit.log").read_text()  # a log is of one command


def test_of_several_processes_the_first_writes_the_log(desk, capsys, monkeypatch):
    command = ["--log", "fit.log", "fit", "bank.parquet", "--output", "fits.parquet"]
    monkeypatch.setenv("RANK", "0")
    assert echos(*command) == 0
    first = (desk / "fit.log").read_bytes()
    assert first
    monkeypatch.setenv("RANK", "1")
    capsys.readouterr()
    assert echos(*command) == 0
    assert capsys.readouterr().err == ""
    assert echos(*command[:3], "absent.parquet", *command[4:]) == 1
    assert capsys.readouterr().err.startswith("echos: absent.parquet: expected a bank table")
    assert (desk / "fit.log").read_bytes() == first


def test_warnings_go_where_records_go(desk, capsys, monkeypatch):
    def fit_batches(*_: object, **__: object) -> None:
        warnings.warn("something is odd", stacklevel=1)
        logging.getLogger("elsewhere").warning("and so is this")
        raise KeyboardInterrupt

    monkeypatch.setattr("neural_echos.receptive_fields.fit_batches", fit_batches)
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert echos("--log", "fit.log", "fit", "bank.parquet", "--output", "x") == 130
    assert capsys.readouterr().err == "echos: interrupted; run the same command to go on\n"
    assert all(part in (desk / "fit.log").read_text() for part in ("something is odd", "and so is this", "interrupted"))


def test_a_defect_of_ours_says_so_with_its_traceback_in_both_places(desk, capsys, monkeypatch):
    monkeypatch.setattr("neural_echos.receptive_fields.fit_batches", lambda *_, **__: 1 / 0)
    capsys.readouterr()
    assert echos("--log", "fit.log", "fit", "bank.parquet", "--output", "x") == 1
    for said in (capsys.readouterr().err, (desk / "fit.log").read_text()):
        assert "fit failed: this is a defect of echos, not of your input; please report it" in said
        assert "ZeroDivisionError" in said
    assert not (desk / "x").exists()
