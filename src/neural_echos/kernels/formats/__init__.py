"""Checkpoint files of every format that is read, and a clear refusal of the others; the content decides, not the suffix."""

from neural_echos.kernels.formats.opened import Checkpoint, Stored
from neural_echos.kernels.formats.opening import open_checkpoint

__all__ = ["Checkpoint", "Stored", "open_checkpoint"]
