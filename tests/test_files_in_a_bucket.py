"""Files in a bucket: commands work inside the folder in which Snakemake keeps them. tests/cluster/test_bucket.py has a bucket."""

import os
import re
from pathlib import Path

import pytest

from neural_echos.commands import main
from neural_echos.errors import EchosError
from neural_echos.storage import ADDRESS, FOLDER, enter, kept_checkpoints, listed, plain, prepare

ROOT = Path(__file__).resolve().parents[1]
INSIDE = ".snakemake/storage/s3/bucket/x"


class Settings:
    """What the S3 plugin is told."""

    endpoint_url, region, access_key, secret_key, token = "http://s3.example.org", None, "key", "secret", None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder as a job's, with files of a bucket, in which commands are told where these lie."""
    for name in ("results/local.txt", "workflow/notebooks/figure.ipynb", f"{INSIDE}/results/bank.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    for name, value in prepare("s3://bucket/x/", INSIDE, ["results/tiny", "results/tiny/logs"], Settings()).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_paths_are_those_of_a_local_run(folder: Path) -> None:
    words = [
        f"{INSIDE}/results/bank.txt",
        f'{{"bank": ["{INSIDE}/results/bank.txt"]}}',
        "workflow/notebooks/figure.ipynb",
    ]
    assert enter(words) == ["results/bank.txt", '{"bank": ["results/bank.txt"]}', "workflow/notebooks/figure.ipynb"]
    assert Path.cwd() == folder / INSIDE
    assert Path("results/bank.txt").is_file() and Path("workflow/notebooks/figure.ipynb").is_file()
    assert not Path("results/local.txt").exists()  # what lies in the bucket is not mixed with what lies here
    assert enter(["results/bank.txt"]) == ["results/bank.txt"]  # as a process does that a command started
    assert Path("results/bank.txt").is_file()
    assert plain(f"echos show {INSIDE}/results/bank.txt") == "echos show results/bank.txt"


def test_a_table_of_published_runs_is_found_beside_results_in_a_bucket(folder: Path) -> None:
    Path("results/published").mkdir()
    Path("results/published/training.parquet").write_text("here")
    prepare("s3://bucket/x", INSIDE, ["results/tiny"], sources=["results/published/training.parquet"])
    enter([])
    assert Path("results/published/training.parquet").read_text() == "here"
    assert not Path("results/local.txt").exists()


def test_jobs_are_told_the_keys_that_the_plugin_has(folder: Path) -> None:
    told = {name: os.environ.get(name) for name in (ADDRESS, "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID")}
    assert told == {
        ADDRESS: "s3://bucket/x",
        "AWS_ENDPOINT_URL_S3": "http://s3.example.org",
        "AWS_ACCESS_KEY_ID": "key",
    }
    assert prepare("s3://bucket/x", INSIDE, ["results"], None).keys() == {
        ADDRESS,
        FOLDER,
    }  # others come from boto3's own places


def test_what_a_command_records_names_no_folder_of_snakemake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "")  # the folder alone, no bucket to write to
    monkeypatch.setattr("sys.argv", ["echos", "dataset", "digits", "--output", f"{INSIDE}/results/digits.safetensors"])
    assert main() == 0
    assert "snakemake" not in (folder / INSIDE / "results/digits.safetensors").read_bytes()[:4000].decode(
        errors="replace"
    )
    assert not (folder / "results/digits.safetensors").exists()


def test_a_local_run_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert enter(["--output", f"{INSIDE}/results"]) == ["--output", f"{INSIDE}/results"]
    assert Path.cwd() == tmp_path
    with kept_checkpoints([tmp_path]):
        pass


def test_a_bucket_that_cannot_be_read_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EchosError, match=r"s3://bucket/x: cannot be read|need the Python package boto3"):
        listed("results/")


def test_files_of_the_repository_never_lie_in_the_bucket() -> None:
    """An input or output below ROOT says where it lies: it travels with the sources, or it stays on the submitting machine."""
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for _, section in re.findall(
            r"^( {4}| {8})(?:input|output):\n((?:\1 {4}.*\n)+)", path.read_text(), re.MULTILINE
        ):
            bare = re.sub(r"(source|local)\(ROOT / ", "(", section)
            assert "ROOT" not in bare and "NOTEBOOK," not in bare, f"{path.name}: {section}"
