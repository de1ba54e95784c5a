"""The hub: kernels fetched by range requests from servers that answer them, refuse them, break off or change their mind."""

import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from neural_echos.design.inputs import Input
from neural_echos.errors import EchosError
from neural_echos.files import read_json, sha256, write_text
from neural_echos.inputs import fetch
from neural_echos.inputs.hub import Part, choose, download_kernels, plan
from neural_echos.inputs.remote import HubError, Patience, WholeNeededError
from neural_echos.kernels import bank_from_checkpoint

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"
REAL = WEIGHTS / "mcunet_in3_imagenet.safetensors"
needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="needs the data folder beside the checkout (../shared/data)"
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "timm/thing.in1k"
QUICK = Patience(retries=2, pause=0.01, timeout=5.0)


class Hub(ThreadingHTTPServer):
    """A hub with one repository: the files of a folder, under every revision that is `main` or COMMIT."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.mode = ""  # how it misbehaves
        self.asked: list[str] = []  # ranges, in the order of the requests
        self.seconds = 0.0  # how long each range takes
        self.tokens: set[str | None] = set()
        self.demands = ""  # the token without which it gives nothing
        self.storage = ""  # address that files are redirected to

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        sent = self.headers["Authorization"]
        if "/resolve/" in self.path:  # the client asks some things of its own, which need no token
            self.server.tokens.add(sent)
        if self.server.demands and sent != f"Bearer {self.server.demands}":  # as huggingface.co answers
            told = "Invalid credentials in Authorization header" if sent else "Repository not found"
            code = {} if sent else {"X-Error-Code": "RepoNotFound"}
            return self.send(401, f"{told}: {sent}".encode(), {"X-Error-Message": told} | code)
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if not found or found[1] != REPOSITORY:
            return self.refuse(404, "RepoNotFound")
        if found[2] not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound")
        if not (path := self.server.folder / found[3]).is_file():
            return self.refuse(404, "EntryNotFound")
        content = path.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        if self.server.mode == "git etag":
            etag = etag[:40]
        if self.server.storage:
            told = {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            return self.send(302, b"", {"Location": self.server.storage + self.path, **told})
        if self.server.mode == "storage":
            etag = "of-the-storage"
        if not body:
            return self.send(200, b"", {"ETag": f'"{etag}"', "Content-Length": str(len(content))})
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        if asked is None or self.server.mode == "refuse":
            return self.send(200, content, {"ETag": f'"{etag}"'})
        count = len(self.server.asked)
        self.server.asked.append(self.headers["Range"])
        time.sleep(self.server.seconds)
        if self.server.mode == "busy" and count == 2:
            return self.send(429, b"", {"Retry-After": "1"})
        if self.server.mode == "down":
            return self.send(503, b"", {})
        if self.server.mode == "forbid" and count >= 2:
            return self.send(403, b"", {})
        if self.server.mode == "change" and count >= 4:
            etag = "f" * 64
        start, end = int(asked[1]), int(asked[2]) + 1
        part, told = content[start:end], f"bytes {start}-{end - 1}/{len(content)}"
        if self.server.mode == "shift" and count >= 2:
            told = f"bytes {start + 1}-{end}/{len(content)}"
        breaks = {"break once": count == 3, "break": count >= 3}.get(self.server.mode, False)
        self.send(206, part, {"ETag": f'"{etag}"', "Content-Range": told}, broken=breaks)

    def send(self, status: int, body: bytes, headers: dict[str, str], *, broken: bool = False) -> None:
        self.send_response(status)
        for name, value in ({"X-Repo-Commit": COMMIT, "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if broken else body)
        self.close_connection = self.close_connection or broken

    def refuse(self, status: int, code: str) -> None:
        self.send(status, b"", {"X-Error-Code": code})

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that serves a small file, its client pointed at it."""
    from huggingface_hub import constants

    folder = tmp_path / "served"
    folder.mkdir()
    save_file(made(), folder / "model.safetensors")
    with Hub(folder) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running
        running.shutdown()
        thread.join()


