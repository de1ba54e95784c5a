"""Declared inputs: what comes from outside, with its checksum, from a mirror folder, a URL, the hub or a Python package."""

from neural_echos.inputs.declared import Input, UnreachableError, fetch, load_inputs, mirror_folders

__all__ = ["Input", "UnreachableError", "fetch", "load_inputs", "mirror_folders"]
