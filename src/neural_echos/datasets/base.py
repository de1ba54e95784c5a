"""A dataset in memory: labelled images of one size, with its checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_echos.errors import EchosError

Facts = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split into training and test.

    Attributes
    ----------
    name : str
    classes : tuple of str
        Class names; a label is an index into them.
    train_images, test_images : ndarray of uint8, shape (n, c, h, w)
    train_labels, test_labels : ndarray of int64, shape (n,)
    mean, std : ndarray of float64, shape (c,)
        Mean and standard deviation of the training pixels, scaled to [0, 1].
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.train_images.shape[1])


def check_images(dataset: Dataset, where: str) -> None:
    """Refuse a dataset in memory whose parts are inconsistent, with one sentence that starts with `where`."""
    channels = dataset.train_images.shape[1] if dataset.train_images.ndim == 4 else 0
    for split in ("train", "test"):
        images, labels = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        of_images = images.dtype == np.uint8 and images.ndim == 4
        require(where, of_images, f"{split} images must be uint8 (n, c, h, w), but are {kind(images)}")
        check_labels(labels, len(images), len(dataset.classes), split, where)
        alike = images.shape[1:] == dataset.train_images.shape[1:]
        sizes = f"{dataset.train_images.shape[1:]} and {images.shape[1:]}"
        require(where, alike, f"train and test images must have one shape (c, h, w), but have {sizes}")
    check_statistics(dataset.mean, dataset.std, channels, where)


def check_labels(labels: np.ndarray, images: int, classes: int, split: str, where: str) -> None:
    """Refuse labels that are not int64, differ in number from the images, or are out of range."""
    of_labels = labels.dtype == np.int64 and labels.ndim == 1
    require(where, of_labels, f"{split} labels must be int64 (n,), but are {kind(labels)}")
    require(where, images > 0, f"there are no {split} images")
    require(where, images == len(labels), f"there are {images} {split} images, but {len(labels)} labels")
    low, high = int(labels.min()), int(labels.max())
    require(where, low >= 0 and high < classes, f"labels must be from 0 to {classes - 1}, but are from {low} to {high}")


def check_statistics(mean: np.ndarray, std: np.ndarray, channels: int, where: str) -> None:
    """Refuse a mean or standard deviation that cannot normalise pixels."""
    for name, value in (("mean", mean), ("std", std)):
        finite = value.shape == (channels,) and bool(np.isfinite(value).all())
        require(where, finite, f"{name} must have a finite number for each of {channels} channels, but is {value}")
    require(where, bool((std > 0).all()), f"all training pixels of a channel are equal (standard deviation {std})")


def require(where: str, holds: bool, problem: str) -> None:
    """Raise a one-sentence error about an inconsistent dataset unless `holds`."""
    if not holds:
        raise EchosError(f"{where}: {problem}; correct the source of the dataset and make it again")


def kind(array: np.ndarray) -> str:
    """Type and shape of an array, for error messages."""
    return f"{array.dtype} {array.shape}"


def measured(
    name: str, classes: Sequence[str], train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> Dataset:
    """Assemble a dataset and compute the mean and standard deviation of its training pixels, exactly, from counts.

    Parameters
    ----------
    name : str
    classes : sequence of str
    train, test : (ndarray of uint8, shape (n, c, h, w); ndarray of int64, shape (n,))
        Images and labels.
    """
    images = train[0]
    counts = np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])])
    levels = np.arange(256) / 255
    mean = counts @ levels / counts.sum(axis=1)
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
    dataset = Dataset(name, tuple(classes), *train, *test, mean=mean, std=np.sqrt(variance))
    check_images(dataset, name)
    return dataset
