"""Weights: find the convolutions' effective weights in a checkpoint, and set aside other tensors of the same shape.

A name alone proves little (".weight", "_weight", "_kernel", ".0" and others all occur) and a shape alone even less: buffers, masks,
position embeddings, scales and filters in the frequency domain also have four axes. Both have to agree. Every four-dimensional
tensor that is skipped is reported with the reason; an ambiguous one is an error that names it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.kernels import orientation, quantised, reparametrised
from neural_echos.kernels.formats import Checkpoint
from neural_echos.kernels.layers import natural
from neural_echos.layouts import kind_of, parts_by_module

_ADAPTER = r"(?i)(?:^|[._])(?:lora|loha|lokr|hada)_|\.lora\."
_REASONS = tuple(
    (reason, rf"(?i)(?:^|[._/])(?:{words})$")
    for reason, words in (
        ("buffers", r"filt|resample_filter|running_mean|running_var|window|queue|anchors?|grid"),
        ("masks", r"mask|masks"),
        (
            "position embeddings and tokens",
            r"(?:pos|position|positional)_?(?:embed\w*|emb|enc\w*|bias)|\w*relative_\w+|rel_pos\w*|rel_[hw]\w*|\w*coords?_table"
            r"|\w*bias_table|attention_bias\w*|alibi|\w*tokens?|latents?|quer(?:y|ies)\w*|prompts?|prototypes?|embedding",
        ),
        ("scales", r"gamma|beta|scale|layer_?scale\w*|ls\d?|gain|temperature|alpha|bias"),
        ("filters in the frequency domain", r"complex_?weights?|freqs?\w*|fourier_?weights?|spectral_?weights?"),
    )
)
_FIXED = r"(?i)blur|gauss|filt|sobel|laplac|low_?pass|smooth|window|resample|upfirdn|dct|haar|wavelet|buffer"
_WEIGHT = r"(?i)weights?$|kernels?$|(?:^|[._/])w$"
_TRANSPOSED = r"(?i)deconv|(?:conv_?transposed?|transposed?_?conv)(?![a-z])"


@dataclass(frozen=True)
class Weight:
    """One convolution's weight in a checkpoint.

    Attributes
    ----------
    name : str
        Path of its module, without containers and wrappers.
    shape : tuple of int
        (out, in / groups, kh, kw) of the effective weight.
    read : callable
        Reads it, float array of this shape.
    kind : str or None
        "depthwise" or "regular", inferred from the shape and its context; None for 1×1.
    maybe_fixed : bool
        The name suggests a fixed filter, which has the same kernel for all channels.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    kind: str | None
    maybe_fixed: bool = False


