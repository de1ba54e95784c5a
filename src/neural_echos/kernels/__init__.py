"""Kernels: extract the spatial convolutions of a model or a checkpoint into a bank."""

from neural_echos.kernels.bank import bank_from_checkpoint, bank_from_model, bank_from_tensors, extract_bank
from neural_echos.kernels.layers import Layer, fused_layers_of, layers_from_json, layers_of, layers_to_json

__all__ = [
    "Layer",
    "bank_from_checkpoint",
    "bank_from_model",
    "bank_from_tensors",
    "extract_bank",
    "fused_layers_of",
    "layers_from_json",
    "layers_of",
    "layers_to_json",
]
