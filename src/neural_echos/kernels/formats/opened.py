"""An opened checkpoint, the same for all formats: tensors with shapes and dtypes, each read on request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neural_echos.errors import EchosError

if TYPE_CHECKING:
    from neural_echos.kernels.layers import Layer

SAVE = "save_file(model.state_dict(), 'weights.safetensors') of safetensors.torch"


@dataclass(frozen=True)
class Stored:
    """One tensor as stored in a file, not read yet.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        Its type in safetensors' naming: F64, F32, F16, BF16, F8_E4M3, I8, U8, BOOL, C64, …; QI8, QU8 and QI32 are PyTorch's own
        quantised tensors, which are de-quantised on reading.
    dense : bool
        False for sparse tensors and tensors on PyTorch's meta device, which have no values.
    """

    shape: tuple[int, ...]
    dtype: str
    dense: bool = True


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint.

    Attributes
    ----------
    path : Path
        The file (or index) that was opened.
    tensors : mapping of str to Stored
        Its tensors, in the file's order. Dictionaries and lists around a state dict are joined by "/"
        ("state_dict/layer1.weight", "optimizer/state/3/exp_avg"); names inside a state dict keep their dots.
    reader : callable
        Reads one tensor; called by `read`.
    metadata : mapping of str to str
        The metadata of a safetensors file; {"format": "onnx"} for ONNX; otherwise empty.
    layers : list of Layer or None
        For ONNX, the spatial convolutions with their strides and dilations; otherwise None.
    """

    path: Path
    tensors: Mapping[str, Stored]
    reader: Callable[[str], np.ndarray]
    metadata: Mapping[str, str] = field(default_factory=dict)
    layers: "list[Layer] | None" = None

    def read(self, name: str) -> np.ndarray:
        """Read one tensor: floats as float32 or float64 (narrower ones are widened exactly), integers and complex unchanged.

        Raises
        ------
        EchosError
            The tensor has no values (sparse, or on the meta device), or its values cannot be read.
        """
        if not self.tensors[name].dense:
            raise EchosError(
                f"{self.path}: the tensor {name!r} is sparse or has no values (PyTorch's meta device); "
                "save the weights as dense tensors"
            )
        return self.reader(name)


def refuse_placeholders(checkpoint: Checkpoint) -> None:
    """Refuse weights of size 0, which DeepSpeed ZeRO-3 and FSDP save when the values are stored elsewhere."""
    empty = [
        name
        for name, stored in checkpoint.tensors.items()
        if 0 in stored.shape and name.lower().endswith(("weight", "kernel"))
    ]
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise EchosError(
            f"{checkpoint.path}: the weight {empty[0]!r}{more} has no values (shape {checkpoint.tensors[empty[0]].shape}), "
            "as in the placeholders that DeepSpeed ZeRO-3 and FSDP save; gather the weights first (zero_to_fp32.py for "
            "DeepSpeed, a full state dict for FSDP)"
        )