def made() -> dict[str, np.ndarray]:
    """Six depthwise layers far apart, a regular one, and what is no kernel."""
    rng = np.random.default_rng(0)
    tensors = {f"stages.{i}.dw.weight": rng.standard_normal((8, 1, 7, 7), np.float32) for i in range(6)}
    tensors |= {f"stages.{i}.mlp.weight": rng.standard_normal((40, 40), np.float32) for i in range(6)}
    return tensors | {
        "stem.weight": rng.standard_normal((8, 3, 4, 4), np.float32),
        "head.weight": rng.standard_normal((1000, 40), np.float32),
    }


def get(hub: Hub, output: Path, **options: Any) -> Part:
    return download_kernels(REPOSITORY, "model.safetensors", output, patience=QUICK, connections=1, **options)


def names_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


# A part is what the whole file holds


def test_the_kernels_are_the_whole_files_byte_for_byte(tmp_path, hub):
    part = get(hub, tmp_path / "out" / "x.safetensors")
    tensors, whole = load_file(tmp_path / "out" / "x.safetensors"), made()
    assert set(tensors) == {key for key in whole if "dw" in key or "stem" in key}
    assert all(tensors[key].tobytes() == whole[key].tobytes() for key in tensors)
    assert part.moved == part.needed < 20_000 < part.whole
    assert part.revision == COMMIT
    assert part.etag == sha256(hub.folder / "model.safetensors")
    assert names_under(tmp_path / "out") == ["x.safetensors"]
    with safe_open(tmp_path / "out" / "x.safetensors", framework="numpy") as file:
        assert file.metadata() == {
            "repository": REPOSITORY,
            "file": "model.safetensors",
            "revision": COMMIT,
            "etag": part.etag,
            "header_sha256": part.header_sha256,
            "kinds": "depthwise regular",
        }


@needs_weights
@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda path: path.name)
def test_a_bank_from_the_kernels_is_the_whole_files(tmp_path, hub, path):
    shutil.copy(path, hub.folder / "model.safetensors")
    part = download_kernels(REPOSITORY, "model.safetensors", tmp_path / "x.safetensors", patience=QUICK)
    assert bank_from_checkpoint(tmp_path / "x.safetensors", "m").equals(bank_from_checkpoint(path, "m"))
    whole, tensors = load_file(path), load_file(tmp_path / "x.safetensors")
    assert len(tensors) == part.tensors
    assert all(tensors[key].tobytes() == whole[key].tobytes() for key in tensors)


def test_depthwise_kernels_alone_make_a_bank_without_regular_ones(tmp_path, hub):
    from neural_echos.kernels import Layer

    get(hub, tmp_path / "x.safetensors", kinds=("depthwise",))
    assert not [key for key in load_file(tmp_path / "x.safetensors") if "stem" in key]
    layers = [Layer("stem", "regular", 0, 0.0, 4, 4), Layer("stages.0.dw", "depthwise", 0, 0.0, 7, 7)]
    assert bank_from_checkpoint(tmp_path / "x.safetensors", "m", layers=layers)["layer"].unique().to_pylist() == [
        "stages.0.dw"
    ]


def test_integers_bring_their_scales(tmp_path, hub):
    tensors = {
        "a.weight": np.arange(-36, 36, dtype=np.int8).reshape(8, 1, 3, 3),
        "a.weight_scale": np.linspace(0.1, 0.8, 8, dtype=np.float32),
        "a.weight_zero_point": np.zeros(8, np.int8),
        "far": np.zeros(5000, np.float32),
        "b.weight_scale": np.ones(8, np.float32),
    }
    save_file(tensors, hub.folder / "model.safetensors")
    get(hub, tmp_path / "x.safetensors")
    assert set(load_file(tmp_path / "x.safetensors")) == {"a.weight", "a.weight_scale", "a.weight_zero_point"}
    expected = bank_from_checkpoint(hub.folder / "model.safetensors", "m")
    assert bank_from_checkpoint(tmp_path / "x.safetensors", "m").equals(expected)


