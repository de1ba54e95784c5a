"""Bank: the kernels of a model or a checkpoint as one table.

A kernel is one k×k slice of a convolution's weight. A bank is extracted from a model in memory (`layers_of` walks its modules),
from a checkpoint and the list of its layers, or from a bare checkpoint, where names and shapes identify the kernels (`weights`).
Where the format allows it, only the required tensors are read. A checkpoint is data: it is never unpickled. Separable k×1 and
1×k pairs stay two layers, and folded batch norm is not undone.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from neural_echos.errors import EchosError
from neural_echos.kernels.formats import Checkpoint, open_checkpoint
from neural_echos.kernels.layers import Layer, layers_of, natural, new_layer, numbered, unlisted_layers
from neural_echos.kernels.matching import match
from neural_echos.kernels.modules import weight_of
from neural_echos.kernels.sets import choose_weights
from neural_echos.kernels.summary import Summary
from neural_echos.kernels.weights import Contents, mark_grey_stem, weights_in
from neural_echos.layouts import KINDS, bare_name
from neural_echos.tables import SCHEMAS

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Taken:
    """The kernels taken from one layer: float32 array (n, kh·kw), and the flat indices of their (output, input) pairs."""

    layer: Layer
    kernels: np.ndarray
    pairs: np.ndarray
    inputs: int
    count: int


def bank_from_model(model: "nn.Module", name: str, *, regular_per_layer: int = 1000) -> pa.Table:
    """Extract the bank of a model in memory; see `bank_from_tensors`.

    Weights are the effective ones that the model uses in evaluation mode. A weight shared by several layers (tied weights)
    is counted once, at the first of them. A summary is logged at the end.

    Raises
    ------
    EchosError
        The model has no spatial convolutions, or a layer has no weights yet (lazy, or on the meta device).
    """
    bank, summary = bank_and_summary(model, name, regular_per_layer=regular_per_layer)
    _LOG.info("%s: %s", name, summary)
    return bank


def bank_and_summary(model: "nn.Module", name: str, *, regular_per_layer: int = 1000) -> tuple[pa.Table, Summary]:
    """Extract the bank of a model in memory as `bank_from_model` does, and summarise what was taken and skipped."""
    layers, seen = [], set()
    for layer in layers_of(model):
        module = model.get_submodule(layer.name)
        key = id(module._parameters.get("weight", module))
        if key not in seen:
            seen.add(key)
            layers.append(layer)
    taken = _take(numbered(layers), lambda layer: weight_of(model, layer), name, regular_per_layer)
    return _table(taken, name, name), _summary(taken, skipped=unlisted_layers(model))


def bank_from_checkpoint(
    path: str | Path,
    name: str,
    *,
    layers: Sequence[Layer] | None = None,
    fused: Callable[[], Sequence[Layer]] | None = None,
    weights: str | None = None,
    regular_per_layer: int = 1000,
) -> pa.Table:
    """Extract the bank of a checkpoint and log the summary; parameters and errors are those of `extract_bank`.

    Returns
    -------
    pyarrow.Table
        See `bank_from_tensors`.
    """
    bank, summary = extract_bank(
        path, name, layers=layers, fused=fused, weights=weights, regular_per_layer=regular_per_layer
    )
    _LOG.info("%s: %s", path, summary)
    return bank


def extract_bank(
    path: str | Path,
    name: str,
    *,
    layers: Sequence[Layer] | None = None,
    fused: Callable[[], Sequence[Layer]] | None = None,
    weights: str | None = None,
    regular_per_layer: int = 1000,
) -> tuple[pa.Table, Summary]:
    """Extract the bank of a checkpoint, reading only the required tensors where the format allows it.

    Parameters
    ----------
    path : path
        A file or folder of any format that `formats.open_checkpoint` reads.
    name : str
        The bank's model name.
    layers : sequence of Layer, optional
        The model's layers. Without them, kernels are identified by names and shapes (docs/checkpoints.md), strides and
        dilations are null, and layers are in natural order of their names. Regular layers are skipped if the file's metadata
        says that it was fetched without them (`hub`).
    fused : callable, optional
        Returns the model's layers after its branches were fused; called if the file lacks the unfused ones.
    weights : str, optional
        Which set to take if the file contains several; see `sets.choose_weights`.
    regular_per_layer : int
        See `bank_from_tensors`.

    Returns
    -------
    bank : pyarrow.Table
        See `bank_from_tensors`.
    summary : Summary
        What was taken, and what was skipped and why. Both are empty for an optional input that could not be fetched.

    Raises
    ------
    EchosError
        The file cannot be read, lacks a layer or has no spatial convolution; it contains several sets of weights and the one to
        evaluate is ambiguous; or a weight cannot be computed from what is in the file.
    """
    checkpoint = open_checkpoint(path)
    if reason := checkpoint.metadata.get("absent"):  # an optional input that could not be fetched
        _LOG.warning("%s: an empty bank, for %s", name, reason)
        return SCHEMAS["bank"].empty_table(), _summary([], {})
    if checkpoint.layers is not None and layers is None and weights is None:
        taken = _from_exact_layers(checkpoint, checkpoint.layers, regular_per_layer)
        return _table(taken, name, str(path)), _summary(taken, {})
    chosen = choose_weights(checkpoint, weights)
    contents = weights_in(checkpoint, chosen.names)
    layers = checkpoint.layers if layers is None else layers
    if layers is None:
        taken = _from_contents(checkpoint, contents, regular_per_layer)
    else:
        layers = [layer for layer in layers if layer.kind in _held(checkpoint)]
        _refuse_none(layers, str(checkpoint.path), contents)
        matched = match(checkpoint.path, layers, contents, fused)
        contents.notes += [matched.note] if matched.note else []
        used = {weight.name for weight in matched.weights.values()}
        spare = [
            one.name for one in contents.weights.values() if one.kind in _held(checkpoint) and one.name not in used
        ]
        if spare:
            contents.skipped["weights that are not in the model"] = spare
        taken = _take(matched.layers, lambda layer: matched.weights[layer.name].read(), str(path), regular_per_layer)
    skipped = chosen.skipped | contents.skipped
    return _table(taken, name, str(path)), _summary(taken, skipped, chosen.taken, chosen.left, contents.notes)


def bank_from_tensors(
    layers: Sequence[Layer], read: Callable[[str], np.ndarray], name: str, source: str, regular_per_layer: int
) -> pa.Table:
    """Collect the kernels of `layers` in a bank, a table of schema "bank" (docs/tables.md).

    Parameters
    ----------
    layers : sequence of Layer
        What to extract, in order.
    read : callable
        Maps a layer's name to its weight, float array of shape (out, in / groups, kh, kw).
    name, source : str
        The bank's model name, and the name of the origin in error messages.
    regular_per_layer : int
        Maximum number of kernels to keep per regular layer, which has out·in of them, often millions. They are evenly spaced
        over the pairs.

    Returns
    -------
    pyarrow.Table
        One row per kernel, sorted by layer and channel. Non-finite kernels stay in the table and their number is logged;
        normalisation drops them later.
    """
    return _table(_take(layers, lambda layer: read(layer.name), source, regular_per_layer), name, source)


def _held(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Kinds of kernels in a file; its metadata lists them if only some were fetched."""
    return tuple(checkpoint.metadata["kinds"].split()) if "kinds" in checkpoint.metadata else KINDS


