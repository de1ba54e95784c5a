"""Tables: their columns, and reading and writing them."""

from neural_echos.tables.columns import SCHEMAS
from neural_echos.tables.io import (
    _ROWS as _ROWS,
)
from neural_echos.tables.io import (
    kernel_sizes,
    kernels_of,
    read_batches,
    read_table,
    write_batches,
    write_table,
)

__all__ = ["SCHEMAS", "kernel_sizes", "kernels_of", "read_batches", "read_table", "write_batches", "write_table"]
