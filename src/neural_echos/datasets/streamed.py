"""A dataset on disk: an index of where each image is, in files, tar archives or Parquet.

Nothing is kept open or decoded until an image is requested, so that an index can be sent to worker processes.
"""

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neural_echos.datasets.base import Dataset, check_labels, check_statistics, kind, measured, require
from neural_echos.datasets.images import decode, stacked
from neural_echos.datasets.selection import Selection
from neural_echos.errors import EchosError
from neural_echos.files import refuse_stand_in
from neural_echos.progress import tracked

_GROUPS: OrderedDict[tuple[Any, ...], Any] = OrderedDict()  # row groups that this process read last


@dataclass(frozen=True, eq=False)
class Index:
    """Locations of the images of one split.

    Attributes
    ----------
    names : ndarray of uint8
        Names of the files, relative to the dataset's root, UTF-8, one after another.
    ends : ndarray of int64, shape (files,)
        Where each name ends.
    places : ndarray of int64, shape (n, 3)
        For each image: its file, and the first byte and number of bytes there or, in Parquet, the row group and the row in it.
    """

    names: np.ndarray
    ends: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, names: Sequence[str], places: np.ndarray) -> "Index":
        """Make an index from names as text."""
        encoded = [os.fsencode(name) for name in names]
        ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends, places)

    def name(self, file: int) -> str:
        """Name of one file."""
        start = self.ends[file - 1] if file else 0
        return os.fsdecode(self.names[start : self.ends[file]].tobytes())

    def rows(self, kept: np.ndarray) -> "Index":
        """Keep some rows, and only the files that contain them."""
        used, file = np.unique(self.places[kept, 0], return_inverse=True)
        places = np.concatenate([file[:, None], self.places[kept, 1:]], axis=1).astype(np.int64)
        return Index.of([self.name(number) for number in used], places)


@dataclass(frozen=True, eq=False)
class StreamedDataset:
    """Labelled images that stay on disk, split into training and test; every image is read as RGB.

    Attributes
    ----------
    name : str
    classes : tuple of str
        Class names; a label is an index into them.
    mean, std : ndarray of float64, shape (3,)
        Statistics with which pixels, scaled to [0, 1], are normalised.
    train_labels, test_labels : ndarray of int64, shape (n,)
    train, test : Index
    root : str
        Folder that file names are relative to.
    column : str
        Column of the images in Parquet; "" for files and tar archives.
    pool : int
        In Parquet, number of row groups that are shuffled together, and that a process keeps in memory.
    """

    name: str
    classes: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    train_labels: np.ndarray
    test_labels: np.ndarray
    train: Index
    test: Index
    root: str
    column: str = ""
    pool: int = 16

    @property
    def channels(self) -> int:
        """3: images are read in colour."""
        return 3

    def read(self, split: str, row: int) -> Image.Image:
        """Read and decode one image.

        Parameters
        ----------
        split : str
            "train" or "test".
        row : int

        Raises
        ------
        EchosError
            The file is missing or has become shorter, or the image cannot be decoded; the message names the file and the row or
            member.
        """
        return self._decoded(split, row, "RGB", self.pool)[1]

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Draw an order of the training rows for one epoch.

        For files and tar archives, the order is fully random. In Parquet, row groups are put in random order and rows are shuffled
        within every `pool` of them, so that a process finds its rows in the few row groups that it keeps in memory.

        Returns
        -------
        ndarray of int64, shape (n,)
            A permutation.
        """
        shuffled = rng.permutation(len(self.train_labels))
        if not self.column:
            return shuffled
        file, group, _ = self.train.places.T
        _, number = np.unique(file * (group.max() + 1) + group, return_inverse=True)
        pools = rng.permutation(number.max() + 1) // self.pool
        return shuffled[np.argsort(pools[number[shuffled]], kind="stable")]

    def images(self, split: str, rows: np.ndarray, size: int) -> np.ndarray:
        """Read some images, resized and cropped to a side of `size` pixels; uint8, shape (n, 3, size, size)."""
        return stacked((self._decoded(split, int(row), "RGB", self.pool) for row in rows), len(rows), size)

    def in_memory(self, *, size: int | None = None, grey: bool = False) -> Dataset:
        """Decode every image into memory, and compute the mean and standard deviation from the pixels.

        Parameters
        ----------
        size : int, optional
            Side to which images are resized and cropped; without it, all must have the same size.
        grey : bool
            Read as grey (c = 1) instead of colour (c = 3).
        """
        mode = "L" if grey else "RGB"
        splits = {}
        for split, labels in (("train", self.train_labels), ("test", self.test_labels)):
            rows = tracked(range(len(labels)), f"{split} images", len(labels))
            images = (self._decoded(split, row, mode, 1) for row in rows)
            splits[split] = stacked(images, len(labels), size), labels
        _GROUPS.clear()
        return measured(self.name, self.classes, splits["train"], splits["test"])

    def _decoded(self, split: str, row: int, mode: str, pool: int) -> tuple[str, Image.Image]:
        index = {"train": self.train, "test": self.test}[split]
        file, start, length = index.places[row].tolist()
        path = Path(self.root) / index.name(file)
        if self.column:
            where, data = _row(path, self.column, start, length, pool)
            return where, decode(where, data, mode)
        data = _bytes(path, start, length)
        try:
            return str(path), decode(str(path), data, mode)
        except EchosError:
            return str(path), decode(f"{path}{_member(path, start)}", data, mode)


def _bytes(path: Path, start: int, length: int) -> bytes:
    """Read a part of a file."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            data = file.read(length)
    except OSError as error:
        raise EchosError(
            f"{path}: this image cannot be read ({error.strerror}); restore it, or make the dataset again"
        ) from None
    if len(data) != length:
        raise EchosError(
            f"{path}: the file has changed: it has {len(data)} instead of {length} bytes from byte {start}; make the dataset "
            "again"
        )
    return data


