"""Networks, and checkpoints of them, for tests of banks."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_…)
from neural_echos.errors import EchosError
from neural_echos.kernels import (
    Layer,
    bank_from_checkpoint,
)


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


def fresh(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name)


def complaint(path: Path, layers: list[Layer] | None = None) -> str:
    """Extract in vain: one sentence that names the file."""
    with pytest.raises(EchosError) as caught:
        bank_from_checkpoint(path, "m", layers=layers)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def small() -> nn.Module:
    """Make a model with one layer of each sort: grey stem, depthwise, multiplied depthwise, grouped, 1×1."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.Conv2d(4, 4, 5, groups=4, dilation=2, bias=False),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 12, (1, 7), groups=4),
        nn.Conv2d(12, 6, 3, groups=3),
        nn.Conv2d(6, 6, 1, groups=6),
        nn.Conv2d(6, 2, 1),
        nn.ConvTranspose2d(2, 2, 2, groups=2),
        nn.Conv1d(4, 4, 3, groups=4),
    )


def as_safetensors(state: dict[str, torch.Tensor], path: Path) -> Path:
    save_file(state, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def as_pth(state: object, path: Path) -> Path:
    torch.save(state, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


WAYS: dict[str, Callable[[dict[str, torch.Tensor], Path], Path]] = {
    "safetensors": as_safetensors,
    "pth": as_pth,
    "old pth": lambda state, path: (
        torch.save(state, path / "old.bin", _use_new_zipfile_serialization=False) or path / "old.bin"
    ),
    "state_dict": lambda state, path: as_pth({"epoch": 3, "state_dict": state}, path),
    "model": lambda state, path: as_pth({"model": state, "args": {"lr": 0.1}}, path),
    "module.": lambda state, path: as_pth(
        {"state_dict": {f"module.{key}": value for key, value in state.items()}}, path
    ),
    "another key": lambda state, path: as_pth({"epoch": 3, "rng": torch.zeros(9), "net": state, "optimizer": {}}, path),
    "compiled and wrapped": lambda state, path: as_pth(
        {f"module._orig_mod.module.{key}": value for key, value in state.items()}, path
    ),
    "_orig_mod. in safetensors": lambda state, path: as_safetensors(
        {f"_orig_mod.{key}": value for key, value in state.items()}, path
    ),
    "module. in safetensors": lambda state, path: as_safetensors({f"module.{k}": v for k, v in state.items()}, path),
}
