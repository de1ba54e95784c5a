"""Security: nothing that is fetched runs, nothing small fills the memory, no secret is told, and readers survive any bytes."""

import json
import pickle
import re
import resource
import shlex
import tarfile
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from dry_runs import dry_run
from neural_echos import commands
from neural_echos.design.checked import check, load_artifacts
from neural_echos.design.claims import with_papers_claims
from neural_echos.design.inputs import DeclaredInputs
from neural_echos.design.load import check_config
from neural_echos.design.references import check_references
from neural_echos.design.yaml import merge, read_yaml
from neural_echos.errors import EchosError
from neural_echos.files import read_json
from neural_echos.kernels import bank_from_checkpoint

ROOT = Path(__file__).resolve().parents[1]
GIGABYTE = 1 << 30


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let this process have two gigabytes more than it has: what asks for more fails at once."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * GIGABYTE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


# Code in files --------------------------------------------------------------------------------------------------------


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "command",
    [
        "extract {} --model m --output x",
        "show {} --output x.png",
        "fit {} --output x",
        "cluster {} --centroids c --output x",
        "match {} --output x",
        "patterns {} --centroids c --output x",
        "scales {} --spread s --output x",
        "dataset archive --train {} --output x",
        "dataset parquet --train {} --test {} --output x",
        "signals resnet18 --data {} --initialisations {{}} --seeds 0 --dataset d --architecture a --output x",
        "render {} --output x --rendered r --draft d",
        "structure @{} --output x",
        "fetch a --declared {} --output x",
        "verdicts [] --runs {} --scale s --output x",
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors", "parquet"])
def test_a_pickle_is_opened_by_no_command(tmp_path, monkeypatch, command, suffix) -> None:
    monkeypatch.chdir(tmp_path)
    file, touched = tmp_path / f"bomb.{suffix}", tmp_path / "touched"
    file.write_bytes(pickle.dumps({"a.weight": Bomb(touched)}))
    assert commands.main(command.format(file, file).split()) == 1
    assert not touched.exists() and not list(tmp_path.glob("x*"))


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system ['touch touched']", "!!python/name:os.system", "!x y"]
)
def test_yaml_makes_no_objects(tmp_path, text) -> None:
    (tmp_path / "a.yaml").write_text(f"a: {text}\n")
    with pytest.raises(EchosError, match=r"a\.yaml:1: not valid YAML: could not determine a constructor"):
        read_yaml(tmp_path / "a.yaml")


def test_the_notebooks_kernel_listens_to_this_user_only(tmp_path) -> None:
    told = tmp_path / "told.json"
    code = (
        f"import ipykernel, os, pathlib, shutil; f = ipykernel.get_connection_file(); shutil.copy2(f, {str(told)!r})\n"
        f"pathlib.Path({str(tmp_path / 'mode')!r}).write_text(oct(os.stat(os.path.dirname(f)).st_mode & 0o777))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    places = ["--output", "x", "--rendered", str(tmp_path / "r.ipynb"), "--draft", str(tmp_path / "d.ipynb")]
    assert commands.main(["render", str(tmp_path / "a.ipynb"), *places]) == 0
    assert read_json(told)["transport"] == "ipc"  # sockets, in a folder that only this user can enter
    assert (tmp_path / "mode").read_text() == "0o700"
    assert len(read_json(told)["key"]) > 30  # messages are signed
    assert told.stat().st_mode & 0o077 == 0  # and only this user reads the key


# Files that lie about their size --------------------------------------------------------------------------------------


def inflated(how: str, path: Path) -> None:
    """Write a checkpoint of a few bytes that says it holds gigabytes."""
    import torch

    class Bytes:
        def __reduce__(self) -> tuple[Any, ...]:
            return (bytearray, (3 * GIGABYTE,))

    old = {"_use_new_zipfile_serialization": False}
    if how == "strides":
        torch.save({"a.weight": torch.zeros(1).as_strided((1 << 14, 1, 512, 512), (0, 0, 0, 0))}, path)
    elif how == "no storage":
        torch.save({"a.weight": torch.zeros(1 << 14, 1, 512, 512, device="meta")}, path)
    elif how.startswith("byte array"):
        torch.save({"a": Bytes()}, path, **(old if "old" in how else {}))
    elif how == "compressed":
        torch.save({"a.weight": torch.zeros(64, 1, 256, 256)}, path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        entry = {"dtype": "F32", "shape": [1 << 20, 1, 64, 64], "data_offsets": [0, 1 << 34]}
        header = json.dumps({"a.weight": entry}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("strides", r"the tensors claim 17,179,869,184 bytes, the file has [\d,]+; save them with \.clone\(\)"),
        ("no storage", "there are no convolutions with kernels larger than 1×1"),
        ("byte array", "this file contains byte arrays, which are not read; save the weights"),
        ("byte array, old", "this file contains byte arrays, which are not read; save the weights"),
        ("compressed", "the archive is compressed, which torch.save never does; save the weights"),
        ("header", "the file is incomplete; fetch it again"),
    ],
)
def test_a_small_checkpoint_does_not_fill_the_memory(tmp_path, little_memory, how, told) -> None:
    path = tmp_path / ("a.safetensors" if how == "header" else "a.pth")
    inflated(how, path)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(EchosError, match=rf"^[^\n]*a\.(pth|safetensors): {told}[^\n]*$"):
        bank_from_checkpoint(path, "m")


def bombs() -> dict[str, str]:
    lists = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    merges = "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], z{i}: 1}}\n" for i in range(1, 12))
    return {
        "lists": f"a0: &a0 [x, x]\n{lists}",
        "merges": f"a0: &a0 {{p: 1}}\n{merges}",
        "itself": "a: &a [*a]\n",
        "deep": "a: " + "[" * 2_000,
        "digits": "a: " + "1" * 5000,
        "month": "a: 2001-99-99\n",
        "list as key": "? [1, 2]\n: 3\n",
    }


