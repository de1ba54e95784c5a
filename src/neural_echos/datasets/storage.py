"""Datasets as files: one safetensors file each, with the images or an index of images that stay where they are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neural_echos.datasets.base import Dataset, Facts, check_images
from neural_echos.datasets.streamed import Index, StreamedDataset, check_streamed
from neural_echos.errors import EchosError
from neural_echos.files import safetensors_path

_KEY = "neural_echos.dataset"
_VERSION = 1
_SPLITS = ("train", "test")
_PARTS = ("names", "ends", "places")  # parts of an index
# Arrays in each form of file.
_ARRAYS = {
    "images": [f"{split}_{part}" for split in _SPLITS for part in ("images", "labels")],
    "index": [f"{split}_{part}" for split in _SPLITS for part in ("labels", *_PARTS)],
}


def save_dataset(path: str | Path, dataset: Dataset | StreamedDataset, facts: Mapping[str, Any]) -> None:
    """Write a dataset as one safetensors file, atomically; the same dataset and facts give the same bytes.

    Class names, mean, standard deviation and `facts` (JSON values) are stored in the file's metadata. For a streamed dataset, the
    index is written but not the images.

    Raises
    ------
    EchosError
        Its arrays are inconsistent, or the file cannot be written.
    """
    from safetensors.numpy import save_file

    header = {
        "version": _VERSION,
        "name": dataset.name,
        "classes": list(dataset.classes),
        "mean": dataset.mean.tolist(),
        "std": dataset.std.tolist(),
        "facts": dict(facts),
    }
    if isinstance(dataset, StreamedDataset):
        check_streamed(dataset, str(path))
        header |= {"form": "index", "root": dataset.root, "column": dataset.column, "pool": dataset.pool}
        arrays = {f"{split}_{part}": getattr(getattr(dataset, split), part) for split in _SPLITS for part in _PARTS}
        arrays |= {f"{split}_labels": getattr(dataset, f"{split}_labels") for split in _SPLITS}
    else:
        check_images(dataset, str(path))
        arrays = {name: getattr(dataset, name) for name in _ARRAYS["images"]}
    # Only one metadata key: safetensors writes several in an order that varies from run to run.
    metadata = {_KEY: json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False)}
    with safetensors_path(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, metadata)


def load_dataset(path: str | Path) -> Dataset | StreamedDataset:
    """Read and check a dataset written by `save_dataset`.

    Raises
    ------
    EchosError
        The file is missing, truncated, or of another kind or version; its arrays are inconsistent; or the folder of a streamed
        dataset is missing.
    """
    header, arrays = _open(path)
    facts: dict[str, Any] = {
        "name": header["name"],
        "classes": tuple(header["classes"]),
        "mean": np.array(header["mean"], dtype=np.float64),
        "std": np.array(header["std"], dtype=np.float64),
    }
    if header.get("form") != "index":
        dataset = Dataset(**facts, **arrays)
        check_images(dataset, str(path))
        return dataset
    indices: dict[str, Any] = {split: Index(*(arrays.pop(f"{split}_{part}") for part in _PARTS)) for split in _SPLITS}
    streamed = StreamedDataset(**facts, **arrays, **indices, **{key: header[key] for key in ("root", "column", "pool")})
    check_streamed(streamed, str(path))
    if not Path(streamed.root).is_dir():
        raise EchosError(
            f"{path}: its images are in the folder {streamed.root}, which is missing; restore it or make the dataset again"
        )
    return streamed


def dataset_facts(path: str | Path) -> Facts:
    """Read the `facts` given to `save_dataset` from a dataset file, without its images."""
    facts: Facts = _open(path, ())[0]["facts"]
    return facts


def dataset_shape(path: str | Path) -> dict[str, int]:
    """Read the numbers of training and test images, classes and channels, and the image side, of a dataset file without its
    images.

    Images that stay on disk have no fixed size; it is omitted.
    """
    from safetensors import safe_open

    header, _ = _open(path, ())
    with safe_open(path, framework="np") as file:
        sizes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  not a mapping
    shape = {split: sizes[f"{split}_labels"][0] for split in _SPLITS}
    shape |= {"classes": len(header["classes"]), "channels": len(header["mean"])}
    return shape if header.get("form") == "index" else shape | {"size": sizes["train_images"][-1]}


def _open(path: str | Path, names: Sequence[str] | None = None) -> tuple[Facts, dict[str, Any]]:
    """Read the header and the named arrays, by default all."""
    from safetensors import SafetensorError, safe_open

    advice = "choose another file, or make this one again"
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            expected = _ARRAYS.get(header.get("form", "images"), ())
            if header.get("version") != _VERSION or set(file.keys()) != set(expected):
                raise EchosError(f"{path}: not a dataset file of version {_VERSION}; {advice}")
            return header, {name: file.get_tensor(name) for name in (expected if names is None else names)}
    except FileNotFoundError:
        raise EchosError(f"{path}: there is no such dataset; run the rule that makes it first") from None
    except (SafetensorError, OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise EchosError(f"{path}: not a complete safetensors file ({found}); {advice}") from None
