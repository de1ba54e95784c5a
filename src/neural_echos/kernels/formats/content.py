"""Detect a file's format from its bytes; refuse unsupported ones with the reason and a way to convert them."""

import struct
import zipfile
from pathlib import Path

from neural_echos.errors import EchosError
from neural_echos.files import refuse_stand_in
from neural_echos.kernels.formats.opened import SAVE

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first number of a file from torch.save before 1.6
_LONGEST_HEADER = 100_000_000  # bytes, the limit of safetensors
_MODEL_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}  # of ModelProto in onnx.proto
_GRAPH = 7
_LOAD = "load it in the library that wrote it and save the weights with safetensors"
_FOREIGN = (  # offset, bytes, what it is, what to do
    (0, b"GGUF", "a GGUF file", "convert the original weights instead, as safetensors"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras)", "load it in Keras and save its weights with safetensors.numpy"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert the original model instead, as safetensors or ONNX"),
    (4, b"ORTM", "an ONNX Runtime model (.ort)", "name the original .onnx file"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)", "save the weights with safetensors.numpy.save_file"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it and name the checkpoint inside"),
    (0, b"BZh", "a bzip2 archive", "unpack it and name the checkpoint inside"),
    (0, b"\xfd7zXZ\x00", "an xz archive", "unpack it and name the checkpoint inside"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it and name the checkpoint inside"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and name the checkpoint inside"),
    (0, b"Rar!", "a RAR archive", "unpack it and name the checkpoint inside"),
    (257, b"ustar", "a tar archive", "unpack it and name the checkpoint inside"),
    (0, b"PAR1", "a Parquet table", "name a checkpoint"),
    (0, b"\x89PNG", "a PNG picture", "name a checkpoint"),
    (0, b"\xff\xd8\xff", "a JPEG picture", "name a checkpoint"),
    (0, b"%PDF", "a PDF document", "name a checkpoint"),
)
_BY_SUFFIX = {  # formats without magic bytes
    ".safetensors": ("not a safetensors file (its header is damaged)", "copy or fetch the right file"),
    ".msgpack": ("a Flax checkpoint, as it seems", "load it in Flax and save its weights with safetensors.flax"),
    ".pb": ("a TensorFlow graph, as it seems", "convert it to ONNX with tf2onnx, or save its weights with safetensors"),
    ".index": ("a part of a TensorFlow checkpoint, as it seems", _LOAD),
    ".weights": ("a Darknet file, as it seems", _LOAD),
    ".caffemodel": ("a Caffe model, as it seems", _LOAD),
    ".onnx": ("not an ONNX model (its bytes are damaged)", "export the model again"),
    ".onnx_data": ("the external data of an ONNX model, as it seems", "name the .onnx file beside it"),
    ".data": ("the external data of an ONNX model, as it seems", "name the .onnx file beside it"),
}


def format_of(path: Path) -> str:
    """Tell the format of a file: "safetensors", "torch", "old torch", "index" or "onnx".

    Raises
    ------
    EchosError
        It is none of these: the message says what it is and how to convert it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if not size:
        raise EchosError(f"{path}: the file is empty; fetch or copy it again")
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= _LONGEST_HEADER:
        return "safetensors"
    if head.startswith(b"PK"):
        return _in_zip(path)
    _refuse_foreign(path, head)
    if str(_TORCH_MAGIC).encode() in head[:64] or _TORCH_MAGIC.to_bytes(10, "little") in head[:64]:
        return "old torch"
    if _is_pickle(head):
        raise EchosError(
            f"{path}: a Python pickle that torch.save did not write; it is never unpickled because that may run code. "
            "If you trust it, load it yourself and save its weights with safetensors"
        )
    if head.lstrip().startswith(b"{"):
        return "index"
    if _is_onnx(path, size):
        return "onnx"
    if text := _text(head):
        raise EchosError(
            f"{path}: this is a text file that begins with {text!r} (perhaps an error message saved under this name), "
            "not a checkpoint; download the file itself"
        )
    what, how = _BY_SUFFIX.get(path.suffix.lower(), ("not a checkpoint of a known format", f"save it with {SAVE}"))
    raise EchosError(f"{path}: {what}; {how}")


def _refuse_foreign(path: Path, head: bytes) -> None:
    refuse_stand_in(path)
    for offset, mark, what, how in _FOREIGN:
        if head[offset:].startswith(mark):
            raise EchosError(f"{path}: this is {what}; {how}")


def _text(head: bytes) -> str:
    """First words of a text file; empty if the bytes are not text."""
    try:
        first = next(iter(head[:200].decode("ascii").strip().splitlines()), "")
    except UnicodeDecodeError:
        return ""
    return first[:40] if first.isprintable() else ""


def _is_pickle(head: bytes) -> bool:
    framed = head[0] == 0x80 and len(head) > 1 and head[1] <= 5
    return framed or head.startswith((b"(dp", b"(lp", b"(ip", b"(c", b"c__", b"ccopy_reg\n", b"ccollections\n", b"}q"))


def _in_zip(path: Path) -> str:
    """Detect what a zip archive contains by the names of its members."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise EchosError(f"{path}: the archive is incomplete or damaged; fetch it again") from None
    last = {name.rsplit("/", 1)[-1] for name in names}
    trusted = "if you trust the file"
    if "constants.pkl" in last:
        what = "a TorchScript archive"
        how = f"{trusted}, load it with torch.jit.load and save its state_dict() with safetensors.torch.save_file"
    elif "serialized_exported_program.json" in last or "archive_format" in last:
        what = "an exported program of torch.export (.pt2)"
        how = f"{trusted}, load it with torch.export.load and save its state_dict with safetensors.torch.save_file"
    elif "data.pkl" in last:
        return "torch"
    elif "model.weights.h5" in last:
        what, how = "a Keras archive (.keras)", "load it in Keras and save its weights with safetensors.numpy"
    elif names and all(name.endswith(".npy") for name in names):
        what, how = "a NumPy archive (.npz)", "save its arrays with safetensors.numpy.save_file"
    else:
        what, how = "a zip archive without a PyTorch checkpoint", "unpack it and name the checkpoint inside"
    raise EchosError(f"{path}: this is {what}; {how}")


def _is_onnx(path: Path, size: int) -> bool:
    """Whether a file's outermost fields fit an ONNX model; a graph that runs past the end counts as truncated, not foreign."""
    with path.open("rb") as file:

        def number() -> int:
            value = shift = 0
            while byte := file.read(1):
                value |= (byte[0] & 0x7F) << shift
                shift += 7
                if byte[0] < 0x80 or shift > 63:
                    break
            return value

        while file.tell() < size:
            field, wire = divmod(number(), 8)
            if field not in _MODEL_FIELDS or wire not in (0, 2):
                return False
            length = number()
            if wire == 2:
                if field == _GRAPH:
                    return True
                file.seek(length, 1)
    return False
