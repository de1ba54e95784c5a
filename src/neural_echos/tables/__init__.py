"""Tables: their columns, and reading and writing them."""

from neural_echos.tables.io import (
    SCHEMAS,
    kernel_sizes,
    kernels_of,
    read_batches,
    read_table,
    write_batches,
    write_table,
)

__all__ = ["SCHEMAS", "kernel_sizes", "kernels_of", "read_batches", "read_table", "write_batches", "write_table"]
