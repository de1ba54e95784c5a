"""How a declared input (config/inputs.yaml) is fetched and checked.

A file is identified by its checksum, never only by its name. The mirror folders are searched first, so that a machine without
network needs a folder and no code; then its url, the Hugging Face Hub, or a Python package that pip downloads. For a file on the
Hub, it is possible to fetch only the part with the kernels; the declared checksum is then compared with the one that the Hub
states, because the whole file is not read.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, sha256
from neural_echos.inputs import hub, packages
from neural_echos.inputs.remote import HubError, Patience, WholeNeededError
from neural_echos.layouts import KINDS

if TYPE_CHECKING:
    from neural_echos.design.inputs import Input

Facts = dict[str, Any]

_FOUND = ("etag", "header_sha256", "moved_bytes", "why_whole")  # null if there is nothing to report
_PARTS = {"kernels": KINDS, "depthwise": ("depthwise",)}
_log = logging.getLogger(__name__)


class NotAtHandError(EchosError):
    """No mirror has the file, and it has no url or its package index does not respond."""


class _UnusableError(Exception):
    """Reason why one source did not provide the file; it becomes part of the final message."""


def mirror_folders(configured: Sequence[str | Path] = ()) -> list[Path]:
    """List the mirror folders: first those in the environment variable ECHOS_MIRRORS, then the configured ones."""
    named = [part for part in os.environ.get("ECHOS_MIRRORS", "").split(os.pathsep) if part]
    return [Path(folder) for folder in [*named, *configured]]


def fetch(
    item: "Input",
    output: str | Path,
    mirrors: Sequence[str | Path] = (),
    *,
    retries: int = 3,
    pause: float = 2.0,
    timeout: float = 30.0,
) -> Facts:
    """Write a declared file to `output`, from the first source that has it with the right checksum.

    Parameters
    ----------
    item : Input
    output : path
        Written atomically; on failure, an existing file is kept and nothing else remains.
    mirrors : sequence of path
        Folders to search first: for the declared name, then for any file with the declared size and checksum. Without a declared
        checksum, they are not searched.
    retries : int
        Number of retries after a download was interrupted, timed out or met a server error.
    pause : float
        Seconds before the first retry; doubled each time.
    timeout : float
        Seconds without data before a download counts as failed.

    Returns
    -------
    dict
        Facts for the provenance: input, source, sha256, bytes, licence, citation, origin, revision, trained_on, note; part,
        etag, header_sha256, moved_bytes and why_whole (docs/data.md).

    Raises
    ------
    EchosError
        No source has the file; the message names them all. NotAtHandError if none returned a wrong file or an error.
    """
    output = Path(output)
    tried: list[str] = []
    failure = EchosError
    got: Facts | None = None
    try:
        if source := _from_mirrors(item, output, [Path(folder) for folder in mirrors], tried):
            got = {"source": source, "why_whole": "a mirror folder holds it" if item.part != "whole" else None}
        elif item.kind == "hub":
            got = _from_hub(item, output, Patience(retries, pause, timeout))
        elif item.url is not None:
            got = {"source": _from_url(item, output, retries=retries, pause=pause, timeout=timeout)}
        elif item.kind == "package":
            got = {"source": _from_package(item, output)}
        else:
            failure = NotAtHandError
    except packages.IndexUnreachableError as error:
        tried.append(str(error))
        failure = NotAtHandError
    except _UnusableError as error:
        tried.append(str(error))
    except OSError as error:
        raise EchosError(
            f"{output}: the input {item.id!r} cannot be written here ({error}); check the folder"
        ) from None
    if got is None:
        raise failure(_not_found(item, tried))
    facts = {**dict.fromkeys(_FOUND), "revision": item.revision, "part": "whole", **got}
    facts |= {"input": item.id, "sha256": sha256(output), "bytes": output.stat().st_size}
    facts |= {name: getattr(item, name) for name in ("licence", "citation", "origin", "trained_on", "note")}
    if item.sha256 is None:
        pin = f"revision {facts['revision']} and the etag" if facts["etag"] else "the one"
        _log.warning("%s: no checksum is declared; pin %s recorded here in config/inputs.yaml", item.id, pin)
    _log.info("%s: %d bytes from %s", item.id, facts["bytes"], facts["source"])
    return facts


def _not_found(item: "Input", tried: list[str]) -> str:
    if item.kind == "file" and item.url is None:
        tried = [*tried, "no url (the file was derived)"]
    about = f"sha256 {item.sha256[:12]}…" if item.sha256 else "any checksum"
    declare = "" if item.sha256 else "declare its sha256 and bytes in config/inputs.yaml, "
    what = "the file or its wheel" if item.kind == "package" else "the file"
    return (
        f"{item.file}: the input {item.id!r} ({about}) was not found: {'; '.join(tried)}; {declare}put {what} in a mirror folder "
        f"and add that folder to the config's mirrors or to ECHOS_MIRRORS (origin: {item.origin})"
    )


def _install(item: "Input", source: Path, output: Path) -> None:
    """Copy a file to `output`, atomically, if the copy is the declared file."""
    _verify_size(item, source)
    with atomic_path(output) as temporary:
        shutil.copyfile(source, temporary)
        _verify(item, temporary)


def _verify_size(item: "Input", path: Path) -> None:
    size = path.stat().st_size
    if item.bytes is not None and size != item.bytes:
        raise _UnusableError(f"{size:,} bytes instead of {item.bytes:,}")


def _verify(item: "Input", path: Path) -> None:
    _verify_size(item, path)
    if item.sha256 is not None and (digest := sha256(path)) != item.sha256:
        raise _UnusableError(f"sha256 {digest[:12]}… instead of {item.sha256[:12]}…")


# Mirrors --------------------------------------------------------------------------------------------------------------


def _from_mirrors(item: "Input", output: Path, mirrors: Sequence[Path], tried: list[str]) -> str | None:
    """Copy the file from a mirror; return its source, or None with the reasons added to `tried`."""
    if not mirrors:
        tried.append("no mirror folder given")
    elif item.sha256 is None:
        tried.append("mirrors not searched (no checksum declared)")
        mirrors = ()
    for mirror in mirrors:
        reason = f"not in the mirror {mirror}" if mirror.is_dir() else f"the mirror folder {mirror} does not exist"
        for candidate in _candidates(item, mirror):
            try:
                _install(item, candidate, output)
            except _UnusableError as error:
                if candidate == mirror / item.file:
                    reason = f"{candidate} is a different file ({error})"
                    _log.warning("%s: skipped: %s", item.id, reason)
                continue
            return f"mirror: {candidate.relative_to(mirror).as_posix()}"
        if wheel := _from_wheels(item, output, mirror):
            return f"mirror: {wheel.relative_to(mirror).as_posix()}"
        tried.append(reason)
    return None


def _candidates(item: "Input", mirror: Path) -> Iterator[Path]:
    """Yield the files of a mirror that may be the declared one: first by name, then by size."""
    named = mirror / item.file
    if named.is_file() and os.access(named, os.R_OK):
        yield named
    if item.bytes is None:
        return
    for folder, folders, names in os.walk(mirror):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path == named or not path.is_file() or not os.access(path, os.R_OK):
                continue
            if path.stat().st_size == item.bytes:
                yield path


def _from_wheels(item: "Input", output: Path, mirror: Path) -> Path | None:
    """Copy the file from a wheel of its package in a mirror; return the wheel, or None if there is no such wheel."""
    for wheel in packages.wheels_in(mirror, item.package) if item.package else ():
        try:
            _from_wheel(item, output, wheel)
        except (_UnusableError, packages.PackageError) as error:
            _log.warning("%s: skipped: %s is %s", item.id, wheel, error)
            continue
        return wheel
    return None


# Downloads ------------------------------------------------------------------------------------------------------------


def _from_url(item: "Input", output: Path, *, retries: int, pause: float, timeout: float) -> str:
    """Download the file and return its url."""
    import pooch
    import requests

    assert item.url is not None
    download = pooch.HTTPDownloader(progressbar=False, chunk_size=1 << 20, timeout=timeout)
    for attempt in range(retries + 1):
        try:
            with atomic_path(output) as temporary:
                download(item.url, str(temporary), None)
                _verify(item, temporary)
            return item.url
        except requests.RequestException as error:
            found, final = _broken(error, timeout)
            if final or attempt == retries:
                raise _UnusableError(f"{item.url} returned {found}") from None
            wait = pause * 2**attempt
            _log.warning("%s returned %s; retrying in %g s", item.url, found, wait)
            time.sleep(wait)
        except _UnusableError as error:
            raise _UnusableError(f"{item.url} returned {error}") from None
    raise AssertionError("unreachable: the last attempt returns or raises")


def _broken(error: Exception, timeout: float) -> tuple[str, bool]:
    """Describe why a download failed, and whether retrying is pointless."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return f"HTTP {status} {error.response.reason}", status < 500 and status not in (408, 429)
    if isinstance(error, requests.Timeout):
        return f"no answer within {timeout:g} s", False
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "an incomplete download", False
    if isinstance(error, requests.ConnectionError):
        return "no connection", False
    return f"an error ({type(error).__name__})", True