@dataclass
class Contents:
    """What a checkpoint contains: convolution weights by name in the order of the network, and what was skipped and why."""

    weights: dict[str, Weight]
    skipped: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def weights_in(checkpoint: Checkpoint, names: Mapping[str, str]) -> Contents:
    """Find the convolution weights.

    Parameters
    ----------
    checkpoint : Checkpoint
    names : mapping
        Name of a tensor in the network to its key in the file (`sets.choose_weights`).

    Raises
    ------
    EchosError
        A weight cannot be computed from what is in the file: an unknown parametrisation, a missing part, complex numbers,
        integers without a scale, or an adapter that was not merged.
    """
    contents = Contents({})
    modules = parts_by_module(names)
    found: dict[str, tuple[str, tuple[int, ...], dict[str, str]]] = {}
    for module, parts in modules.items():
        shapes = {part: checkpoint.tensors[names[name]].shape for part, name in parts.items()}
        if not any(len(shape) == 4 for shape in shapes.values()):
            continue
        main = reparametrised.stored_part(parts)
        if main is None or len(shapes[main]) != 4:
            _refuse_orphans(checkpoint, parts)
            _skip(contents, "scales", [name for part, name in parts.items() if len(shapes[part]) == 4])
            continue
        name = parts[main]
        if reason := _reason(checkpoint, name, names):
            _skip(contents, reason, [name])
            continue
        unused = [part for part in ("kernel", "depthwise_kernel") if part in parts and part != main]
        if unused:
            _skip(contents, "buffers", [parts[part] for part in unused])
        found[module or main] = (main, shapes[main], parts)
    _note_conditional(checkpoint, names, modules, contents)
    shapes = {name: shape for name, (_, shape, _) in found.items()}
    order = orientation.axes_of(checkpoint.path, shapes, checkpoint.metadata)
    labels = {name: parts[main] for name, (main, _, parts) in found.items()}
    depthwise = _depthwise_names(checkpoint, order, shapes, labels)
    if order != orientation.TORCH:
        contents.notes.append(f"axes in the order of {order}, transposed")
    for name in _in_order(found):
        main, shape, parts = found[name]
        turned = orientation.torch_shape(shape, order, name in depthwise)
        keys = {part: names[one] for part, one in parts.items()}
        if turned[2:] != (1, 1) and not _plausible(turned, labels[name]):
            _skip(contents, "tensors that do not have the shape of a convolution", [labels[name]])
            continue
        reader = _reader(checkpoint, main, keys, order, name in depthwise)
        if kind_of(turned) == "regular" and re.search(_TRANSPOSED, name):
            contents.notes.append(f"{name!r} may be a transposed convolution")
        fixed = kind_of(turned) == "depthwise" and (
            main != "weight" or labels[name] == name or bool(re.search(_FIXED, name))
        )
        contents.weights[name] = Weight(name, turned, reader, kind_of(turned), fixed)
    return contents


def mark_grey_stem(contents: Contents) -> None:
    """Mark the first layer of a network for grey images as regular, if no model is available to identify it."""
    stem = orientation.grey_stem({name: weight.shape for name, weight in contents.weights.items()})
    if stem is not None:
        weight = contents.weights[stem]
        contents.weights[stem] = Weight(stem, weight.shape, weight.read, "regular", weight.maybe_fixed)
        contents.notes.append(f"{stem!r} counted as the first layer, for images of one channel, not as depthwise")


def _refuse_orphans(checkpoint: Checkpoint, parts: Mapping[str, str]) -> None:
    """Refuse parts of a reparametrised weight if the part with the weight's shape is missing."""
    if reparametrised.is_reparametrised(parts):
        raise EchosError(
            f"{checkpoint.path}: {', '.join(parts.values())} are parts of a reparametrised weight, and the others are missing; "
            "save the whole state dict"
        )


def _reason(checkpoint: Checkpoint, name: str, names: Mapping[str, str]) -> str | None:
    """Why a four-dimensional tensor is not a convolution's weight, judged by its name and type; None if it may be one."""
    dtype = checkpoint.tensors[names[name]].dtype
    for reason, words in () if name.endswith(".weight") else _REASONS:
        if re.search(words, name):
            return reason
    if re.search(_ADAPTER, name):
        raise EchosError(
            f"{checkpoint.path}: {name!r} belongs to an adapter (LoRA); merge it into the weights and save them"
        )
    foreign = "parametrizations." in name and ".parametrizations.weight." not in f".{name}"
    if (
        foreign
        or re.search(r"(?<!weight)_orig$", name)
        or (re.search(r"(?<!weight)_v$", name) and f"{name[:-1]}g" in names)
    ):
        raise EchosError(
            f"{checkpoint.path}: {name!r} is a part of a reparametrised weight of an unknown kind; load the model, remove the "
            "parametrisation and save it"
        )
    if dtype == "BOOL":
        return "masks"
    if re.search(_WEIGHT, name) is None and dtype.startswith(("I", "U", "C")):
        return "tables of integers" if dtype[0] != "C" else "complex tables"
    if dtype.startswith("C"):
        raise EchosError(f"{checkpoint.path}: the weight {name!r} is complex ({dtype}); kernels have to be real")
    return None


