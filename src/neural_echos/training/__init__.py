"""Training: turns initial weights and a dataset into trained weights, a history and final metrics."""

from neural_echos.training.batches import Batches, MemoryBatches
from neural_echos.training.checkpoints import CHECKPOINT
from neural_echos.training.devices import pick_device
from neural_echos.training.loop import RunResult, train
from neural_echos.training.preparation import make_batches
from neural_echos.training.published import publish
from neural_echos.training.recipe import Recipe, learning_rate
from neural_echos.training.runs import write_run
from neural_echos.training.scoring import evaluate, score_run, score_sums
from neural_echos.training.watchers import Events, Lines, LiveBar, Watcher

__all__ = [
    "CHECKPOINT",
    "Batches",
    "Events",
    "Lines",
    "LiveBar",
    "MemoryBatches",
    "Recipe",
    "RunResult",
    "Watcher",
    "evaluate",
    "learning_rate",
    "make_batches",
    "pick_device",
    "publish",
    "score_run",
    "score_sums",
    "train",
    "write_run",
]
