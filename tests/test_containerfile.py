"""The image of jobs: what its recipe takes from the repository exists, its base is exact, and jobs have no rights and no index."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", TEXT, re.MULTILINE) for name in line.split()]
    assert copied
    for name in copied:
        assert (ROOT / name).exists() and f"!{name}" in ignored, name


def test_the_base_is_an_exact_python_that_the_library_allows() -> None:
    [base] = re.findall(r"^ARG BASE=(\S+)$", TEXT, re.MULTILINE)
    found = re.fullmatch(r"docker\.io/library/python:(\d+)\.(\d+)\.\d+-slim-\w+", base)
    assert found and (int(found[1]), int(found[2])) >= (3, 11)


def test_jobs_have_no_rights_and_ask_no_index_for_the_locked_plugin() -> None:
    user, index = TEXT.rindex("\nUSER echos"), TEXT.index("PIP_NO_INDEX=1")
    assert TEXT.index("pip download") < index < user
    [package] = re.findall(r"grep -A2 -E '\^([\w-]+)=='", TEXT)
    pinned = re.search(
        rf"^{package}==\S+ \\\n(?: +--hash=\S+(?: \\)?\n)+", (ROOT / "envs/executors.txt").read_text(), re.M
    )
    assert pinned and pinned[0].count("--hash=") == 2  # as many lines as grep takes after the name
