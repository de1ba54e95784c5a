"""Anything a user may give as a model: a network in memory, a bank, a checkpoint, or a timm model with weights on the hub."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Union

import pyarrow as pa

from neural_echos.errors import EchosError
from neural_echos.kernels.bank import bank_and_summary, extract_bank
from neural_echos.kernels.layers import fused_layers_of, layers_of
from neural_echos.tables import read_table

if TYPE_CHECKING:
    from torch import nn

_CHECKPOINTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".onnx", ".json")
Source = Union["nn.Module", pa.Table, Path, str]


def bank_of(
    source: Source, *, name: str = "", timm: str = "", weights: str | None = None, regular_per_layer: int = 1000
) -> tuple[pa.Table, str]:
    """Return the bank of a model, and a one-line summary of what was taken and skipped.

    Parameters
    ----------
    source : torch.nn.Module, pyarrow.Table, path or str
        A model in memory; a table of schema "bank", or the path of one (.parquet); a checkpoint; or the name of a timm model.
        Of a timm model's pretrained weights, only the kernels are downloaded.
    name : str
        The bank's name. The default is the name of the file, the timm model or the model's class. A bank keeps its own name.
    timm : str
        The timm model that a checkpoint belongs to; without it, kernels are identified by names and shapes.
    weights : str, optional
        Which set of weights to take, if the checkpoint contains several.
    regular_per_layer : int
        Keep at most this many kernels per regular layer.

    Raises
    ------
    EchosError
        The source cannot be read, or has no spatial convolution; see `extract_bank`.
    """
    if isinstance(source, pa.Table):
        return source, f"{source.num_rows:,} kernels of a bank"
    if not isinstance(source, (str, Path)):
        bank, summary = bank_and_summary(source, name or type(source).__name__, regular_per_layer=regular_per_layer)
        return bank, str(summary)
    path = Path(source)
    if path.suffix == ".parquet":
        return bank_of(read_table(path, "bank"))
    if path.exists() or path.suffix.lower() in _CHECKPOINTS:
        known = layers_of_timm_model(timm) if timm else {}
        bank, summary = extract_bank(
            path, name or path.stem, **known, weights=weights, regular_per_layer=regular_per_layer
        )
    else:
        bank, summary = _from_hub(str(source), name, regular_per_layer)
    return bank, str(summary)


def layers_of_timm_model(name: str) -> dict[str, Any]:
    """Build a timm model without its weights; return its layers, and a function for its layers with fused branches."""
    import torch

    from neural_echos.architectures import create

    with torch.device("meta"):
        model = create(name, num_classes=1000, in_chans=3)
        return {"layers": layers_of(model), "fused": lambda: fused_layers_of(model)}


def untrained(timm: str, seed: int) -> "nn.Module":
    """Return a timm model with timm's own initial weights; the caller's random state is unchanged."""
    import torch

    from neural_echos.architectures import create

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create(timm, num_classes=1000, in_chans=3)


def _from_hub(model: str, name: str, regular_per_layer: int) -> tuple[pa.Table, Any]:
    """Return the bank of a timm model, reading only its kernels from the hub, and its summary."""
    from neural_echos.inputs.hub import HubError, download_kernels

    layers = layers_of_timm_model(model)
    repository = _hub_repository(model)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        try:
            download_kernels(repository, "model.safetensors", weights, revision=None)
        except HubError as error:
            raise EchosError(
                f"{model}: its kernels could not be read from the hub: {error}; give the path of a bank or checkpoint instead"
            ) from None
        return extract_bank(weights, name or model, **layers, regular_per_layer=regular_per_layer)


def _hub_repository(model: str) -> str:
    """Return the hub repository of a timm model's pretrained weights."""
    from timm.models import get_pretrained_cfg

    from neural_echos.architectures import timm_name

    config = get_pretrained_cfg(timm_name(model))
    if config is None or not config.hf_hub_id:
        raise EchosError(
            f"{model}: this timm model has no pretrained weights on the hub; "
            "give the path of a bank or a checkpoint, or a name from config/survey.csv"
        )
    return str(config.hf_hub_id)
