"""Declared inputs: the declaration itself, mirrors, downloads from a real server, and every way they fail."""

import hashlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from neural_echos.design.inputs import Input, load_inputs
from neural_echos.errors import EchosError
from neural_echos.files import sha256
from neural_echos.inputs import fetch, mirror_folders

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
GOOD = bytes(range(256)) * 40


def declared(**changes: Any) -> Input:
    fields = {"file": "folder/thing.bin", "sha256": hashlib.sha256(GOOD).hexdigest(), "bytes": len(GOOD)}
    about = {"id": "thing", "origin": "somewhere", "licence": "CC0", "citation": "Someone 2020"}
    return Input(**{**fields, **about, **changes})


ITEM = declared()


class Handler(BaseHTTPRequestHandler):
    """Serves good bytes, wrong ones, a download that breaks off, and errors; counts the requests per path."""

    counts: dict[str, int] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        count = self.counts[self.path] = self.counts.get(self.path, 0) + 1
        if self.path == "/absent" or (self.path == "/busy-once" and count == 1):
            self.send_error(404 if self.path == "/absent" else 503)
            return
        body = {"/wrong": b"x" * len(GOOD), "/short": GOOD[:-1]}.get(self.path, GOOD)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        broken = self.path == "/breaks-off" or (self.path == "/breaks-off-once" and count == 1)
        self.wfile.write(body[: len(body) // 2] if broken else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.counts.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files_under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def complaint(item: Input, output: Path, mirrors: list[Path], **options: float) -> str:
    """Fetch in vain: one sentence, and nothing left behind."""
    before = files_under(output.parent) if output.parent.exists() else []
    with pytest.raises(EchosError) as caught:
        fetch(item, output, mirrors, pause=0.01, **options)
    assert "\n" not in str(caught.value)
    assert (files_under(output.parent) if output.parent.exists() else []) == before
    return str(caught.value)


# The declaration


def test_the_declared_inputs_follow_their_schema():
    inputs = load_inputs(ROOT / "config" / "inputs.yaml")
    assert {item.kind for item in inputs.values()} == {"file", "hub", "package"}
    assert all(item.sha256 and item.bytes for item in inputs.values() if item.kind != "hub")
    assert all(item.trained_on for item in inputs.values() if item.file.startswith("weights/"))
    assert inputs["random_weights_control"].trained_on == "none (random weights)"
    assert [name for name, item in inputs.items() if item.kind == "hub" and item.hub != f"timm/{name}"] == []


def test_every_hub_checkpoint_is_one_that_timm_lists_with_that_licence():
    timm = pytest.importorskip("timm")
    known = set(timm.list_pretrained())
    for name, item in load_inputs(ROOT / "config" / "inputs.yaml").items():
        if item.kind == "hub":
            assert name in known
            assert timm.get_pretrained_cfg(name).license.lower() == item.licence.lower()


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the data folder beside the checkout (../shared/data)")
def test_the_declared_files_are_those_of_the_data_folder():
    inputs = [item for item in load_inputs(ROOT / "config" / "inputs.yaml").values() if item.kind == "file"]
    lines = (line.split() for line in (DATA / "SHA256SUMS").read_text().splitlines())
    listed = {name.removeprefix("./"): digest for digest, name in lines if not name.endswith("README.md")}
    declared = {item.file: item.sha256 for item in inputs}
    assert {name: declared.get(name) for name in listed} == listed
    sizes = {item.file: item.bytes for item in inputs if item.file in listed}
    assert sizes == {file: (DATA / file).stat().st_size for file in sizes}


def test_other_declared_files_have_an_address_or_ship_with_the_repository():
    published = ROOT / "results" / "published"
    for item in load_inputs(ROOT / "config" / "inputs.yaml").values():
        if item.kind == "file" and item.file.startswith("kernels/"):
            assert hashlib.sha256((published / item.file).read_bytes()).hexdigest() == item.sha256
        elif item.kind == "file" and not item.file.startswith(("weights/", "cifar10/", "imagenette64/")):
            assert item.url, item.id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sha256: abc", "'thing.sha256' must be text of the form ^[0-9a-f]{64}$"),
        ("sha256: null", "'thing.sha256' must be a checksum; only the kind hub can omit it"),
        ("bytes: 0", "'thing.bytes' must be at least 1"),
        ("file: ../x", "'thing.file' must be text of the form"),
        ("file: /etc/x", "'thing.file' must be text of the form"),
        ("url: ftp://x/y", "'thing.url' must be text of the form ^https?://"),
        ("hub: a/b", "'thing.hub' must be omitted"),
        ("kind: hub", "'thing.hub' must name a repository"),
        ("part: kernels", "'thing.part' must be whole, because only a file on the Hub can be fetched in part"),
        ("part: kernel", "did you mean 'kernels'?"),
        ("licenze: MIT", "did you mean 'licence'?"),
    ],
)
def test_a_wrong_declaration_is_told_with_its_line(tmp_path, text, expected):
    fields = {"file": "x.bin", "origin": "o", "sha256": "a" * 64, "bytes": "1", "licence": "MIT", "citation": "c"}
    key, _, value = text.partition(": ")
    path = tmp_path / "inputs.yaml"
    path.write_text("\n".join(["thing:", *(f"  {name}: {item}" for name, item in {**fields, key: value}.items())]))
    line = 1 if key == "kind" else 2 + list({**fields, key: value}).index(key)  # a key that is not there: its parent's
    with pytest.raises(EchosError) as caught:
        load_inputs(path)
    assert expected in str(caught.value)
    assert f"inputs.yaml:{line}: " in str(caught.value)


