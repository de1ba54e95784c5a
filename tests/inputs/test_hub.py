"""The hub: kernels fetched by range requests from servers that answer them, refuse them, break off or change their mind."""

import json
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hubs import COMMIT, REPOSITORY, WEIGHTS, Hub, made, names_under, needs_weights
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from neural_echos.files import sha256
from neural_echos.inputs.hub import Part, choose, download_kernels, plan
from neural_echos.inputs.remote import HubError, Patience, WholeNeededError
from neural_echos.kernels import bank_from_checkpoint

QUICK = Patience(retries=2, pause=0.01, timeout=5.0)


def get(hub: Hub, output: Path, **options: Any) -> Part:
    return download_kernels(REPOSITORY, "model.safetensors", output, patience=QUICK, connections=1, **options)


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
    found = {"break once": "an interrupted connection", "busy": "HTTP 429 Too Many Requests; retrying in 1 s"}[mode]
    assert found in caplog.text
    assert mode != "busy" or time.monotonic() - start >= 1  # Retry-After


@pytest.mark.parametrize(
    ("mode", "expected", "requests"),
    [
        ("break", "returned an interrupted connection", 3 + 3),
        ("down", "returned HTTP 503 Service Unavailable", 3),
        ("forbid", "returned HTTP 403 Forbidden", 2 + 1),
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
        ({"repository": "timm/gone.in1k"}, "timm/gone.in1k does not exist: it was removed or renamed, or is private"),
        ({"revision": "f" * 40}, f"has no revision {'f' * 40}"),
        ({"file": "other.safetensors"}, "has no file other.safetensors at revision main"),
        ({"sha256": "0" * 64}, "instead of 000000000000…"),
        ({"size": 5}, "bytes instead of 5"),
        ({"endpoint": "http://127.0.0.1:9"}, "returned no connection"),
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
    with pytest.raises(HubError, match=r"not a safetensors file|do not match their header"):
        get(hub, tmp_path / "out" / "x.safetensors")
    assert names_under(tmp_path / "out") == []


def test_a_file_without_kernels_is_told(tmp_path, hub):
    save_file({"head.weight": np.ones((3, 3), np.float32)}, hub.folder / "model.safetensors")
    with pytest.raises(HubError, match=r"has no depthwise kernels larger than 1×1 in model\.safetensors"):
        get(hub, tmp_path / "x.safetensors", kinds=("depthwise",))
