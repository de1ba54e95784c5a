"""The Hugging Face hub: fetch a whole checkpoint, or of a safetensors file only the tensors that hold kernels.

A safetensors file starts with a header that says where each tensor lies, so HTTP range requests get the kernels and
nothing else: of a ConvNeXt-B, 3.5 MB of 354 MB. huggingface_hub resolves addresses, revisions and the token, and brings the HTTP
client; its own readers of ranges accept any answer, so the answers are checked here: status 206, the range that was
asked for, the ETag of the first answer. What has arrived lies in a folder beside the output until everything has, and is
not fetched again after a kill.
"""

import hashlib
import json
import logging
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, hold, read_json, write_json
from neural_echos.layouts import KINDS, kind_of, parts_by_module, split_name

_LOG = logging.getLogger(__name__)
_PASSING = (408, 429, 500, 502, 503, 504)
_GAP = 4096  # bytes between two tensors that are fetched too, rather than making another request
_PIECE = 8 << 20  # bytes of a request, so that little is lost with a connection
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_LOG_IN = "log in with hf auth login, or put a token in HF_TOKEN"
_Tensors = dict[str, dict[str, Any]]
_T = TypeVar("_T")


class HubError(Exception):
    """Why the hub did not give a file, in words; it becomes part of one sentence."""


class WholeNeededError(HubError):
    """Why only the whole file will do."""


class _ContentError(HubError):
    """The content is of no use, or not all of one file: nothing of it is kept."""


class _PassingError(Exception):
    """What went wrong with a request that may succeed later, after at least `wait` seconds."""

    def __init__(self, found: str, wait: float = 0.0):
        super().__init__(found)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long to go on trying.

    Parameters
    ----------
    retries : int
        Further attempts at a request that broke off, timed out or met a passing error of the server.
    pause : float
        Seconds before the first further attempt; doubled each time, and longer where the server asks for it (Retry-After).
    timeout : float
        Seconds without a byte before a request counts as broken.
    """

    retries: int = 3
    pause: float = 2.0
    timeout: float = 30.0


@dataclass(frozen=True)
class Part:
    """What was fetched of a file.

    `etag` is what the hub calls the content: of a large file its SHA-256. `header_sha256` is the checksum of the whole file's
    header, `needed` and `moved` count bytes of header and tensors and those that came over the line in this call.
    """

    revision: str
    etag: str
    header_sha256: str
    tensors: int
    needed: int
    moved: int
    whole: int


@dataclass
class _Remote:
    """One file at one commit, and what is known of its answers."""

    where: str
    url: str
    headers: dict[str, str]
    revision: str
    etag: str
    size: int
    patience: Patience
    answered: str | None = None  # ETag of answers to range requests: a CDN has its own, and its first answer tells it
    moved: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def download(repository: str, file: str, *, revision: str | None) -> Path:
    """Download a whole file into the hub's cache and return where it lies there; its folder is named after the commit.

    Raises
    ------
    HubError
        It is not there, or could not be fetched.
    """
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
    except Exception as error:  # The client raises its own, the HTTP library's and the system's errors, by version.
        raise HubError(explain(error, repository, file, revision)) from None


def download_kernels(
    repository: str,
    file: str,
    output: str | Path,
    *,
    revision: str | None = None,
    kinds: Sequence[str] = KINDS,
    sha256: str | None = None,
    size: int | None = None,
    endpoint: str | None = None,
    patience: Patience = Patience(),
    connections: int = 4,
) -> Part:
    """Fetch the tensors of a safetensors file that hold kernels, and write them as a small safetensors file.

    Tensors keep their names, dtypes and bytes. Regular layers come whole: the kernels that a bank keeps of them lie
    scattered, and would take a request each. The new file's metadata names repository, file, revision, ETag, checksum of the
    header and `kinds`.

    Parameters
    ----------
    repository, file : str
        On the hub, for instance "timm/convnext_base.fb_in1k" and "model.safetensors".
    output : path
        Written atomically. Until then, what has arrived lies in the folder `.<name>.part` beside it.
    revision : str, optional
        Branch, tag or commit; resolved to a commit once. By default the newest commit of the main branch.
    kinds : sequence of str
        "depthwise", "regular" or both.
    sha256, size : str, int, optional
        Declared checksum and bytes of the whole file, compared with what the hub says: the ETag of a large file is its SHA-256.
    endpoint : str, optional
        Address of the hub; by default huggingface_hub's own, which is HF_ENDPOINT where that is set.
    patience : Patience
    connections : int
        Requests at a time.

    Raises
    ------
    WholeNeededError
        The file has no header, the server answers no range requests, or the ETag is no SHA-256 to compare.
    HubError
        Repository, revision or file is not there, checksum or size are others, the file is no safetensors file, holds no such
        kernels or changed while it was fetched, or the connection failed for good. In the last case what has arrived stays
        for the next attempt.
    """
    if not file.endswith(".safetensors"):
        raise WholeNeededError(f"{file} has no header that says where its tensors lie")
    remote = _resolve(repository, file, revision, endpoint, patience)
    _check_declared(remote, sha256, size)
    output = Path(output)
    folder = output.with_name(f".{output.name}.part")
    with _alone(folder):
        try:
            _open_folder(folder, remote)
            header = _fetch_header(remote, folder)
            tensors = _parse_header(header, remote)
            chosen = {key: tensors[key] for key in choose(tensors, kinds)}
            if not chosen:
                raise _ContentError(f"{remote.where} has no {' or '.join(kinds)} kernels larger than 1×1 in {file}")
            pieces = [(len(header) + start, len(header) + end) for start, end in plan(chosen)]
            _fetch_pieces(remote, folder, pieces, connections)
            source = {"repository": repository, "file": file, "revision": remote.revision, "etag": remote.etag}
            digest = hashlib.sha256(header).hexdigest()
            metadata = source | {"header_sha256": digest, "kinds": " ".join(kinds)}
            _assemble(output, remote, folder, pieces, len(header), chosen, metadata)
        except (_ContentError, WholeNeededError):
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
    needed = len(header) + sum(_length(entry) for entry in chosen.values())
    _LOG.info("%s: %d bytes of %d for %d tensors", remote.where, remote.moved, remote.size, len(chosen))
    return Part(remote.revision, remote.etag, digest, len(chosen), needed, remote.moved, remote.size)


def choose(tensors: Mapping[str, Mapping[str, Any]], kinds: Sequence[str] = KINDS) -> list[str]:
    """Name the tensors of a header that extraction may read: kernels of these kinds, and what their weights are computed with."""
    modules = parts_by_module(tensors)
    chosen: set[str] = set()
    for key, entry in tensors.items():
        if kind_of(tuple(entry["shape"])) in kinds:
            chosen.update(modules[split_name(key)[0]].values())
    return sorted(chosen, key=lambda key: tensors[key]["data_offsets"][0])


def plan(chosen: Mapping[str, Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Lay tensors of a header, in the order of the file, out as requests for the bytes [start, end) of its data.

    Near neighbours are joined, long ranges split.
    """
    joined: list[list[int]] = []
    for entry in chosen.values():
        start, end = entry["data_offsets"]
        if joined and start - joined[-1][1] <= _GAP:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([start, end])
    return [(at, min(at + _PIECE, end)) for start, end in joined for at in range(start, end, _PIECE)]


