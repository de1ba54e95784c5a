"""Random resized crops in memory: boxes as torchvision draws them, pixels as Pillow resizes them."""

import pytest
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from neural_echos.training.crops import crop_boxes, crop_images


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def theirs(height: int, width: int, shares: tuple[float, float], count: int) -> torch.Tensor:
    torch.manual_seed(0)
    image = torch.empty(1, height, width)
    draw = RandomResizedCrop.get_params
    return torch.tensor([draw(image, list(shares), [3 / 4, 4 / 3]) for _ in range(count)]).T


@pytest.mark.parametrize(("shares", "mean"), [((0.08, 1.0), 0.482), ((0.9, 1.0), None)])
@pytest.mark.parametrize("size", [(224, 224), (32, 48)])
def test_boxes_are_distributed_as_those_of_torchvision(shares, mean, size):
    ours, expected = crop_boxes(*size, shares, 20_000, generator()), theirs(*size, shares, 2_000)
    for boxes in (ours, expected):
        assert (boxes[:2] >= 0).all()
        assert (boxes[0] + boxes[2] <= size[0]).all()
        assert (boxes[1] + boxes[3] <= size[1]).all()
    area, known = ((boxes[2] * boxes[3] / (size[0] * size[1])).mean().item() for boxes in (ours, expected))
    assert area == pytest.approx(known, abs=0.02)
    if mean and size[0] == size[1]:
        assert area == pytest.approx(mean, abs=0.005)
    whole, known = (((b[2] == size[0]) | (b[3] == size[1])).float().mean().item() for b in (ours, expected))
    assert whole == pytest.approx(known, abs=0.04)
    for place in range(2):
        left, known = (boxes[place].float().mean().item() for boxes in (ours, expected))
        assert left == pytest.approx(known, abs=0.03 * size[place])


def test_a_whole_image_is_taken_where_ten_boxes_do_not_fit():
    """Of 16 × 256 pixels, no box of nearly the whole area and of sides between 3:4 and 4:3 fits: the central 16 × 21 are left."""
    for boxes in (crop_boxes(16, 256, (0.9, 1.0), 50, generator()), theirs(16, 256, (0.9, 1.0), 50)):
        assert boxes.unique(dim=1).flatten().tolist() == [0, 117, 16, 21]
    square = crop_boxes(224, 224, (1.0, 1.0), 2_000, generator())
    assert (square[2:] == 224).all(dim=0).float().mean() > 0.95


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_pixels_are_those_of_the_crop_resized_alone(mode):
    images = torch.randint(256, (40, 3, 32, 24), dtype=torch.uint8, generator=generator(1))
    found = crop_images(images, (0.08, 1.0), mode, generator(2))
    boxes = crop_boxes(32, 24, (0.08, 1.0), 40, generator(2)).T.tolist()
    for image, (top, left, height, width), made in zip(images, boxes, found, strict=True):
        crop = image[:, top : top + height, left : left + width]
        picture = Image.fromarray(crop.permute(1, 2, 0).contiguous().numpy())
        picture = picture.resize((24, 32), Image.Resampling[mode.upper()])
        pillow = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(32, 24, 3).permute(2, 0, 1)
        apart = (made.int() - pillow.int()).abs()
        assert apart.max() <= 1  # Pillow rounds its weights, to 22 bits
        assert (apart == 0).float().mean() > 0.95


def test_random_interpolation_is_drawn_for_each_image():
    images = torch.randint(256, (400, 1, 16, 16), dtype=torch.uint8, generator=generator(1))
    linear, cubic, drawn = (
        crop_images(images, (0.3, 0.9), name, generator(3)) for name in ("bilinear", "bicubic", "random")
    )
    of_linear, of_cubic = ((drawn == one).all(dim=(1, 2, 3)) for one in (linear, cubic))
    assert (of_linear ^ of_cubic).all()
    assert 150 < of_linear.sum() < 250


def test_a_crop_of_everything_leaves_the_image():
    images = torch.randint(256, (30, 3, 12, 12), dtype=torch.uint8, generator=generator(1))
    found = crop_images(images, (1.0, 1.0), "random", generator(4))
    boxes = crop_boxes(12, 12, (1.0, 1.0), 30, generator(4))
    whole = (boxes[2] == 12) & (boxes[3] == 12)
    assert whole.sum() > 10
    assert torch.equal(found[whole], images[whole])
