"""Inputs on the hub as they are declared, and the token from the user's machine to the hub."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hubs import COMMIT, REPOSITORY, WEIGHTS, Hub, made, names_under, needs_weights
from safetensors.numpy import load_file

from neural_echos.design.inputs import Input
from neural_echos.errors import EchosError
from neural_echos.files import read_json, sha256, write_text
from neural_echos.inputs import fetch
from neural_echos.kernels import bank_from_checkpoint

REAL = WEIGHTS / "mcunet_in3_imagenet.safetensors"


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
        ("refuse", {}, f"the Hub repository {REPOSITORY} does not support range requests"),
        (
            "",
            {"hub_file": "pytorch_model.bin", "file": "thing.bin"},
            "pytorch_model.bin has no header that locates its tensors",
        ),
        (
            "git etag",
            {"sha256": "whole"},
            "has an ETag that is not a SHA-256 and cannot be compared with the declared one",
        ),
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
    assert "the Hub repository timm/gone.in1k does not exist" in str(caught.value)
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
@pytest.mark.parametrize(("token", "told"), [("hf_another", "rejects your token"), (None, "your token has no access")])
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
