"""Files that hold weights, and what is said of those that cannot be read."""

from pathlib import Path

import pytest
import torch
from torch import nn

from neural_echos.errors import EchosError
from neural_echos.kernels.formats import open_checkpoint

WEIGHT = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
STATE = {"a.weight": WEIGHT, "a.bias": torch.zeros(4)}


def refusal(path: Path) -> str:
    """What is said about a file that cannot be opened: one line that begins with its path."""
    with pytest.raises(EchosError) as caught:
        opened = open_checkpoint(path)
        for name in opened.tensors:
            opened.read(name)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") or said.startswith(f"{path.parent}/")
    assert "\n" not in said and "weights_only" not in said and "safe_globals" not in said
    return said


def saved(value: object, path: Path, old: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not old)
    return path


CONV = nn.Conv2d(4, 4, 3, groups=4)
