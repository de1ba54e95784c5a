"""Kernels: find the spatial convolutions of a model and lay their kernels down as a bank.

A kernel is one k×k slice of a convolution's weight. A *depthwise* convolution has groups = input channels C > 1 and a
weight of shape (C·m, 1, kh, kw) with kh·kw > 1: each of its C·m kernels filters one channel. Every other spatial
convolution is *regular*: it has one kernel per (output, input) pair, extracted too as the control of claim NE1.

Three ways lead to a bank: a model in memory (`layers_of` walks its modules), a checkpoint with the layers that belong to
it, and a bare checkpoint, whose header alone says which tensors are kernels, by their shapes (`layouts`). From
`.safetensors` just those tensors are read. A checkpoint is data and is never unpickled. Its kernels are taken as they lie
there: separable k×1 and 1×k pairs stay two layers, batch norm that was folded in stays in, integers with a scale beside
them are de-quantised.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, safe_open

from neural_echos.errors import EchosError
from neural_echos.layouts import KINDS, bare_name, companions, kind_of, layer_name
from neural_echos.tables import SCHEMAS

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)
_FLOATS = ("F16", "BF16", "F32", "F64")
_SHARED = 16  # times that the bytes of a .pth may be used by its tensors: tied weights use some twice
_WRAPPERS = ("state_dict", "model", "model_state", "module", "model_ema", "state_dict_ema")


@dataclass(frozen=True)
class Layer:
    """One spatial convolution of a model.

    `index` counts the layers of the same kind in the order of the forward declaration; `depth` is index / (layers − 1), in [0, 1].
    """

    name: str
    kind: str
    index: int
    depth: float
    kernel_height: int
    kernel_width: int
    stride: int | None = None
    dilation: int | None = None


def layers_of(model: "nn.Module") -> list[Layer]:
    """List the depthwise and regular spatial convolutions of a model (any device, the meta device too)."""
    from torch import nn

    found: list[dict[str, Any]] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size[0] * module.kernel_size[1] > 1:
            depthwise = module.groups == module.in_channels and module.groups > 1
            found.append(
                {
                    "name": name,
                    "kind": "depthwise" if depthwise else "regular",
                    "kernel_height": module.kernel_size[0],
                    "kernel_width": module.kernel_size[1],
                    "stride": module.stride[0],
                    "dilation": module.dilation[0],
                }
            )
    return _numbered(found)


def layers_to_json(layers: Iterable[Layer]) -> list[dict[str, Any]]:
    """Turn layers into plain dictionaries, as the JSON beside initial weights holds them."""
    return [asdict(layer) for layer in layers]


def layers_from_json(items: object, source: str | Path) -> list[Layer]:
    """Read layers back from what `layers_to_json` wrote; `source` names the file in errors."""
    try:
        return [Layer(**item) for item in items]  # type: ignore[attr-defined]
    except TypeError as error:
        raise EchosError(
            f"{source}: expected a list of layers, found something else ({error}); make it again"
        ) from None


def bank_from_model(model: "nn.Module", name: str, *, regular_per_layer: int = 1000) -> pa.Table:
    """Extract the bank of a model in memory; see `bank_from_tensors`."""

    def read(layer: str) -> np.ndarray:
        return model.get_submodule(layer).weight.detach().float().cpu().numpy()

    return bank_from_tensors(layers_of(model), read, name, name, regular_per_layer)


def bank_from_checkpoint(
    path: str | Path, name: str, *, layers: Sequence[Layer] | None = None, regular_per_layer: int = 1000
) -> pa.Table:
    """Extract the bank of a checkpoint, reading only the tensors that it needs where the format allows that.

    Parameters
    ----------
    path : path
        `.safetensors` (read lazily), or `.pth`, `.pt`, `.bin` (loaded with ``weights_only=True``).
    name : str
        The bank's model name.
    layers : sequence of Layer, optional
        The model's layers. Without them the shapes alone decide (`layouts.kind_of`), strides and dilations are null, and
        layers are sorted naturally by name. Where the file says that it was fetched without regular kernels (`hub`), the
        regular layers are left out.
    regular_per_layer : int
        See `bank_from_tensors`.

    Raises
    ------
    EchosError
        The file is missing, truncated, of another format, holds pickled code, lacks a layer, has no spatial convolution, or
        holds integers without a scale.
    """
    path = Path(path)
    if not path.is_file():
        raise EchosError(f"{path}: expected a checkpoint, found no file; check the path or fetch the input first")
    if path.suffix == ".safetensors":
        shapes, read, held = _open_safetensors(path)
    elif path.suffix in (".pth", ".pt", ".bin"):
        shapes, read = _open_pickle(path)
        held = KINDS
    else:
        raise EchosError(
            f"{path}: expected .safetensors, .pth, .pt or .bin, found {path.suffix or 'no suffix'!r}; convert it"
        )
    keys = {layer_name(key): key for key in shapes}
    if layers is None:
        layers = _layers_from_shapes(shapes)
    layers = [replace(layer, name=bare_name(layer.name)) for layer in layers if layer.kind in held]
    keys = _without_prefix(path, keys, [layer.name for layer in layers])
    for layer in layers:
        shape = shapes.get(keys.get(layer.name, ""), ())
        fits = len(shape) == 4 and shape[2:] == (layer.kernel_height, layer.kernel_width)
        if not fits or (layer.kind == "depthwise" and shape[1] != 1):
            size = f"{layer.kernel_height}×{layer.kernel_width}"
            found = shape if layer.name in keys else "no such tensor"
            raise EchosError(
                f"{path}: expected a weight of {layer.kind} {size} kernels for layer {layer.name!r}, found {found}; "
                "the checkpoint belongs to another architecture: name the right one"
            )
    return bank_from_tensors(layers, lambda layer: read(keys[layer]), name, str(path), regular_per_layer)


def _without_prefix(path: Path, keys: dict[str, str], layers: Sequence[str]) -> dict[str, str]:
    """Take a prefix that all wanted layers share ("backbone.") off the names of a checkpoint that lacks them without it."""
    if not layers or layers[0] in keys:
        return keys
    found = sorted(name.removesuffix(layers[0]) for name in keys if name.endswith(f".{layers[0]}"))
    fitting = [prefix for prefix in found if all(prefix + layer in keys for layer in layers)]
    if len(fitting) > 1:
        raise EchosError(
            f"{path}: expected one model's weights, found the same layers under {', '.join(fitting)}; save one of them alone"
        )
    return {
        name.removeprefix(prefix): key for prefix in fitting for name, key in keys.items() if name.startswith(prefix)
    } or keys


def bank_from_tensors(
    layers: Sequence[Layer], read: Callable[[str], np.ndarray], name: str, source: str, regular_per_layer: int
) -> pa.Table:
    """Lay the kernels of `layers` down as a bank, a table of schema "bank" (docs/tables.md).

    Parameters
    ----------
    layers : sequence of Layer
        What to extract, in order.
    read : callable
        Maps a layer's name to its weight, float array of shape (out, in / groups, kh, kw).
    name, source : str
        The bank's model name, and what error messages call the origin.
    regular_per_layer : int
        A regular layer has out·in kernels, often millions: at most this many, evenly spaced over the pairs, are kept.

    Returns
    -------
    pyarrow.Table
        One row per kernel, sorted by layer and channel. Kernels that are not finite stay in (they are counted, and
        dropped where kernels are normalised), and the log says how many there are.
    """
    if regular_per_layer < 0:
        raise EchosError(f"regular_per_layer: expected a number of at least 0, found {regular_per_layer}; correct it")
    if not layers:
        raise EchosError(
            f"{source}: expected convolutions with kernels larger than 1×1, found none; choose a model that has depthwise layers"
        )
    parts = []
    broken = 0
    for layer in layers:
        weight = np.asarray(read(layer.name), dtype=np.float32)
        outputs, inputs, height, width = weight.shape
        pairs = np.arange(outputs * inputs)
        if layer.kind == "regular" and pairs.size > regular_per_layer:
            pairs = np.linspace(0, pairs.size - 1, regular_per_layer).round().astype(np.int64)
        kernels = weight.reshape(-1, height * width)[pairs]
        broken += int((~np.isfinite(kernels).all(axis=1)).sum())
        parts.append(_rows(layer, name, kernels, pairs // inputs, pairs % inputs))
    if broken:
        _LOG.warning("%s: %d kernels are not finite; later rooms drop them and say so", source, broken)
    return pa.concat_tables(parts)


def _rows(layer: Layer, name: str, kernels: np.ndarray, channel: np.ndarray, input_channel: np.ndarray) -> pa.Table:
    n, size = kernels.shape
    constant = {
        "model": name,
        "kind": layer.kind,
        "layer": bare_name(layer.name),
        "layer_index": layer.index,
        "depth": layer.depth,
        "kernel_height": layer.kernel_height,
        "kernel_width": layer.kernel_width,
        "stride": layer.stride,
        "dilation": layer.dilation,
    }
    schema = SCHEMAS["bank"]
    columns: dict[str, Any] = {
        key: pa.nulls(n, schema.field(key).type)
        if value is None
        else pa.repeat(pa.scalar(value, schema.field(key).type), n)
        for key, value in constant.items()
    }
    columns["channel"], columns["input_channel"] = channel.astype(np.int32), input_channel.astype(np.int32)
    offsets = np.arange(0, n * size + 1, size, dtype=np.int32)
    columns["taps"] = pa.ListArray.from_arrays(offsets, np.ascontiguousarray(kernels).ravel())
    return pa.table({field: columns[field] for field in schema.names}, schema=schema)


def _open_safetensors(
    path: Path,
) -> tuple[dict[str, tuple[int, ...]], Callable[[str], np.ndarray], tuple[str, ...]]:
    """Open a file lazily: the shapes in it, a reader of one tensor, and the kinds of kernels that it says it holds."""
    try:
        file = safe_open(path, framework="numpy")
        header = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (a safe_open is no dict)
        held = tuple((file.metadata() or {}).get("kinds", " ".join(KINDS)).split())
    except (SafetensorError, OSError) as error:
        raise EchosError(f"{path}: expected a whole safetensors file, found {error}; fetch it again") from None
    shapes = {key: tuple(part.get_shape()) for key, part in header.items()}
    kinds = {key: part.get_dtype() for key, part in header.items()}

    def get(key: str) -> np.ndarray:
        if kinds[key] == "BF16":  # numpy has no bfloat16
            with safe_open(path, framework="pt") as tensors:
                return tensors.get_tensor(key).float().numpy()
        return file.get_tensor(key)

    def read(key: str) -> np.ndarray:
        if kinds[key] in ("I8", "U8"):
            return _dequantised(path, key, kinds[key], shapes, get)
        if kinds[key] not in _FLOATS:
            raise EchosError(
                f"{path}: expected float weights in {key!r}, found {kinds[key]}; de-quantise the checkpoint first"
            )
        return get(key)

    return shapes, read, held


def _dequantised(
    path: Path, key: str, dtype: str, keys: Collection[str], get: Callable[[str], np.ndarray]
) -> np.ndarray:
    """Turn an integer weight into float32: (weight − zero point) · scale, one scale for all channels or one for each."""
    scale_key, zero_key = companions(key, keys)
    if scale_key is None:
        raise EchosError(
            f"{path}: expected float weights in {key!r}, found {dtype} without a scale beside it; "
            "de-quantise the checkpoint first"
        )
    weight, scale = get(key), get(scale_key)
    channels = weight.shape[0]
    if scale.size == 1 and not scale_key.endswith(("weight_scale", "weight.scale")):
        raise EchosError(
            f"{path}: expected {scale_key!r} to hold one scale for each of {channels} channels, found one number, which may be "
            "the scale of the layer's output (torch calls it so); name it weight_scale if it is the weight's"
        )
    if zero_key is None and weight.dtype == np.uint8:
        raise EchosError(
            f"{path}: expected a zero point beside the unsigned {key!r}, found none; de-quantise the checkpoint first"
        )
    zero_point = get(zero_key) if zero_key else np.zeros(1)
    for part in (scale, zero_point):
        if part.size not in (1, channels):
            raise EchosError(
                f"{path}: expected 1 or {channels} scales and zero points for {key!r}, found {part.size}; "
                "de-quantise the checkpoint first"
            )
    scale, zero_point = (part.astype(np.float64).reshape(-1, 1, 1, 1) for part in (scale, zero_point))
    return ((weight.astype(np.float64) - zero_point) * scale).astype(np.float32)


def _refuse_inflation(path: Path) -> None:
    """Refuse a .pth of a few bytes that would fill the memory while it is loaded.

    torch writes its zip files uncompressed, and of what it rebuilds without running code only a byte array is filled at once.
    """
    import pickletools
    import zipfile

    inflated = ""
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    members = archive.infolist()
                    if sum(one.file_size for one in members) > path.stat().st_size:
                        inflated = "compressed ones"
                    streams = [archive.open(one) for one in members if one.filename.endswith("/data.pkl")]
            else:
                file.seek(0)
                streams = [file] * 4  # one pickle after the other
            codes = (code for stream in streams if not inflated for code in pickletools.genops(stream))
            if any(isinstance(given, str) and "bytearray" in given for _, given, _ in codes):
                inflated = "byte arrays"
    except (ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, OSError):
        return  # no whole checkpoint: torch tells what is wrong with it
    if inflated:
        raise EchosError(f"{path}: expected a checkpoint of plain tensors, found {inflated}; convert it to safetensors")


def _has_kernels(state: object) -> bool:
    """Whether something from a checkpoint is a mapping with tensors of kernels in it."""
    return isinstance(state, Mapping) and any(kind_of(tuple(getattr(one, "shape", ()))) for one in state.values())


def _open_pickle(path: Path) -> tuple[dict[str, tuple[int, ...]], Callable[[str], np.ndarray]]:
    import pickle

    import torch

    _refuse_inflation(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise EchosError(
            f"{path}: expected a checkpoint of plain tensors, found pickled code or a file that is no checkpoint; "
            "it was not opened: convert it to safetensors where you trust it"
        ) from None
    except Exception as error:  # a broken file makes torch raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EchosError(
            f"{path}: expected a whole PyTorch checkpoint, found a broken one ({reason}); fetch it again"
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping):
        raise EchosError(
            f"{path}: expected a state dict, found {type(loaded).__name__}; save model.state_dict() instead"
        )
    nested = [] if _has_kernels(loaded) else [key for key, value in loaded.items() if _has_kernels(value)]
    if len(nested) > 1:
        raise EchosError(
            f"{path}: expected one state dict, found {', '.join(map(repr, nested))}; save one of them alone"
        )
    loaded = loaded[nested[0]] if nested else loaded
    tensors = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    claimed = sum(value.numel() * value.element_size() for value in tensors.values() if kind_of(tuple(value.shape)))
    if claimed > _SHARED * path.stat().st_size:
        raise EchosError(
            f"{path}: expected tensors as large as the file, found {claimed:,} bytes of kernels in {path.stat().st_size:,}; "
            "fetch it from where you trust it"
        )

    def get(key: str) -> np.ndarray:
        tensor = tensors[key].dequantize() if tensors[key].is_quantized else tensors[key]
        return tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()

    def read(key: str) -> np.ndarray:
        dtype = tensors[key].dtype
        if tensors[key].layout != torch.strided or tensors[key].is_meta:
            found = (
                "one without values"
                if tensors[key].is_meta
                else f"a {str(tensors[key].layout).removeprefix('torch.')} one"
            )
            raise EchosError(f"{path}: expected a dense tensor in {key!r}, found {found}; save dense weights")
        if dtype in (torch.int8, torch.uint8):
            return _dequantised(path, key, str(dtype), tensors, get)
        if not tensors[key].is_floating_point() and not tensors[key].is_quantized:
            raise EchosError(
                f"{path}: expected float weights in {key!r}, found {dtype}; de-quantise the checkpoint first"
            )
        return get(key)

    return shapes, read


def _layers_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> list[Layer]:
    found = [
        {"name": layer_name(key), "kind": kind, "kernel_height": shape[2], "kernel_width": shape[3]}
        for key, shape in shapes.items()
        if (kind := kind_of(shape))
    ]
    return _numbered(sorted(found, key=lambda layer: _natural(layer["name"])))


def _numbered(found: Sequence[dict[str, Any]]) -> list[Layer]:
    totals = {kind: sum(item["kind"] == kind for item in found) for kind in ("depthwise", "regular")}
    counts = dict.fromkeys(totals, 0)
    layers = []
    for item in found:
        index = counts[item["kind"]]
        counts[item["kind"]] += 1
        layers.append(Layer(index=index, depth=index / max(totals[item["kind"]] - 1, 1), **item))
    return layers


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