def _plausible(shape: tuple[int, ...], name: str) -> bool:
    """Whether a convolution can have this shape; the test is stricter if the name does not say "weight"."""
    out, _, height, width = shape
    short, long = sorted((height, width))
    if re.search(_WEIGHT, name):
        return long <= 127 and (short == long or short <= 7)
    return out > 1 and (short == long <= 31 or (short == 1 and long % 2 == 1 and long <= 63))


def _depthwise_names(
    checkpoint: Checkpoint, order: str, shapes: Mapping[str, tuple[int, ...]], labels: Mapping[str, str]
) -> set[str]:
    if order != orientation.KERAS:
        return set()
    names = {labels[name]: name for name in shapes}
    return {
        names[label]
        for label in orientation.depthwise_in_keras(
            checkpoint.path, {label: shapes[name] for label, name in names.items()}
        )
    }


def _in_order(names: Iterable[str]) -> list[str]:
    """Keep the file's order, or use natural order if the file is merely sorted alphabetically."""
    names = list(names)
    return sorted(names, key=natural) if names == sorted(names) else names


def _reader(
    checkpoint: Checkpoint, main: str, keys: Mapping[str, str], order: str, depthwise: bool
) -> Callable[[], np.ndarray]:
    def values(part: str) -> np.ndarray:
        return _values(checkpoint, part, keys)

    def read() -> np.ndarray:
        if reparametrised.is_reparametrised(keys):
            beside = {part for part in keys if "scale" in part or "zero" in part}
            try:
                weight = reparametrised.combine(
                    {part: checkpoint.tensors[key].shape for part, key in keys.items() if part not in beside}, values
                )
            except reparametrised.UnknownParametrisationError as error:
                raise EchosError(
                    f"{checkpoint.path}: the weight {keys[main]!r} is reparametrised and cannot be computed: {error}; "
                    "load the model, remove the parametrisation (torch.nn.utils.parametrize.remove_parametrizations) and save it"
                ) from None
        else:
            weight = values(main)
        return orientation.to_torch(weight, order, depthwise)

    return read


def _values(checkpoint: Checkpoint, part: str, keys: Mapping[str, str]) -> np.ndarray:
    """Read one part of a weight as floats; integers and 8-bit floats are de-quantised."""
    key = keys[part]
    dtype = checkpoint.tensors[key].dtype
    values = checkpoint.read(key)
    try:
        if quantised.is_quantised(dtype) and "mask" not in part:
            return quantised.dequantise(values, dtype, set(keys), lambda one: checkpoint.read(keys[one]))
        if values.dtype.kind != "f" and "mask" not in part:
            raise quantised.UnclearScaleError(f"it is {dtype}")
        loose = {"weight_scale", "weight_scale_inv"} & set(keys)
        if loose and part == "weight" and not dtype.startswith(("Q", "F8_", *quantised.INTEGERS)):
            raise quantised.UnclearScaleError(
                f"it is {dtype} with {sorted(loose)[0]} beside it, which may already have been applied"
            )
    except quantised.UnclearScaleError as error:
        raise EchosError(
            f"{checkpoint.path}: the weight {key!r} cannot be de-quantised: {error}; de-quantise the checkpoint first"
        ) from None
    return values


def _note_conditional(
    checkpoint: Checkpoint, names: Mapping[str, str], modules: Mapping[str, Mapping[str, str]], contents: Contents
) -> None:
    """Report CondConv layers: all experts' kernels are in one matrix, so the file does not show their size."""
    blocks = tuple(name.removesuffix("routing_fn.weight") for name in names if name.endswith("routing_fn.weight"))
    for module, parts in modules.items() if blocks else ():
        key = names.get(parts.get("weight", ""))
        if (
            key
            and module.startswith(blocks)
            and not module.endswith("routing_fn")
            and len(checkpoint.tensors[key].shape) == 2
        ):
            _skip(
                contents,
                "weights of conditional convolutions (CondConv), whose kernels are stored in matrices",
                [parts["weight"]],
            )


def _skip(contents: Contents, reason: str, names: Iterable[str]) -> None:
    contents.skipped.setdefault(reason, []).extend(names)
