"""CIFAR-10 and CIFAR-100 in their original binary archives, read without extraction."""

import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural_echos.datasets.base import Dataset, Facts, measured
from neural_echos.datasets.registry import maker
from neural_echos.datasets.selection import Selection, described
from neural_echos.errors import EchosError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SITE = "https://www.cs.toronto.edu/~kriz"
_PIXELS = 3 * 32 * 32
_LARGEST = 60_000 * (2 + _PIXELS)  # bytes of a member: all records of a dataset at most


@dataclass(frozen=True)
class _Layout:
    """Members of one archive; `labels` names the label bytes of a record."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: dict[str, str]  # kind of label: member with its class names, in the order of a record's label bytes


_LAYOUTS = {
    "cifar-10-batches-bin": _Layout(
        "cifar10",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        ("test_batch.bin",),
        {"fine": "batches.meta.txt"},
    ),
    "cifar-100-binary": _Layout(
        "cifar100",
        ("train.bin",),
        ("test.bin",),
        {"coarse": "coarse_label_names.txt", "fine": "fine_label_names.txt"},
    ),
}
_PICKLED = {"cifar-10-batches-py": "cifar-10-binary.tar.gz", "cifar-100-python": "cifar-100-binary.tar.gz"}


@maker("archive")
def read_archive(
    train_files: Sequence[str | Path],
    *,
    labels: str = "fine",
    seed: int = 0,
    train_limit: int | None = None,
    test_limit: int | None = None,
    train_share: float | None = None,
    classes_kept: Sequence[str] | str | None = None,
) -> tuple[Dataset, Facts]:
    """Read CIFAR-10 or CIFAR-100 from its binary archive, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz.

    Parameters
    ----------
    train_files : sequence of path
        A single archive, which contains training and test images.
    labels : str
        "fine" (100 classes) or "coarse" (20), for CIFAR-100.
    seed, train_limit, test_limit, train_share, classes_kept
        See `Selection`.

    Raises
    ------
    EchosError
        There is more than one archive; it is the Python or Matlab version, truncated, or lacks members; a member has the wrong
        length; or a label is out of range.
    """
    if len(train_files) != 1:
        raise EchosError(f"dataset kind archive: give one archive, not {len(train_files)}; it contains both splits")
    path = Path(train_files[0])
    folder, members = _members(path)
    layout = _LAYOUTS[folder]
    selection = Selection(layout.name, seed, train_limit, test_limit, train_share, classes_kept)
    if labels not in layout.labels:
        raise EchosError(
            f"dataset {layout.name}: the option labels must be {' or '.join(layout.labels)}, not {labels!r}"
        )
    names = members[layout.labels[labels]].decode("utf-8", "replace").split()
    records = [
        np.concatenate([_records(path, name, members[name], len(layout.labels)) for name in part])
        for part in (layout.train, layout.test)
    ]
    found = [part[:, list(layout.labels).index(labels)].astype(np.int64) for part in records]
    greatest = max(int(part.max()) for part in found)
    if greatest >= len(names):
        raise EchosError(f"{path}: there are {len(names)} classes, but a label is {greatest}; fetch the archive again")
    kept, splits = selection.keep(names, *found)
    images = [
        (part[rows, len(layout.labels) :].reshape(-1, 3, 32, 32), numbers)
        for part, (rows, numbers) in zip(records, splits, strict=True)
    ]
    facts = {
        "how": f"read from the members of {folder} in the original binary archive",
        "options": {"labels": labels, **selection.options()},
        "seed": seed,
        **described([path], [path.stat().st_size], [path.name], checksums=True),
        "licence": "none stated",
        "citation": "Krizhevsky: Learning multiple layers of features from tiny images, 2009",
    }
    return measured(layout.name, kept, images[0], images[1]), facts


def _members(path: Path) -> tuple[str, dict[str, bytes]]:
    """Read the required members of an archive into memory: its folder, and the bytes of each member by name."""
    contents: dict[str, bytes] = {}
    folder = ""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                folder, _, name = member.name.removeprefix("./").partition("/")
                if folder not in _LAYOUTS:
                    raise _other(path, folder)
                layout = _LAYOUTS[folder]
                if name in (*layout.train, *layout.test, *layout.labels.values()):
                    if not member.isreg() or member.size > _LARGEST:
                        found = f"{member.size:,} bytes" if member.isreg() else "a link or a folder"
                        raise EchosError(
                            f"{path}: {member.name} is {found} and not a file of at most {_LARGEST:,} bytes; fetch the archive "
                            "again"
                        )
                    file = archive.extractfile(member)
                    contents[name] = file.read() if file else b""
    except FileNotFoundError:
        raise EchosError(f"{path}: no such file; fetch it first") from None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise EchosError(f"{path}: not a complete CIFAR archive ({error}); fetch it again") from None
    if folder not in _LAYOUTS:
        raise _other(path, folder)
    layout = _LAYOUTS[folder]
    for name in (*layout.train, *layout.test, *layout.labels.values()):
        if name not in contents:
            raise EchosError(f"{path}: the member {folder}/{name} is missing; fetch the archive again")
    return folder, contents


def _other(path: Path, folder: str) -> EchosError:
    """Return an error for an archive that is not the binary version."""
    if folder in _PICKLED:
        return EchosError(
            f"{path}: this is CIFAR's archive for Python, whose pickles could run arbitrary code and are never opened; fetch the "
            f"binary version, {_SITE}/{_PICKLED[folder]}"
        )
    expected = " or ".join(_LAYOUTS)
    return EchosError(
        f"{path}: not CIFAR's binary archive: it contains {folder!r}, not {expected}; fetch {_SITE}/cifar-10-binary.tar.gz or "
        f"{_SITE}/cifar-100-binary.tar.gz"
    )


def _records(path: Path, name: str, data: bytes, labels: int) -> np.ndarray:
    """Split one member into records of label bytes and 3,072 pixels; uint8, shape (n, labels + 3072)."""
    length = labels + _PIXELS
    if not data or len(data) % length:
        raise EchosError(
            f"{path}: the {len(data)} bytes of {name} are not a whole number of records of {length} bytes; fetch the archive again"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, length)
