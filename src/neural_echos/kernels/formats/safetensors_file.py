"""Safetensors: a JSON header of shapes and types, then plain bytes; a tensor is read on request."""

import struct
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from neural_echos.errors import EchosError
from neural_echos.kernels.formats.opened import Checkpoint, Stored

_NUMPY = {"F64", "F32", "F16", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL", "C64"}


def open_safetensors(path: Path) -> Checkpoint:
    """Open a safetensors file; only its header is read.

    Raises
    ------
    EchosError
        The file is incomplete or damaged.
    """
    try:
        file = safe_open(path, framework="numpy")
        header = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (a safe_open is no dict)
        metadata = file.metadata() or {}
    except SafetensorError as error:
        raise EchosError(f"{path}: {_complaint(path, error)}") from None
    tensors = {key: Stored(tuple(part.get_shape()), part.get_dtype()) for key, part in header.items()}

    def read(name: str) -> np.ndarray:
        if tensors[name].dtype in _NUMPY:
            values = file.get_tensor(name)
            return values.astype(np.float32) if values.dtype == np.float16 else values
        return _widened(path, name, tensors[name].dtype)

    return Checkpoint(path, tensors, read, metadata)


def _widened(path: Path, name: str, dtype: str) -> np.ndarray:
    """Read a tensor of a type that NumPy lacks (bfloat16, 8-bit floats) as float32, without loss."""
    try:
        with safe_open(path, framework="pt") as tensors:
            return tensors.get_tensor(name).float().numpy()
    except (SafetensorError, RuntimeError, KeyError, AttributeError):
        raise EchosError(
            f"{path}: the tensor {name!r} has the type {dtype}, which cannot be read; save it as float32"
        ) from None


def _complaint(path: Path, error: SafetensorError) -> str:
    """Say what is wrong: bytes are missing, or they do not match the header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = struct.unpack("<Q", file.read(8))[0]
    if 8 + header > size or ("incomplete" in str(error).lower() and not _longer(path, header, size)):
        return "the file is incomplete; fetch it again"
    reason = str(error).removeprefix("Error while deserializing header: ").splitlines()[0]
    return f"the safetensors header is damaged ({reason}); write the file again with safetensors"


def _longer(path: Path, header: int, size: int) -> bool:
    """Whether a file has more bytes than its header accounts for."""
    import json

    try:
        with path.open("rb") as file:
            file.seek(8)
            parts = json.loads(file.read(header))
        ends = [part["data_offsets"][1] for key, part in parts.items() if key != "__metadata__"]
        return 8 + header + max(ends, default=0) < size
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return True
