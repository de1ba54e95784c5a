"""Files on disk: atomic writes, checksums, JSON, and provenance."""

import errno
import fcntl
import glob
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError

_VERSIONED = ("neural-echos", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "torch", "timm", "matplotlib")


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a path in a temporary folder beside `path`; the file written there becomes `path` if the block succeeds.

    It is flushed to disk before the rename, so `path` is either absent, old or complete. A folder is used because some writers make
    their own temporary files. Folders left by killed writers of the same path are removed: their locks ended with them, while live
    writers hold theirs.

    Raises
    ------
    EchosError
        Something that is not a file exists at `path`.
    OSError
        The disk is full or the folder is not writable; the error's file name is `path`.
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()  # the link is kept, and its target is written
    if path.exists() and not path.is_file():
        raise EchosError(f"{path}: this is a folder or a device, not a file; choose another output")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    folder, handle = _locked_folder(path)
    temporary = folder / path.name
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        if error.errno in _FULL:
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked_folder(path: Path) -> tuple[Path, int]:
    """Make a temporary folder for `path` and lock it; make another one if another writer removed it before the lock."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent))
        except OSError as error:
            error.filename = str(path)
            raise
        handle = hold(folder)
        if handle is not None:
            return folder, handle


def hold(folder: Path) -> int | None:
    """Lock a folder as soon as no other process does, and return its handle; None if it has been removed meanwhile."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with suppress(OSError):  # a file system without locks, on which nothing is removed either
        fcntl.flock(handle, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle), folder.stat()):
            return handle
    os.close(handle)
    return None


def sweep(path: Path) -> None:
    """Remove temporary folders of `path` that no writer has locked."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}-{'?' * 8}{glob.escape(path.suffix)}"):
        with suppress(OSError):  # in use by a live writer, or already gone
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(handle)


@contextmanager
def safetensors_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path like `atomic_path`, for the safetensors writers, which wrap system errors.

    Raises
    ------
    EchosError
        The file cannot be written; an existing file is kept.
    """
    from safetensors import SafetensorError

    try:
        with atomic_path(path) as temporary:
            yield temporary
    except SafetensorError as error:
        found = " ".join(str(error).split())
        raise EchosError(
            f"{path}: cannot be written ({found}); check the path, its permissions and the free space"
        ) from None


def write_tensors(path: str | Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write torch tensors as safetensors, atomically; each is copied to contiguous memory of its own on the CPU.

    Raises
    ------
    EchosError
        The file cannot be written; an existing file is kept.
    """
    import torch
    from safetensors.torch import save_file

    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    with safetensors_path(path) as temporary:
        save_file(plain, temporary, dict(metadata or {}))


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically; file names that are not valid UTF-8 keep their bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically; a NaN or infinity becomes null."""
    write_text(path, json.dumps(_finite(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a missing or broken one is an `EchosError`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EchosError(f"{path}: there is no such file; check the path, or make it first") from None
    except OSError as error:
        raise EchosError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise EchosError(f"{path}: not valid JSON ({error}); choose another file, or make this one again") from None


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(inputs: dict[str, str | Path] | None = None, **facts: Any) -> dict[str, Any]:
    """Return how a file is made: command, commit, versions, machine and time, with the checksum of every input.

    Commit and uncommitted changes are None if they cannot be known: sources copied to a pod are not a Git repository.
    """
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "command": ["echos", *sys.argv[1:]],
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if changed is None else bool(changed),
        "inputs": {name: {"path": str(path), "sha256": sha256(path)} for name, path in (inputs or {}).items()},
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
    }


def uncommitted(facts: Mapping[str, Any]) -> str:
    """Text to follow a commit that says whether there were uncommitted changes; without a commit, this is unknown."""
    known = facts.get("uncommitted_changes") if facts.get("commit") else None
    told: dict[Any, str] = {True: "with uncommitted changes", False: "no uncommitted changes"}
    return f", {told.get(known, 'unknown whether there were uncommitted changes')}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _git(*arguments: str) -> str | None:
    root = Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def refuse_stand_in(path: str | Path) -> None:
    """Refuse a file that is only a stand-in for another: a Git LFS pointer, or a web page saved instead of a download.

    Raises
    ------
    EchosError
        The file is one of these; the message says how to get the actual file.
    """
    with Path(path).open("rb") as file:
        head = file.read(512)
    if head.startswith((b"version https://git-lfs", b"oid sha256:")):
        raise EchosError(
            f"{path}: this is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository"
        )
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")):
        raise EchosError(
            f"{path}: this is a web page (often a sign-in or error page), not the file; download the file itself, signed in if "
            "its site requires that"
        )
