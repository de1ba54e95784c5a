"""Batches: one interface for images in memory and streamed images.

Everything random in a batch depends only on (seed, epoch, step), so a run can resume at any step without a generator's state, and a
batch is the same no matter how many devices share it.

Paper: Zhong et al., "Random Erasing", AAAI 2020.
"""

import random
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing

from neural_echos.datasets import Dataset
from neural_echos.training.augmentation import (
    flip_images,
    jitter_images,
    pad_images,
    randaugment_images,
    shift_images,
)
from neural_echos.training.crops import crop_images
from neural_echos.training.mixing import Mixing
from neural_echos.training.recipe import Recipe

EVALUATION_BATCH = 512
Batch = tuple[torch.Tensor, torch.Tensor]


class Batches(Protocol):
    """Source of a training's images."""

    steps: int

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield this process's share of each batch from number `start`: normalised images, float32 (b, c, h, w), and labels.

        Labels are int64 (b,), or float32 weights (b, classes) after mixup.
        """
        ...

    def test(self) -> Iterator[Batch]:
        """Yield this process's share of the test images, normalised, and their labels."""
        ...


def seed_generators(*numbers: int, gpu: bool = True) -> torch.Generator:
    """Seed the global generators (torch: dropout; numpy: mixup; random: erasing) and return another one on the CPU.

    Without `gpu`, torch's generators on GPUs are left alone, as worker processes require. This does not call `torch.manual_seed`,
    which records the whole call stack if no GPU has been used yet and takes a millisecond to do so.
    """
    states = np.random.SeedSequence(numbers).generate_state(4).tolist()
    torch.default_generator.manual_seed(states[0])
    if gpu and torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(states[0])
    np.random.seed(states[1])  # noqa: NPY002  timm draws from the legacy generator
    random.seed(states[2])
    return torch.Generator().manual_seed(states[3])


