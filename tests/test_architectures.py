"""Architectures: published counts, HorNet's equations, forward shapes at small sizes, and errors that help."""

from pathlib import Path

import pytest
import timm
import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from neural_echos import architectures
from neural_echos.architectures.hornet import GnConv
from neural_echos.errors import EchosError

torch.set_num_threads(1)

TWINS = {
    "convmixer_regular": "convmixer_small",
    "convnext_regular": "convnext_small_images",
    "mobilenetv2_regular": "mobilenetv2_small_images",
    "hornet_regular": "hornet_small_images",
}
SMALL = (*TWINS, *TWINS.values())


def depthwise(model: nn.Module) -> list[nn.Conv2d]:
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return [module for module in convolutions if 1 < module.groups == module.in_channels]


@pytest.mark.parametrize(
    ("name", "kernels", "millions"),
    [("tiny", 11_488, 22.4), ("small", 17_232, 49.5), ("base", 22_976, 87.3), ("large", 34_464, 194.5)],
)
def test_hornet_has_the_published_kernels_and_parameters(name: str, kernels: int, millions: float) -> None:
    with torch.device("meta"):
        model = timm.create_model(f"hornet_{name}_7x7")
    assert sum(layer.out_channels for layer in depthwise(model)) == kernels
    assert {layer.kernel_size for layer in depthwise(model)} == {(7, 7)}
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_gnconv_is_the_papers_recursion() -> None:
    torch.manual_seed(0)
    layer = GnConv(16, order=3)
    x = torch.randn(2, 16, 9, 9)
    projected = layer.proj_in(x)
    p0, q = projected[:, :4], layer.dwconv(projected[:, 4:]) / 3
    p1 = p0 * q[:, :4]
    p2 = layer.pws[0](p1) * q[:, 4:12]
    p3 = layer.pws[1](p2) * q[:, 12:28]
    torch.testing.assert_close(layer(x), layer.proj_out(p3))


def test_hornet_carries_the_names_of_the_released_checkpoints() -> None:
    with torch.device("meta"):
        names = set(timm.create_model("hornet_tiny_7x7").state_dict())
    assert {
        "downsample_layers.0.0.weight",
        "downsample_layers.3.1.bias",
        "stages.0.0.norm1.weight",
        "stages.0.1.gnconv.proj_in.weight",
        "stages.2.17.gnconv.dwconv.weight",
        "stages.3.1.gnconv.pws.3.bias",
        "stages.3.1.gnconv.proj_out.bias",
        "stages.1.2.gamma2",
        "stages.1.2.pwconv1.weight",
        "norm.weight",
        "head.bias",
    } <= names


def test_hornet_starts_as_published() -> None:
    torch.manual_seed(0)
    model = timm.create_model("hornet_tiny_7x7", depths=(1, 1), num_classes=10, in_chans=1, drop_path_rate=0.1)
    weights = model.stages[1][0].gnconv.dwconv.weight
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(model.stages[0][0].gamma1.detach()[0]) == pytest.approx(1e-6)
    assert not model.head.bias.any()
    assert model.stages[1][0].drop_path.drop_prob == pytest.approx(0.1)
    model.reset_classifier(3)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
    model.reset_classifier(0)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 128)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_models_map_small_images_to_logits(name: str, size: int, channels: int) -> None:
    model = architectures.create(name, num_classes=7, in_chans=channels)
    logits = model(torch.randn(2, channels, size, size))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "kwargs", "kernels"),
    [
        ("convmixer_small", {"dim": 256, "depth": 8, "kernel_size": 5, "patch_size": 2}, {5: 2048}),
        ("convnext_small_images", {"depths": [1, 2], "dims": [16, 32], "kernel_size": 5}, {5: 80}),
        ("hornet_small_images", {"depths": [1, 1], "base_dim": 16, "kernel_size": 9}, {9: 80}),
        ("mobilenetv2_small_images", {"kernel_size": 5}, {5: 208}),
        ("convmixer_regular", {}, {}),
    ],
)
def test_keywords_reach_the_kernels(name: str, kwargs: dict, kernels: dict[int, int]) -> None:
    model = architectures.create(name, num_classes=10, in_chans=3, kwargs=kwargs)
    found: dict[int, int] = {}
    for layer in depthwise(model):
        found[layer.kernel_size[0]] = found.get(layer.kernel_size[0], 0) + layer.out_channels
    assert found == kernels
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_the_published_networks_are_among_the_small_ones() -> None:
    images = torch.randn(1, 3, 64, 64)
    stages = {"depths": (3, 3, 9, 3), "dims": (8, 16, 32, 64)}
    convnext = architectures.create("convnext_small_images", num_classes=10, in_chans=3, kwargs=stages)
    narrow = timm.create_model("convnext_tiny", num_classes=10, dims=stages["dims"])
    convnext.load_state_dict(narrow.state_dict())
    torch.testing.assert_close(convnext.eval()(images), narrow.eval()(images))
    published = {
        "depths": (1, 2, 3, 4, 3, 3, 1),
        "dims": (16, 24, 32, 64, 96, 160, 320),
        "strides": (1, 2, 2, 2, 1, 2, 1),
        "expansion": 6,
        "stem_size": 32,
        "num_features": 1280,
    }
    mobilenet = architectures.create("mobilenetv2_small_images", num_classes=1000, in_chans=3, kwargs=published)
    reference = timm.create_model("mobilenetv2_100")
    assert list(mobilenet.state_dict()) == list(reference.state_dict())
    mobilenet.load_state_dict(reference.state_dict())
    torch.testing.assert_close(mobilenet.eval()(images), reference.eval()(images))


