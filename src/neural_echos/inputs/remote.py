"""Requests to the Hugging Face Hub: a file's commit and content, and ranges of its bytes, checked and retried.

huggingface_hub resolves addresses, revisions and the token, and provides the HTTP client. Its own range readers accept any
response, so responses are checked here: status 206, the requested range, and the ETag of the first response.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

_LOG = logging.getLogger(__name__)
_PASSING = (408, 429, 500, 502, 503, 504)
_LOG_IN = "log in with hf auth login, or put a token in HF_TOKEN"
_T = TypeVar("_T")


class HubError(Exception):
    """Reason why the Hub did not provide a file; it becomes part of a message."""


class WholeNeededError(HubError):
    """Reason why the whole file must be fetched."""


class ContentError(HubError):
    """The content is unusable or inconsistent; none of it is kept."""


class _PassingError(Exception):
    """A temporary failure of a request, which may succeed after at least `wait` seconds."""

    def __init__(self, found: str, wait: float = 0.0):
        super().__init__(found)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long to keep retrying.

    Parameters
    ----------
    retries : int
        Number of retries after a request was interrupted, timed out or met a temporary server error.
    pause : float
        Seconds before the first retry; doubled each time, and longer if the server requests it (Retry-After).
    timeout : float
        Seconds without data before a request counts as failed.
    """

    retries: int = 3
    pause: float = 2.0
    timeout: float = 30.0


PATIENCE = Patience()


@dataclass
class Remote:
    """One file at one commit, and what is known about its responses."""

    where: str
    url: str
    headers: dict[str, str]
    revision: str
    etag: str
    size: int
    patience: Patience
    answered: str | None = None  # ETag of responses to range requests: a CDN has its own, known from its first response
    moved: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def explain(error: Exception, repository: str, file: str, revision: str | None) -> str:
    """Describe why the Hub did not return a file."""
    from huggingface_hub import errors

    where = f"the Hub repository {repository}"
    if isinstance(error, errors.GatedRepoError):
        return f"{where} is gated: accept its terms on the Hub and {_LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{where} does not exist: it was removed or renamed, or is private and your token has no access ({_LOG_IN})"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{where} has no revision {revision}"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"{where} has no file {file} at revision {revision or 'main'}"
    if getattr(getattr(error, "response", None), "status_code", None) == 401:
        return f"{where} rejects your token (HTTP 401): {_LOG_IN}"
    found = " ".join(_without_secrets(str(error)).split()).rstrip(".") or "no message"
    return f"{where} failed with {type(error).__name__} ({found[:200]})"


def _without_secrets(text: str) -> str:
    """Remove the token, and the queries of addresses, which may contain signatures, from a message."""
    from huggingface_hub import get_token

    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1?…", text.replace(get_token() or "\0", "…"))


def resolve(repository: str, file: str, revision: str | None, endpoint: str | None, patience: Patience) -> Remote:
    """Ask the Hub for the commit of a revision and the location of the file at that commit."""
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    where = f"the Hub repository {repository}"

    def ask(at: str | None) -> tuple[str, Any]:
        url = hf_hub_url(repository, file, revision=at, endpoint=endpoint)
        return url, _patiently(lambda: _ask_about(url, repository, file, at, patience), where, patience)

    url, found = ask(revision)
    commit = found.commit_hash
    if commit and commit != revision:
        url, found = ask(commit)
    if not commit or found.commit_hash != commit or not found.etag or not found.size:
        raise HubError(f"{where} returned no commit, ETag or size for {file}: it is not a Hugging Face Hub endpoint")
    headers = build_hf_headers(token=get_token()) | {"Accept-Encoding": "identity"}
    remote = Remote(where, found.location, headers, commit, found.etag, found.size, patience)
    if urlsplit(url)[:2] == urlsplit(found.location)[:2]:
        remote.answered = found.etag
    else:  # a signed address elsewhere, which must not receive the token
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


def read_range(remote: Remote, start: int, end: int) -> bytes:
    """Return the bytes [start, end) of the file."""
    return _patiently(lambda: _read_once(remote, start, end), remote.where, remote.patience)


def _read_once(remote: Remote, start: int, end: int) -> bytes:
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
        raise HubError(f"{remote.where} failed with an error ({type(error).__name__})") from None
    if len(body) != end - start:
        raise _PassingError(f"{len(body):,} bytes instead of {end - start:,}")
    return bytes(body)


def _check_answer(remote: Remote, answer: Any, start: int, end: int) -> None:
    """Refuse a response that is not exactly this range of this file, before its body is read."""
    status = answer.status_code
    if status in _PASSING:
        raise _PassingError(f"HTTP {status} {answer.reason_phrase}", _asked_wait(answer))
    if status == 200:
        raise WholeNeededError(f"{remote.where} does not support range requests")
    if status != 206:
        raise HubError(f"{remote.where} returned HTTP {status} {answer.reason_phrase}")
    etag = (answer.headers.get("X-Linked-ETag") or answer.headers.get("ETag") or "").removeprefix("W/").strip('"')
    with remote.lock:
        expected = remote.answered = remote.answered or etag
    total = f"bytes {start}-{end - 1}/{remote.size}"
    if etag != expected or answer.headers.get("Content-Range") != total:
        found = f"ETag {etag or 'none'}, {answer.headers.get('Content-Range')}"
        raise ContentError(f"{remote.where} changed while it was read ({found} instead of ETag {expected}, {total})")


def _patiently(attempt: Callable[[], _T], where: str, patience: Patience) -> _T:
    """Call `attempt` until it succeeds, fails permanently, or the retries are used up."""
    for count in range(patience.retries + 1):
        try:
            return attempt()
        except _PassingError as error:
            if count == patience.retries:
                raise HubError(f"{where} returned {error}") from None
            wait = max(error.wait, patience.pause * 2**count)
            _LOG.warning("%s returned %s; retrying in %g s", where, error, wait)
            time.sleep(wait)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _asked_wait(answer: Any) -> float:
    """Seconds that the server asks to wait; a date instead of a number is ignored."""
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
    return "no connection" if isinstance(error, httpx2.ConnectError) else "an interrupted connection"


def check_declared(remote: Remote, sha256: str | None, size: int | None) -> None:
    """Compare the Hub's checksum and size of a file with the declared ones, before anything is fetched."""
    if size is not None and remote.size != size:
        raise HubError(f"{remote.where} has {remote.size:,} bytes instead of {size:,}")
    if sha256 is None or remote.etag == sha256:
        return
    if not re.fullmatch("[0-9a-f]{64}", remote.etag):
        raise WholeNeededError(
            f"{remote.where} has an ETag that is not a SHA-256 and cannot be compared with the declared one"
        )
    raise HubError(f"{remote.where} has sha256 {remote.etag[:12]}… instead of {sha256[:12]}…")