def _from_package(item: "Input", output: Path) -> str:
    """Download the wheel of the file's package, copy the file from it, and return its source."""
    assert item.package and item.version and item.member and item.wheel_sha256
    try:
        with packages.downloaded(item.package, item.version, item.wheel_sha256) as wheel:
            _from_wheel(item, output, wheel)
    except packages.IndexUnreachableError:
        raise
    except packages.PackageError as error:
        raise _UnusableError(str(error)) from None
    except _UnusableError as error:
        raise _UnusableError(f"the wheel of {item.package} {item.version} contains {error}") from None
    return f"package: {item.package} {item.version}"


def _from_wheel(item: "Input", output: Path, wheel: Path) -> None:
    """Copy the file from a wheel, if both have the declared checksums."""
    assert item.member and item.wheel_sha256
    with atomic_path(output) as temporary:
        packages.copy_member(wheel, item.wheel_sha256, item.member, temporary)
        _verify(item, temporary)


def _from_hub(item: "Input", output: Path, patience: Patience) -> Facts:
    """Fetch a checkpoint or its kernels from the Hugging Face Hub; return its source and the resolved commit."""
    assert item.hub is not None
    why_whole = None
    try:
        if item.part != "whole":
            try:
                return _part_from_hub(item, output, patience)
            except WholeNeededError as reason:
                why_whole = str(reason)
                _log.warning("%s: fetching the whole file, because %s", item.id, reason)
        cached = hub.download(item.hub, item.hub_file, revision=item.revision)
    except HubError as error:
        raise _UnusableError(str(error)) from None
    try:
        _install(item, cached, output)
    except _UnusableError as error:
        raise _UnusableError(f"the Hub repository {item.hub} returned {error}") from None
    revision = cached.parents[len(Path(item.hub_file).parts) - 1].name
    return {"source": f"hub: {item.hub}@{revision}", "revision": revision, "why_whole": why_whole}


def _part_from_hub(item: "Input", output: Path, patience: Patience) -> Facts:
    assert item.hub is not None
    part = hub.download_kernels(
        item.hub,
        item.hub_file,
        output,
        revision=item.revision,
        kinds=_PARTS[item.part],
        sha256=item.sha256,
        size=item.bytes,
        patience=patience,
    )
    return {
        "source": f"hub: {item.hub}@{part.revision}",
        "revision": part.revision,
        "part": item.part,
        "etag": part.etag,
        "header_sha256": part.header_sha256,
        "moved_bytes": part.moved,
    }