def _member(path: Path, start: int) -> str:
    """Name the member of a tar archive whose data starts at a byte; its header is just before."""
    import tarfile

    if start < tarfile.BLOCKSIZE:
        return ""
    try:
        header = _bytes(path, start - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
        return f", member {tarfile.TarInfo.frombuf(header, 'utf-8', 'surrogateescape').name}"
    except (EchosError, tarfile.HeaderError):
        return f", byte {start}"


def _row(path: Path, column: str, group: int, row: int, pool: int) -> tuple[str, Any]:
    """Read one row of a Parquet file: its location as text, and the encoded image."""
    first, images = _row_group(path, column, group, pool)
    where = f"{path}, row {first + row}"
    if row >= len(images):
        raise EchosError(f"{where}: the file has changed and no longer has this row; make the dataset again")
    return where, images[row].as_py()


def open_parquet(path: str | Path) -> Any:
    """Open a Parquet file without reading its rows; anything else raises an `EchosError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise EchosError(f"{path}: no such file; fetch it first") from None
    except (pa.ArrowException, OSError) as error:
        if Path(path).is_file():
            refuse_stand_in(path)
        found = str(error).splitlines()[0]
        raise EchosError(f"{path}: not a complete Parquet file ({found}); fetch it again, or choose another") from None


def _row_group(path: Path, column: str, group: int, pool: int) -> tuple[int, Any]:
    """Row group of a Parquet file: number of its first row, and the column; the last `pool` groups are cached."""
    import pyarrow as pa

    key: tuple[Any, ...]
    try:
        key = (os.getpid(), str(path), path.stat().st_mtime_ns, column, group)
    except OSError:
        key = (os.getpid(), str(path))  # open_parquet says what is wrong
    if key not in _GROUPS:
        file = open_parquet(path)
        try:
            first = sum(file.metadata.row_group(one).num_rows for one in range(group))
            images = file.read_row_group(group, columns=[column], use_threads=False)[column].combine_chunks()
        except (pa.ArrowException, OSError, IndexError, RuntimeError, KeyError) as error:
            found = str(error).splitlines()[0]
            raise EchosError(f"{path}: its rows cannot be read ({found}); fetch the file again") from None
        while len(_GROUPS) >= pool:
            _GROUPS.popitem(last=False)
        _GROUPS[key] = first, images
    _GROUPS.move_to_end(key)
    return _GROUPS[key]


def check_streamed(dataset: StreamedDataset, where: str) -> None:
    """Refuse a dataset on disk whose parts are inconsistent, with one sentence that starts with `where`."""
    for split in ("train", "test"):
        index, labels = getattr(dataset, split), getattr(dataset, f"{split}_labels")
        places, ends = index.places, index.ends
        of_places = places.dtype == np.int64 and places.shape[1:] == (3,)
        require(where, of_places, f"{split} places must be int64 (n, 3), but are {kind(places)}")
        check_labels(labels, len(places), len(dataset.classes), split, where)
        whole = len(ends) > 0 and int(ends[-1]) == len(index.names) and bool((np.diff(ends, prepend=0) > 0).all())
        require(where, whole, f"the names of the {split} files do not match their {len(index.names)} bytes")
        inside = bool((places >= 0).all()) and int(places[:, 0].max()) < len(ends)
        require(where, inside, f"{split} images lie outside their {len(ends)} files")
    check_statistics(dataset.mean, dataset.std, 3, where)
    require(where, dataset.pool >= 1, f"pool must be at least 1 row group, not {dataset.pool}")


def assembled(
    selection: Selection,
    classes: Sequence[str],
    root: Path,
    splits: Sequence[tuple[Index, np.ndarray]],
    *,
    memory: bool,
    size: int | None,
    grey: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    column: str = "",
    pool: int = 16,
) -> Dataset | StreamedDataset:
    """Assemble a dataset, on disk or in memory, from the images that a selection keeps.

    Parameters
    ----------
    selection : Selection
    classes : sequence of str
    root : path
    splits : (Index, ndarray of int64) for train and test
        All images and their labels.
    memory : bool
        Decode images into memory; otherwise leave them on disk and keep an index.
    size : int, optional
        In memory, side to which images are resized and cropped; without it, all must have the same size.
    grey : bool
        Read images as grey (c = 1) instead of colour (c = 3); only in memory.
    mean, std : sequence of three floats, optional
        On disk, statistics for normalising pixels; by default ImageNet's.
    column, pool
        See `StreamedDataset`.
    """
    name = selection.name
    if size is not None and size < 1:
        raise EchosError(f"dataset {name}: size must be at least 1 pixel, not {size}")
    if grey and not memory:
        raise EchosError(
            f"dataset {name}: images on disk are read in colour; set memory: true together with grey, or omit grey"
        )
    (train, train_found), (test, test_found) = splits
    classes, kept = selection.keep(classes, train_found, test_found)
    indices = [
        index if len(rows) == len(index.places) else index.rows(rows)
        for index, (rows, _) in zip((train, test), kept, strict=True)
    ]
    statistics = ([0.0] * 3, [1.0] * 3) if memory else _statistics(mean, std)
    dataset = StreamedDataset(
        name=name,
        classes=tuple(classes),
        mean=np.array(statistics[0], dtype=np.float64),
        std=np.array(statistics[1], dtype=np.float64),
        train_labels=kept[0][1],
        test_labels=kept[1][1],
        train=indices[0],
        test=indices[1],
        root=str(root),
        column=column,
        pool=pool,
    )
    check_streamed(dataset, name)
    return dataset.in_memory(size=size, grey=grey) if memory else dataset


def _statistics(mean: Sequence[float] | None, std: Sequence[float] | None) -> tuple[Sequence[float], Sequence[float]]:
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    return mean or IMAGENET_DEFAULT_MEAN, std or IMAGENET_DEFAULT_STD