def test_requests_join_neighbours_and_split_what_is_long():
    def entry(start: int, end: int) -> dict[str, Any]:
        return {"dtype": "U8", "shape": [end - start, 1, 1, 2], "data_offsets": [start, end]}

    spans = [(0, 100), (100, 200), (4000, 4100), (100_000, 20_000_000)]
    piece = 8 << 20
    assert plan({str(i): entry(*span) for i, span in enumerate(spans)}) == [
        (0, 4100),
        (100_000, 100_000 + piece),
        (100_000 + piece, 100_000 + 2 * piece),
        (100_000 + 2 * piece, 20_000_000),
    ]
    header = {
        "late.weight": entry(9000, 9100),
        "early.weight": entry(0, 100),
        "bias": {**entry(200, 300), "shape": [100]},
    }
    assert choose(header) == ["early.weight", "late.weight"]


@pytest.mark.parametrize("token", [None, "hf_secret"])
def test_the_token_goes_to_the_hub(tmp_path, hub, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    get(hub, tmp_path / "x.safetensors")
    assert hub.tokens == {f"Bearer {token}" if token else None}


def test_a_file_in_another_storage_is_read_there_without_the_token(tmp_path, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with Hub(hub.folder) as storage:
        threading.Thread(target=storage.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        storage.mode, hub.storage = "storage", storage.endpoint
        part = get(hub, tmp_path / "x.safetensors", revision=COMMIT)
        storage.shutdown()
    assert (hub.tokens, storage.tokens) == ({"Bearer hf_secret"}, {None})
    assert (hub.asked, len(storage.asked)) == ([], 9)
    assert part.etag == sha256(hub.folder / "model.safetensors")
    assert len(load_file(tmp_path / "x.safetensors")) == 7


# What goes wrong on the way


@pytest.mark.parametrize("mode", ["break once", "busy"])
def test_a_passing_failure_is_tried_again(tmp_path, hub, mode, caplog):
    hub.mode = mode
    start = time.monotonic()
    get(hub, tmp_path / "x.safetensors")
    assert len(load_file(tmp_path / "x.safetensors")) == 7
    assert len(hub.asked) == len(set(hub.asked)) + 1
    found = {"break once": "a connection that broke off", "busy": "HTTP 429 Too Many Requests; trying again in 1 s"}[
        mode
    ]
    assert found in caplog.text
    assert mode != "busy" or time.monotonic() - start >= 1  # Retry-After


@pytest.mark.parametrize(
    ("mode", "expected", "requests"),
    [
        ("break", "gave a connection that broke off", 3 + 3),
        ("down", "gave HTTP 503 Service Unavailable", 3),
        ("forbid", "gave HTTP 403 Forbidden", 2 + 1),
        ("change", "changed while it was read (ETag ffff", 4 + 1),
        ("shift", "changed while it was read (ETag", 2 + 1),
    ],
)
def test_a_lasting_failure_is_told_and_leaves_no_file(tmp_path, hub, mode, expected, requests):
    hub.mode = mode
    with pytest.raises(HubError, match=re.escape(expected)):
        get(hub, tmp_path / "out" / "x.safetensors")
    assert len(hub.asked) == requests
    assert not (tmp_path / "out" / "x.safetensors").exists()
    assert (tmp_path / "out" / ".x.safetensors.part").exists() == (mode not in ("change", "shift"))


def test_what_has_arrived_is_not_fetched_again(tmp_path, hub):
    hub.mode = "break"
    with pytest.raises(HubError):
        get(hub, tmp_path / "x.safetensors")
    arrived, hub.mode, hub.asked = set(hub.asked[:3]), "", []
    part = get(hub, tmp_path / "x.safetensors")
    assert not arrived & set(hub.asked)
    assert 0 < part.moved < part.needed
    assert len(load_file(tmp_path / "x.safetensors")) == part.tensors == 7
    assert not (tmp_path / ".x.safetensors.part").exists()


def test_a_part_that_is_fetched_several_times_at_once_is_whole(tmp_path, hub):
    hub.seconds = 0.01
    for round_ in range(3):
        output = tmp_path / str(round_) / "x.safetensors"
        with ThreadPoolExecutor(4) as pool:
            parts = [found.result() for found in [pool.submit(get, hub, output) for _ in range(4)]]
        assert {part.tensors for part in parts} == {7}
        assert len(load_file(output)) == 7
        assert [path.name for path in output.parent.iterdir()] == ["x.safetensors"]


def test_what_has_arrived_of_another_file_is_thrown_away(tmp_path, hub):
    hub.mode = "break"
    with pytest.raises(HubError):
        get(hub, tmp_path / "x.safetensors")
    hub.mode = ""
    newer = {key: value + 1 for key, value in made().items()}
    save_file(newer, hub.folder / "model.safetensors")
    part = get(hub, tmp_path / "x.safetensors")
    assert part.moved == part.needed
    assert all((newer[key] == value).all() for key, value in load_file(tmp_path / "x.safetensors").items())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"repository": "timm/gone.in1k"}, "timm/gone.in1k is not there: it vanished, was renamed, or is private"),
        ({"revision": "f" * 40}, f"has no revision {'f' * 40}"),
        ({"file": "other.safetensors"}, "has no file other.safetensors at revision main"),
        ({"sha256": "0" * 64}, "where 000000000000… was expected"),
        ({"size": 5}, "bytes where 5 were expected"),
        ({"endpoint": "http://127.0.0.1:9"}, "gave no connection"),
    ],
)
def test_what_is_not_on_the_hub_is_told(tmp_path, hub, options, expected):
    wanted = {"repository": REPOSITORY, "file": "model.safetensors"} | options
    with pytest.raises(HubError, match=re.escape(expected)) as caught:
        download_kernels(output=tmp_path / "out" / "x.safetensors", patience=QUICK, **wanted)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, WholeNeededError)
    assert names_under(tmp_path / "out") == []


