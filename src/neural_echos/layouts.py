"""Names and shapes of tensors with kernels: what a header alone reveals, for the Hub and for the kernel readers.

Separate from reading, so that a header is enough to decide which tensors to fetch.
"""

import re
from collections.abc import Iterable

KINDS = ("depthwise", "regular")
# Names that DataParallel, torch.compile, FSDP, activation checkpointing and DeepSpeed add to the path of a module.
_WRAPPERS = re.compile(
    r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
# The part after a module's path in the name of its weight, or of a tensor that the weight is computed from.
_PART = re.compile(
    r"(?:(?P<module>.+?)[./])?(?P<part>parametrizations\.weight\..+"
    r"|weight(?:[._](?:g|v|u|orig|mask|(?:scale|scales|scale_inv|zero_point|zeros?)(?:_\d+)?))?"
    r"|(?:depthwise_)?kernel(?::0)?|(?:scale|scales|scale_inv|zero_point))"
)


def kind_of(shape: tuple[int, ...]) -> str | None:
    """Return the kind of kernels in a weight of this shape: "depthwise" or "regular", or None for neither.

    A weight (C, i, kh, kw) with kh·kw > 1 is depthwise if C > 1 and i = 1, and regular otherwise.
    """
    if len(shape) != 4 or shape[2] * shape[3] <= 1 or 0 in shape:
        return None
    return "depthwise" if shape[0] > 1 and shape[1] == 1 else "regular"


def bare_name(name: str) -> str:
    """Remove the names of wrappers (``module``, ``_orig_mod``, …) from the path of a module or tensor."""
    return _WRAPPERS.sub("", f"{name}.")[:-1] if "mod" in name else name


def split_name(key: str) -> tuple[str, str]:
    """Split a tensor's name into the path of its module and the part of the weight that it represents.

    "a.weight" gives ("a", "weight"), "a.parametrizations.weight.original0" gives ("a", "parametrizations.weight.original0"); a name
    without a known ending is a module itself: "conv1_kernel" gives ("conv1_kernel", "weight").
    """
    if key.endswith(".weight") and "parametrizations" not in key:
        return key.removesuffix(".weight"), "weight"
    found = _PART.fullmatch(key) if any(word in key for word in ("weight", "kernel", "scale", "zero_point")) else None
    return (found["module"] or "", found["part"]) if found else (key, "weight")


def parts_by_module(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """Group the names of tensors by module, as a mapping from the part of a weight to the full name."""
    modules: dict[str, dict[str, str]] = {}
    for key in keys:
        module, part = split_name(key)
        modules.setdefault(module, {})[part] = key
    return modules
