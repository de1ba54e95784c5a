"""Declared inputs: what comes from outside, with its checksum, from a mirror folder, a URL, the hub or a Python package."""

from neural_echos.inputs.absent import write_absent
from neural_echos.inputs.declared import Input, NotAtHandError, fetch, load_inputs, mirror_folders

__all__ = ["Input", "NotAtHandError", "fetch", "load_inputs", "mirror_folders", "write_absent"]
