"""Files: a write is whole or did not happen, JSON stays JSON, and provenance says what a file was made from."""

import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_echos.errors import EchosError, nearest
from neural_echos.files import atomic_path, provenance, read_json, sha256, sweep, uncommitted, write_json, write_text


def under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# Atomic writes


def test_a_written_file_is_whole_and_alone_and_its_folders_are_made(tmp_path):
    with atomic_path(tmp_path / "a" / "b" / "x.tar.gz") as temporary:
        assert temporary.parent.parent == tmp_path / "a" / "b"  # the same file system, so that the rename is one step
        assert temporary.name == "x.tar.gz"  # writers that go by the suffix find it
        (temporary.parent / ".tmp0aB1c2").write_bytes(b"a writer's own temporary file")
        temporary.write_bytes(b"whole")
        assert not (tmp_path / "a" / "b" / "x.tar.gz").exists()
    assert under(tmp_path) == ["a", "a/b", "a/b/x.tar.gz"]
    assert (tmp_path / "a" / "b" / "x.tar.gz").read_bytes() == b"whole"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failed_write_leaves_nothing_and_keeps_the_old_file(tmp_path, failure, old):
    path = tmp_path / "x.bin"
    if old:
        path.write_bytes(old)
    before = under(tmp_path)
    with pytest.raises(failure), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert under(tmp_path) == before
    assert old is None or path.read_bytes() == old


def test_what_a_killed_writer_left_is_removed_and_a_live_ones_file_is_not(tmp_path):
    code = f"""import os, signal
from neural_echos.files import atomic_path
with atomic_path({str(tmp_path / "x[1].bin")!r}) as temporary:
    temporary.write_bytes(b'half')
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert [Path(name).name for name in under(tmp_path)][1:] == ["x[1].bin"]
    (tmp_path / ".x[1]-other-model.bin").write_bytes(b"another file")
    with atomic_path(tmp_path / "x[1].bin") as first:
        first.write_bytes(b"first")
        with atomic_path(tmp_path / "x[1].bin") as second:
            second.write_bytes(b"second")
        assert first.read_bytes() == b"first"
    assert under(tmp_path) == [".x[1]-other-model.bin", "x[1].bin"]
    assert (tmp_path / "x[1].bin").read_bytes() == b"first"


def test_a_temporary_file_that_another_writer_sweeps_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    lock, seen = fcntl.flock, []

    def late(handle, how):
        if not seen:
            seen.extend(under(tmp_path))
            sweep(tmp_path / "x.txt")  # by a second process, between making and locking
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with atomic_path(tmp_path / "x.txt") as temporary:
        temporary.write_text("whole")
        sweep(tmp_path / "x.txt")
    assert len(seen) == 1 and seen != ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "whole"
    assert under(tmp_path) == ["x.txt"]


def test_a_file_system_without_locks_is_written_to(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", none)
    with atomic_path(tmp_path / "x.txt") as first:
        first.write_text("first")
        write_text(tmp_path / "x.txt", "second")
    assert (tmp_path / "x.txt").read_text() == "first"
    assert under(tmp_path) == ["x.txt"]


def test_a_successful_write_replaces_the_old_file(tmp_path):
    write_text(tmp_path / "x.txt", "old")
    write_text(tmp_path / "x.txt", "é γ\n")
    assert (tmp_path / "x.txt").read_bytes() == "é γ\n".encode()
    assert under(tmp_path) == ["x.txt"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_has_the_permissions_that_the_umask_asks_for(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "x.txt", "x")
        assert os.umask(umask) == umask  # and the umask stays
    finally:
        os.umask(before)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("where", ["folder", "file/x.txt"])
def test_a_place_that_cannot_be_written_stays_as_it_was(tmp_path, where):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a file where a folder is needed")
    with pytest.raises((OSError, EchosError)):
        write_text(tmp_path / where, "x")
    assert under(tmp_path) == ["file", "folder"]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near.txt").symlink_to(tmp_path / "far" / "there.txt")
    for text in ("first", "second"):
        write_text(tmp_path / "near.txt", text)
        assert (tmp_path / "near.txt").is_symlink()
        assert (tmp_path / "far" / "there.txt").read_text() == text
    assert under(tmp_path / "far") == ["there.txt"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EchosError, match="pipe: this is a folder or a device, not a file"):
        write_text(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo()
    assert under(tmp_path) == ["pipe"]


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from neural_echos.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert path.read_text() == "old"


# JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=30)
@given(value=JSON)
def test_json_comes_back_as_it_was_written(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "x.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), np.float32("nan"), np.float64("-inf"), np.array(np.nan)]
)
def test_what_json_has_no_number_for_becomes_null(tmp_path, number):
    write_json(tmp_path / "x.json", {"a": number, "b": [1, (number, {"c": number})]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1, [None, {"c": None}]]}


def test_numpy_scalars_become_plain_numbers(tmp_path):
    write_json(tmp_path / "x.json", {1: np.int64(3), "b": np.float32(0.5), "c": np.bool_(True), "d": np.array(7)})
    assert read_json(tmp_path / "x.json") == {"1": 3, "b": 0.5, "c": True, "d": 7}


def test_json_has_the_same_bytes_for_the_same_value(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.json").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "x.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert read_json(tmp_path / "x.json") == 1
    assert under(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file; check the path, or make it first"),
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
    ],
)
def test_broken_json_is_one_sentence(tmp_path, content, expected):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EchosError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_json(tmp_path):
    with pytest.raises(EchosError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path)


# Checksums and provenance


@settings(deadline=None, max_examples=20)
@given(content=st.binary(max_size=100))
def test_sha256_is_that_of_the_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "x.bin"
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()


def test_provenance_names_command_commit_inputs_versions_and_machine(tmp_path, monkeypatch):
    (tmp_path / "in.txt").write_bytes(b"in")
    monkeypatch.setattr(sys, "argv", ["/somewhere/echos", "extract", "in.txt"])
    made = provenance({"data": tmp_path / "in.txt"}, seed=3)
    assert made["command"] == ["echos", "extract", "in.txt"]
    assert made["inputs"] == {"data": {"path": str(tmp_path / "in.txt"), "sha256": hashlib.sha256(b"in").hexdigest()}}
    assert made["seed"] == 3
    assert {"python", "numpy", "torch", "timm", "pyarrow", "scikit-learn"} <= set(made["versions"])
    assert made["machine"]["cores"] == os.cpu_count()
    root = Path(__file__).resolve().parents[1]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout.strip()
    assert made["commit"] == (head or None)
    write_json(tmp_path / "made.json", made)
    assert read_json(tmp_path / "made.json") == made


def test_outside_git_nothing_is_claimed_of_uncommitted_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path))  # no repository
    made = provenance()
    assert made["commit"] is None and made["uncommitted_changes"] is None
    unknown = ", unknown whether there were uncommitted changes"
    assert uncommitted(made) == uncommitted({"commit": None, "uncommitted_changes": False}) == unknown
    assert uncommitted({"commit": "abc", "uncommitted_changes": False}) == ", no uncommitted changes"
    assert uncommitted({"commit": "abc", "uncommitted_changes": True}) == ", with uncommitted changes"


def test_the_nearest_name_is_suggested_only_where_it_is_near():
    assert nearest("dgo", ["dog", "kaiming"]) == " (did you mean 'dog'?)"
    assert nearest("zzzz", ["dog", "kaiming"]) == ""
    assert nearest("mcunet", ["mtcnn", "mcunet_in3_imagenet_pth"]) == " (did you mean 'mcunet_in3_imagenet_pth'?)"
    assert nearest("dog", []) == ""
