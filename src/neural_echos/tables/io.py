"""The tables that pass between rooms: one schema each, written to Parquet and checked on reading.

`docs/data.md` is the data dictionary of these schemas; a test holds it against this file.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path
from neural_echos.progress import tracked

_VERSION = 1
_KEY = b"neural_echos.schema"
_BATCH = 65_536  # rows that are looked at together
_ROWS = 1 << 20  # of a row group, and of what is read at a time
_T = TypeVar("_T")


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


_KERNEL = {
    "model": pa.string(),
    "kind": pa.string(),
    "layer": pa.string(),
    "layer_index": pa.int32(),
    "depth": pa.float64(),
    "kernel_height": pa.int16(),
    "kernel_width": pa.int16(),
}
_RUN = {"dataset": pa.string(), "architecture": pa.string(), "initialisation": pa.string(), "seed": pa.int64()}
_TAPS = pa.list_(pa.float32())
_MOMENTS = ("m_x", "m_y", "v_xx", "v_xy", "v_yy")

SCHEMAS: dict[str, pa.Schema] = {
    "bank": _schema(
        **_KERNEL,
        channel=pa.int32(),
        input_channel=pa.int32(),
        stride=pa.int16(),
        dilation=pa.int16(),
        taps=_TAPS,
    ),
    "clusters": _schema(
        row=pa.int64(),
        **_KERNEL,
        clustering=pa.string(),
        cluster=pa.int16(),
        name=pa.string(),
        distance=pa.float64(),
    ),
    "centroids": _schema(
        model=pa.string(),
        kind=pa.string(),
        kernel_height=pa.int16(),
        kernel_width=pa.int16(),
        clustering=pa.string(),
        cluster=pa.int16(),
        name=pa.string(),
        count=pa.int64(),
        similarity=pa.float64(),
        gamma=pa.float64(),
        taps=_TAPS,
    ),
    "choices": _schema(
        model=pa.string(),
        kind=pa.string(),
        kernel_height=pa.int16(),
        kernel_width=pa.int16(),
        kernels=pa.int64(),
        clusters=pa.int16(),
        inertia=pa.float64(),
        silhouette=pa.float64(),
        stability=pa.float64(),
        chosen=pa.bool_(),
        declared=pa.bool_(),
    ),
    "fits": _schema(
        row=pa.int64(),
        **_KERNEL,
        pattern=pa.string(),
        sign=pa.int8(),
        gamma=pa.float64(),
        r=pa.float64(),
        sigma_x=pa.float64(),
        sigma_y=pa.float64(),
        orientation=pa.float64(),
        offset_x=pa.float64(),
        offset_y=pa.float64(),
        amplitude=pa.float64(),
        residual=pa.float64(),
        cosine=pa.float64(),
        null_cosine=pa.float64(),
    ),
    "spread": _schema(
        filter=pa.int16(),
        constant=pa.float64(),
        response=pa.float64(),
        l1=pa.float64(),
        **{f"{weights}{name}": pa.float64() for weights in ("", "weighted_") for name in _MOMENTS},
        taps=_TAPS,
    ),
    "scales": _schema(
        filter=pa.int16(),
        method=pa.string(),
        sigma_x=pa.float64(),
        sigma_y=pa.float64(),
        amount=pa.float64(),
        l1=pa.float64(),
        l2=pa.float64(),
        cosine=pa.float64(),
    ),
    "matches": _schema(
        row=pa.int64(),
        **_KERNEL,
        best=pa.string(),
        cosine=pa.float64(),
        amplitude=pa.float64(),
        bias=pa.float64(),
        gamma=pa.float64(),
        sigma_u=pa.float64(),
        sigma_v=pa.float64(),
        orientation=pa.float64(),
        offset_x=pa.float64(),
        offset_y=pa.float64(),
        cosine_dog=pa.float64(),
        cosine_gaussian=pa.float64(),
        cosine_gaussian_derivative_1=pa.float64(),
        cosine_gaussian_derivative_2=pa.float64(),
        null_cosine=pa.float64(),
        null_cosine_dog=pa.float64(),
        null_cosine_gaussian=pa.float64(),
        null_cosine_gaussian_derivative_1=pa.float64(),
        null_cosine_gaussian_derivative_2=pa.float64(),
    ),
    "patterns": _schema(
        row=pa.int64(),
        **_KERNEL,
        code=pa.float64(),
        cluster=pa.int16(),
        cluster_pattern=pa.string(),
        cluster_cosines=pa.list_(pa.float64()),
        pattern=pa.string(),
        cosine=pa.float64(),
        null_cluster_cosines=pa.list_(pa.float64()),
        null_cosine=pa.float64(),
    ),
    "pattern_centroids": _schema(
        model=pa.string(),
        kind=pa.string(),
        kernel_height=pa.int16(),
        kernel_width=pa.int16(),
        cluster=pa.int16(),
        code=pa.float64(),
        count=pa.int64(),
        pattern=pa.string(),
        cosine=pa.float64(),
        taps=_TAPS,
    ),
    "history": _schema(
        **_RUN,
        epoch=pa.int32(),
        learning_rate=pa.float64(),
        train_loss=pa.float64(),
        loss=pa.float64(),
        top1=pa.float64(),
        top5=pa.float64(),
    ),
    "runs": _schema(
        **_RUN,
        kernel_size=pa.int16(),
        parameters=pa.int64(),
        epochs=pa.int32(),
        train_images=pa.int64(),
        test_images=pa.int64(),
        loss=pa.float64(),
        top1=pa.float64(),
        top5=pa.float64(),
        area=pa.float64(),
        diverged=pa.bool_(),
    ),
    "ablated": _schema(
        **_RUN,
        layer=pa.string(),
        layer_index=pa.int32(),
        depth=pa.float64(),
        kernels=pa.int32(),
        kernel_height=pa.int16(),
        kernel_width=pa.int16(),
        loss=pa.float64(),
        top1=pa.float64(),
        top5=pa.float64(),
        intact_top1=pa.float64(),
    ),
    "comparisons": _schema(
        dataset=pa.string(),
        architecture=pa.string(),
        kernel_size=pa.int16(),
        initialisation=pa.string(),
        baseline=pa.string(),
        measure=pa.string(),
        seeds=pa.int32(),
        diverged=pa.int32(),
        target=pa.float64(),
        censored=pa.int32(),
        baseline_censored=pa.int32(),
        value=pa.float64(),
        baseline_value=pa.float64(),
        difference=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        bootstrap_low=pa.float64(),
        bootstrap_high=pa.float64(),
        p=pa.float64(),
        p_holm=pa.float64(),
        detectable=pa.float64(),
    ),
    "replacements": _schema(
        **_RUN,
        candidates=pa.string(),
        filters=pa.int16(),
        stage=pa.string(),
        test_images=pa.int64(),
        loss=pa.float64(),
        top1=pa.float64(),
        top5=pa.float64(),
    ),
    "replacement_errors": _schema(
        **_RUN,
        candidates=pa.string(),
        filters=pa.int16(),
        layer=pa.string(),
        layer_index=pa.int32(),
        depth=pa.float64(),
        kernel_height=pa.int16(),
        kernel_width=pa.int16(),
        kernels=pa.int64(),
        filters_used=pa.int16(),
        error=pa.float64(),
    ),
    "eliminations": _schema(
        **_RUN,
        candidates=pa.string(),
        phase=pa.string(),
        filters=pa.int16(),
        removed=pa.int16(),
        added=pa.int16(),
        images=pa.int64(),
        loss=pa.float64(),
        top1=pa.float64(),
        test_images=pa.int64(),
        test_loss=pa.float64(),
        test_top1=pa.float64(),
        elbow=pa.bool_(),
        taps=_TAPS,
    ),
    "signals": _schema(
        **_RUN,
        layer=pa.string(),
        layer_index=pa.int32(),
        depth=pa.float64(),
        kernel_height=pa.int16(),
        kernel_width=pa.int16(),
        replaced=pa.int32(),
        frozen=pa.bool_(),
        kernel_l2=pa.float64(),
        input_mean=pa.float64(),
        input_variance=pa.float64(),
        output_mean=pa.float64(),
        output_variance=pa.float64(),
        spectrum=pa.list_(pa.float64()),
        frequency=pa.float64(),
        gradient_output=pa.float64(),
        gradient_norm=pa.float64(),
    ),
    "structure": _schema(
        model=pa.string(),
        kind=pa.string(),
        role=pa.string(),
        trained_on=pa.string(),
        kernel_size=pa.int16(),
        kernels=pa.int64(),
        layers=pa.int32(),
        threshold=pa.float64(),
        share=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        mean_cosine=pa.float64(),
        null_mean_cosine=pa.float64(),
        excitatory_share=pa.float64(),
        inhibitory_share=pa.float64(),
        other_share=pa.float64(),
    ),
    "explained": _schema(
        model=pa.string(),
        kind=pa.string(),
        role=pa.string(),
        trained_on=pa.string(),
        kernel_height=pa.int16(),
        kernel_width=pa.int16(),
        kernels=pa.int64(),
        layers=pa.int32(),
        explained=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        null_explained=pa.float64(),
        dog=pa.float64(),
        gaussian=pa.float64(),
        gaussian_derivative_1=pa.float64(),
        gaussian_derivative_2=pa.float64(),
        null_dog=pa.float64(),
        best_dog=pa.float64(),
        best_gaussian=pa.float64(),
        best_gaussian_derivative_1=pa.float64(),
        best_gaussian_derivative_2=pa.float64(),
        offset=pa.float64(),
    ),
    "pattern_shares": _schema(
        model=pa.string(),
        kind=pa.string(),
        role=pa.string(),
        trained_on=pa.string(),
        kernel_size=pa.int16(),
        layer=pa.string(),
        layer_index=pa.int32(),
        depth=pa.float64(),
        by=pa.string(),
        shuffled=pa.bool_(),
        threshold=pa.float64(),
        declared=pa.bool_(),
        kernels=pa.int64(),
        layers=pa.int32(),
        share=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        by_training=pa.list_(pa.float64()),
    ),
    "verdicts": _schema(
        claim=pa.string(),
        paper=pa.string(),
        statement=pa.string(),
        measured=pa.string(),
        value=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        scale=pa.string(),
        verdict=pa.string(),
        reason=pa.string(),
        artifact=pa.string(),
    ),
    "survey": _schema(
        family=pa.string(),
        architecture=pa.string(),
        tag=pa.string(),
        hub=pa.string(),
        licence=pa.string(),
        parameters=pa.int64(),
        layers=pa.int32(),
        kernels=pa.int64(),
        kernels_by_size=pa.string(),
        largest=pa.int16(),
        timm=pa.string(),
    ),
}


def write_table(path: str | Path, table: pa.Table, name: str) -> None:
    """Write `table` as Parquet under the schema `name`, atomically and with the same bytes for the same rows."""
    schema = SCHEMAS[name].with_metadata({_KEY: f"{name}/{_VERSION}".encode()})
    table = table.select(schema.names).cast(schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_table(path: str | Path, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table and check that it has the schema `name`, of this version.

    Raises
    ------
    EchosError
        The file is missing, cut short, not Parquet, or of another schema or version.
    """
    wanted = list(columns) if columns else None
    return _read(path, name, lambda: pq.read_table(path, columns=wanted, page_checksum_verification=True))


