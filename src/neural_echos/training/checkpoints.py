"""Checkpoints: everything that changes during training, in one safetensors file that is never unpickled.

A checkpoint contains the weights and the EMA weights, the optimizer's state, the gradient scaler, the history and the position in
the epoch. It contains no generator: what is random in a step depends only on the seed, the epoch and the step.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from timm.utils import ModelEmaV3
from torch import nn

from neural_echos.errors import EchosError
from neural_echos.files import sweep, write_tensors

_log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
VERSION = 2
_KEY = "neural_echos.checkpoint"
_SHARE = 0.02  # largest share of the time spent on writing checkpoints


@dataclass
class State:
    """Everything that changes during training.

    Attributes
    ----------
    model : nn.Module
    optimizer : torch.optim.Optimizer
    ema : ModelEmaV3, optional
    scaler : torch.amp.GradScaler, optional
    history : list of dict
        One row per finished epoch.
    step : int
        Steps done in the current epoch.
    loss : Tensor
        Sum of their losses: each process's own or, in a checkpoint, the mean over processes.
    seconds, train_seconds : float
        Wall time so far, and its share without evaluation.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: ModelEmaV3 | None = None
    scaler: torch.amp.GradScaler | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0
    loss: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    seconds: float = 0.0
    train_seconds: float = 0.0

    @property
    def evaluated(self) -> nn.Module:
        """The module that is evaluated: the EMA weights if there are any."""
        return self.model if self.ema is None else self.ema.module

    def weights(self) -> dict[str, torch.Tensor]:
        """Tensors of the model and of its EMA, by name."""
        modules = {"model": self.model} if self.ema is None else {"model": self.model, "ema": self.ema.module}
        return {f"{name}.{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}

    def parts(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors, and the rest as JSON values."""
        tensors, numbers = self.weights() | {"loss": self.loss}, []
        optimizer = self.optimizer.state_dict()
        for index, slots in optimizer["state"].items():
            for slot, value in slots.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer.{index}.{slot}"] = value
                else:
                    numbers.append([index, slot, value])
        groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer["param_groups"]]
        scaler = self.scaler.state_dict() if self.scaler is not None else {}
        counted = {name: getattr(self, name) for name in ("history", "step", "seconds", "train_seconds")}
        return tensors, counted | {"numbers": numbers, "groups": groups, "scaler": scaler}

    def load(self, tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> None:
        """Restore the output of `parts`."""
        with torch.no_grad():
            for name, value in (self.weights() | {"loss": self.loss}).items():
                value.copy_(tensors[name])
        self.optimizer.load_state_dict(self._optimizer_state(tensors, rest))
        if self.scaler is not None and rest["scaler"]:
            self.scaler.load_state_dict(rest["scaler"])
        for name in ("history", "step", "seconds", "train_seconds"):
            setattr(self, name, rest[name])

    def _optimizer_state(self, tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            kind, _, place = name.partition(".")
            if kind == "optimizer":
                index, _, slot = place.partition(".")
                like = parameters[int(index)]
                if value.shape == like.shape:  # in the parameter's memory format, as before
                    value = torch.empty_like(like, dtype=value.dtype).copy_(value)
                state.setdefault(int(index), {})[slot] = value
        for index, slot, value in rest["numbers"]:
            state.setdefault(index, {})[slot] = value
        groups = []
        for fresh, saved in zip(self.optimizer.state_dict()["param_groups"], rest["groups"], strict=True):
            groups.append({k: tuple(saved[k]) if isinstance(v, tuple) else saved.get(k, v) for k, v in fresh.items()})
        return {"state": state, "param_groups": groups}


class Checkpoint:
    """The checkpoint file of an unfinished run; writes are rare and atomic.

    Parameters
    ----------
    path : Path
    key : str
        Identifies the run; a checkpoint with another key is discarded.
    seconds : float
        Minimum time between two checkpoints. Slow ones are written more rarely, so that they take at most a fiftieth of the time. 0
        writes one at every opportunity.
    """

    def __init__(self, path: Path, key: str, seconds: float):
        self.path, self.key, self.seconds = path, key, seconds
        self.written, self.cost = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether the last checkpoint is old enough."""
        wait = max(self.seconds, self.cost / _SHARE) if self.seconds else 0.0
        return time.monotonic() - self.written >= wait

    def save(self, state: State) -> None:
        """Write the run.

        Raises
        ------
        EchosError
            The optimizer's state contains more than tensors and numbers, or the file cannot be written; the previous file is then
            kept.
        """
        began = time.monotonic()
        tensors, rest = state.parts()
        try:
            header = json.dumps({"key": self.key, "version": VERSION, **rest})
        except TypeError as error:
            raise EchosError(
                f"{self.path}: this optimizer's state contains more than tensors and numbers and cannot be saved ({error}); "
                "choose adamw or sgd"
            ) from None
        write_tensors(self.path, tensors, {_KEY: header})
        self.written = time.monotonic()
        self.cost = self.written - began

    def restore(self, state: State) -> None:
        """Load a checkpoint with the same key into the run; discard any other, and the leftovers of a killed writer."""
        sweep(self.path)
        if not self.path.exists():
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                rest = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            if rest.get("version") != VERSION:
                raise ValueError(f"version {rest.get('version')}, not {VERSION}")
            if rest.get("key") != self.key:
                raise ValueError("a checkpoint of another run")
            for name, value in state.weights().items():
                if name not in tensors or tensors[name].shape != value.shape:
                    raise ValueError(f"a checkpoint of another architecture (no {name} of shape {tuple(value.shape)})")
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            _log.warning(
                "%s: not a checkpoint of this run (%s); discarded, training starts from the beginning", self.path, error
            )
            self.path.unlink(missing_ok=True)
            return
        state.load(tensors, rest)
        _log.info("%s: resuming after epoch %d, step %d", self.path, len(state.history), state.step)