def explain(error: Exception, repository: str, file: str, revision: str | None) -> str:
    """Say in words why the hub gave no file."""
    from huggingface_hub import errors

    where = f"the hub repository {repository}"
    if isinstance(error, errors.GatedRepoError):
        return f"{where} is gated: accept its terms on the hub and {_LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{where} is not there: it vanished, was renamed, or is private and no token of yours opens it ({_LOG_IN})"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{where} has no revision {revision}"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"{where} has no file {file} at revision {revision or 'main'}"
    if getattr(getattr(error, "response", None), "status_code", None) == 401:
        return f"{where} refuses your token (HTTP 401): {_LOG_IN}"
    found = " ".join(_without_secrets(str(error)).split()).rstrip(".") or "no message"
    return f"{where} gave {type(error).__name__} ({found[:200]})"


def _without_secrets(text: str) -> str:
    """Take the token, and the queries of addresses, which may sign them, out of a message."""
    from huggingface_hub import get_token

    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1?…", text.replace(get_token() or "\0", "…"))


# Requests -------------------------------------------------------------------------------------------------------------


def _resolve(repository: str, file: str, revision: str | None, endpoint: str | None, patience: Patience) -> _Remote:
    """Ask the hub which commit a revision is, and where the file lies at that commit."""
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    where = f"the hub repository {repository}"

    def ask(at: str | None) -> tuple[str, Any]:
        url = hf_hub_url(repository, file, revision=at, endpoint=endpoint)
        return url, _patiently(lambda: _ask_about(url, repository, file, at, patience), where, patience)

    url, found = ask(revision)
    commit = found.commit_hash
    if commit and commit != revision:
        url, found = ask(commit)
    if not commit or found.commit_hash != commit or not found.etag or not found.size:
        raise HubError(f"{where} told no commit, ETag or size of {file}: its server is no hub")
    headers = build_hf_headers(token=get_token()) | {"Accept-Encoding": "identity"}
    remote = _Remote(where, found.location, headers, commit, found.etag, found.size, patience)
    if urlsplit(url)[:2] == urlsplit(found.location)[:2]:
        remote.answered = found.etag
    else:  # a signed address elsewhere, which must not see the token
        headers.pop("authorization", None)
    return remote