def _read(path: str | Path, name: str, read: Callable[[], _T]) -> _T:
    """Check that a file has the schema `name`, and read of it; what fails is told in one sentence."""
    try:
        schema = pq.read_schema(path)
        kind = (schema.metadata or {}).get(_KEY, b"no neural_echos schema").decode(errors="replace")
        if kind == f"{name}/{_VERSION}" and schema.names != SCHEMAS[name].names:
            apart = sorted(set(SCHEMAS[name].names) ^ set(schema.names))
            kind = f"one of another release, which differs in {', '.join(apart) or 'the order of its columns'}"
        if kind != f"{name}/{_VERSION}":
            raise EchosError(f"{path}: expected a table of schema {name}/{_VERSION}, found {kind}; make it again")
        return read()
    except FileNotFoundError:
        raise EchosError(f"{path}: expected a {name} table, found no file; run the rule that makes it first") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        found = (str(error) or type(error).__name__).splitlines()[0]
        raise EchosError(
            f"{path}: expected a {name} table in Parquet, found {found}; name another file, or make this one again"
        ) from None


def read_batches(path: str | Path, name: str, *, rows: int = _ROWS, progress: bool = False) -> Iterator[pa.Table]:
    """Read a table of schema `name` so many rows at a time, and show how far that is; raises as `read_table` does."""
    file = _read(path, name, lambda: pq.ParquetFile(path, page_checksum_verification=True))
    with file:
        batches = file.iter_batches(batch_size=rows)
        read = iter(lambda: _read(path, name, lambda: next(batches, None)), None)
        parts = -(-file.metadata.num_rows // rows)
        for batch in tracked(read, f"parts of {rows:,} rows", parts) if progress else read:
            yield pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)


