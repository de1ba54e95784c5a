"""Mixup and CutMix: one draw for each group of images, with the group sizes of the published recipes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.data import Mixup

from neural_echos.datasets import make_digits
from neural_echos.training.batches import MemoryBatches, seed_generators
from neural_echos.training.mixing import Mixing
from neural_echos.training.recipe import Recipe

CLASSES = 10


def draws(images: int, group: int, **options: float) -> list[float]:
    """λ of each group, read off constant images: one half of the batch is 1, the other 0."""
    seed_generators(0)
    pixels = torch.zeros(images, 1, 4, 4)
    size = group or images
    for part in pixels.split(size):
        part[: len(part) // 2] = 1
    labels = torch.arange(images) % CLASSES
    settings = {"mixup": 0.8, "cutmix": 0.0, **options}
    mixed, weights = Mixing(**settings, group=group, label_smoothing=0.1, classes=CLASSES)(pixels, labels)
    assert mixed is pixels
    assert weights.shape == (images, CLASSES)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(images))
    return [float(part[0, 0, 0, 0]) for part in mixed.split(size)]


@pytest.mark.parametrize(("images", "group", "groups"), [(4096, 128, 32), (640, 64, 10), (20, 8, 3), (20, 0, 1)])
def test_each_group_has_its_own_draw(images, group, groups):
    found = draws(images, group)
    assert len(set(found)) == len(found) == groups


def test_a_group_is_mixed_as_timm_mixes_a_batch():
    images, labels = torch.rand(24, 3, 8, 8), torch.arange(24) % CLASSES
    seed_generators(5)
    theirs = Mixup(0.8, 1.0, label_smoothing=0.1, num_classes=CLASSES)
    parts = [theirs(part.clone(), known) for part, known in zip(images.split(8), labels.split(8), strict=True)]
    seed_generators(5)
    mixed, weights = Mixing(0.8, 1.0, group=8, label_smoothing=0.1, classes=CLASSES)(images, labels)
    assert torch.equal(mixed, torch.cat([one for one, _ in parts]))
    assert torch.equal(weights, torch.cat([one for _, one in parts]))


def test_without_mixup_and_cutmix_nothing_is_drawn_or_changed():
    seed_generators(0)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    images, labels = torch.rand(6, 1, 4, 4), torch.arange(6)
    mixed, same = Mixing(0.0, 0.0, group=2, label_smoothing=0.1, classes=CLASSES)(images, labels)
    assert mixed is images
    assert same is labels
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_groups_of_a_batch_in_memory_do_not_depend_on_the_processes():
    data = make_digits(size=8, test_share=0.25, seed=0)[0]
    data = replace(data, train_images=data.train_images[:48], train_labels=data.train_labels[:48])
    recipe = Recipe(batch_size=24, mixup=0.8, cutmix=1.0, mixing_group=8)

    def epoch(**options: int) -> list[torch.Tensor]:
        made = MemoryBatches(data, recipe, seed=1, device=torch.device("cpu"), **options)
        return [images for images, _ in made.epoch(0)]

    whole, parts = epoch(), [epoch(rank=rank, world=2) for rank in range(2)]
    for step, images in enumerate(whole):
        assert all(torch.equal(parts[rank][step], images[rank::2]) for rank in range(2))
