"""Extraction: the bank of ConvNeXt-B directly from its safetensors file, against building the model and loading all weights.

Prints the times (best of three) and their ratio in one run, and the peak memory that each way adds (each in its own process).
Run as `python benchmarks/extraction.py`.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from record import record


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(extract: Callable[[], pa.Table]) -> int:
    """Print the best of three times, the memory added, and the number of kernels."""
    before, seconds = peak_mb(), []
    for _ in range(3):
        start = time.perf_counter()
        rows = extract().num_rows
        seconds.append(time.perf_counter() - start)
    print(f"{min(seconds):.4f} {peak_mb() - before:.1f} {rows}")
    return 0


def lazily(path: Path) -> int:
    import timm
    import torch

    from neural_echos import kernels

    with torch.device("meta"):
        layers = kernels.layers_of(timm.create_model("convnext_base"))
    depthwise = [layer for layer in layers if layer.kind == "depthwise"]
    return measure(lambda: kernels.bank_from_checkpoint(path, "convnext_base", layers=depthwise))


def through_the_model(path: Path) -> int:
    import timm
    from safetensors.torch import load_file

    from neural_echos import kernels

    def extract() -> pa.Table:
        model = timm.create_model("convnext_base")
        model.load_state_dict(load_file(path))
        return kernels.bank_from_model(model, "convnext_base", regular_per_layer=1)

    return measure(extract)


def main() -> int:
    import timm
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "convnext_base.safetensors"
        save_file(timm.create_model("convnext_base").state_dict(), path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB, random weights")
        found = {}
        for way in ("lazily", "through_the_model"):
            done = subprocess.run(
                [sys.executable, __file__, way, str(path)], capture_output=True, text=True, check=True
            )
            seconds, memory, rows = done.stdout.split()[-3:]
            found[way] = float(seconds)
            print(f"{way:18} {float(seconds):8.3f} s  {float(memory):8.1f} MB more  {rows} kernels")
        own, model = found["lazily"], found["through_the_model"]
        record(
            "bank of ConvNeXt-B from its safetensors file",
            "building and loading the model",
            model / own,
            "s",
            own,
            model,
        )
    return 0


if __name__ == "__main__":
    ways = {"lazily": lazily, "through_the_model": through_the_model}
    raise SystemExit(ways[sys.argv[1]](Path(sys.argv[2])) if len(sys.argv) == 3 else main())