class MemoryBatches:
    """Batches of a dataset in memory: images are moved to the device once and augmented there batch by batch.

    With several devices, each makes the whole batch and keeps its share. This is cheap, and mixup partners and all other draws are
    the same as on one device.

    Parameters
    ----------
    data : Dataset
    recipe : Recipe
    seed : int
    device : torch.device
    workers : int
        Processes for timm's RandAugment, which works image by image on the CPU.
    rank, world : int
        This process's index, and the number of processes that share a batch.
    """

    def __init__(
        self,
        data: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        self.recipe, self.seed, self.device, self.workers, self.rank, self.world = (
            recipe,
            seed,
            device,
            workers,
            rank,
            world,
        )
        self.labels = torch.tensor(data.train_labels, device=device)
        self.held_out = torch.tensor(data.test_images, device=device), torch.tensor(data.test_labels, device=device)
        self.pixels = pixel_statistics(data.mean, data.std, device)
        self.steps = len(self.labels) // recipe.batch_size
        self.one_by_one = None
        if recipe.randaugment and not recipe.torchvision_randaugment:
            self.one_by_one = _RandAugmented(data.train_images, recipe.randaugment, data.mean)
        else:
            self.images = pad_images(torch.tensor(data.train_images, device=device), recipe.shift)
        self.mixing = Mixing(
            recipe.mixup,
            recipe.cutmix,
            group=recipe.mixing_group,
            label_smoothing=recipe.label_smoothing,
            classes=len(data.classes),
        )
        self.erasing = None
        if recipe.random_erasing:
            self.erasing = RandomErasing(recipe.random_erasing, mode="pixel", device=str(device))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Batches`."""
        order = torch.randperm(len(self.labels), generator=seed_generators(self.seed, epoch))
        rows = order[: self.steps * self.recipe.batch_size].view(self.steps, self.recipe.batch_size)[start:]
        share = slice(self.rank, None, self.world)
        for step, (chosen, raw) in enumerate(zip(rows, self._raw(rows, epoch, start), strict=True), start):
            generator = seed_generators(self.seed, epoch, step)
            images = normalise(self._augment(raw.to(self.device), generator), *self.pixels)
            labels = self.labels[chosen.to(self.device)]
            if self.erasing is not None:
                images = self.erasing(images)
            images, labels = self.mixing(images, labels)
            yield (images, labels) if self.world == 1 else (images[share].contiguous(), labels[share])

    def test(self) -> Iterator[Batch]:
        """See `Batches`."""
        for start in range(self.rank * EVALUATION_BATCH, len(self.held_out[1]), self.world * EVALUATION_BATCH):
            images, labels = (part[start : start + EVALUATION_BATCH] for part in self.held_out)
            yield normalise(images, *self.pixels), labels

    def _raw(self, rows: torch.Tensor, epoch: int, start: int) -> Iterator[torch.Tensor]:
        if self.one_by_one is None:
            return (self.images[chosen] for chosen in rows.to(self.device))
        tasks = [((self.seed, epoch, step), chosen) for step, chosen in enumerate(rows.numpy(), start)]
        loader = torch.utils.data.DataLoader(
            self.one_by_one,
            None,
            sampler=tasks,
            num_workers=self.workers,
            generator=torch.Generator(),
        )
        return iter(loader)

    def _augment(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        recipe = self.recipe
        if recipe.resized_crop:
            images = crop_images(images, recipe.resized_crop, recipe.interpolation, generator)
        if recipe.shift:
            padded = images if self.one_by_one is None else pad_images(images, recipe.shift)
            images = shift_images(padded, recipe.shift, generator)
        if recipe.flip:
            images = flip_images(images, generator)
        if recipe.torchvision_randaugment:
            images = randaugment_images(images, *recipe.torchvision_randaugment, generator)
        return jitter_images(images, recipe.colour_jitter, generator) if recipe.colour_jitter else images


class _RandAugmented(torch.utils.data.Dataset):
    """Batches of images after timm's RandAugment; each depends only on its own seed, not on the process that makes it."""

    def __init__(self, images: np.ndarray, description: str, mean: np.ndarray):
        colour = tuple(round(255 * float(value)) for value in np.resize(mean, 3))
        self.images = images
        self.transform = rand_augment_transform(
            description, {"translate_const": int(0.45 * min(images.shape[2:])), "img_mean": colour}
        )
        repair_posterize(self.transform)

    def __getitem__(self, task: tuple[tuple[int, ...], np.ndarray]) -> torch.Tensor:
        numbers, rows = task
        numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
        states = np.random.SeedSequence(numbers, spawn_key=(1,)).generate_state(2).tolist()
        np.random.seed(states[0])  # noqa: NPY002
        random.seed(states[1])
        batch = np.stack([self._augment(image) for image in self.images[rows]])
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        return torch.from_numpy(batch)

    def _augment(self, image: np.ndarray) -> np.ndarray:
        grey = len(image) == 1
        picture = Image.fromarray(image[0] if grey else image.transpose(1, 2, 0)).convert("RGB")
        pixels = np.asarray(self.transform(picture).convert("L" if grey else "RGB"))
        return pixels[None] if grey else pixels.transpose(2, 0, 1)


def repair_posterize(transform: Any) -> None:
    """Make every RandAugment in a transform accept posterising to 0 bits: black, as in older versions of Pillow."""
    for part in getattr(transform, "transforms", [transform]):
        for operation in getattr(part, "ops", ()):
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep the highest `bits` of each pixel."""
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)


def pixel_statistics(mean: np.ndarray, std: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of pixels scaled to [0, 1], shape (c,), as tensors of shape (c, 1, 1) for 0 to 255."""
    scaled = torch.tensor(np.array([mean, std]) * 255, dtype=torch.float32, device=device)
    return scaled[0, :, None, None], scaled[1, :, None, None]


def normalise(images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Normalise images with values 0 to 255, shape (n, c, h, w), to float32 with contiguous strides."""
    # Always contiguous: strides determine the convolution's algorithm and so the last bits of its result.
    return torch.empty(images.shape, device=images.device).copy_(images).sub_(mean).div_(std)
