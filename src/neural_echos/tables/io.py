"""Reading and writing the tables that pass between rooms: Parquet, one schema each, checked on reading."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, refuse_stand_in
from neural_echos.progress import tracked
from neural_echos.tables.columns import SCHEMAS

_VERSION = 1
_KEY = b"neural_echos.schema"
_BATCH = 65_536  # rows that are processed together
_ROWS = 1 << 20  # rows of a row group, and of one read
_T = TypeVar("_T")


def write_table(path: str | Path, table: pa.Table, name: str) -> None:
    """Write `table` as Parquet with the schema `name`, atomically and with the same bytes for the same rows."""
    schema = SCHEMAS[name].with_metadata({_KEY: f"{name}/{_VERSION}".encode()})
    table = table.select(schema.names).cast(schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_table(path: str | Path, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table and check that it has this version of the schema `name`.

    Raises
    ------
    EchosError
        The file is missing, truncated, not Parquet, or has another schema or version.
    """
    wanted = list(columns) if columns else None
    return _read(path, name, lambda: pq.read_table(path, columns=wanted, page_checksum_verification=True))


def _read(path: str | Path, name: str, read: Callable[[], _T]) -> _T:
    """Check that a file has the schema `name`, and read from it; failures become one-sentence errors."""
    try:
        schema = pq.read_schema(path)
        kind = (schema.metadata or {}).get(_KEY, b"one without a neural_echos schema").decode(errors="replace")
        if kind == f"{name}/{_VERSION}" and schema.names != SCHEMAS[name].names:
            apart = sorted(set(SCHEMAS[name].names) ^ set(schema.names))
            kind = f"one from another release, which differs in {', '.join(apart) or 'the order of its columns'}"
        if kind != f"{name}/{_VERSION}":
            raise EchosError(
                f"{path}: not a table with the schema {name}/{_VERSION}, but {kind}; make it again, or choose another file"
            )
        return read()
    except FileNotFoundError:
        raise EchosError(f"{path}: there is no such {name} table; check the path, or make it first") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        if Path(path).is_file():
            refuse_stand_in(path)
        found = (str(error) or type(error).__name__).splitlines()[0]
        how = " with echos extract" if name == "bank" else ""
        raise EchosError(
            f"{path}: cannot be read as a {name} table in Parquet ({found}); choose another file, or make this one again{how}"
        ) from None


def read_batches(path: str | Path, name: str, *, rows: int = _ROWS, progress: bool = False) -> Iterator[pa.Table]:
    """Read a table with the schema `name` in batches of `rows`, optionally with progress; raises like `read_table`."""
    file = _read(path, name, lambda: pq.ParquetFile(path, page_checksum_verification=True))
    with file:
        batches = file.iter_batches(batch_size=rows)
        read = iter(lambda: _read(path, name, lambda: next(batches, None)), None)
        parts = -(-file.metadata.num_rows // rows)
        for batch in tracked(read, f"parts of {rows:,} rows", parts) if progress else read:
            yield pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)


def write_batches(path: str | Path, batches: Iterable[pa.Table], name: str) -> int:
    """Write several tables as one, as `write_table` would write their concatenation; return the number of rows."""
    schema = SCHEMAS[name].with_metadata({_KEY: f"{name}/{_VERSION}".encode()})
    rows = 0
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for batch in batches:
            writer.write_table(batch.select(schema.names).cast(schema), row_group_size=_ROWS)
            rows += batch.num_rows
    return rows


def kernels_of(table: pa.Table, height: int, width: int, kind: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernels of one size, and optionally of one kind, from a bank (or centroid) table.

    Returns
    -------
    rows : ndarray of int64, shape (n,)
        Their row numbers in `table`.
    kernels : ndarray of float32, shape (n, height, width)
        Their taps.

    Raises
    ------
    EchosError
        A kernel has the wrong number of taps.
    """
    chosen = pc.and_(pc.equal(table["kernel_height"], height), pc.equal(table["kernel_width"], width))
    if kind is not None:
        chosen = pc.and_(chosen, pc.equal(table["kind"], kind))
    mask = chosen.to_numpy(zero_copy_only=False)
    kernels = np.empty((np.count_nonzero(mask), height, width), np.float32)
    start = found = 0
    # batch by batch, because pyarrow's take of lists needs three times their memory
    for batch in table.select(["taps"]).to_batches(max_chunksize=_BATCH):
        taps = batch["taps"].filter(pa.array(mask[start : start + len(batch)]))
        values = taps.flatten().to_numpy(zero_copy_only=False)
        if pc.any(pc.not_equal(pc.fill_null(pc.list_value_length(taps), -1), height * width)).as_py():
            raise EchosError(
                f"{table['model'][0]}: a {height}×{width} kernel does not have {height * width} taps; "
                "make the table again"
            )
        kernels[found : found + len(taps)] = values.reshape(-1, height, width)
        start, found = start + len(batch), found + len(taps)
    return np.flatnonzero(mask), kernels


def kernel_sizes(table: pa.Table) -> list[tuple[int, int]]:
    """List the kernel sizes (height, width) in a bank, smallest first; a missing size or one below 1 is an `EchosError`."""
    pairs = table.select(["kernel_height", "kernel_width"]).group_by(["kernel_height", "kernel_width"]).aggregate([])
    found = list(zip(pairs["kernel_height"].to_pylist(), pairs["kernel_width"].to_pylist(), strict=True))
    for height, width in found:
        if height is None or width is None or min(height, width) < 1:
            raise EchosError(f"{table['model'][0]}: kernels of {height}×{width} are impossible; make the table again")
    return sorted(found)