def _ask_about(url: str, repository: str, file: str, revision: str | None, patience: Patience) -> Any:
    import httpx2
    from huggingface_hub import get_hf_file_metadata, get_token

    try:
        return get_hf_file_metadata(url, token=get_token(), timeout=patience.timeout)
    except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
        raise _PassingError(_in_words(error, patience)) from None
    except Exception as error:  # as in `download`
        answer = getattr(error, "response", None)
        if answer is not None and answer.status_code in _PASSING:
            raise _PassingError(f"HTTP {answer.status_code} {answer.reason_phrase}", _asked_wait(answer)) from None
        raise HubError(explain(error, repository, file, revision)) from None


def _read(remote: _Remote, start: int, end: int) -> bytes:
    """Bytes [start, end) of the file."""
    return _patiently(lambda: _read_once(remote, start, end), remote.where, remote.patience)


def _read_once(remote: _Remote, start: int, end: int) -> bytes:
    import httpx2
    from huggingface_hub.utils import get_session

    headers = remote.headers | {"Range": f"bytes={start}-{end - 1}"}
    body = bytearray()
    try:
        with get_session().stream("GET", remote.url, headers=headers, timeout=remote.patience.timeout) as answer:
            _check_answer(remote, answer, start, end)
            for chunk in answer.iter_raw():
                body += chunk
                with remote.lock:
                    remote.moved += len(chunk)
    except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
        raise _PassingError(_in_words(error, remote.patience)) from None
    except httpx2.HTTPError as error:
        raise HubError(f"{remote.where} gave an error ({type(error).__name__})") from None
    if len(body) != end - start:
        raise _PassingError(f"{len(body):,} bytes where {end - start:,} were asked for")
    return bytes(body)


def _check_answer(remote: _Remote, answer: Any, start: int, end: int) -> None:
    """Refuse an answer that does not hold exactly this range of this file, before its body is read."""
    status = answer.status_code
    if status in _PASSING:
        raise _PassingError(f"HTTP {status} {answer.reason_phrase}", _asked_wait(answer))
    if status == 200:
        raise WholeNeededError(f"{remote.where} answers no range requests")
    if status != 206:
        raise HubError(f"{remote.where} gave HTTP {status} {answer.reason_phrase}")
    etag = (answer.headers.get("X-Linked-ETag") or answer.headers.get("ETag") or "").removeprefix("W/").strip('"')
    with remote.lock:
        expected = remote.answered = remote.answered or etag
    total = f"bytes {start}-{end - 1}/{remote.size}"
    if etag != expected or answer.headers.get("Content-Range") != total:
        found = f"ETag {etag or 'none'}, {answer.headers.get('Content-Range')}"
        raise _ContentError(
            f"{remote.where} changed while it was read ({found} where ETag {expected}, {total} was expected)"
        )


def _patiently(attempt: Callable[[], _T], where: str, patience: Patience) -> _T:
    """Call `attempt` until it succeeds, fails for good, or patience ends."""
    for count in range(patience.retries + 1):
        try:
            return attempt()
        except _PassingError as error:
            if count == patience.retries:
                raise HubError(f"{where} gave {error}") from None
            wait = max(error.wait, patience.pause * 2**count)
            _LOG.warning("%s gave %s; trying again in %g s", where, error, wait)
            time.sleep(wait)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _asked_wait(answer: Any) -> float:
    """Seconds for which the server asks to be left alone; a date in place of a number is not read."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(answer.headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    asked = answer.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else 0.0


def _in_words(error: Exception, patience: Patience) -> str:
    import httpx2

    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {patience.timeout:g} s"
    return "no connection" if isinstance(error, httpx2.ConnectError) else "a connection that broke off"


def _check_declared(remote: _Remote, sha256: str | None, size: int | None) -> None:
    if size is not None and remote.size != size:
        raise HubError(f"{remote.where} gave {remote.size:,} bytes where {size:,} were expected")
    if sha256 is None or remote.etag == sha256:
        return
    if not re.fullmatch("[0-9a-f]{64}", remote.etag):
        raise WholeNeededError(f"{remote.where} has an ETag that is no SHA-256 to compare with the declared one")
    raise HubError(f"{remote.where} gave sha256 {remote.etag[:12]}… where {sha256[:12]}… was expected")


# The folder of what has arrived, and the file made of it --------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the folder and hold it: another process that wants it waits."""
    handle = None
    while handle is None:
        folder.mkdir(parents=True, exist_ok=True)
        handle = hold(folder)
    try:
        yield
    finally:
        os.close(handle)


