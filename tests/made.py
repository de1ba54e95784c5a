"""Kernels and banks that several tests make."""

import numpy as np
import pyarrow as pa

from neural_echos.tables import SCHEMAS


def random_kernels(n: int, k: int, seed: int = 0) -> np.ndarray:
    """White noise, (n, k, k)."""
    return np.random.default_rng(seed).normal(size=(n, k, k))


def make_bank(layers: dict[str, np.ndarray], kind: str = "depthwise", model: str = "test") -> pa.Table:
    """Lay layers of kernels, each (n, h, w), down as a bank."""
    rows = [
        {
            "model": model,
            "kind": kind,
            "layer": name,
            "layer_index": number,
            "depth": number / max(len(layers) - 1, 1),
            "kernel_height": kernels.shape[1],
            "kernel_width": kernels.shape[2],
            "channel": channel,
            "input_channel": 0,
            "stride": 1,
            "dilation": 1,
            "taps": taps.ravel().tolist(),
        }
        for number, (name, kernels) in enumerate(layers.items())
        for channel, taps in enumerate(kernels)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["bank"])