@pytest.mark.parametrize(
    "content",
    [
        b"short",
        b"\xff" * 100,
        (20).to_bytes(8, "little") + b'{"a": 1}            ' + b"x" * 80,
        (2).to_bytes(8, "little") + b"[]",
        (80).to_bytes(8, "little")
        + json.dumps({"a": {"dtype": "F32", "shape": [2, 1, 3, 3], "data_offsets": [0, 99]}}).ljust(80).encode(),
        (80).to_bytes(8, "little")
        + json.dumps({"a": {"dtype": "F32", "shape": [2, 1, 3, 3], "data_offsets": [0, 8]}}).ljust(80).encode()
        + b"x" * 8,
    ],
)
def test_what_is_no_safetensors_file_is_told(tmp_path, hub, content):
    (hub.folder / "model.safetensors").write_bytes(content)
    with pytest.raises(HubError, match=r"no safetensors file|do not fit their header"):
        get(hub, tmp_path / "out" / "x.safetensors")
    assert names_under(tmp_path / "out") == []


def test_a_file_without_kernels_is_told(tmp_path, hub):
    save_file({"head.weight": np.ones((3, 3), np.float32)}, hub.folder / "model.safetensors")
    with pytest.raises(HubError, match=r"has no depthwise kernels larger than 1×1 in model\.safetensors"):
        get(hub, tmp_path / "x.safetensors", kinds=("depthwise",))


# As a declared input


def declared(**changes: Any) -> Input:
    fields = {"kind": "hub", "file": "weights/thing.safetensors", "hub": REPOSITORY, "sha256": None, "bytes": None}
    about = {"id": "thing", "origin": "somewhere", "licence": "CC0", "citation": "Someone 2020", "part": "kernels"}
    return Input(**{**fields, **about, **changes})


