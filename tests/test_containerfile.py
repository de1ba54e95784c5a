"""The image of jobs: what its recipe takes from the repository exists, its base is exact, and jobs have no rights and no index."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from dry_runs import dry_run

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
    found = re.fullmatch(r"docker\.io/library/python:(\d+)\.(\d+)\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert found and (int(found[1]), int(found[2])) >= (3, 11)


def test_jobs_have_no_rights_and_ask_no_index_for_the_locked_plugin() -> None:
    user, index = TEXT.rindex("\nUSER echos"), TEXT.index("PIP_NO_INDEX=1")
    assert TEXT.index("pip download") < index < user
    [package] = re.findall(r"grep -A2 -E '\^([\w-]+)=='", TEXT)
    pinned = re.search(
        rf"^{package}==\S+ \\\n(?: +--hash=\S+(?: \\)?\n)+", (ROOT / "envs/executors.txt").read_text(), re.M
    )
    assert pinned and pinned[0].count("--hash=") == 2  # as many lines as grep takes after the name


APPTAINER = """#!/bin/sh
[ "$1" = --version ] && { echo "apptainer version 1.3.0"; exit; }
echo "$*" >> @TOLD@
while [ "$1" != -c ]; do shift; done
exec bash -c "$2"
"""


def test_jobs_run_in_the_image_that_the_config_names(tmp_path: Path) -> None:
    (tmp_path / "apptainer").write_text(APPTAINER.replace("@TOLD@", str(tmp_path / "told")))
    (tmp_path / "apptainer").chmod(0o755)
    paths = {name: f"{tmp_path}/{name}" for name in ("results", "logs", "benchmarks")}
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"pathvars": paths, "container": "/images/neural-echos.sif"}))
    words = ["--nolock", "--cores", "1", "--sdm", "apptainer", "--configfile", "config/presets/tiny.yaml", own]
    command = [
        Path(sys.executable).with_name("snakemake"),
        *words,
        "--",
        tmp_path / "results/datasets/digits.safetensors",
    ]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [told] = (tmp_path / "told").read_text().splitlines()
    assert f"exec --home {ROOT}" in told and "/images/neural-echos.sif" in told and "neural_echos --log" in told


def test_apptainer_without_an_image_is_refused() -> None:
    code, told = dry_run("--sdm", "apptainer", "--configfile", "config/presets/tiny.yaml")
    assert code != 0 and "--sdm apptainer: the config names no image" in told
