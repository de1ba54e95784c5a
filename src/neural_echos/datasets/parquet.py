"""Images in the Hugging Face Parquet layout: encoded images (PNG, JPEG, WebP, …) and integer labels."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neural_echos.datasets.base import Dataset, Facts
from neural_echos.datasets.registry import maker
from neural_echos.datasets.selection import Selection, described
from neural_echos.datasets.streamed import Index, StreamedDataset, assembled, open_parquet
from neural_echos.errors import EchosError, nearest


@maker("parquet")
def read_parquet_images(
    train_files: Sequence[str | Path],
    test_files: Sequence[str | Path],
    *,
    name: str,
    image_column: str | None = None,
    label_column: str = "label",
    classes: Sequence[str] | None = None,
    grey: bool = False,
    seed: int = 0,
    train_limit: int | None = None,
    test_limit: int | None = None,
    train_share: float | None = None,
    classes_kept: Sequence[str] | str | None = None,
    memory: bool = True,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pool: int = 16,
    checksums: bool = True,
    licence: str = "none stated",
    citation: str = "",
) -> tuple[Dataset | StreamedDataset, Facts]:
    """Read an image dataset in the Hugging Face Parquet layout: encoded images (PNG, JPEG, WebP, …) and integer labels.

    Parameters
    ----------
    train_files, test_files : sequence of path
        Shards, read in this order.
    name : str
        Name of the dataset.
    image_column : str, optional
        Column of bytes or of a struct {bytes, path}; by default "img" or "image", whichever exists.
    label_column : str
        Column of integers from 0; for CIFAR-100 "fine_label" or "coarse_label".
    classes : sequence of str, optional
        Class names; by default from the file's Hugging Face metadata, or else its "wnid" column.
    seed, train_limit, test_limit, train_share, classes_kept
        See `Selection`.
    memory, size, grey, mean, std
        See `assembled`.
    pool : int
        On disk, number of row groups that are shuffled together and kept in memory by each process.
    checksums : bool
        Compute the SHA-256 of every file.
    licence, citation : str
        Licence and citation of the source, for the facts.

    Raises
    ------
    EchosError
        A file is missing, truncated or not Parquet; a column or the class names are missing; the class names of test and train
        differ; a label is out of range; or, in memory, an image cannot be decoded or images differ in size.
    """
    if not train_files or not test_files:
        raise EchosError(f"dataset {name}: both training and test files are needed; declare them")
    selection = Selection(name, seed, train_limit, test_limit, train_share, classes_kept)
    files = [Path(file) for file in [*train_files, *test_files]]
    names = list(classes) if classes is not None else _class_names(files, label_column)
    column = _image_column(files, image_column)
    root = Path(os.path.commonpath([file.parent for file in files]))
    splits = [
        _split([Path(file) for file in part], label_column, len(names), root) for part in (train_files, test_files)
    ]
    dataset = assembled(
        selection,
        names,
        root,
        splits,
        memory=memory,
        size=size,
        grey=grey,
        mean=mean,
        std=std,
        column=column,
        pool=pool,
    )
    called = [file.name for file in files]
    if len(set(called)) < len(set(files)):
        called = [os.path.relpath(file, root) for file in files]
    mode = "L" if grey else "RGB"
    facts = {
        "how": f"read from parquet, images decoded as {mode}, in the order of the files"
        if memory
        else "index of parquet, images left where they are",
        "options": {**selection.options(), "grey": grey, "size": size},
        "seed": seed,
        **described(files, [file.stat().st_size for file in files], called, checksums),
        "licence": licence,
        "citation": citation,
    }
    return dataset, facts


def _image_column(files: Sequence[Path], wanted: str | None) -> str:
    """Return the name of the image column, which every file must have."""
    columns = open_parquet(files[0]).schema_arrow.names
    column = wanted or next((name for name in ("img", "image") if name in columns), "img")
    for path in files:
        _require_column(path, open_parquet(path).schema_arrow.names, column)
    return column


def _require_column(path: Path, columns: Sequence[str], name: str) -> None:
    if name not in columns:
        raise EchosError(
            f"{path}: there is no column {name!r}, only {', '.join(columns)}{nearest(name, columns)}; correct the column's name"
        )


def _split(files: Sequence[Path], label_column: str, classes: int, root: Path) -> tuple[Index, np.ndarray]:
    """Index one split, reading only the labels."""
    places, labels = [], []
    for number, path in enumerate(files):
        found = _labels(path, label_column, classes)
        meta = open_parquet(path).metadata
        rows = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
        group = np.repeat(np.arange(len(rows)), rows)
        row = np.arange(len(found)) - np.repeat(np.cumsum(rows) - rows, rows)
        places.append(np.stack([np.full(len(found), number), group, row], axis=1).astype(np.int64))
        labels.append(found)
    if not sum(map(len, labels)):
        raise EchosError(f"{files[0]}: the file has no rows; check it")
    names = [os.path.relpath(path, root) for path in files]
    return Index.of(names, np.concatenate(places)), np.concatenate(labels)


def _labels(path: Path, label_column: str, classes: int) -> np.ndarray:
    """Read and check the labels of one file; int64, shape (rows,)."""
    import pyarrow as pa

    file = open_parquet(path)
    _require_column(path, file.schema_arrow.names, label_column)
    try:
        found = file.read(columns=[label_column], use_threads=False)[label_column].to_pylist()
    except (pa.ArrowException, OSError) as error:
        told = str(error).splitlines()[0]
        raise EchosError(f"{path}: its rows cannot be read ({told}); fetch the file again") from None
    for row, label in enumerate(found):
        if not isinstance(label, int) or not 0 <= label < classes:
            raise EchosError(
                f"{path}, row {row}: the label is {label!r}, but labels must be from 0 to {classes - 1}; check the file or the "
                "classes"
            )
    return np.array(found, dtype=np.int64)


def _class_names(files: Sequence[Path], label_column: str) -> list[str]:
    """Read class names from the Hugging Face metadata, or else from a "wnid" column (WordNet ids, one per label)."""
    names = _described_classes(files[0], label_column)
    for path in files[1:] if names else ():
        others = _described_classes(path, label_column)
        if others not in (None, names):
            raise EchosError(
                f"{path}: its {len(others or [])} classes differ from the {len(names or [])} of {files[0].name}; use training and "
                "test files from the same dataset"
            )
    if names:
        return names
    _require_column(files[0], open_parquet(files[0]).schema_arrow.names, label_column)
    if "wnid" not in open_parquet(files[0]).schema_arrow.names:
        raise EchosError(
            f"{files[0]}: class names are neither in its Hugging Face metadata nor in a column 'wnid'; give the option 'classes'"
        )
    pairs: set[tuple[int, str]] = set()
    for file in files:
        table = open_parquet(file).read(columns=[label_column, "wnid"])
        pairs |= set(zip(table[label_column].to_pylist(), table["wnid"].to_pylist(), strict=True))
    if sorted(label for label, _ in pairs) != list(range(len(pairs))):
        raise EchosError(
            f"{files[0]}: labels and wnids do not match one to one, {sorted(pairs)[:4]} …; give the option 'classes'"
        )
    return [wnid for _, wnid in sorted(pairs)]


def _described_classes(path: Path, label_column: str) -> list[str] | None:
    """Class names in a file's Hugging Face metadata; None if there are none."""
    try:
        described: Any = json.loads((open_parquet(path).schema_arrow.metadata or {})[b"huggingface"])
        return [str(name) for name in described["info"]["features"][label_column]["names"]]
    except (KeyError, TypeError, ValueError):
        return None