def test_two_inputs_of_one_file_are_refused(tmp_path):
    item = f"{{file: x.bin, origin: o, sha256: '{'0' * 64}', bytes: 1, licence: MIT, citation: c}}"
    (tmp_path / "inputs.yaml").write_text(f"a: {item}\nb: {item}\n")
    with pytest.raises(EchosError, match=r"inputs\.yaml:2: 'b' declares the same file as 'a': x\.bin"):
        load_inputs(tmp_path / "inputs.yaml")


def test_a_file_of_another_format_than_the_hubs_is_refused(tmp_path):
    item = (
        "{kind: hub, hub: a/b, file: x.safetensors, hub_file: pytorch_model.bin, origin: o, sha256: null, bytes: null"
    )
    (tmp_path / "inputs.yaml").write_text(f"a: {item}, licence: MIT, citation: c}}\n")
    with pytest.raises(
        EchosError, match=r"'a\.file' must have the same suffix as its hub_file pytorch_model\.bin; correct it"
    ):
        load_inputs(tmp_path / "inputs.yaml")


# Mirrors


def test_a_mirror_serves_by_name(tmp_path):
    put(tmp_path / "mirror" / ITEM.file, GOOD)
    facts = fetch(ITEM, tmp_path / "out" / "x.bin", [tmp_path / "empty", tmp_path / "mirror"])
    assert (tmp_path / "out" / "x.bin").read_bytes() == GOOD
    assert files_under(tmp_path / "out") == ["x.bin"]
    assert facts["source"] == "mirror: folder/thing.bin"
    assert (facts["sha256"], facts["bytes"], facts["licence"]) == (ITEM.sha256, len(GOOD), "CC0")


def test_a_mirror_serves_by_checksum_and_passes_over_a_wrong_file_of_the_right_name(tmp_path, caplog):
    put(tmp_path / "mirror" / ITEM.file, b"y" * len(GOOD))
    put(tmp_path / "mirror" / "a" / "same-size.bin", b"z" * len(GOOD))
    put(tmp_path / "mirror" / "b" / "renamed.bin", GOOD)
    (tmp_path / "mirror" / "a" / "dangling").symlink_to(tmp_path / "nowhere")
    with caplog.at_level(logging.WARNING):
        facts = fetch(ITEM, tmp_path / "out" / "x.bin", [tmp_path / "mirror"])
    assert facts["source"] == "mirror: b/renamed.bin"
    assert files_under(tmp_path / "out") == ["x.bin"]
    assert [record for record in caplog.messages if "folder/thing.bin is a different file (sha256" in record]


