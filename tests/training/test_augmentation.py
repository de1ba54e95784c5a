"""Augmentation of whole batches: shifts, RandAugment and jitter."""

import pytest
import torch
import torch.nn.functional as F

from neural_echos.training import (
    augmentation,
)


def test_shifts_are_crops_of_the_reflected_image() -> None:
    images = torch.arange(2 * 5 * 4, dtype=torch.float32).view(2, 1, 5, 4)
    padded = F.pad(images, [2] * 4, mode="reflect")
    assert torch.equal(augmentation.pad_images(images, 2), padded)
    shifted = augmentation.shift_images(padded.repeat(50, 1, 1, 1), 2, torch.Generator().manual_seed(0))
    crops = {padded[n, :, i : i + 5, j : j + 4].numpy().tobytes() for n in (0, 1) for i in range(5) for j in range(5)}
    found = {image.contiguous().numpy().tobytes() for image in shifted}
    assert found <= crops
    assert len(found) > 25


@pytest.mark.parametrize("level", [0, 12, 30])
def test_batched_randaugment_does_what_torchvision_does(level: int) -> None:
    from torchvision.transforms import InterpolationMode, autoaugment

    images = torch.randint(256, (6, 3, 32, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[0] //= 3  # a narrow histogram, too
    space = autoaugment.RandAugment()._augmentation_space(augmentation.LEVELS, (32, 24))
    for (theirs, (magnitudes, signed)), ours in zip(space.items(), augmentation.OPERATIONS, strict=True):
        for sign in (1, -1) if signed else (1,):
            magnitude = sign * float(magnitudes[level]) if magnitudes.ndim else 0.0
            expected = [
                autoaugment._apply_op(image, theirs, magnitude, InterpolationMode.NEAREST, None) for image in images
            ]
            found = augmentation.apply_operation(images, ours, level, sign)
            torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1, msg=theirs)  # one level: rounding


def test_randaugment_draws_for_each_image() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(400, 3, 1, 1)
    made = augmentation.randaugment_images(images, 1, 12, torch.Generator().manual_seed(0))
    again = augmentation.randaugment_images(images, 1, 12, torch.Generator().manual_seed(0))
    assert torch.equal(made, again)
    # fourteen operations, eight with two signs: of this grey ramp, some agree
    assert 12 <= len({image.numpy().tobytes() for image in made}) <= 22


def test_jitter_stays_within_its_bounds() -> None:
    generator = torch.Generator().manual_seed(0)
    grey = torch.full((300, 3, 4, 4), 100, dtype=torch.uint8)
    jittered = augmentation.jitter_images(grey, 0.4, generator)
    assert jittered.min() in range(60, 64)
    assert jittered.max() in range(137, 141)
    assert torch.equal(augmentation.jitter_images(grey, 0.0, generator), grey)
