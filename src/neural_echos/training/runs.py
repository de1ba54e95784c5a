"""Runs on disk: turn initial weights and the JSON beside them into a trained network, its history and its metrics."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import nn

from neural_echos.datasets import Dataset, StreamedDataset
from neural_echos.errors import EchosError
from neural_echos.files import provenance, read_json, sha256, write_json, write_tensors
from neural_echos.kernels.layers import listed_layers
from neural_echos.tables import SCHEMAS, write_table
from neural_echos.training.checkpoints import CHECKPOINT
from neural_echos.training.loop import RunResult, train
from neural_echos.training.published import KERNELS, TRAINING, adopt, find_published
from neural_echos.training.recipe import Recipe
from neural_echos.training.watchers import Watcher

_LOG = logging.getLogger("neural_echos")


def train_run(
    initial: Path,
    folder: Path,
    data: Dataset | StreamedDataset,
    recipe: Recipe,
    *,
    data_file: Path,
    labels: Mapping[str, str],
    device: str = "auto",
    threads: int = 1,
    watchers: Sequence[Watcher] = (),
    adopted: Sequence[Path] = (),
    kernels: bool = False,
) -> None:
    """Train a network from its initial weights and write the finished run; an interrupted run is resumed.

    A published run is adopted instead.

    Parameters
    ----------
    initial : Path
        Initial weights written by `echos initialise`, with a JSON beside them.
    folder : Path
        Folder of the run.
    data : Dataset
        Dataset read from `data_file`, whose checksum is part of the run's identity.
    recipe : Recipe
    data_file : Path
    labels : mapping of str to str
        Names of dataset, architecture and initialisation for the tables.
    device : str, default="auto"
    threads : int, default=1
    watchers : sequence of Watcher, default=()
    adopted : sequence of Path, default=()
        Tables of published runs; a run whose key is in one of them is copied from there, without weights.
    kernels : bool, default=False
        Adopt a published run only with its trained kernels.

    Raises
    ------
    EchosError
        A table of published runs cannot be read, or the initial weights do not belong to the network that their JSON describes.
    """
    from neural_echos.initialisations.parametrised import plain_, reparameterise_

    made = read_initial(initial)
    frozen = [entry["layer"] for entry in made["did"] if entry["frozen"]]
    key = run_key(run_identity(made, frozen, recipe, data_file, initial))
    if found := find_published(adopted, key, kernels):
        _LOG.info("%s: adopted from %s, not trained", folder, found[0])
        adopt(folder, *found, labels)
        return
    if adopted:
        wanted = "published runs with kernels" if kernels else "published runs"
        _LOG.info("%s: not among the %s in %s, training it", folder, wanted, ", ".join(map(str, adopted)))
    model = load_network(made, initial, data, recipe, "initial weights", "run echos initialise again")
    reparameterise_(model, made)
    for layer in frozen:
        model.get_submodule(layer).weight.requires_grad_(False)
    result = train(
        model,
        data,
        recipe,
        seed=made["seed"],
        folder=folder,
        key=key,
        device=device,
        threads=threads,
        labels=dict(labels),
        watchers=list(watchers),
    )
    if result.metrics["diverged"]:
        _warn_of_divergence(folder, result, recipe)
    learned = plain_(model)
    more = {"learned": learned} if learned else {}
    size = kernel_size_of(made["layers"])
    inputs = {"data": data_file, "initial": initial}
    write_run(
        folder,
        model,
        result,
        recipe=recipe,
        seed=made["seed"],
        kernel_size=size,
        inputs=inputs,
        key=key,
        **more,
        **labels,
    )


def _warn_of_divergence(folder: Path, result: RunResult, recipe: Recipe) -> None:
    _LOG.warning(
        "%s: the run diverged: the loss was %s in epoch %d of %d at lr %g; its history is kept; lower lr, or set clip_grad "
        "or warmup_epochs",
        folder,
        result.history[-1]["train_loss"],
        len(result.history),
        recipe.epochs,
        recipe.lr,
    )


def run_identity(
    made: Mapping[str, Any], frozen: Sequence[str], recipe: Recipe, data_file: Path, initial: Path
) -> dict[str, Any]:
    """Return what identifies a run. Runs with the same identity are the same experiment; only they resume and adopt one another.

    Only the recipe values that differ from the defaults count, so that a new recipe key does not change every run's identity.

    Parameters
    ----------
    made : mapping
        The JSON beside the initial weights.
    frozen : sequence of str
        Layers that are not trained.
    recipe : Recipe
    data_file, initial : Path
        Dataset and initial weights, whose checksums count.
    """
    plain = asdict(Recipe())
    return {
        "training": TRAINING,
        **{name: made.get(name) for name in ("model", "kwargs", "seed", "universal")},
        **({"sigmas": made["sigmas"]} if "sigmas" in made else {}),
        "frozen": list(frozen),
        "recipe": {name: value for name, value in asdict(recipe).items() if value != plain[name]},
        "data": sha256(data_file),
        "initial": sha256(initial),
    }


def run_key(identity: Mapping[str, Any]) -> str:
    """Return the key of a run: a checkpoint is resumed only by a run of the same identity.

    Parameters
    ----------
    identity : mapping of str to JSON value
        Everything that determines the result: recipe, seed, and checksums of input files.
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def read_initial(initial: Path) -> dict[str, Any]:
    """Read the JSON beside initial weights: model, kwargs, seed, layers, and what was done to each layer."""
    path = initial.with_suffix(".json")
    made = read_json(path)
    missing = {"model", "kwargs", "seed", "layers", "did"} - set(made if isinstance(made, dict) else ())
    if missing:
        raise EchosError(
            f"{path}: not written by echos initialise: no {', '.join(sorted(missing))}; run echos initialise again"
        )
    return dict(made)


