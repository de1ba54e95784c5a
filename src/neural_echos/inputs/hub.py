"""The Hugging Face Hub: fetch a whole checkpoint, or only the tensors with kernels from a safetensors file.

A safetensors file starts with a header that locates each tensor, so HTTP range requests can fetch just the kernels: 3.5 MB of 354
MB for a ConvNeXt-B. Received data is kept in a folder beside the output until everything has arrived, and is not fetched again
after a kill.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, hold, read_json, write_json
from neural_echos.inputs.remote import (
    PATIENCE,
    ContentError,
    HubError,
    Patience,
    Remote,
    WholeNeededError,
    check_declared,
    explain,
    read_range,
    resolve,
)
from neural_echos.layouts import KINDS, kind_of, parts_by_module, split_name

_LOG = logging.getLogger(__name__)
_GAP = 4096  # a gap of at most this many bytes is fetched too, rather than making another request
_PIECE = 8 << 20  # bytes per request, so that little is lost with a connection
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_Tensors = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """The fetched part of a file.

    `etag` is the Hub's identifier of the content, which is the SHA-256 for large files. `header_sha256` is the checksum of the
    whole file's header. `needed` counts the bytes of header and tensors, `moved` the bytes transferred in this call.
    """

    revision: str
    etag: str
    header_sha256: str
    tensors: int
    needed: int
    moved: int
    whole: int


def download(repository: str, file: str, *, revision: str | None) -> Path:
    """Download a whole file into the Hub's cache and return its path there; its folder is named after the commit.

    Raises
    ------
    HubError
        The file does not exist, or could not be fetched.
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
    patience: Patience = PATIENCE,
    connections: int = 4,
) -> Part:
    """Fetch the tensors with kernels from a safetensors file, and write them as a small safetensors file.

    Tensors keep their names, dtypes and bytes. Regular layers are fetched whole: the kernels that a bank keeps from them are
    scattered, and each would need its own request. The new file's metadata contains the repository, file, revision, ETag, checksum
    of the header and `kinds`.

    Parameters
    ----------
    repository, file : str
        Names on the Hub, for example "timm/convnext_base.fb_in1k" and "model.safetensors".
    output : path
        Written atomically. Until then, received data is kept in the folder `.<name>.part` beside it.
    revision : str, optional
        Branch, tag or commit; resolved to a commit once. By default the newest commit of the main branch.
    kinds : sequence of str
        "depthwise", "regular" or both.
    sha256, size : str, int, optional
        Declared checksum and bytes of the whole file, compared with the Hub's values: the ETag of a large file is its SHA-256.
    endpoint : str, optional
        Address of the Hub; by default huggingface_hub's own, which is HF_ENDPOINT if that is set.
    patience : Patience
    connections : int
        Number of simultaneous requests.

    Raises
    ------
    WholeNeededError
        The file has no header, the server does not support range requests, or the ETag is not a SHA-256 that can be compared.
    HubError
        The repository, revision or file does not exist; checksum or size differ; the file is not a safetensors file, has no such
        kernels or changed while it was fetched; or the connection failed permanently. In the last case, received data is kept for
        the next attempt.
    """
    if not file.endswith(".safetensors"):
        raise WholeNeededError(f"{file} has no header that locates its tensors")
    remote = resolve(repository, file, revision, endpoint, patience)
    check_declared(remote, sha256, size)
    output = Path(output)
    folder = output.with_name(f".{output.name}.part")
    with _alone(folder):
        try:
            _open_folder(folder, remote)
            header = _fetch_header(remote, folder)
            tensors = _parse_header(header, remote)
            chosen = {key: tensors[key] for key in choose(tensors, kinds)}
            if not chosen:
                raise ContentError(f"{remote.where} has no {' or '.join(kinds)} kernels larger than 1×1 in {file}")
            pieces = [(len(header) + start, len(header) + end) for start, end in plan(chosen)]
            _fetch_pieces(remote, folder, pieces, connections)
            source = {"repository": repository, "file": file, "revision": remote.revision, "etag": remote.etag}
            digest = hashlib.sha256(header).hexdigest()
            metadata = source | {"header_sha256": digest, "kinds": " ".join(kinds)}
            _assemble(output, remote, folder, pieces, len(header), chosen, metadata)
        except (ContentError, WholeNeededError):
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
    needed = len(header) + sum(_length(entry) for entry in chosen.values())
    _LOG.info("%s: %d bytes of %d for %d tensors", remote.where, remote.moved, remote.size, len(chosen))
    return Part(remote.revision, remote.etag, digest, len(chosen), needed, remote.moved, remote.size)


