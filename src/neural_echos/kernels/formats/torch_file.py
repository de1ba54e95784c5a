"""PyTorch files (torch.save, new and old): loaded with ``weights_only=True``, so nothing in them is executed."""

import pickle
import pickletools
import re
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.kernels.formats.harmless import PickledArray, stand_ins
from neural_echos.kernels.formats.opened import SAVE, Checkpoint, Stored

if TYPE_CHECKING:
    import torch

_SHARED = 16  # maximum ratio of the tensors' bytes to the file's: tied weights use some bytes twice
_DEEPEST = 64  # levels of nested dictionaries and lists
_MOST = 2_000_000  # total entries of all dictionaries and lists
_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "bool": "BOOL",
    "complex64": "C64",
    "complex128": "C128",
    "qint8": "QI8",
    "quint8": "QU8",
    "qint32": "QI32",
}


def open_torch(path: Path) -> Checkpoint:
    """Open a file that torch.save wrote.

    Raises
    ------
    EchosError
        The file is incomplete or damaged, contains foreign Python objects or the placeholders of a distributed run, or would
        take far more memory than its own size.
    """
    protocol, names = _scan(path)
    _refuse_foreign(path, names)
    leaves = dict(_leaves(path, _load(path, protocol)))
    if not leaves:
        raise EchosError(f"{path}: there are no tensors in this file; save the weights with {SAVE}")
    claimed = sum(leaf.nbytes for leaf in leaves.values() if leaf.ndim > 2 and _is_dense(leaf))
    if claimed > _SHARED * path.stat().st_size:
        raise EchosError(
            f"{path}: the tensors claim {claimed:,} bytes, the file has {path.stat().st_size:,}; "
            "save them with .clone(), so that expanded ones are written out"
        )
    tensors = {name: _stored(leaf) for name, leaf in leaves.items()}
    return Checkpoint(path, tensors, lambda name: _values(path, name, leaves[name]))


def _scan(path: Path) -> tuple[int, set[str]]:
    """Read the pickle opcodes without executing them: their protocol, and the names of all globals.

    Raises
    ------
    EchosError
        A small file could exhaust the memory (a compressed zip file, which torch never writes, or a byte array, the only
        object of the safe loader that is allocated at full size at once), or the opcodes are cut short.
    """
    protocol, names = 0, set()
    try:
        for stream in _streams(path):
            recent: list[str] = []
            for code, given, _ in pickletools.genops(stream):
                if code.name == "PROTO":
                    protocol = max(protocol, int(str(given)))
                elif code.name == "GLOBAL":
                    names.add(_modern(*str(given).split(" ", 1)))
                elif code.name == "STACK_GLOBAL" and len(recent) > 1:
                    names.add(_modern(*recent[-2:]))
                elif isinstance(given, str):
                    recent = [*recent[-1:], given]
    except (ValueError, EOFError, IndexError, UnicodeDecodeError):
        raise EchosError(f"{path}: the PyTorch file is incomplete or damaged; fetch it again") from None
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, OSError) as error:
        raise EchosError(f"{path}: the PyTorch file is damaged ({error}); fetch it again") from None
    if any("bytearray" in name for name in names):
        raise EchosError(f"{path}: this file contains byte arrays, which are not read; save the weights with {SAVE}")
    return protocol, names


