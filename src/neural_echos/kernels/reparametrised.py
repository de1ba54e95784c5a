"""Reparametrised weights: compute a weight from the parts that its checkpoint stores.

Weight and spectral normalisation and pruning, in the old form of torch.nn.utils ("weight_g", "weight_orig") and in the new form of
torch.nn.utils.parametrize ("parametrizations.weight.original0"). The arithmetic is PyTorch's own, in evaluation mode, so the result
equals the network's weight bit for bit.
"""

import re
from collections.abc import Callable, Iterable

import numpy as np

Read = Callable[[str], np.ndarray]
_OLD = ("weight_g", "weight_v", "weight_u", "weight_orig", "weight_mask")
_BEFORE = "parametrizations.weight."
_STEP = re.compile(r"parametrizations\.weight\.(\d+)\.(.+)")


class UnknownParametrisationError(Exception):
    """Why a weight cannot be computed from the parts in the file, as a clause."""


def is_reparametrised(parts: Iterable[str]) -> bool:
    """Whether the parts of a weight (`layouts.split_name`) belong to a reparametrised one."""
    return any(part.startswith("parametrizations.") or part in _OLD for part in parts)


def stored_part(parts: Iterable[str]) -> str | None:
    """Name the part that has the shape of the weight itself."""
    parts = set(parts)
    for part in ("weight", "weight_orig", "kernel", "depthwise_kernel", "kernel:0", "depthwise_kernel:0"):
        if part in parts:
            return part
    for form in (f"{_BEFORE}original", f"{_BEFORE}original1"):
        if form in parts:
            return form
    return "weight_v" if "weight_v" in parts else None


def combine(parts: dict[str, tuple[int, ...]], read: Read) -> np.ndarray:
    """Compute a weight from its parts.

    Parameters
    ----------
    parts : dict
        Part ("weight_g", …) to its shape.
    read : callable
        Maps a part to its values, float array.

    Raises
    ------
    UnknownParametrisationError
        A part is missing, has the wrong shape, or belongs to an unknown parametrisation.
    """
    if "weight" in parts:
        raise UnknownParametrisationError(f"there is a plain weight beside {_listed(set(parts) - {'weight'})}")
    if any(part.startswith("parametrizations.") for part in parts):
        return _parametrized(parts, read)
    if "weight_g" in parts or set(parts) == {"weight_v"}:
        _require(parts, {"weight_g", "weight_v"})
        return _weight_norm(read("weight_v"), read("weight_g"))
    if "weight_u" in parts:
        _require(parts, {"weight_orig", "weight_u", "weight_v"})
        return _spectral_norm(read("weight_orig"), read("weight_u"), read("weight_v"))
    _require(parts, {"weight_orig", "weight_mask"})
    return _masked(read("weight_orig"), read("weight_mask"))


def _parametrized(parts: dict[str, tuple[int, ...]], read: Read) -> np.ndarray:
    if f"{_BEFORE}original1" in parts:
        _require(parts, {f"{_BEFORE}original0", f"{_BEFORE}original1"})
        return _weight_norm(read(f"{_BEFORE}original1"), read(f"{_BEFORE}original0"))
    steps: dict[int, dict[str, str]] = {}
    for part in parts:
        if found := _STEP.fullmatch(part):
            steps.setdefault(int(found[1]), {})[found[2]] = part
    if sorted(steps) != list(range(len(steps))) or not steps:
        raise UnknownParametrisationError("the file does not say how the network computes the weight from its parts")
    weight = read(f"{_BEFORE}original")
    for step in (steps[index] for index in sorted(steps)):
        if set(step) == {"_u", "_v"}:
            weight = _spectral_norm(weight, read(step["_u"]), read(step["_v"]))
        elif set(step) == {"mask"}:
            weight = _masked(weight, read(step["mask"]))
        else:
            raise UnknownParametrisationError(f"{_listed(step.values())} belongs to an unknown parametrisation")
    return weight


def _require(parts: Iterable[str], wanted: set[str]) -> None:
    if missing := wanted - set(parts):
        raise UnknownParametrisationError(f"{_listed(missing)} is missing")
    if others := set(parts) - wanted:
        raise UnknownParametrisationError(f"{_listed(others)} belongs to an unknown parametrisation")


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(sorted(parts))


def _weight_norm(v: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Compute w = g · v / ‖v‖; the norm is over all axes but the one along which g varies (all if g is one number)."""
    import torch

    along = [axis for axis, size in enumerate(g.shape) if size != 1]
    if g.ndim not in (0, v.ndim) or len(along) > 1 or any(g.shape[axis] != v.shape[axis] for axis in along):
        raise UnknownParametrisationError(
            f"a magnitude of shape {g.shape} does not belong to a weight of shape {v.shape}"
        )
    axis = along[0] if along else -1
    return torch._weight_norm(torch.from_numpy(np.array(v)), torch.from_numpy(np.array(g)), axis).numpy()


def _spectral_norm(weight: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Compute w / σ with σ = u·W·v; the rows of W are the axis of u: outputs, or inputs of a transposed convolution."""
    import torch

    tensor, left, right = (torch.from_numpy(np.array(part)) for part in (weight, u, v))
    for axis in range(min(2, weight.ndim)):
        matrix = tensor.transpose(0, axis) if axis == 0 else tensor.permute(1, 0, *range(2, tensor.ndim))
        matrix = matrix.reshape(matrix.shape[0], -1)
        if left.shape == matrix.shape[:1] and right.shape == matrix.shape[1:]:
            return (tensor / torch.dot(left, torch.mv(matrix, right))).numpy()
    raise UnknownParametrisationError(
        f"vectors of shapes {u.shape} and {v.shape} do not belong to a weight of shape {weight.shape}"
    )


def _masked(weight: np.ndarray, mask: np.ndarray) -> np.ndarray:
    if mask.shape != weight.shape:
        raise UnknownParametrisationError(
            f"a mask of shape {mask.shape} does not belong to a weight of shape {weight.shape}"
        )
    return weight * mask.astype(weight.dtype)
