"""Rendering: the kernel is this interpreter, whatever the user's Jupyter, IPython and home look like."""

import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from neural_echos.artifacts.rendering import render_notebook
from neural_echos.errors import EchosError

PARAMETERS = "inputs = {}\noptions = {}\noutput = ''"


def rendered(folder: Path, cell: str, **parameters: object) -> str:
    """Render a notebook of one cell and return what the cell printed."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (PARAMETERS, cell)])
    made.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(made, folder / "a.ipynb")
    render_notebook(folder / "a.ipynb", folder / "r.ipynb", folder / "drafts" / "d.ipynb", parameters)
    outputs = nbformat.read(folder / "r.ipynb", as_version=4).cells[-1].outputs
    return "".join(output.text for output in outputs)


def interpreter(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_notebook_is_rendered_with_its_parameters(tmp_path):
    given = {"options": {"γ": [0.5]}, "inputs": {"bank": ["x"]}, "output": "figures/a"}
    assert rendered(tmp_path, "print(options['γ'], inputs['bank'], output)", **given) == "[0.5] ['x'] figures/a\n"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1 / 0", "cell 2 failed with ZeroDivisionError: division by zero; see "),
        (
            "import os\nos.kill(os.getpid(), 9)",
            "was killed, probably because memory ran out; give the job more memory; ",
        ),
        ("import os\nos.kill(os.getpid(), 11)", "stopped while a cell was running: signal SIGSEGV; see "),
        ("import os\nos._exit(3)", "stopped while a cell was running: exit code 3; see "),
    ],
)
def test_a_notebook_that_fails_leaves_its_draft_and_the_old_rendered_one(tmp_path, cell, expected):
    (tmp_path / "r.ipynb").write_text("old")
    with pytest.raises(EchosError, match=r"a\.ipynb: ") as caught:
        rendered(tmp_path, cell)
    assert expected in str(caught.value)
    assert (tmp_path / "r.ipynb").read_text() == "old"
    assert nbformat.read(tmp_path / "drafts" / "d.ipynb", as_version=4).cells[-1].source == cell


def test_the_kernel_is_this_interpreter_whatever_is_installed_as_python3(tmp_path, monkeypatch):
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "other", "language": "python"}
    for place in ("jupyter", "home/.local/share/jupyter"):
        folder = tmp_path / place / "kernels" / "python3"
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", "absent")
    assert rendered(tmp_path, "import sys; print(sys.executable)") == f"{sys.executable}\n"


def test_the_kernel_reads_nothing_of_the_user_and_leaves_nothing_behind(tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    for path in (startup / "00.py", tmp_path / "startup.py"):
        path.write_text("left = 1")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "startup.py"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    seen = "import matplotlib, os; print('left' in globals(), get_ipython().history_manager.enabled)"
    assert rendered(tmp_path, seen) == "False False\n"
    assert sorted(path.name for path in (tmp_path / "ipython").rglob("*")) == ["00.py", "profile_default", "startup"]
    assert not (tmp_path / "runtime").exists()
    assert not any((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("name", ["t", "t" * 120])
def test_a_temporary_folder_of_any_length_will_do(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    assert rendered(tmp_path, "print(output)", output="x") == "x\n"


def test_without_a_home_a_notebook_is_rendered_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.chdir(tmp_path)
    assert rendered(tmp_path, "print(1)") == "1\n"
    assert os.environ["HOME"] == "nowhere"
    assert not (tmp_path / "nowhere").exists()


def test_a_kernel_that_does_not_start_is_started_once_more(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    script = f'if [ -e {mark} ]; then exec {sys.executable} "$@"; fi; touch {mark}; exit 1'
    monkeypatch.setattr(sys, "executable", str(interpreter(tmp_path / "python", script)))
    assert rendered(tmp_path, "print(1)") == "1\n"


def test_a_kernel_that_never_starts_is_said_so_with_what_it_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "executable", str(interpreter(tmp_path / "python", "echo 'No module named ipykernel'; exit 4"))
    )
    with pytest.raises(
        EchosError, match=r"a\.ipynb: its Python kernel failed to start twice in a row: exit code 4 "
    ) as caught:
        rendered(tmp_path, "print(1)")
    assert '(it printed "No module named ipykernel"); check this Python and its ipykernel' in str(caught.value)


def test_a_terminal_sees_no_words_of_papermill_or_jupyter(tmp_path, capfd):
    assert rendered(tmp_path, "import sys; print('out'); print('err', file=sys.stderr)", options={}) == "out\nerr\n"
    assert capfd.readouterr() == ("", "")