def _open_folder(folder: Path, remote: _Remote) -> None:
    """Empty the folder unless it holds parts of this very file."""
    about, source = folder / "source.json", {"etag": remote.etag, "size": remote.size}
    try:
        known = read_json(about)
    except EchosError:
        known = None
    if known != source:
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        write_json(about, source)


def _fetch_piece(remote: _Remote, folder: Path, start: int, end: int) -> Path:
    """Where the bytes [start, end) lie, fetched unless they are there."""
    path = folder / f"{start}-{end}"
    if not path.exists():
        body = _read(remote, start, end)
        with atomic_path(path) as temporary:
            temporary.write_bytes(body)
    return path


def _fetch_pieces(remote: _Remote, folder: Path, pieces: Sequence[tuple[int, int]], connections: int) -> None:
    """Fetch several at a time; the first failure, or an interruption, lets no further one begin."""
    stop = threading.Event()

    def fetch(piece: tuple[int, int]) -> None:
        if not stop.is_set():
            try:
                _fetch_piece(remote, folder, *piece)
            except BaseException:
                stop.set()
                raise

    with ThreadPoolExecutor(connections) as pool:
        try:
            list(pool.map(fetch, pieces))
        finally:
            stop.set()


def _fetch_header(remote: _Remote, folder: Path) -> bytes:
    """Everything before the data: the header's length in eight bytes, then the header."""
    first = _fetch_piece(remote, folder, 0, min(8, remote.size)).read_bytes()
    length = int.from_bytes(first, "little")
    if len(first) < 8 or not 2 <= length <= min(remote.size - 8, _LONGEST_HEADER):
        raise _ContentError(f"{remote.where} gave a file that is no safetensors file (a header of {length:,} bytes)")
    return first + _fetch_piece(remote, folder, 8, 8 + length).read_bytes()


def _parse_header(header: bytes, remote: _Remote) -> _Tensors:
    data = remote.size - len(header)
    try:
        tensors = json.loads(header[8:])
        tensors.pop("__metadata__", None)
        for entry in tensors.values():
            start, end = entry["data_offsets"]
            if not (0 <= start <= end <= data and math.prod(entry["shape"]) >= 0 and isinstance(entry["dtype"], str)):
                raise ValueError(f"a tensor at {start} to {end} of {data} bytes")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        found = " ".join(str(error).split())[:100]
        raise _ContentError(f"{remote.where} gave a file that is no safetensors file ({found})") from None
    return tensors


def _length(entry: Mapping[str, Any]) -> int:
    start, end = entry["data_offsets"]
    return end - start


def _assemble(
    output: Path,
    remote: _Remote,
    folder: Path,
    pieces: Sequence[tuple[int, int]],
    data: int,
    chosen: _Tensors,
    metadata: dict[str, str],
) -> None:
    """Write the chosen tensors, which lie in the pieces, as a file; `data` is where the data of the whole one starts."""
    from safetensors import SafetensorError, safe_open

    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for key, entry in chosen.items():
        header[key] = entry | {"data_offsets": [at, at + _length(entry)]}
        at += _length(entry)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(output) as temporary:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for entry in chosen.values():
                start, end = (data + offset for offset in entry["data_offsets"])
                for first, last in pieces:
                    if first < end and last > start:
                        with (folder / f"{first}-{last}").open("rb") as piece:
                            piece.seek(max(start - first, 0))
                            file.write(piece.read(min(end, last) - max(start, first)))
        try:
            with safe_open(temporary, framework="numpy"):
                pass
        except SafetensorError as error:
            raise _ContentError(f"{remote.where} gave tensors that do not fit their header ({error})") from None
