"""Datasets for training behind one interface: one safetensors file each, with the images or their locations.

Each kind has a maker, registered in `MAKERS` by `@maker`: patches of the photographs that ship with scikit-image, the handwritten
digits that ship with scikit-learn (neither needs a network), and real images in Parquet files, CIFAR's binary archives, image
folders and tar archives. Images of the last four are decoded into memory (`Dataset`) or stay on disk (`StreamedDataset`).

References
----------
- Krizhevsky: Learning multiple layers of features from tiny images, 2009 (CIFAR-10, CIFAR-100).
- Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge, IJCV 2015.
- Le, Yang: Tiny ImageNet visual recognition challenge, 2015.
"""

from neural_echos.datasets.archives import CIFAR10_CLASSES, read_archive
from neural_echos.datasets.base import Dataset, Facts
from neural_echos.datasets.digits import make_digits
from neural_echos.datasets.folders import index_folder
from neural_echos.datasets.making import make_dataset
from neural_echos.datasets.parquet import read_parquet_images
from neural_echos.datasets.photographs import (
    SCENES,
    Scene,
    held_out_region,
    load_scene,
    make_photographs,
    normalise_patches,
    patch_places,
)
from neural_echos.datasets.registry import MAKERS, maker
from neural_echos.datasets.shards import index_shards
from neural_echos.datasets.storage import dataset_facts, dataset_shape, load_dataset, save_dataset
from neural_echos.datasets.streamed import Index, StreamedDataset

__all__ = [
    "CIFAR10_CLASSES",
    "MAKERS",
    "SCENES",
    "Dataset",
    "Facts",
    "Index",
    "Scene",
    "StreamedDataset",
    "dataset_facts",
    "dataset_shape",
    "held_out_region",
    "index_folder",
    "index_shards",
    "load_dataset",
    "load_scene",
    "make_dataset",
    "make_digits",
    "make_photographs",
    "maker",
    "normalise_patches",
    "patch_places",
    "read_archive",
    "read_parquet_images",
    "save_dataset",
]
