"""Augmentation of whole batches on their device: shifts, flips, RandAugment and colour jitter, drawn separately for each image.

A batch costs a few calls instead of one per image. All draws come from a generator on the CPU, so they are the same on every device
and no call waits for a GPU.

Paper: Cubuk et al., "RandAugment", 2020.
"""

import math
from collections.abc import Callable

import torch
from torchvision.transforms.v2 import functional as tv

LEVELS = 31  # number of levels of torchvision's RandAugment: magnitudes range from 0 to 30


def pad_images(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Pad images (n, c, h, w) for `shift_images` by reflecting `pixels` pixels, fewer than h and w, at each border."""
    for axis in (2, 3):
        size = images.shape[axis]
        mirrored = torch.arange(-pixels, size + pixels, device=images.device).abs()
        images = images.index_select(axis, torch.minimum(mirrored, 2 * (size - 1) - mirrored))
    return images


def shift_images(padded: torch.Tensor, pixels: int, generator: torch.Generator) -> torch.Tensor:
    """Shift each image by its own random number of pixels, up to `pixels` in each direction.

    Parameters
    ----------
    padded : Tensor, shape (n, c, h + 2 pixels, w + 2 pixels)
        See `pad_images`.
    pixels : int
    generator : torch.Generator
        On the CPU; determines the shifts.

    Returns
    -------
    Tensor, shape (n, c, h, w)
    """
    height, width = (size - 2 * pixels for size in padded.shape[2:])
    down, right = torch.randint(2 * pixels + 1, (2, len(padded)), generator=generator).to(padded.device)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(padded), device=padded.device), :, down, right]


def flip_images(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror a random half of the images (n, c, h, w), left to right."""
    rows = torch.nonzero(torch.rand(len(images), generator=generator) < 0.5).flatten().to(images.device)
    return images.index_copy(0, rows, images.index_select(0, rows).flip(3))


def jitter_images(images: torch.Tensor, amount: float, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast and saturation of each image by its own factors from 1 − amount to 1 + amount, in that order.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, c, h, w)
        Grey images have no saturation.
    amount : float
        In [0, 1).
    generator : torch.Generator
        On the CPU.
    """
    factors = (1 + amount * (2 * torch.rand(3, len(images), generator=generator) - 1)).to(images.device)
    brightness, contrast, saturation = factors[:, :, None, None, None]
    changed = (images * brightness).clamp(0, 255)
    mean = _luma(changed).mean(dim=(1, 2, 3), keepdim=True)
    changed = torch.lerp(mean.expand_as(changed), changed, contrast).clamp(0, 255)
    changed = torch.lerp(_luma(changed).expand_as(changed), changed, saturation).clamp(0, 255)
    return changed.round().to(torch.uint8)


def _luma(images: torch.Tensor) -> torch.Tensor:
    """ITU-R 601 luma of colour images, shape (n, 1, h, w); grey images are returned unchanged."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device)
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True)


# RandAugment ----------------------------------------------------------------------------------------------------------

Operation = Callable[[torch.Tensor, float], torch.Tensor]


def _affine(**changes: object) -> Callable[[torch.Tensor], torch.Tensor]:
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return lambda images: tv.affine(images, **(still | changes))


def _sheared(images: torch.Tensor, shear: list[float]) -> torch.Tensor:
    return _affine(shear=[math.degrees(math.atan(share)) for share in shear], center=[0, 0])(images)


# torchvision's operations by name: the operation on a batch at a magnitude, the largest magnitude as a function of the image's
# side, and whether the sign is random.
_OPERATIONS: dict[str, tuple[Operation, Callable[[int], float], bool]] = {
    "identity": (lambda images, m: images, lambda side: 0.0, False),
    "shear_x": (lambda images, m: _sheared(images, [m, 0.0]), lambda side: 0.3, True),
    "shear_y": (lambda images, m: _sheared(images, [0.0, m]), lambda side: 0.3, True),
    "translate_x": (
        lambda images, m: _affine(translate=[int(m), 0])(images),
        lambda side: 150.0 / 331.0 * side,
        True,
    ),
    "translate_y": (
        lambda images, m: _affine(translate=[0, int(m)])(images),
        lambda side: 150.0 / 331.0 * side,
        True,
    ),
    "rotate": (lambda images, m: tv.rotate(images, m), lambda side: 30.0, True),
    "brightness": (lambda images, m: tv.adjust_brightness(images, 1.0 + m), lambda side: 0.9, True),
    "colour": (lambda images, m: tv.adjust_saturation(images, 1.0 + m), lambda side: 0.9, True),
    "contrast": (lambda images, m: tv.adjust_contrast(images, 1.0 + m), lambda side: 0.9, True),
    "sharpness": (lambda images, m: tv.adjust_sharpness(images, 1.0 + m), lambda side: 0.9, True),
    "posterize": (lambda images, m: tv.posterize(images, 8 - round(m)), lambda side: 4.0, False),
    "solarize": (lambda images, m: tv.solarize(images, 255.0 - m), lambda side: 255.0, False),
    "autocontrast": (lambda images, m: tv.autocontrast(images), lambda side: 0.0, False),
    "equalize": (lambda images, m: tv.equalize(images), lambda side: 0.0, False),
}
OPERATIONS = tuple(_OPERATIONS)


def apply_operation(images: torch.Tensor, name: str, level: int, sign: int = 1) -> torch.Tensor:
    """Apply one of torchvision's RandAugment operations to a batch, with the same magnitude for all images.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, c, h, w)
    name : str
        One of `OPERATIONS`.
    level : int
        From 0 to 30.
    sign : int
        +1 or −1; operations without a direction ignore it.
    """
    operation, greatest, signed = _OPERATIONS[name]
    side = images.shape[3] if name == "translate_x" else images.shape[2]
    magnitude = float(torch.linspace(0.0, greatest(side), LEVELS)[level])
    return operation(images, sign * magnitude if signed else magnitude)


def randaugment_images(images: torch.Tensor, operations: int, level: int, generator: torch.Generator) -> torch.Tensor:
    """Apply torchvision's RandAugment: `operations` randomly drawn operations per image, at one level.

    Images with the same operation and sign are processed together.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, c, h, w)
    operations : int
        Number of operations, applied one after another.
    level : int
        Level of the magnitudes, from 0 to 30.
    generator : torch.Generator
        On the CPU.
    """
    images = images.clone()
    for _ in range(operations):
        drawn = torch.randint(len(OPERATIONS), (len(images),), generator=generator)
        signs = 2 * torch.randint(2, (len(images),), generator=generator) - 1
        signs = torch.where(torch.tensor([_OPERATIONS[name][2] for name in OPERATIONS])[drawn], signs, 1)
        for number, name in enumerate(OPERATIONS):
            for sign in (1, -1):
                rows = torch.nonzero((drawn == number) & (signs == sign)).flatten().to(images.device)
                if name != "identity" and len(rows):
                    images[rows] = apply_operation(images[rows], name, level, sign)
    return images