def _streams(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            yield from [file] * 4  # magic number, protocol, machine, objects: one pickle after the other
            return
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(one.file_size for one in members) > path.stat().st_size:
                raise EchosError(
                    f"{path}: the archive is compressed, which torch.save never does; save the weights with {SAVE}"
                )
            for one in members:
                if one.filename.endswith("/data.pkl") or one.filename == "data.pkl":
                    with archive.open(one) as stream:
                        yield stream


def _modern(module: str, name: str) -> str:
    """Full name of a global in Python 3; a file may use the Python 2 name."""
    if (module, name) in NAME_MAPPING:
        return ".".join(NAME_MAPPING[module, name])
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"


def _refuse_foreign(path: Path, names: set[str]) -> None:
    from torch._weights_only_unpickler import _get_allowed_globals

    foreign = sorted(names - set(_get_allowed_globals()) - set(stand_ins()))
    if any(name.startswith("torch.distributed.") for name in foreign):
        raise EchosError(
            f"{path}: the weights are parts of a distributed run (DTensor or sharded tensors); gather them with "
            "StateDictOptions(full_state_dict=True) of torch.distributed.checkpoint and save them again"
        )
    if "torch.nn.parameter.UninitializedParameter" in foreign:
        raise EchosError(
            f"{path}: some layers are lazy and have no weights yet; run one batch through the model, then save it"
        )
    if foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        whole = any(name.startswith(("torch.nn.modules.", "torch.fx.")) for name in foreign)
        what = "a whole pickled model" if whole else "Python objects other than tensors"
        raise EchosError(
            f"{path}: this file contains {what} ({', '.join(foreign[:5])}{more}); it was not opened because that may run code. "
            f"If you trust it, load it yourself and save only the weights, with {SAVE}"
        )


def _load(path: Path, protocol: int) -> object:
    import torch

    try:
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals([(one, name) for name, one in stand_ins().items()]),
        ):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if re.search("unrecognized function|Can only (create|build)|blocked", str(error)):
            raise EchosError(
                f"{path}: this file calls Python functions other than those that rebuild tensors; it was not opened. "
                f"If you trust it, load it yourself and save only the weights, with {SAVE}"
            ) from None
        if protocol > 2:
            raise EchosError(
                f"{path}: saved with pickle protocol {protocol}, which the safe loader cannot read; save it again "
                f"with torch.save's default protocol, or with {SAVE}"
            ) from None
        raise EchosError(
            f"{path}: the PyTorch file is damaged ({_reason(error)}); save the weights with {SAVE}"
        ) from None
    except MemoryError:
        raise EchosError(
            f"{path}: not enough memory to load this file; convert it to safetensors, which is read in parts"
        ) from None
    except Exception as error:  # torch raises almost anything on a broken file
        if isinstance(error, EOFError) or re.search("EOF|end of file|truncated|failed finding central", str(error)):
            raise EchosError(f"{path}: the PyTorch file is incomplete; fetch it again") from None
        raise EchosError(
            f"{path}: PyTorch cannot load this file ({_reason(error)}); save the weights with {SAVE}"
        ) from None


def _reason(error: Exception) -> str:
    """First line of an error, without advice to disable safe loading."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return type(error).__name__ if "weights_only" in first or "safe_globals" in first else first[:200].rstrip(".")


def _leaves(path: Path, loaded: object) -> Iterator[tuple[str, "torch.Tensor | np.ndarray"]]:
    """Walk dictionaries and lists in order and yield every tensor and array with its path."""
    import torch

    seen = 0
    given: set[str] = set()
    if isinstance(loaded, torch.Tensor | PickledArray):
        raise EchosError(f"{path}: this file contains one tensor without a name; save the weights with {SAVE}")

    def walk(value: Any, name: str, level: int) -> Iterator[tuple[str, "torch.Tensor | np.ndarray"]]:
        nonlocal seen
        seen += 1
        if seen > _MOST or level > _DEEPEST:
            raise EchosError(
                f"{path}: the dictionaries in this file are nested too deeply; save the weights with {SAVE}"
            )
        if isinstance(value, PickledArray):
            value = value.values
        if isinstance(value, torch.Tensor | np.ndarray):
            if name in given:
                raise EchosError(f"{path}: two tensors in this file have the name {name!r}; save one state dict alone")
            given.add(name)
            yield name, value.detach() if isinstance(value, torch.Tensor) else value
            return
        if not isinstance(value, Mapping | list | tuple):
            return
        for key, one in _items(value):
            yield from walk(one, f"{name}/{key}" if name else str(key), level + 1)

    yield from walk(loaded, "", 0)


def _items(value: Mapping[Any, Any] | list[Any] | tuple[Any, ...]) -> list[tuple[object, Any]]:
    """Entries of a dictionary, or of a list; a list of (name, value) pairs counts as a dictionary."""
    if isinstance(value, Mapping):
        return list(value.items())
    if value and all(isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str) for one in value):
        return list(value)
    return list(enumerate(value))


def _stored(leaf: "torch.Tensor | np.ndarray") -> Stored:
    name = str(leaf.dtype).removeprefix("torch.")
    return Stored(tuple(leaf.shape), _NAMES.get(name.lstrip("<>="), name.upper()), _is_dense(leaf))


def _is_dense(leaf: "torch.Tensor | np.ndarray") -> bool:
    return isinstance(leaf, np.ndarray) or (str(leaf.layout) == "torch.strided" and not leaf.is_meta)


def _values(path: Path, name: str, leaf: "torch.Tensor | np.ndarray") -> np.ndarray:
    if isinstance(leaf, np.ndarray):
        native = leaf.astype(leaf.dtype.newbyteorder("="))
        return native.astype(np.float32) if native.dtype == np.float16 else native
    tensor = leaf.dequantize() if leaf.is_quantized else leaf
    try:
        if tensor.is_floating_point():
            return (tensor if tensor.element_size() == 8 else tensor.float()).numpy()
        return tensor.resolve_conj().numpy()
    except (RuntimeError, TypeError, NotImplementedError):
        raise EchosError(
            f"{path}: the tensor {name!r} has the type {str(leaf.dtype).removeprefix('torch.')}, which cannot be read; "
            "save it as float32"
        ) from None
