"""Random resized crops of whole batches in memory, on their device, as timm and torchvision draw them.

Paper: Szegedy et al., "Going deeper with convolutions", CVPR 2015.
"""

import math

import torch

TRIES = 10  # boxes drawn per image before the fallback
_RATIO = 4 / 3  # widest box; the narrowest is its inverse


def crop_boxes(
    height: int, width: int, shares: tuple[float, ...], count: int, generator: torch.Generator
) -> torch.Tensor:
    """Draw boxes with random area and aspect ratio within an image.

    The first of ten boxes that fits is placed anywhere in the image. If none fits, the largest central box between 3:4 and 4:3 is
    used.

    Parameters
    ----------
    height, width : int
        Size of the images, pixels.
    shares : tuple of float
        Smallest and largest share of the area; the aspect ratio is log-uniform from 3:4 to 4:3.
    count : int
        Number of boxes.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor of int64, shape (4, count)
        Top, left, height and width, pixels.
    """
    draws = torch.rand(2 * TRIES + 2, count, generator=generator, dtype=torch.float64)
    area = (shares[0] + (shares[1] - shares[0]) * draws[:TRIES]) * (height * width)
    ratio = torch.exp(math.log(_RATIO) * (2 * draws[TRIES:-2] - 1))
    tall, wide = (side.sqrt().round().long().clamp(min=1) for side in (area / ratio, area * ratio))
    fits = (tall <= height) & (wide <= width)
    first, found = fits.int().argmax(dim=0, keepdim=True), fits.any(dim=0)
    tall = torch.where(found, tall.gather(0, first)[0], min(height, round(width * _RATIO)))
    wide = torch.where(found, wide.gather(0, first)[0], min(width, round(height * _RATIO)))
    down, right = height - tall, width - wide
    top = torch.where(found, (draws[-2] * (down + 1)).long(), down // 2)
    left = torch.where(found, (draws[-1] * (right + 1)).long(), right // 2)
    return torch.stack([top, left, tall, wide])


def crop_images(
    images: torch.Tensor, shares: tuple[float, ...], interpolation: str, generator: torch.Generator
) -> torch.Tensor:
    """Crop a random box from each image and resize it to the image's size; pixels outside the box have no influence.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, c, h, w)
    shares : tuple of float
        See `crop_boxes`.
    interpolation : {"bicubic", "bilinear", "random"}
        "random" picks one of the two for each image.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor of uint8, shape (n, c, h, w)
    """
    height, width = images.shape[2:]
    boxes = crop_boxes(height, width, shares, len(images), generator)
    cubic = torch.full((len(images),), interpolation == "bicubic")
    if interpolation == "random":
        cubic = torch.rand(len(images), generator=generator) < 0.5
    top, left, tall, wide, cubic = (part.to(images.device) for part in (*boxes, cubic))
    down, across = _resizing(top, tall, height, cubic), _resizing(left, wide, width, cubic)
    wide_enough = _levels(images.float() @ across[:, None].mT)
    return _levels(down[:, None] @ wide_enough).to(torch.uint8)


def _levels(values: torch.Tensor) -> torch.Tensor:
    """Round to 0 to 255, halves up, as Pillow does after each of its two passes."""
    return values.add_(0.5).floor_().clamp_(0, 255)


def _resizing(start: torch.Tensor, length: torch.Tensor, size: int, cubic: torch.Tensor) -> torch.Tensor:
    """Weights that resize the part of a line of `size` pixels from `start` to `size` pixels, shape (n, size, size).

    They are Pillow's: a triangle, or the cubic of Keys (1981) with a = −½, normalised to sum to 1 over the pixels inside the part.
    """
    pixels = torch.arange(size, device=start.device) + 0.5
    centres = start[:, None] + length[:, None] / size * pixels
    apart = (pixels - centres[..., None]).abs()
    near, far = (1.5 * apart - 2.5) * apart**2 + 1, ((2.5 - 0.5 * apart) * apart - 4) * apart + 2
    keys = torch.where(apart < 1, near, torch.where(apart < 2, far, 0.0))
    weights = torch.where(cubic[:, None, None], keys, (1 - apart).clamp(min=0))
    inside = (pixels > start[:, None]) & (pixels < (start + length)[:, None])
    weights = weights * inside[:, None]
    return weights / weights.sum(dim=2, keepdim=True)
