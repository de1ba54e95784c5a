"""Open a checkpoint: a file of any supported format, the index of a sharded one, or a folder that contains one of them."""

from pathlib import Path

from neural_echos.errors import EchosError
from neural_echos.kernels.formats.content import format_of
from neural_echos.kernels.formats.folders import checkpoint_in, refuse_single_shard
from neural_echos.kernels.formats.opened import Checkpoint, refuse_placeholders


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint; the content decides its format, not the name, and nothing in it is ever executed.

    Parameters
    ----------
    path : path
        A safetensors, PyTorch or ONNX file, the ``*.index.json`` of a sharded one, or a folder that contains exactly one.

    Returns
    -------
    Checkpoint
        Its tensors, read one by one on request.

    Raises
    ------
    EchosError
        The file does not exist, is incomplete or damaged, has an unsupported format, contains Python objects that are not
        known to be harmless, or is a single shard of several.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = checkpoint_in(path)
        _refuse_absent(path)
        refuse_single_shard(path)
        checkpoint = _open_file(path)
    except PermissionError:
        raise EchosError(f"{path}: permission denied; change the file's permissions") from None
    refuse_placeholders(checkpoint)
    return checkpoint


def _refuse_absent(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise EchosError(f"{path}: this link points to {path.readlink()}, which does not exist; fetch that file")
    if not path.is_file():
        raise EchosError(f"{path}: there is no such checkpoint file; check the path or fetch the input first")


def _open_file(path: Path) -> Checkpoint:
    """Open a file with the reader of its format, the only one that is imported."""
    form = format_of(path)
    if form == "safetensors":
        from neural_echos.kernels.formats.safetensors_file import open_safetensors

        return open_safetensors(path)
    if form == "onnx":
        from neural_echos.kernels.formats.onnx_file import open_onnx

        return open_onnx(path)
    if form == "index":
        from neural_echos.kernels.formats.shards import open_index

        return open_index(path, _open_file)
    from neural_echos.kernels.formats.torch_file import open_torch

    return open_torch(path)