def test_a_mirror_with_only_a_wrong_file_is_no_help(tmp_path):
    put(tmp_path / "mirror" / ITEM.file, b"short")
    said = complaint(ITEM, tmp_path / "out" / "x.bin", [tmp_path / "mirror", tmp_path / "absent"])
    assert "is a different file (5 bytes instead of 10,240)" in said
    assert f"the mirror folder {tmp_path / 'absent'} does not exist" in said
    assert "no url (the file was derived)" in said
    assert "ECHOS_MIRRORS" in said


def test_what_was_at_the_output_stays_when_fetching_fails(tmp_path):
    put(tmp_path / "out" / "x.bin", b"old")
    complaint(ITEM, tmp_path / "out" / "x.bin", [])
    assert (tmp_path / "out" / "x.bin").read_bytes() == b"old"


def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path):
    put(tmp_path / "mirror" / ITEM.file, GOOD)
    put(tmp_path / "out", b"a file where a folder is needed")
    with pytest.raises(EchosError, match=r"the input 'thing' cannot be written here"):
        fetch(ITEM, tmp_path / "out" / "x.bin", [tmp_path / "mirror"])


def test_mirror_folders_come_from_the_environment_first(monkeypatch):
    monkeypatch.setenv("ECHOS_MIRRORS", f"/a{os.pathsep}{os.pathsep}/b")
    assert mirror_folders(["c"]) == [Path("/a"), Path("/b"), Path("c")]
    monkeypatch.delenv("ECHOS_MIRRORS")
    assert mirror_folders() == []


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the data folder beside the checkout (../shared/data)")
def test_a_real_mirror(tmp_path):
    item = load_inputs(ROOT / "config" / "inputs.yaml")["master_key_filters_8"]
    assert fetch(item, tmp_path / "x.txt", [DATA])["source"] == f"mirror: {item.file}"
    assert (
        fetch(item.model_copy(update={"file": "renamed.txt"}), tmp_path / "y.txt", [DATA])["source"]
        == f"mirror: {item.file}"
    )
    assert sha256(tmp_path / "y.txt") == item.sha256


# Downloads


