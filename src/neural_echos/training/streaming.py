"""Batches of a dataset on disk, decoded and augmented by timm's transforms in worker processes.

Everything random depends only on numbers: (seed, epoch, row) for a sample, (seed, epoch, step, rank) for a batch. So neither the
number of workers nor resuming within an epoch changes a batch. Each batch seeds the global generators with its numbers, so that
random draws in a network (dropout, stochastic depth) depend on them too.

Papers: see `neural_echos.training`; random resized crops, Szegedy et al., "Going deeper with convolutions", CVPR 2015.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from timm.data import create_transform
from timm.data.loader import PrefetchLoader, fast_collate
from timm.data.random_erasing import RandomErasing
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from neural_echos.datasets import StreamedDataset
from neural_echos.errors import EchosError
from neural_echos.training.batches import EVALUATION_BATCH, repair_posterize, seed_generators
from neural_echos.training.mixing import Mixing

_ORDER, _SAMPLE, _BATCH = 1, 2, 3  # purposes of a seed


class StreamedBatches:
    """Batches of a streamed dataset.

    timm's transforms, `fast_collate`, `PrefetchLoader` (transfer and normalisation) and `RandomErasing` do the work. timm's
    `create_loader` is not used: it chooses the sampler itself, so an epoch cannot be resumed, and its transforms draw from
    generators whose state depends on the order of the workers.

    RandAugment replaces colour jitter if both are requested, as in timm.

    Parameters
    ----------
    data : StreamedDataset
    batch_size : int
        Total over all ranks; a multiple of `world`, and of 2 · `world` if mixup or cutmix is on.
    seed : int
    device : torch.device
    workers : int
        Processes that read and decode; 0 reads in this process.
    rank, world : int
        This process's index, and the number of processes.
    size : int
        Side of a training or test image, pixels.
    crop_pct : float
        A test image is resized so that its shorter side is `size` / `crop_pct`, then its centre is cropped.
    scale : (float, float)
        Smallest and largest share of a training image's area that a random resized crop keeps.
    interpolation : {"bicubic", "bilinear", "random"}
        Interpolation for training images, including RandAugment; "random" picks one of the two for each. Test images are resized
        bicubically.
    flip : bool
        Mirror half of the images, left to right.
    colour_jitter : float
        Strength of changes of brightness, contrast and saturation.
    randaugment : str
        timm's description, "rand-m9-mstd0.5-inc1"; "" for none.
    random_erasing : float
        Probability that a rectangle of an image is replaced by noise.
    mixup, cutmix : float
        α of their Beta distributions; see `Mixing`.
    mixing_group : int
        Images of one rank that share a draw of mixup and cutmix; 0 for the rank's whole share of a batch.
    label_smoothing : float
        Smoothing of the label weights after mixup; without mixup and cutmix the labels are integers, and the loss smooths them.
    evaluation_batch : int
        Test images per batch of one rank.

    Attributes
    ----------
    steps : int
        Full global batches per epoch; an incomplete last batch is dropped.

    Raises
    ------
    EchosError
        The batch cannot be divided among the ranks, or is larger than the training split.
    """

    def __init__(
        self,
        data: StreamedDataset,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int,
        rank: int = 0,
        world: int = 1,
        size: int = 224,
        crop_pct: float = 0.875,
        scale: tuple[float, float] = (0.08, 1.0),
        interpolation: str = "bicubic",
        flip: bool = True,
        colour_jitter: float = 0.0,
        randaugment: str = "",
        random_erasing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        mixing_group: int = 0,
        label_smoothing: float = 0.0,
        evaluation_batch: int = EVALUATION_BATCH,
    ):
        share = world * (2 if mixup or cutmix else 1)
        count = len(data.train_labels)
        if batch_size < 1 or batch_size % share or batch_size > count:
            raise EchosError(
                f"{data.name}: batch_size must be a multiple of {share} (the number of ranks, doubled if mixup or cutmix is on) "
                f"and at most {count}, the number of images, not {batch_size}"
            )
        self.data, self.batch_size, self.seed, self.device, self.workers = data, batch_size, seed, device, workers
        self.rank, self.world, self.evaluation_batch = rank, world, evaluation_batch
        self.steps = count // batch_size
        common = {"mean": tuple(data.mean.tolist()), "use_prefetcher": True}
        self.train_transform = create_transform(
            size,
            is_training=True,
            scale=scale,
            hflip=0.5 if flip else 0.0,
            color_jitter=colour_jitter or None,
            auto_augment=randaugment or None,
            interpolation=interpolation,
            **common,
        )
        self.test_transform = create_transform(size, crop_pct=crop_pct, interpolation="bicubic", **common)
        repair_posterize(self.train_transform)
        self.erasing = RandomErasing(random_erasing, mode="pixel", device=str(device)) if random_erasing else None
        self.mixing = Mixing(
            mixup, cutmix, group=mixing_group, label_smoothing=label_smoothing, classes=len(data.classes)
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield this rank's share of every global batch of an epoch, starting with number `start`.

        Yields
        ------
        images : tensor of float32, shape (batch_size / world, 3, size, size)
            Normalised, on the device.
        labels : tensor of int64, shape (batch_size / world,); or of float32, (batch_size / world, classes), after mixup
        """
        order = self.data.order(np.random.default_rng([_ORDER, self.seed, epoch]))
        rows = order[: self.steps * self.batch_size].reshape(self.steps, -1)[start:, self.rank :: self.world]
        samples = _Samples(self.data, "train", self.train_transform, (_SAMPLE, self.seed, epoch))
        for step, (images, labels) in enumerate(self._loaded(samples, rows), start=start):
            seed_generators(_BATCH, self.seed, epoch, step, self.rank)
            if self.erasing is not None:
                images = self.erasing(images)
            yield self.mixing(images, labels)

    def test(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield this rank's test images, every `world`-th, float32 (b, 3, size, size), and their labels, int64 (b,)."""
        rows = np.arange(self.rank, len(self.data.test_labels), self.world)
        batches = (
            np.split(rows, np.arange(self.evaluation_batch, len(rows), self.evaluation_batch)) if len(rows) else []
        )
        yield from self._loaded(_Samples(self.data, "test", self.test_transform, None), batches)

    def _loaded(self, samples: "_Samples", batches: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Read batches of rows, move them to the device and normalise them; workers end with the iteration."""
        loader = DataLoader(
            samples,
            batch_size=None,
            sampler=batches,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # otherwise the loader would draw from the global one
        )
        mean, std = (tuple(value.tolist()) for value in (self.data.mean, self.data.std))
        return iter(
            PrefetchLoader(_raised(loader), mean=mean, std=std, channels=self.data.channels, device=self.device)
        )


class _Samples(TorchDataset):
    """Batches of decoded and transformed images, by row; each image depends only on its seed and row."""

    def __init__(self, data: StreamedDataset, split: str, transform: Any, seed: tuple[int, ...] | None):
        self.data, self.split, self.transform, self.seed = data, split, transform, seed
        self.labels = data.train_labels if split == "train" else data.test_labels

    def __getitem__(self, rows: np.ndarray) -> Any:
        try:
            with _generators_restored():
                return fast_collate([self._sample(row) for row in rows.tolist()])
        except EchosError as error:
            return error  # raised in the main process, because torch would wrap it in the worker's traceback

    def _sample(self, row: int) -> tuple[torch.Tensor, int]:
        image = self.data.read(self.split, row)
        if self.seed is not None:
            seed_generators(*self.seed, row, gpu=False)
        return self.transform(image), int(self.labels[row])


def _raised(loader: Iterable[Any]) -> Iterator[Any]:
    """Raise a worker's read errors, and the death of a worker, as one sentence."""
    try:
        for batch in loader:
            if isinstance(batch, EchosError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        found = str(error).splitlines()[0].rstrip(". ")
        raise EchosError(
            f"a worker process that reads images was killed ({found}); give the job more memory or fewer threads"
        ) from None


@contextmanager
def _generators_restored() -> Iterator[None]:
    """Restore the CPU's global generators (random, numpy, torch) at the end."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
