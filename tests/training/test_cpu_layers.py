"""Layers that a CPU trains faster, against PyTorch's."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from neural_echos.architectures import create
from neural_echos.training.cpu_layers import fast_layers, weight_gradient
from neural_echos.training.recipe import Recipe

CPU = torch.device("cpu")
FAST, PLAIN = Recipe(), Recipe(fast_layers=False)


def depthwise(size=7, channels=6, **options):
    torch.manual_seed(0)
    padding = options.pop("padding", size // 2 if isinstance(size, int) else "same")
    return nn.Conv2d(channels, channels, size, padding=padding, groups=channels, **options)


def gradients(module, images, recipe, device=CPU):
    """Output, gradients of the images and of the parameters, and whether the fast way was taken."""
    module = copy.deepcopy(module)
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    with fast_layers(module, recipe, device):
        out = module(images)
    (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
    found = {name: one.grad for name, one in module.named_parameters()}
    return found | {"images": images.grad, "out": out.detach()}, type(out.grad_fn) is not type(module(images).grad_fn)


def relative(ours, theirs):
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [5, 7, 9, 11, (5, 9)])
@pytest.mark.parametrize("shape", [(8, 6, 8, 8), (1, 6, 3, 5), (4, 6, 1, 1)])  # maps smaller than the kernel, too
def test_gradients_are_those_of_pytorch(size, shape, layout):
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=layout)
    module = depthwise(size).to(memory_format=layout)
    (ours, fast), (theirs, plain) = gradients(module, images, FAST), gradients(module, images, PLAIN)
    assert fast and not plain
    assert torch.equal(ours.pop("out"), theirs["out"])
    for name, gradient in ours.items():
        assert relative(gradient, theirs[name]) < 1e-5, name


def test_a_weight_gradient_is_the_correlation_of_images_and_gradient():
    images, gradient = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 3, 6, 6).double()
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    expected = torch.stack(
        [(padded[..., y : y + 6, x : x + 6] * gradient).sum((0, 2, 3)) for y in range(5) for x in range(5)], dim=1
    )
    torch.testing.assert_close(weight_gradient(images, gradient, (5, 5)), expected.view(3, 1, 5, 5))


def test_the_same_inputs_give_the_same_bytes():
    images = torch.randn(16, 6, 8, 8)
    first, second = (gradients(depthwise(), images, FAST)[0] for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "module",
    [
        depthwise(3),
        depthwise(4, padding="same"),
        depthwise(stride=2),
        depthwise(dilation=2, padding=6),
        depthwise(padding=0),
        depthwise(padding_mode="circular"),
        nn.Conv2d(6, 6, 7, padding=3, groups=2),
        nn.Conv2d(6, 12, 7, padding=3, groups=6),
        depthwise().requires_grad_(False),
    ],
    ids=["3×3", "even", "stride", "dilation", "valid", "circular", "grouped", "multiplier", "frozen"],
)
def test_other_layers_go_the_way_of_pytorch(module):
    images = torch.randn(4, 6, 9, 9)
    (ours, fast), (theirs, _) = gradients(module, images, FAST), gradients(module, images, PLAIN)
    assert not fast
    assert all(ours[name] is theirs[name] is None or torch.equal(ours[name], theirs[name]) for name in theirs)


def test_frozen_kernels_have_no_gradient_but_their_bias_has():
    module = depthwise()
    module.weight.requires_grad_(False)
    images = torch.randn(4, 6, 8, 8)
    (ours, fast), (theirs, plain) = gradients(module, images, FAST), gradients(module, images, PLAIN)
    assert fast and not plain and ours["weight"] is None
    assert all(relative(ours[name], theirs[name]) < 1e-5 for name in ("bias", "images"))


def test_only_float32_on_a_cpu_is_served():
    images = torch.randn(4, 6, 8, 8)
    assert not gradients(depthwise().double(), images.double(), FAST)[1]
    with torch.autocast("cpu", torch.bfloat16):
        assert not gradients(depthwise(), images, FAST)[1]
    assert not gradients(depthwise(), images, FAST, torch.device("cuda"))[1]
    assert not gradients(depthwise(), images, Recipe(compile=True))[1]


def test_a_layer_that_calculates_in_its_own_way_is_left_alone():
    class Scaled(nn.Conv2d):
        def _conv_forward(self, images, weight, bias):
            return super()._conv_forward(images, 2 * weight, bias)

    scaled = Scaled(6, 6, 7, padding=3, groups=6)
    images = torch.randn(4, 6, 8, 8)
    assert torch.equal(gradients(scaled, images, FAST)[0]["weight"], gradients(scaled, images, PLAIN)[0]["weight"])


def test_parametrised_kernels_learn_through_it():
    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    module = depthwise()
    parametrize.register_parametrization(module, "weight", Twice())
    images = torch.randn(4, 6, 8, 8)
    (ours, fast), (theirs, _) = gradients(module, images, FAST), gradients(module, images, PLAIN)
    name = "parametrizations.weight.original"
    assert fast and relative(ours[name], theirs[name]) < 1e-5


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_linear_layer_of_maps_is_a_convolution(bias, frozen):
    torch.manual_seed(0)
    module, images = nn.Linear(32, 256, bias=bias).requires_grad_(not frozen), torch.randn(8, 8, 9, 32)
    (ours, fast), (theirs, plain) = gradients(module, images, FAST), gradients(module, images, PLAIN)
    assert fast == torch.backends.mkl.is_available() and not plain
    assert ours["out"].shape == theirs["out"].shape and (ours.get("weight") is None) == frozen
    assert all(ours[name] is theirs[name] is None or relative(ours[name], theirs[name]) < 1e-5 for name in theirs)


@pytest.mark.parametrize("shape", [(8, 576, 32), (8, 1, 2, 32), (576, 32)], ids=["tokens", "small", "vectors"])
def test_other_linear_layers_go_the_way_of_pytorch(shape):
    module, images = nn.Linear(32, 256), torch.randn(shape)
    (ours, fast), (theirs, _) = gradients(module, images, FAST), gradients(module, images, PLAIN)
    assert not fast and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_global_pooling_gives_a_channels_last_gradient():
    images = torch.randn(4, 6, 8, 9).contiguous(memory_format=torch.channels_last)
    for module in (nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((1, 1))):
        (ours, fast), (theirs, plain) = gradients(module, images, FAST), gradients(module, images, PLAIN)
        assert fast and not plain and ours["out"].shape == theirs["out"].shape == (4, 6, 1, 1)
        assert ours["images"].is_contiguous(memory_format=torch.channels_last)
        assert all(relative(ours[name], theirs[name]) < 1e-6 for name in theirs)


@pytest.mark.parametrize("size", [2, (None, 1), (1, 2)])
def test_other_pooling_goes_the_way_of_pytorch(size):
    images = torch.randn(4, 6, 8, 9).contiguous(memory_format=torch.channels_last)
    assert not gradients(nn.AdaptiveAvgPool2d(size), images, FAST)[1]
    assert not gradients(nn.AdaptiveAvgPool2d(1), images.contiguous(), FAST)[1]


def test_evaluation_is_that_of_pytorch():
    images = torch.randn(8, 32, 8, 9).contiguous(memory_format=torch.channels_last)
    model = nn.Sequential(depthwise(7, 32), nn.AdaptiveAvgPool2d(1)).requires_grad_(False)
    linear = nn.Linear(32, 256)
    maps = images.permute(0, 2, 3, 1)
    expected = model(images), linear(maps).detach()
    with fast_layers(nn.ModuleList([model, linear]), FAST, CPU), torch.no_grad():
        assert torch.equal(model(images), expected[0]) and torch.equal(linear(maps), expected[1])


def test_second_derivatives_are_right():
    module, images = depthwise(5, channels=2).to(torch.float32), torch.randn(2, 2, 5, 5, requires_grad=True)

    def penalty(recipe):
        with fast_layers(module, recipe, CPU):
            out = module(images)
        (first,) = torch.autograd.grad(out.square().sum(), module.weight, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [module.weight, images])

    for ours, theirs in zip(penalty(FAST), penalty(PLAIN), strict=True):
        assert relative(ours, theirs) < 1e-5


def test_a_model_is_as_before_afterwards():
    model = create("convmixer_small", num_classes=3, in_chans=1, kwargs={"dim": 8, "depth": 1, "patch_size": 2})
    model.add_module("linear", nn.Linear(8, 3))
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    images = torch.randn(4, 1, 16, 16)
    with pytest.raises(ZeroDivisionError), fast_layers(model, FAST, CPU):
        assert "_Depthwise" in type(model.blocks[0][0].fn[0](model.stem(images)).grad_fn).__name__
        1 / 0  # noqa: B018
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before
