"""The program: help, version, completion, usage errors, and logs."""

import logging
import os
import re
import subprocess
import sys
import warnings
from importlib.metadata import version

import pytest
from by_hand import echos

from neural_echos.commands import app

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
        room: re.findall(r"^│ ([\w-]+) ", panel, re.MULTILINE) for room, panel in panels.items() if room != "Options"
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


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["fetch", "x", "--declared", "y"], {"pydantic"}),  # a usage error: --output is missing
        (["fetch", "x", "--declared", "y", "--output", "z"], {"neural_echos.design.schema"}),
    ],
)
def test_only_the_module_of_a_command_is_imported(arguments, heavy):
    code = f"import sys; from neural_echos.commands import main; main({arguments})"
    done = subprocess.run([sys.executable, "-c", f"{code}; print(*sys.modules)"], capture_output=True, text=True)
    loaded = {name.split(".")[-1] for name in done.stdout.split() if name.startswith("neural_echos.commands.")}
    assert loaded == {"app", "arguments", "parsing", "inputs"}
    assert not {"torch", "numpy", "pyarrow", "pandas", "rich", *heavy} & set(done.stdout.split())


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
        (["fit", "x", "--output", "y", "--seed", "one"], "'--seed': 'one' is not a whole number from 0"),
        (["fit", "x", "--output", "y", "--threshold", "half"], "'--threshold': 'half' is not a number"),
        (["fit", "x", "y", "--output", "z"], "Got unexpected extra argument(s) (y)"),
        (["show", "x", "--output", "y", "--kind", "regulr"], "depthwise, regular (did you mean 'regular'?)"),
        (
            ["match", "x", "--output", "y", "--seed", "-1"],
            "'--seed': '-1' is not a whole number from 0 to 4294967295",
        ),
        (["match", "x", "--output", "y", "--threads", "0"], "'--threads': '0' is not a whole number from 1"),
        (["show", "x", "--output", "y", "--kernels", "0"], "'--kernels': '0' is not a whole number from 1"),
        (["structure", "{", "--output", "x"], "'models': '{' is neither JSON nor @file"),
        (["structure", "{}", "--output", "x"], "'models': '{}' is not a JSON list of objects"),
        (["structure", "[1]", "--output", "x"], "'models': '[1]' is not a JSON list of objects"),
        (["structure", '[{"model": "m"}]', "--output", "x"], "one has no role"),
        (["verdicts", '[{"id": "NE1"}]', "--scale", "s", "--output", "x"], "one has no paper"),
        (["paper", "5", "--title", "t", "--output", "x"], "'5' is not a JSON list of objects"),
        (
            ["dataset", "digits", "--options", "[]", "--output", "x"],
            "'--options': '[]' is not a JSON object",
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


# Logs


def test_the_log_holds_everything_and_the_terminal_errors_only(desk, capsys):
    capsys.readouterr()
    assert echos("--log", "new/fit.log", "fit", "bank.parquet", "--output", "fits.parquet") == 0
    assert capsys.readouterr().err == ""
    assert re.fullmatch(r"[\d\-]+ [\d:,]+ INFO fits\.parquet: .*\n", (desk / "new/fit.log").read_text())

    assert echos("--log", "new/fit.log", "fit", "absent.parquet", "--output", "fits.parquet") == 1
    said = capsys.readouterr().err
    assert said.startswith("echos: absent.parquet: there is no such bank table")
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
    assert capsys.readouterr().err.startswith("echos: absent.parquet: there is no such bank table")
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
    assert capsys.readouterr().err == "echos: interrupted; run the same command to resume\n"
    assert all(part in (desk / "fit.log").read_text() for part in ("something is odd", "and so is this", "interrupted"))


def test_a_defect_of_ours_says_so_with_its_traceback_in_both_places(desk, capsys, monkeypatch):
    monkeypatch.setattr("neural_echos.receptive_fields.fit_batches", lambda *_, **__: 1 / 0)
    capsys.readouterr()
    assert echos("--log", "fit.log", "fit", "bank.parquet", "--output", "x") == 1
    for said in (capsys.readouterr().err, (desk / "fit.log").read_text()):
        assert "fit failed: this is a bug in echos, not a problem with your input; please report it" in said
        assert "ZeroDivisionError" in said
    assert not (desk / "x").exists()


def test_help_names_types_in_words_of_the_command_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert echos("patterns", "--help") == 0
    said = capsys.readouterr().out
    assert re.search(r"bank\.\.\. +<path> ", said) and re.search(r"--hidden +<int> \.\.\. ", said)
    assert re.search(r"--squash +--no-squash +Squash", said) and "typing." not in said
    assert echos("report", "--help") == 0
    assert re.search(r"artifacts +<json> ", capsys.readouterr().out)