def choose(tensors: Mapping[str, Mapping[str, Any]], kinds: Sequence[str] = KINDS) -> list[str]:
    """Return the names of the tensors that extraction may read: kernels of these kinds, and the sources of their weights."""
    modules = parts_by_module(tensors)
    chosen: set[str] = set()
    for key, entry in tensors.items():
        if kind_of(tuple(entry["shape"])) in kinds:
            chosen.update(modules[split_name(key)[0]].values())
    return sorted(chosen, key=lambda key: tensors[key]["data_offsets"][0])


def plan(chosen: Mapping[str, Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Plan the requests, as bytes [start, end) of the data, for tensors of a header in file order.

    Close neighbours are joined; long ranges are split.
    """
    joined: list[list[int]] = []
    for entry in chosen.values():
        start, end = entry["data_offsets"]
        if joined and start - joined[-1][1] <= _GAP:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([start, end])
    return [(at, min(at + _PIECE, end)) for start, end in joined for at in range(start, end, _PIECE)]


# The folder of received data, and the file made from it --------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Create the folder and lock it; other processes that want it wait."""
    handle = None
    while handle is None:
        folder.mkdir(parents=True, exist_ok=True)
        handle = hold(folder)
    try:
        yield
    finally:
        os.close(handle)


def _open_folder(folder: Path, remote: Remote) -> None:
    """Empty the folder unless it contains parts of exactly this file."""
    about, source = folder / "source.json", {"etag": remote.etag, "size": remote.size}
    try:
        known = read_json(about)
    except EchosError:
        known = None
    if known != source:
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        write_json(about, source)


def _fetch_piece(remote: Remote, folder: Path, start: int, end: int) -> Path:
    """Path of the bytes [start, end), fetched unless they are there."""
    path = folder / f"{start}-{end}"
    if not path.exists():
        body = read_range(remote, start, end)
        with atomic_path(path) as temporary:
            temporary.write_bytes(body)
    return path


def _fetch_pieces(remote: Remote, folder: Path, pieces: Sequence[tuple[int, int]], connections: int) -> None:
    """Fetch several pieces at a time; after a failure or interruption, no further one is started."""
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


def _fetch_header(remote: Remote, folder: Path) -> bytes:
    """Return everything before the data: the header's length in eight bytes, then the header."""
    first = _fetch_piece(remote, folder, 0, min(8, remote.size)).read_bytes()
    length = int.from_bytes(first, "little")
    if len(first) < 8 or not 2 <= length <= min(remote.size - 8, _LONGEST_HEADER):
        raise ContentError(
            f"{remote.where} returned a file that is not a safetensors file (a header of {length:,} bytes)"
        )
    return first + _fetch_piece(remote, folder, 8, 8 + length).read_bytes()


def _parse_header(header: bytes, remote: Remote) -> _Tensors:
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
        raise ContentError(f"{remote.where} returned a file that is not a safetensors file ({found})") from None
    return tensors


def _length(entry: Mapping[str, Any]) -> int:
    start, end = entry["data_offsets"]
    return end - start


def _assemble(
    output: Path,
    remote: Remote,
    folder: Path,
    pieces: Sequence[tuple[int, int]],
    data: int,
    chosen: _Tensors,
    metadata: dict[str, str],
) -> None:
    """Write the chosen tensors from the pieces as a file; `data` is the offset of the data in the whole file."""
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
            raise ContentError(f"{remote.where} returned tensors that do not match their header ({error})") from None
