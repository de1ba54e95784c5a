"""Columns and tables, and the columns that several tables share."""

from dataclasses import dataclass

import pyarrow as pa

_LISTS = {"list of float32": pa.list_(pa.float32()), "list of float64": pa.list_(pa.float64())}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name : str
    dtype : str
        Name of an Arrow type, or "list of float32" or "list of float64".
    meaning : str
        Meaning of the column, in Markdown.
    unit : str
        Unit; "" if there is none, as for names, counts and shares in [0, 1].
    """

    name: str
    dtype: str
    meaning: str
    unit: str = ""

    @property
    def type(self) -> pa.DataType:
        """The column's Arrow type."""
        return _LISTS.get(self.dtype) or pa.type_for_alias(self.dtype)


@dataclass(frozen=True)
class Table:
    """One kind of table.

    Attributes
    ----------
    path : str
        Path below a results folder.
    rows : str
        Meaning of its rows, in Markdown.
    columns : tuple of Column
    """

    path: str
    rows: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The table's Arrow schema."""
        return pa.schema([(column.name, column.type) for column in self.columns])


MODEL = Column("model", "string", "id of the model in the config")
KIND = Column(
    "kind",
    "string",
    "`depthwise` (groups equal to channels, more than one) or `regular` (all other spatial convolutions)",
)
LAYER = Column("layer", "string", "path of the module in the model, or name of the tensor without `.weight`")
LAYER_INDEX = Column(
    "layer_index",
    "int32",
    "number of the layer among the layers of its kind, from 0: in the model's order or, without a model, sorted by name",
)
DEPTH = Column(
    "depth", "float64", "relative depth of the layer, layer_index / (number of layers of its kind − 1), in [0, 1]"
)
KERNEL_HEIGHT = Column("kernel_height", "int16", "kernel height", "taps")
KERNEL_WIDTH = Column("kernel_width", "int16", "kernel width", "taps")
KERNEL_SIZE = Column("kernel_size", "int16", "side of the square kernels", "taps")
ROW = Column("row", "int64", "row of the kernel in its bank, from 0")
ROLE = Column(
    "role",
    "string",
    "the model's `role` in the config: `trained`, `untrained`, `trained from dog`, `drawn` or `lender`",
)
TRAINED_ON = Column("trained_on", "string", "the model's `trained_on` in the config")
DATASET = Column("dataset", "string", "name of the dataset in the config")
ARCHITECTURE = Column("architecture", "string", "name of the architecture in the config")
INITIALISATION = Column("initialisation", "string", "name of the initialisation in the config")
SEED = Column("seed", "int64", "seed of the run")
CANDIDATES = Column("candidates", "string", "name of the set of filters in the config")

KERNEL = (MODEL, KIND, LAYER, LAYER_INDEX, DEPTH, KERNEL_HEIGHT, KERNEL_WIDTH)
RUN = (DATASET, ARCHITECTURE, INITIALISATION, SEED)
