"""Sharded checkpoints: an index that maps each tensor to its file, read as one checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from neural_echos.errors import EchosError
from neural_echos.kernels.formats.folders import leaves_its_folder
from neural_echos.kernels.formats.opened import Checkpoint, Stored


def open_index(path: Path, open_file: Callable[[Path], Checkpoint]) -> Checkpoint:
    """Open a ``*.index.json`` and the shards it names; tensors are read lazily if the shards' format allows it.

    Raises
    ------
    EchosError
        The file is not an index, a shard is missing or outside the index's folder, or a tensor is not where the index says.
    """
    weight_map = _weight_map(path)
    files = list(dict.fromkeys(weight_map.values()))
    for name in files:
        if leaves_its_folder(name):
            raise EchosError(
                f"{path}: the index names the shard {name!r} outside its folder, which is not read; correct it"
            )
    missing = [name for name in files if not (path.parent / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise EchosError(
            f"{path}: the shard {missing[0]!r}{more} of {len(files)} is missing; fetch it into the same folder"
        )
    shards = {name: open_file(path.parent / name) for name in files}
    tensors: dict[str, Stored] = {}
    for tensor, name in weight_map.items():
        if tensor not in shards[name].tensors:
            raise EchosError(
                f"{path}: the index says that {tensor!r} is in {name!r}, but it is not there; fetch both again"
            )
        tensors[tensor] = shards[name].tensors[tensor]

    def read(tensor: str) -> np.ndarray:
        return shards[weight_map[tensor]].read(tensor)

    return Checkpoint(path, tensors, read, shards[files[0]].metadata)


def _weight_map(path: Path) -> dict[str, str]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise EchosError(f"{path}: neither a checkpoint nor the JSON index of one; name the checkpoint") from None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(one, str) for one in weight_map.values())
    ):
        raise EchosError(
            f"{path}: this JSON file has no `weight_map`, so it is not the index of a checkpoint; name the checkpoint"
        )
    return weight_map
