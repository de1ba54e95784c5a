"""Find the checkpoint in a folder, and refuse files that cannot be opened alone."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from neural_echos.errors import EchosError

_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{4,6})-of-(?P<total>\d{4,6})(?P<suffix>\.\w+)?$")
_PREFERRED = (  # in this order; a pattern that several files match is ambiguous
    "*.safetensors.index.json",
    "model.safetensors",
    "*.safetensors",
    "*.bin.index.json",
    "pytorch_model.bin",
    "*.bin",
    "*.onnx",
    "*.pth",
    "*.pt",
    "*.ckpt",
    "*.pth.tar",
)


def checkpoint_in(folder: Path) -> Path:
    """Find the one checkpoint in a folder, as the Hugging Face Hub lays it out.

    Raises
    ------
    EchosError
        There is none, there are several, or it is a distributed or TensorFlow checkpoint.
    """
    if (folder / "saved_model.pb").exists():
        raise EchosError(
            f"{folder}: this is a TensorFlow SavedModel; convert it to ONNX with tf2onnx, or save its weights with safetensors"
        )
    if (folder / ".metadata").exists() or any(folder.glob("*.distcp")):
        raise EchosError(
            f"{folder}: this is a distributed checkpoint of PyTorch; merge it first with "
            "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE`"
        )
    for pattern in _PREFERRED:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if len(found) == 1:
            return found[0]
        if found and not all(_SHARD.match(path.name) for path in found):
            raise EchosError(
                f"{folder}: this folder contains several checkpoints ({', '.join(path.name for path in found[:5])}); name one"
            )
        if found:
            raise EchosError(
                f"{folder}: this folder contains the shards of a checkpoint but not its index (*.index.json); fetch the index too"
            )
    raise EchosError(
        f"{folder}: this folder contains no checkpoint (.safetensors, .bin, .pth, .onnx, …); name the file itself"
    )


def refuse_single_shard(path: Path) -> None:
    """Refuse a single shard of a sharded checkpoint."""
    shard = _SHARD.match(path.name)
    if shard and shard["stem"].endswith(".data"):
        raise EchosError(
            f"{path}: this is part of a TensorFlow checkpoint; load it in TensorFlow and save its weights with safetensors"
        )
    if shard is None or int(shard["total"]) <= 1:
        return
    index = path.with_name(f"{shard['stem']}{shard['suffix'] or ''}.index.json")
    found = index if index.exists() else next(iter(sorted(path.parent.glob("*.index.json"))), None)
    what = f"name {found.name} instead" if found else f"fetch the whole checkpoint and name its index ({index.name})"
    raise EchosError(
        f"{path}: this is shard {int(shard['number'])} of {int(shard['total'])} and contains only some of the weights; {what}"
    )


def leaves_its_folder(name: str) -> bool:
    """Whether a file name found in a checkpoint points outside the checkpoint's folder, on any system."""
    here, windows = PurePosixPath(name), PureWindowsPath(name)
    return here.is_absolute() or bool(windows.anchor) or ".." in (*here.parts, *windows.parts)
