"""Worker processes for fits: started by the first fit that has work for two, kept for the next, and ended with their parent."""

import os
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from neural_echos.errors import EchosError

_T = TypeVar("_T")


def in_processes(processes: int, work: Callable[[np.ndarray], _T], chunks: Iterable[np.ndarray]) -> list[_T]:
    """Apply `work`, which must be picklable, to each chunk; results are in order.

    Raises
    ------
    EchosError
        A worker process was killed.
    """
    try:
        return list(_pool(processes).map(work, chunks))
    except BrokenProcessPool:
        _pool.cache_clear()
        raise EchosError(
            f"fit: one of {processes} processes was killed, probably because memory ran out; give the job more memory or fewer "
            "threads"
        ) from None


@lru_cache
def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, get_context("spawn"), _alone)


def _alone() -> None:
    """Prepare a worker process, which ends with its parent, even if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the others
    threadpool_limits(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