def write_batches(path: str | Path, batches: Iterable[pa.Table], name: str) -> int:
    """Write tables one after another as one table, as `write_table` would write them together; returns its rows."""
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
    """Take the kernels of one size, and of one kind where it is given, out of a bank (or centroid) table.

    Returns
    -------
    rows : ndarray of int64, shape (n,)
        Their row numbers in `table`.
    kernels : ndarray of float32, shape (n, height, width)
        Their taps.

    Raises
    ------
    EchosError
        A kernel has another number of taps.
    """
    chosen = pc.and_(pc.equal(table["kernel_height"], height), pc.equal(table["kernel_width"], width))
    if kind is not None:
        chosen = pc.and_(chosen, pc.equal(table["kind"], kind))
    mask = chosen.to_numpy(zero_copy_only=False)
    kernels = np.empty((np.count_nonzero(mask), height, width), np.float32)
    start = found = 0
    # batch by batch, for pyarrow's take of lists needs three times their memory
    for batch in table.select(["taps"]).to_batches(max_chunksize=_BATCH):
        taps = batch["taps"].filter(pa.array(mask[start : start + len(batch)]))
        values = taps.flatten().to_numpy(zero_copy_only=False)
        if pc.any(pc.not_equal(pc.fill_null(pc.list_value_length(taps), -1), height * width)).as_py():
            raise EchosError(
                f"{table['model'][0]}: expected {height * width} taps of every {height}×{width} kernel, found another number; "
                "make the table again"
            )
        kernels[found : found + len(taps)] = values.reshape(-1, height, width)
        start, found = start + len(batch), found + len(taps)
    return np.flatnonzero(mask), kernels


def kernel_sizes(table: pa.Table) -> list[tuple[int, int]]:
    """List the (height, width) that occur in a bank, smallest first; one below 1, or none, is an `EchosError`."""
    pairs = table.select(["kernel_height", "kernel_width"]).group_by(["kernel_height", "kernel_width"]).aggregate([])
    found = list(zip(pairs["kernel_height"].to_pylist(), pairs["kernel_width"].to_pylist(), strict=True))
    for height, width in found:
        if height is None or width is None or min(height, width) < 1:
            raise EchosError(
                f"{table['model'][0]}: expected kernels of at least 1×1, found {height}×{width}; make the table again"
            )
    return sorted(found)
