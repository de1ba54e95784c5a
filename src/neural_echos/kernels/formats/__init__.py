"""Read checkpoint files of every supported format and clearly refuse others; the content decides, not the suffix."""

from neural_echos.kernels.formats.opened import Checkpoint, Stored
from neural_echos.kernels.formats.opening import open_checkpoint

__all__ = ["Checkpoint", "Stored", "open_checkpoint"]