def _from_exact_layers(checkpoint: Checkpoint, layers: Sequence[Layer], regular_per_layer: int) -> list[_Taken]:
    """Take the layers of a file that describes them itself, so that nothing is inferred from names and shapes."""
    source = str(checkpoint.path)
    return _take(layers, lambda layer: checkpoint.read(f"{layer.name}.weight"), source, regular_per_layer)


def _from_contents(checkpoint: Checkpoint, contents: Contents, regular_per_layer: int) -> list[_Taken]:
    """Take every weight of a checkpoint whose model is unknown, except fixed filters and further copies of tied weights."""
    mark_grey_stem(contents)
    spatial = [weight for weight in contents.weights.values() if weight.kind]
    layers = [new_layer(weight.name, str(weight.kind), weight.shape) for weight in spatial]
    layers.sort(key=lambda layer: natural(layer.name))
    _refuse_none(layers, str(checkpoint.path), contents)
    taken: list[_Taken] = []
    for one in _take(
        layers, lambda layer: contents.weights[layer.name].read(), str(checkpoint.path), regular_per_layer
    ):
        if contents.weights[one.layer.name].maybe_fixed and (one.kernels == one.kernels[:1]).all():
            contents.skipped.setdefault("fixed filters, the same for all channels", []).append(one.layer.name)
        elif any(_tied(one, other) for other in taken):
            contents.skipped.setdefault("further names of tied weights", []).append(one.layer.name)
        else:
            taken.append(one)
    _refuse_none(taken, str(checkpoint.path), contents)
    renumbered = numbered([one.layer for one in taken])
    return [
        _Taken(layer, one.kernels, one.pairs, one.inputs, one.count)
        for layer, one in zip(renumbered, taken, strict=True)
    ]


