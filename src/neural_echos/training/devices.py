"""The machine of a training: its device, threads and precision, its signals, and its errors when memory runs out."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from neural_echos.errors import EchosError
from neural_echos.training.recipe import Recipe

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h

# torch's messages about full memory, of a GPU (cuBLAS has its own) or the machine
_FULL = ("out of memory", "alloc_failed", "not enough memory", "can't allocate memory")


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device with this name; "auto" is the GPU if there is one, else the CPU."""
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError:
        raise EchosError(f"device: {device!r} is not one of auto, cpu, cuda and cuda:N") from None
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise EchosError(f"device: {device!r} needs a GPU, but torch finds none that it can use; choose auto or cpu")
    return picked


def make_accelerator(device: torch.device, recipe: Recipe) -> Accelerator:
    """Make this run's Accelerator; a CPU always uses float32."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        # state left by the previous run in this process: its device and precision
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=recipe.precision if recipe.precision and device.type == "cuda" else "no",
    )


@contextmanager
def torch_settings(threads: int, device: torch.device) -> Iterator[None]:
    """Set torch's threads and, on a CPU, deterministic algorithms and flushed denormals, for the duration of a training.

    The GELU of a number near −13 is a denormal, and CPUs compute slowly with denormals. With these flushed to 0, a ConvMixer with
    regular convolutions trains 2.4 times as fast.
    """
    count, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    flushed = float(torch.tensor(1e-39) * 1) == 0
    torch.set_num_threads(threads)
    if device.type == "cpu" and not strict:
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_flush_denormal(device.type == "cpu" or flushed)
    if device.type == "cpu":
        _keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(count)
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        torch.utils.deterministic.fill_uninitialized_memory = fill
        torch.set_flush_denormal(flushed)


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory, because every step requests the same memory again.

    Otherwise it returns large blocks to the system at once and gets them back page by page, which costs networks with large maps
    about a tenth of their time (benchmarks/cpu_layers.py). Results do not depend on it, and other systems have no such
    settings.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is not None:
        set_option(_TRIM_THRESHOLD, 2**31 - 1)
        set_option(_MMAP_THRESHOLD, 2**30)


@contextmanager
def batch_norm_sentence() -> Iterator[None]:
    """Turn torch's error about batch norm over a single value into one sentence."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise EchosError(
            "training: batch norm needs more than one value per channel, but a batch of one image with a 1×1 feature map has "
            "only one; choose batch_size (and device_batch, if set) so that every device gets at least two images at a time"
        ) from None


@contextmanager
def memory_sentence(recipe: Recipe) -> Iterator[None]:
    """Turn an out-of-memory error, of a GPU or the machine, into one sentence."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(words in str(error).lower() for words in _FULL):
            raise
        held = recipe.device_batch or recipe.batch_size
        raise EchosError(
            f"training: memory ran out with {held} images at a time; lower device_batch below {held} (the batch of "
            f"{recipe.batch_size} is then split into micro-batches)"
        ) from None


@contextmanager
def told_to_stop() -> Iterator[list[str]]:
    """Yield a list to which SIGTERM and SIGUSR1 add their names instead of ending the process."""
    told: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    signals = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(one, lambda number, _: told.append(signal.Signals(number).name)) for one in signals]
    try:
        yield told
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)
