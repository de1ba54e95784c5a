"""Files inside Python packages: a real pip downloads wheels from an index on localhost, and every way that fails."""

import hashlib
import socket
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from neural_echos.design.inputs import Input, load_inputs
from neural_echos.errors import EchosError
from neural_echos.inputs import NotAtHandError, fetch, packages

WEIGHTS = bytes(range(256)) * 40
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
MEMBER = "some_weights/models/weights.bin"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _wheel(folder: Path, content: bytes = WEIGHTS) -> Path:
    """Write a wheel whose code must never be imported."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "some_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("some_weights/__init__.py"), "raise RuntimeError('imported')")
        archive.writestr(zipfile.ZipInfo(MEMBER), content)
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n",
            "WHEEL": WHEEL,
            "RECORD": "",
        }.items():
            archive.writestr(zipfile.ZipInfo(f"some_weights-1.0.dist-info/{name}"), text)
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve the folder of a package of an index, which pip is set up for by its own environment variables."""
    root = tmp_path / "index"
    (folder := root / "some-weights").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _set_up_pip(monkeypatch, server.server_address[1])
    yield folder
    server.shutdown()
    server.server_close()


def _set_up_pip(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://user:secret@127.0.0.1:{port}/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def item(tmp_path: Path) -> Input:
    """Declare a file that the wheel holds."""
    return Input(
        id="weights",
        kind="package",
        file="weights/weights.bin",
        origin="somewhere",
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        bytes=len(WEIGHTS),
        licence="CC0",
        citation="Someone 2020",
        trained_on="nothing",
        package="some-weights",
        version="1.0",
        member=MEMBER,
        wheel_sha256=hashlib.sha256(_wheel(tmp_path / "made").read_bytes()).hexdigest(),
    )


def test_a_member_comes_from_the_index(index: Path, item: Input, tmp_path: Path) -> None:
    _wheel(index)
    facts = fetch(item, tmp_path / "out" / "weights.bin")
    assert (tmp_path / "out" / "weights.bin").read_bytes() == WEIGHTS
    assert facts["source"] == "package: some-weights 1.0"
    assert facts["sha256"] == item.sha256


def test_a_wheel_in_a_mirror_comes_first(item: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_download", lambda *_: pytest.fail("the index was asked"))
    _wheel(tmp_path / "mirror" / "wheels")
    facts = fetch(item, tmp_path / "weights.bin", [tmp_path / "mirror"])
    assert facts["source"] == "mirror: wheels/some_weights-1.0-py3-none-any.whl"
    assert (tmp_path / "weights.bin").read_bytes() == WEIGHTS


def test_another_wheel_in_a_mirror_is_passed_over(index: Path, item: Input, tmp_path: Path) -> None:
    _wheel(index)
    _wheel(tmp_path / "mirror", b"other")
    assert fetch(item, tmp_path / "weights.bin", [tmp_path / "mirror"])["source"] == "package: some-weights 1.0"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"wheel_sha256": "0" * 64}, "returned a wheel of some-weights 1.0 with another checksum"),
        ({"version": "2.0"}, "has no wheel of some-weights 2.0"),
        ({"member": "some_weights/absent.bin"}, "a wheel without the member some_weights/absent.bin"),
        ({"sha256": "0" * 64}, "the wheel of some-weights 1.0 contains sha256"),
        ({"bytes": 7}, "10,240 bytes instead of 7"),
    ],
)
def test_what_is_wrong_with_a_package_is_one_sentence(
    index: Path, item: Input, tmp_path: Path, changed: dict[str, object], complaint: str
) -> None:
    _wheel(index)
    with pytest.raises(EchosError, match=complaint) as caught:
        fetch(item.model_copy(update=changed), tmp_path / "weights.bin")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert not isinstance(caught.value, NotAtHandError)
    assert not (tmp_path / "weights.bin").exists()


def test_an_index_that_refuses_is_told_apart(item: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        _set_up_pip(monkeypatch, closed.getsockname()[1])
        with pytest.raises(NotAtHandError, match="the package index configured for pip does not respond") as caught:
            fetch(item, tmp_path / "weights.bin")
    assert "put the file or its wheel in a mirror folder" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_python_without_pip_is_told(item: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    with pytest.raises(EchosError, match="this Python has no pip to download it with"):
        fetch(item, tmp_path / "weights.bin")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("version", None, "version' must be given, because the kind package has it"),
        ("wheel_sha256", "abc", "wheel_sha256"),
        ("url", "https://example.org/file", "because the kind package has no url"),
        ("sha256", None, "only the kind hub can omit it"),
        ("kind", "file", "must be omitted, because only the kind package has it"),
    ],
)
def test_declarations_of_packages_are_checked(
    item: Input, tmp_path: Path, key: str, value: str | None, complaint: str
) -> None:
    declared = {name: one for name, one in item.model_dump().items() if one is not None and name != "id"} | {key: value}
    path = tmp_path / "inputs.yaml"
    path.write_text(yaml.safe_dump({"weights": declared}), encoding="utf-8")
    with pytest.raises(EchosError, match=complaint):
        load_inputs(path)
