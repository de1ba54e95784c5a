"""Two runs at once, languages and clocks: the same bytes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands_in_trouble import ENVIRONMENT, ROOT, contents, line
from neural_echos.files import read_json, write_json

# Two runs at once -----------------------------------------------------------------------------------------------------


# Executes the commands that come as lines, each when it comes.
OBEY = """import json, sys
from neural_echos import commands, datasets, kernels, receptive_fields
from neural_echos.structure import kmeans as clusters
for line in sys.stdin:
    print(commands.main(json.loads(line)), flush=True)
"""


OF_BANK = {
    "dataset": line("dataset digits --output data.safetensors --options", '{"size": 8}'),
    "extract": line("extract weights.safetensors --model m --output bank.parquet"),
    "fit": line("fit bank.parquet --output fits.parquet"),
    "cluster": line("cluster bank.parquet --k 2 --restarts 1 --centroids centroids.parquet --output clusters.parquet"),
}


def test_two_processes_that_write_the_same_files_at_once_leave_the_bytes_of_one(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    kernels = np.random.default_rng(0).normal(size=(12, 1, 7, 7)).astype(np.float32)
    save_file({"layer.weight": kernels}, tmp_path / "weights.safetensors")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    two = [
        subprocess.Popen([sys.executable, "-c", OBEY], cwd=tmp_path, env=ENVIRONMENT, text=True, **pipes)
        for _ in range(2)
    ]

    def obey(name: str, *running: subprocess.Popen[str]) -> dict[str, Any]:
        """Let processes execute a command at once, and return what lies in the folder then."""
        for one in running:
            one.stdin.write(json.dumps(OF_BANK[name]) + "\n")
        for one in running:
            one.stdin.flush()
        assert [one.stdout.readline() for one in running] == ["0\n"] * len(running), name
        return contents(tmp_path)

    for name in OF_BANK:
        of_one = obey(name, two[0])
    for names in [("dataset", "extract")] * 8 + [tuple(OF_BANK)] * 2:
        for name in names:
            assert obey(name, *two) == of_one, name
    assert len(of_one) == 6
    for one in two:
        told = one.communicate(timeout=60)[1]
        assert one.returncode == 0
        assert all(re.match(r"echos: \w+\.\w+: ", line) for line in told.splitlines()), told


# Languages and clocks -------------------------------------------------------------------------------------------------


def test_the_same_bytes_in_a_language_without_letters_outside_ascii_and_below_any_name(tmp_path, digits) -> None:
    folder = tmp_path / "a folder é ı"
    assert digits(folder / "plain.safetensors")[0] == 0
    language = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = ["--log", str(folder / "é.log"), "dataset", "digits", "--output", str(folder / "other.safetensors")]
    subprocess.run([sys.executable, "-m", "neural_echos", *command], env=ENVIRONMENT | language, check=True)
    assert "1347 train" in (folder / "é.log").read_text(encoding="utf-8")
    write_json(folder / "é.json", {"path": "\udcc3\udca9"})  # what such a process takes é for
    assert read_json(folder / "é.json") == {"path": "é"}
    assert (folder / "plain.safetensors").read_bytes() == (folder / "other.safetensors").read_bytes()


# Executes commands in the folder C with the C library in that language, then in the folder "own" in the one of the environment.
TRANSLATE = """import ctypes, json, locale, os, sys
from neural_echos import commands
library = ctypes.CDLL(None)
library.strtod.restype = ctypes.c_double
for folder, language in (("C", "C"), ("own", "")):
    locale.setlocale(locale.LC_ALL, language)
    os.chdir(folder)
    assert not [command for command in json.loads(sys.argv[1]) if commands.main(command)]
    os.chdir("..")
    print(json.dumps([library.strtod(b"0,5", None), chr(library.towlower(ord("I"))), locale.nl_langinfo(locale.DAY_1)]))
"""


@pytest.mark.parametrize(
    ("language", "facts"), [("tr_TR", [0.5, "ı", "Pazar"]), ("de_DE", [0.5, "i", "Sonntag"])], ids=["tr_TR", "de_DE"]
)
def test_the_same_bytes_with_a_dotless_i_and_a_decimal_comma(tmp_path: Path, language: str, facts: list[Any]) -> None:
    from safetensors.numpy import save_file

    made = ["localedef", "-i", language, "-f", "UTF-8", str(tmp_path / f"{language}.UTF-8")]
    if not shutil.which("localedef") or subprocess.run(made, capture_output=True).returncode:
        pytest.skip(f"localedef and the sources of {language} (Debian's package locales) are not here")
    kernels = np.random.default_rng(0).normal(size=(12, 1, 7, 7)).astype(np.float32)
    for folder in ("C", "own"):
        (tmp_path / folder).mkdir()
        save_file({"layer.weight": kernels}, tmp_path / folder / "weights.safetensors")
    commands = [*OF_BANK.values(), line("show bank.parquet --output kernels.svg")]
    environment = ENVIRONMENT | {"LOCPATH": str(tmp_path), "LC_ALL": f"{language}.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", TRANSLATE, json.dumps(commands)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(told) for told in done.stdout.splitlines()] == [[0.0, "i", "Sunday"], facts]
    assert contents(tmp_path / "own") == contents(tmp_path / "C")
    assert len(contents(tmp_path / "C")) == 7


def test_durations_are_measured_by_a_clock_that_does_not_jump() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert not re.search(r"\btime\.time\(", path.read_text(encoding="utf-8")), path