def test_a_download(tmp_path, server):
    facts = fetch(declared(url=f"{server}/good"), tmp_path / "x.bin", [tmp_path])
    assert (tmp_path / "x.bin").read_bytes() == GOOD
    assert (facts["source"], facts["sha256"]) == (f"{server}/good", ITEM.sha256)
    assert files_under(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("path", ["/busy-once", "/breaks-off-once"])
def test_a_passing_failure_is_tried_again(tmp_path, server, path):
    fetch(declared(url=f"{server}{path}"), tmp_path / "x.bin", pause=0.01)
    assert (tmp_path / "x.bin").read_bytes() == GOOD
    assert Handler.counts[path] == 2


@pytest.mark.parametrize(
    ("path", "expected", "requests"),
    [
        ("/wrong", "instead of ", 1),
        ("/short", "10,239 bytes instead of 10,240", 1),
        ("/absent", "HTTP 404 Not Found", 1),
        ("/breaks-off", "an incomplete download", 3),
    ],
)
def test_a_bad_download_is_one_sentence_and_leaves_nothing(tmp_path, server, path, expected, requests):
    said = complaint(declared(url=f"{server}{path}"), tmp_path / "out" / "x.bin", [], retries=2)
    assert f"{server}{path} returned " in said
    assert expected in said
    assert Handler.counts[path] == requests


def test_a_refused_connection_is_one_sentence_and_leaves_nothing(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = complaint(declared(url=f"http://127.0.0.1:{port}/x"), tmp_path / "out" / "x.bin", [], retries=1)
    assert "returned no connection" in said


def test_a_silent_server_is_given_up(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        said = complaint(declared(url=url), tmp_path / "out" / "x.bin", [], retries=0, timeout=0.2)
    assert "no answer within 0.2 s" in said


# The hub


def on_hub(**changes: Any) -> Input:
    fields = {
        "kind": "hub",
        "hub": "timm/thing.in1k",
        "file": "weights/thing.safetensors",
        "sha256": None,
        "bytes": None,
    }
    return declared(**{**fields, **changes})


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch) -> list[tuple[object, ...]]:
    """Stand in for the hub's client: a cache laid out as the real one."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    calls: list[tuple[object, ...]] = []
    cached = put(tmp_path / "cache" / "snapshots" / COMMIT / "model.safetensors", GOOD)

    def download(repository: str, file: str, *, revision: str | None) -> str:
        calls.append((repository, file, revision))
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return calls


def test_a_hub_checkpoint_records_what_it_resolved_to(tmp_path, hub):
    facts = fetch(on_hub(), tmp_path / "x.safetensors")
    assert hub == [("timm/thing.in1k", "model.safetensors", None)]
    assert (facts["sha256"], facts["revision"]) == (ITEM.sha256, COMMIT)
    assert facts["source"] == f"hub: timm/thing.in1k@{COMMIT}"


def test_a_hub_checkpoint_without_a_declared_checksum_is_recorded_with_a_warning(tmp_path, hub, caplog):
    put(tmp_path / "mirror" / on_hub().file, b"never trusted by its name")
    assert fetch(on_hub(), tmp_path / "x.bin", [tmp_path / "mirror"])["sha256"] == ITEM.sha256
    assert any("no checksum is declared" in message for message in caplog.messages)


def test_a_hub_file_in_a_folder_has_the_revision_and_not_the_folder(tmp_path, monkeypatch):
    cached = put(tmp_path / "cache" / "snapshots" / COMMIT / "sub" / "model.safetensors", GOOD)
    monkeypatch.setattr(pytest.importorskip("huggingface_hub"), "hf_hub_download", lambda *_, **__: str(cached))
    assert fetch(on_hub(hub_file="sub/model.safetensors"), tmp_path / "x.safetensors")["revision"] == COMMIT


def test_a_pinned_hub_checkpoint_comes_from_a_mirror_or_from_that_revision(tmp_path, hub):
    pinned = on_hub(revision=COMMIT, sha256=ITEM.sha256, bytes=ITEM.bytes)
    fetch(pinned, tmp_path / "x.safetensors", [tmp_path / "mirror"])
    assert hub == [("timm/thing.in1k", "model.safetensors", COMMIT)]
    put(tmp_path / "mirror" / pinned.file, GOOD)
    facts = fetch(pinned, tmp_path / "y.safetensors", [tmp_path / "mirror"])
    assert (len(hub), facts["source"]) == (1, "mirror: weights/thing.safetensors")


def test_a_hub_checkpoint_of_another_checksum_is_refused(tmp_path, hub):
    said = complaint(on_hub(sha256="0" * 64), tmp_path / "out" / "x.safetensors", [])
    assert "the Hub repository timm/thing.in1k returned sha256" in said


def test_an_unreachable_hub_is_one_sentence(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def download(*_: object, **__: object) -> str:
        raise ConnectionError("offline\nand in two lines")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    said = complaint(on_hub(), tmp_path / "out" / "x.safetensors", [tmp_path])
    assert "failed with ConnectionError (offline and in two lines)" in said
    assert "mirrors not searched (no checksum declared)" in said
    assert "declare its sha256 and bytes in config/inputs.yaml, put the file in a mirror folder" in said