def test_a_declared_part_is_fetched_and_recorded(tmp_path, hub, caplog):
    caplog.set_level(logging.INFO)
    facts = fetch(declared(), tmp_path / "x.safetensors", pause=0.01)
    whole = hub.folder / "model.safetensors"
    assert facts["source"] == f"hub: {REPOSITORY}@{COMMIT}"
    assert (facts["part"], facts["why_whole"], facts["etag"]) == ("kernels", None, sha256(whole))
    assert facts["sha256"] == sha256(tmp_path / "x.safetensors") != facts["etag"]
    assert facts["bytes"] == (tmp_path / "x.safetensors").stat().st_size < facts["moved_bytes"] + 1000
    assert f"pin revision {COMMIT} and the etag" in caplog.text
    pinned = declared(revision=COMMIT, sha256=facts["etag"], bytes=whole.stat().st_size)
    assert fetch(pinned, tmp_path / "y.safetensors", [tmp_path / "empty"])["sha256"] == facts["sha256"]


def test_a_mirror_gives_the_whole_file(tmp_path, hub):
    whole = hub.folder / "model.safetensors"
    item = declared(file="model.safetensors", sha256=sha256(whole), bytes=whole.stat().st_size)
    facts = fetch(item, tmp_path / "x.safetensors", [hub.folder])
    assert (facts["part"], facts["why_whole"]) == ("whole", "a mirror folder holds it")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("mode", "changes", "expected"),
    [
        ("refuse", {}, f"the hub repository {REPOSITORY} answers no range requests"),
        (
            "",
            {"hub_file": "pytorch_model.bin", "file": "thing.bin"},
            "pytorch_model.bin has no header that says where its tensors lie",
        ),
        ("git etag", {"sha256": "whole"}, "has an ETag that is no SHA-256 to compare with the declared one"),
    ],
)
def test_where_only_the_whole_will_do_it_is_fetched_and_told(tmp_path, hub, caplog, mode, changes, expected):
    hub.mode = mode
    whole = hub.folder / "model.safetensors"
    (hub.folder / "pytorch_model.bin").write_bytes(whole.read_bytes())
    item = declared(**{key: sha256(whole) if value == "whole" else value for key, value in changes.items()})
    facts = fetch(item, tmp_path / "out" / "x.safetensors", pause=0.01)
    assert (tmp_path / "out" / "x.safetensors").read_bytes() == whole.read_bytes()
    assert (facts["part"], facts["revision"], facts["moved_bytes"]) == ("whole", COMMIT, None)
    assert expected in facts["why_whole"]
    assert expected in caplog.text
    assert names_under(tmp_path / "out") == ["x.safetensors"]


@pytest.mark.parametrize("part", ["whole", "kernels"])
def test_a_vanished_repository_is_one_sentence(tmp_path, hub, part):
    with pytest.raises(EchosError) as caught:
        fetch(declared(hub="timm/gone.in1k", part=part), tmp_path / "out" / "x.safetensors", pause=0.01)
    assert "the hub repository timm/gone.in1k is not there" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names_under(tmp_path / "out") == []


def typed(folder: Path, hub: Hub, output: Path, **changes: Any) -> tuple[list[str], dict[str, str]]:
    """`echos fetch` as a rule runs it, and its environment, in which nobody is logged in."""
    inputs = folder / "config" / "inputs.yaml"
    inputs.parent.mkdir(parents=True)
    inputs.write_text(yaml.safe_dump({"thing": {k: v for k, v in vars(declared(**changes)).items() if k != "id"}}))
    command = [
        sys.executable,
        "-m",
        "neural_echos",
        "fetch",
        "thing",
        "--declared",
        str(inputs),
        "--output",
        str(output),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "home")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2] / "src")
    return command, environment


