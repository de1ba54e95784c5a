"""Declared inputs: external files with checksums, from a mirror folder, a URL, the Hub or a Python package."""

from neural_echos.inputs.absent import write_absent
from neural_echos.inputs.declared import NotAtHandError, fetch, mirror_folders

__all__ = ["NotAtHandError", "fetch", "mirror_folders", "write_absent"]