def trained_weights(folder: Path) -> Path:
    """Return the file of a finished run's weights."""
    if not (folder / "metrics.json").is_file() or not (folder / "weights.safetensors").is_file():
        raise EchosError(f"{folder}: not a finished run with its weights; train it first")
    return folder / "weights.safetensors"


def load_trained(made: Mapping[str, Any], folder: Path, data: Dataset | StreamedDataset, recipe: Recipe) -> nn.Module:
    """Return the network of a finished run; `made` is the JSON beside its initial weights."""
    return load_network(made, trained_weights(folder), data, recipe, "trained weights", "train that run again")


def load_network(
    made: Mapping[str, Any], weights: Path, data: Dataset | StreamedDataset, recipe: Recipe, what: str, remedy: str
) -> nn.Module:
    """Build the network described by the JSON beside initial weights, and load weights into it.

    Raises
    ------
    EchosError
        The weights are truncated or belong to another network; `what` names them and `remedy` says how to get them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from neural_echos import architectures

    kwargs = made["kwargs"] | recipe.model_kwargs()
    model = architectures.create(made["model"], num_classes=len(data.classes), in_chans=data.channels, kwargs=kwargs)
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, OSError, RuntimeError) as error:
        found = " ".join(str(error).split())[:200]
        raise EchosError(f"{weights}: not the {what} of {made['model']}: {found}; {remedy}") from None
    return model


def kernel_size_of(layers: Sequence[Mapping[str, Any]]) -> int:
    """Return the side of the largest depthwise kernels or, if there are none, of the largest regular ones."""
    depthwise = [layer["kernel_height"] for layer in layers if layer["kind"] == "depthwise"]
    return max(depthwise or [layer["kernel_height"] for layer in layers])


def write_run(
    folder: Path,
    model: nn.Module,
    result: RunResult,
    *,
    recipe: Recipe,
    seed: int,
    kernel_size: int,
    inputs: Mapping[str, str | Path] | None = None,
    **facts: Any,
) -> None:
    """Write a finished run, each file atomically, and then remove its checkpoint.

    On a CPU, `weights.safetensors`, `kernels.safetensors` (only the weights of spatial convolutions), `history.parquet` and
    `metrics.json` have the same bytes for the same run; times are only in `run.json`. `metrics.json` is written last: if it exists,
    the run is complete.

    Parameters
    ----------
    folder : Path
        The folder given to `train`.
    model : nn.Module
        As `train` left it.
    result : RunResult
    recipe : Recipe
    seed : int
    kernel_size : int
        Side of the model's spatial kernels.
    inputs : mapping of str to path, optional
        Input files of the run; their checksums go into `run.json`.
    **facts
        More JSON values for `run.json`.
    """
    if int(os.environ.get("RANK", "0")):  # if several processes trained together, only the first writes
        return
    folder = Path(folder)
    (folder / "metrics.json").unlink(missing_ok=True)
    weights = model.state_dict()
    kernels = {name: weights[name] for name in (f"{layer.name}.weight" for layer in listed_layers(model))}
    write_tensors(folder / "weights.safetensors", weights, {"format": "pt"})
    write_tensors(folder / KERNELS, kernels, {"format": "pt"})
    history = pa.Table.from_pylist(result.history, schema=SCHEMAS["history"])
    write_table(folder / "history.parquet", history, "history")
    times = {name: getattr(result, name) for name in ("images_per_second", "seconds", "device", "devices")}
    write_json(folder / "run.json", provenance(dict(inputs or {}), recipe=asdict(recipe), seed=seed, **times, **facts))
    write_json(folder / "metrics.json", {**result.metrics, "kernel_size": kernel_size})
    (folder / CHECKPOINT).unlink(missing_ok=True)