@pytest.mark.parametrize(
    ("name", "width"), [("convmixer", "dim"), ("convnext", "dims"), ("hornet", "base_dim"), ("mobilenetv2", "dims")]
)
def test_a_regular_twin_differs_in_its_spatial_convolutions_alone(name: str, width: str) -> None:
    twin = f"{name}_regular"
    kwargs = {width: {"convmixer": 8, "convnext": [8], "hornet": 8, "mobilenetv2": [4, 6, 8]}[name]}
    wide, narrow = (
        architectures.create(model, num_classes=10, in_chans=1, kwargs=kwargs) for model in (twin, TWINS[twin])
    )
    replaced = dict(narrow.named_modules())
    assert depthwise(narrow) and not depthwise(wide)
    for path, layer in wide.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        other = replaced[path]
        spatial = other.groups > 1
        assert layer.weight.shape == (other.out_channels, other.in_channels, *other.kernel_size)
        assert (layer.stride, layer.padding, layer.bias is None) == (other.stride, other.padding, other.bias is None)
        assert spatial or layer.weight.shape == other.weight.shape
    assert list(wide.state_dict()) == list(narrow.state_dict())


def test_regular_twins_start_as_their_authors_start_regular_convolutions() -> None:
    torch.manual_seed(0)
    convnext = architectures.create(
        "convnext_regular", num_classes=10, in_chans=3, kwargs={"dims": [32], "depths": [1]}
    )
    hornet = architectures.create("hornet_regular", num_classes=10, in_chans=3, kwargs={"base_dim": 32, "depths": [1]})
    mobilenet = architectures.create("mobilenetv2_regular", num_classes=10, in_chans=3, kwargs={"dims": [16, 16, 16]})
    convmixer = architectures.create("convmixer_regular", num_classes=10, in_chans=3, kwargs={"dim": 32, "depth": 1})
    starts = [
        (convnext.stages[0].blocks[0].conv_dw, 0.02),
        (hornet.stages[0][0].gnconv.dwconv, 0.02),
        (mobilenet.blocks[1][0].conv_dw, (2 / (9 * 64)) ** 0.5),
        (convmixer.blocks[0][0].fn[0], (1 / (3 * 81 * 32)) ** 0.5),
    ]
    for layer, deviation in starts:
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.03)
    assert not convnext.stages[0].blocks[0].conv_dw.bias.any()


def test_the_twins_of_the_cifar10_preset_cost_what_their_networks_do() -> None:
    networks, twins = (
        yaml.safe_load(Path(f"config/presets/{name}.yaml").read_text())["architectures"]
        for name in ("cifar10_cpu", "cifar10_twins")
    )
    assert sorted(twins) == sorted(f"{name}_regular" for name in networks)
    for name, network in networks.items():
        twin = twins[f"{name}_regular"]
        assert multiply_adds(twin) == pytest.approx(multiply_adds(network), rel=0.05)
        assert network.get("recipe") == twin.get("recipe")


def multiply_adds(entry: dict) -> float:
    """Of one image of CIFAR-10."""
    model = architectures.create(entry["model"], num_classes=10, in_chans=3, kwargs=entry["kwargs"]).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops() / 2


def test_the_same_seed_gives_the_same_weights() -> None:
    for name in SMALL:
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append(architectures.create(name, num_classes=4, in_chans=1).state_dict())
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        (
            "convmixer_smal",
            {},
            "'convmixer_smal' is not a model of timm or of neural_echos.architectures (did you mean 'convmixer_small'?)",
        ),
        ("convmixer_small", {"dims": 8}, "'dims' (did you mean 'dim'?)"),
        ("convmixer_regular", {"patchsize": 8}, "did you mean 'patch_size'?"),
        ("convnext_small_images", {"kernel_sise": 5}, "did you mean 'kernel_size'?"),
        ("mobilenetv2_small_images", {"expantion": 2}, "did you mean 'expansion'?"),
        ("hornet_small_images", {"base_dims": 8}, "did you mean 'base_dim'?"),
        ("convnext_small_images", {"depths": [1, 1]}, "as many dims"),
        ("mobilenetv2_small_images", {"dims": [16]}, "3 depths, 1 dims and 3 strides"),
        ("hornet_small_images", {"base_dim": 17}, "divisible by 2"),
        ("hornet_small_images", {"depths": [1] * 5, "base_dim": 16}, "cannot be built with"),
        ("resnet18", {"colour": 1}, "it takes "),
        ("convmixer_small", {"num_classes": 3}, "remove it"),
    ],
)
def test_mistakes_are_told_in_a_sentence(name: str, kwargs: dict, words: str) -> None:
    with pytest.raises(EchosError) as caught:
        architectures.create(name, num_classes=10, in_chans=1, kwargs=kwargs)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