def _tied(one: _Taken, other: _Taken) -> bool:
    """Whether two layers have the same weight; constant weights, as in fresh layers, are no evidence."""
    return (
        one.layer.shape == other.layer.shape
        and np.array_equal(one.kernels[:1], other.kernels[:1])
        and np.array_equal(one.kernels, other.kernels)
        and bool(np.ptp(one.kernels) > 0)
    )


def _refuse_none(found: Sequence[object], source: str, contents: Contents | None = None) -> None:
    if not found:
        skipped = contents.skipped if contents is not None else {}
        besides = (
            f" (skipped: {', '.join(f'{len(names)} {reason}' for reason, names in skipped.items())})" if skipped else ""
        )
        raise EchosError(
            f"{source}: there are no convolutions with kernels larger than 1×1{besides}; choose a model that has depthwise layers"
        )


def _take(
    layers: Sequence[Layer], read: Callable[[Layer], np.ndarray], source: str, regular_per_layer: int
) -> list[_Taken]:
    """Read the layers' weights; of a large regular layer, keep evenly spaced kernels."""
    if regular_per_layer < 0:
        raise EchosError(f"regular_per_layer must be at least 0, not {regular_per_layer}")
    _refuse_none(layers, source)
    taken = []
    for layer in layers:
        weight = np.asarray(read(layer), dtype=np.float32)
        outputs, inputs, height, width = weight.shape
        pairs = np.arange(outputs * inputs)
        if layer.kind == "regular" and pairs.size > regular_per_layer:
            pairs = np.linspace(0, pairs.size - 1, regular_per_layer).round().astype(np.int64)
        kernels = weight.reshape(-1, height * width)[pairs]
        taken.append(_Taken(layer, kernels, pairs, inputs, outputs * inputs))
    return taken


def _table(taken: Sequence[_Taken], name: str, source: str) -> pa.Table:
    broken = sum(int((~np.isfinite(one.kernels).all(axis=1)).sum()) for one in taken)
    if broken:
        _LOG.warning(
            "%s: %d kernels are not finite; they stay in the bank and are excluded from fits and clusters",
            source,
            broken,
        )
    return pa.concat_tables(_rows(one, name) for one in taken)


def _rows(taken: _Taken, name: str) -> pa.Table:
    layer, kernels = taken.layer, taken.kernels
    n, size = kernels.shape
    constant: dict[str, str | float | None] = {
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
    columns = {key: _repeated(value, n, schema.field(key).type) for key, value in constant.items()}
    columns["channel"] = _array(taken.pairs // taken.inputs, pa.int32())
    columns["input_channel"] = _array(taken.pairs % taken.inputs, pa.int32())
    columns["taps"] = pa.ListArray.from_arrays(
        _array(np.arange(0, n * size + 1, size), pa.int32()), _array(kernels.ravel(), pa.float32())
    )
    return pa.table({field: columns[field] for field in schema.names}, schema=schema)


def _array(values: np.ndarray, dtype: pa.DataType) -> pa.Array:
    """An Arrow array of numbers; `pa.array` would import pandas, which costs every job a third of a second."""
    held = np.ascontiguousarray(values, dtype=dtype.to_pandas_dtype())
    return pa.Array.from_buffers(dtype, len(held), [None, pa.py_buffer(held)])


def _repeated(value: str | float | None, n: int, dtype: pa.DataType) -> pa.Array:
    """An Arrow array of one value repeated n times."""
    if value is None:
        return pa.nulls(n, dtype)
    if isinstance(value, str):
        text = value.encode()
        offsets = np.arange(n + 1, dtype=np.int32) * len(text)
        return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text * n))
    return _array(np.full(n, value), dtype)


def _summary(
    taken: Sequence[_Taken],
    skipped: dict[str, list[str]],
    sets: Sequence[str] = (),
    left: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Summary:
    layers = [(one.layer, len(one.kernels), one.count) for one in taken]
    return Summary(layers, skipped, sets, left, notes)