@needs_weights
def test_a_killed_command_moves_only_what_was_missing(tmp_path, hub):
    """The command as a rule runs it, killed midway: the second run asks for the rest, and the result is the whole file's."""
    shutil.copy(REAL, hub.folder / "model.safetensors")
    output = tmp_path / "out" / "x.safetensors"
    command, environment = typed(tmp_path, hub, output)
    hub.seconds = 0.3
    run = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while len(hub.asked) < 10:
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    arrived = {
        f"bytes={start}-{int(end) - 1}"
        for start, _, end in (
            path.name.partition("-") for path in (output.parent / ".x.safetensors.part").glob("[0-9]*")
        )
        if end
    }
    assert len(arrived) >= 5
    hub.seconds, hub.asked = 0.0, []
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not arrived & set(hub.asked)
    facts = read_json(f"{output}.json")
    assert facts["moved_bytes"] < facts["bytes"]
    assert bank_from_checkpoint(output, "m").equals(bank_from_checkpoint(REAL, "m"))
    assert names_under(output.parent) == ["x.safetensors", "x.safetensors.json"]


# The token, end to end

TOKEN = "hf_neverToBeSeenAnywhere"


@pytest.mark.parametrize(
    ("given", "part"), [("HF_TOKEN", "kernels"), ("HF_HOME", "whole"), ("HF_TOKEN_PATH", "kernels")]
)
def test_a_token_opens_the_hub_and_is_written_nowhere(tmp_path, hub, given, part):
    hub.demands = TOKEN
    done, output = logged_in(tmp_path, hub, {given: TOKEN}, part)
    assert done.returncode == 0, done.stderr
    assert hub.tokens == {f"Bearer {TOKEN}"}
    kept = {f"stages.{i}.dw.weight" for i in range(6)} | {"stem.weight"}
    assert set(load_file(output)) == (kept if part == "kernels" else set(made()))
    assert read_json(f"{output}.json")["source"] == f"hub: {REPOSITORY}@{COMMIT}"
    assert names_under(output.parent) == ["x.log", "x.safetensors", "x.safetensors.json"]


@pytest.mark.parametrize("part", ["kernels", "whole"])
@pytest.mark.parametrize(
    ("token", "told"), [("hf_another", "refuses your token"), (None, "no token of yours opens it")]
)
def test_a_wrong_or_missing_token_is_one_sentence(tmp_path, hub, token, told, part):
    hub.demands = TOKEN
    done, output = logged_in(tmp_path, hub, {"HF_TOKEN": token} if token else {}, part, debug=False)
    assert done.returncode == 1
    assert re.fullmatch(rf"echos: weights/thing\.safetensors: the input [^\n]*{told}[^\n]*\n", done.stderr)
    assert names_under(output.parent) == ["x.log"]
    assert hub.tokens == {f"Bearer {token}" if token else None}


def logged_in(folder: Path, hub: Hub, tokens: dict[str, str], part: str, *, debug: bool = True) -> Any:
    """Run `echos fetch` with tokens in the environment or in files; none of them may be read anywhere afterwards."""
    output = folder / "out" / "x.safetensors"
    command, environment = typed(folder, hub, output, part=part)
    secret = folder / "secrets" / "token"
    for given, token in tokens.items():
        write_text(secret, f"{token}\n")
        environment[given] = {"HF_TOKEN": token, "HF_HOME": str(secret.parent), "HF_TOKEN_PATH": str(secret)}[given]
    command[3:3] = ["--log", str(output.with_suffix(".log"))]
    done = subprocess.run(
        command,
        env=environment | ({"HF_DEBUG": "1"} if debug else {}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ("authenticated: True" in done.stderr) == debug
    written = [path for path in folder.rglob("*") if path.is_file() and path != secret]
    seen = [done.stdout, done.stderr, *(path.read_bytes().decode(errors="replace") for path in written)]
    assert not [one for one in seen for token in tokens.values() if token in one]
    return done, output
