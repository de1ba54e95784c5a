"""Declared inputs: what comes from outside, with its checksum, from a mirror folder, a URL or the hub."""

from neural_echos.inputs.declared import Input, fetch, load_inputs, mirror_folders

__all__ = ["Input", "fetch", "load_inputs", "mirror_folders"]