@pytest.mark.parametrize("name", bombs())
def test_a_small_config_does_not_fill_the_memory(tmp_path, little_memory, name) -> None:
    (tmp_path / "a.yaml").write_text(bombs()[name])
    with pytest.raises(EchosError, match=r"^[^\n]*a\.yaml(:\d+)?: not valid YAML: [^\n]*; [^\n]*$"):
        read_yaml(tmp_path / "a.yaml")


def test_members_of_an_archive_stay_in_it_and_are_no_larger_than_a_data_set(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(member: tarfile.TarInfo, content: bytes = b"") -> str:
        from neural_echos.datasets.archives import read_archive

        with tarfile.open("cifar.tar.gz", "w:gz") as archive:
            archive.addfile(member, BytesIO(content))
        with pytest.raises(EchosError) as caught:
            read_archive(["cifar.tar.gz"])
        assert [path.name for path in tmp_path.iterdir()] == ["cifar.tar.gz"]
        return str(caught.value)

    for name in ("../outside", "/outside", "cifar-10-batches-bin/../../outside"):
        refuse(tarfile.TarInfo(name))
    link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    assert "test_batch.bin is a link or a folder" in refuse(link)
    large = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    large.size = 1 << 28
    assert "is 268,435,456 bytes and not a file" in refuse(large, bytes(1 << 28))


# Shells ---------------------------------------------------------------------------------------------------------------


INPUTS, ARTIFACTS = read_yaml(ROOT / "config/inputs.yaml"), load_artifacts(ROOT)


HOSTILE = "x'; touch touched; echo \"$(touch touched)` touch touched`"


def strings(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every text of a config stands."""
    if isinstance(value, str):
        yield place
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from strings(item, (*place, key))


def with_hostile(config: dict[str, Any]) -> tuple[dict[str, Any], set[Any]]:
    """Put hostile text wherever the schema lets any text be, and tell where."""
    taken: set[Any] = set()
    tried: set[tuple[Any, ...]] = set()
    for place in list(strings(config)):
        kind = tuple("#" if isinstance(part, int) else part for part in place)
        if kind in tried or place[0] == "pathvars":
            continue
        tried.add(kind)
        *above, last = place
        holder = config
        for part in above:
            holder = holder[part]
        before, holder[last] = holder[last], HOSTILE
        try:
            check_references(check_config(config, ARTIFACTS), inputs=INPUTS, artifacts=ARTIFACTS)
            taken.add(kind)
        except EchosError:
            holder[last] = before
    return config, taken


def test_no_text_of_a_config_reaches_a_shell_unquoted(tmp_path) -> None:
    written = merge(read_yaml(ROOT / f"config/{name}.yaml") for name in ("config", "presets/tiny"))
    config, taken = with_hostile(with_papers_claims(written, ROOT / "config/claims.yaml"))
    assert {("scale",), ("mirrors", "#"), ("claims", "#", "statement")} <= taken
    config["pathvars"] = {
        name: f"{tmp_path}/a 'b $(touch touched)/{name}" for name in ("results", "logs", "benchmarks")
    }
    (tmp_path / "hostile.yaml").write_text(yaml.safe_dump(config))
    code, told = dry_run("-p", "--quiet", "host", "--configfile", tmp_path / "hostile.yaml")
    assert code == 0, told
    commands = re.findall(r"^ *(?:Shell command: )?(python -m neural_echos .*)$", told, re.MULTILINE)
    assert len(commands) > 10 and sum("touch touched" in one for one in commands) > 2
    for one in commands:
        words = list(shlex.shlex(one, posix=True, punctuation_chars=True))
        assert not {";", "touch", "touched", "`touch"} & set(words), one


# Secrets --------------------------------------------------------------------------------------------------------------


def test_a_token_and_signed_addresses_are_in_no_message(monkeypatch) -> None:
    from neural_echos.inputs import hub

    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    for text in (
        "401 for Authorization: Bearer hf_verysecret",
        "403 for url 'https://cdn.example/file?X-Amz-Signature=signed&Expires=9' (Request ID: 1)",
    ):
        told = hub.explain(OSError(text), "a/b", "model.safetensors", None)
        assert "hf_verysecret" not in told and "signed" not in told
        assert "OSError" in told and ("cdn.example/file" in told or "401" in told)


def test_a_url_with_a_password_is_refused() -> None:
    declared = {"file": "a.txt", "origin": "o", "sha256": "0" * 64, "bytes": 1, "licence": "l", "citation": "c"}
    assert check({"a": declared | {"url": "https://host/a@1/b.txt"}}, DeclaredInputs)
    with pytest.raises(EchosError, match=r"'a\.url' must be text of the form"):
        check({"a": declared | {"url": "https://me:secret@host/b.txt"}}, DeclaredInputs)
