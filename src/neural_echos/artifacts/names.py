"""The name table: labels, order, colours and markers of everything that artifacts show.

A colour has one meaning in the whole project. Red and blue are the signs of kernels: excitatory and inhibitory. Shades of one hue
are ordered: kernel sizes, depths. Names that the table does not list, such as a user's own initialisation, come after the listed
ones, in the order given, with spare colours and markers.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neural_echos.artifacts.style import current


@dataclass(frozen=True)
class Name:
    """Label, colour and marker of one name.

    Attributes
    ----------
    label : str
        Label in figures and tables.
    colour : str
    marker : str
        Matplotlib marker.
    """

    label: str
    colour: str = "#666666"
    marker: str = "o"


_RED, _BLUE, _GREY = "#c0392b", "#2166ac", "#8c8c8c"

TABLES: dict[str, dict[str, Name]] = {
    "initialisation": {
        "default": Name("default", "#222222", "o"),
        "kaiming": Name("Kaiming", "#e69f00", "s"),
        "dog": Name("DoG", "#009e73", "^"),
        "covariance": Name("covariance", "#8e44ad", "D"),
        "gaussian_derivatives": Name("Gaussian derivatives", "#a6761d", "v"),
        "oocs": Name("OOCS", "#e377c2", "P"),
        "scale_space": Name("scale space", "#7f7f00", "X"),
        "impulse": Name("impulse", "#17a2a2", "<"),
        "box": Name("box", "#b07aa1", ">"),
        "dirac": Name("Dirac", "#5e8c31", "p"),
        "trunc_normal": Name("truncated normal", "#666666", "h"),
        "kaiming_uniform": Name("Kaiming, uniform", "#f0b95a", "s"),
        "kaiming_fan_out": Name("Kaiming, fan out", "#b37400", "s"),
        "dog_frozen": Name("DoG, frozen", "#66c5ab", "^"),
        "covariance_frozen": Name("covariance, frozen", "#c39bd3", "D"),
        "gaussian_derivatives_frozen": Name("Gaussian derivatives, frozen", "#d3b483", "v"),
        "random_frozen": Name("default, frozen", "#999999", "o"),
        "dog_fitted": Name("DoG, fitted", "#006d4f", "^"),
        "dog_unit_l2": Name("DoG, unit norm", "#2bb388", "^"),
        "dog_match_default": Name("DoG, at default scale", "#5fcfa9", "^"),
        "dog_excitatory": Name("DoG, excitatory only", "#1f7a5c", "^"),
        "dog_inhibitory": Name("DoG, inhibitory only", "#3f9b7d", "^"),
        "dog_alternating": Name("DoG, centres alternate", "#7cc3ab", "^"),
        "dog_half": Name("DoG, half of the kernels", "#a3d9c7", "^"),
        "dog_gamma_0.3": Name("DoG, γ = 0.3", "#00563e", "^"),
        "dog_gamma_0.5": Name("DoG, γ = 0.5", "#338f73", "^"),
        "dog_gamma_0.7": Name("DoG, γ = 0.7", "#8fd0ba", "^"),
        "bank_covariance": Name("covariance of a bank", "#b5179e", "D"),
        "clustered_patterns": Name("clustered patterns", "#c49c5a", "v"),
        "master_key": Name("master key filters", "#5a6b8c", "d"),
        "transfer": Name("transferred kernels", "#8c564b", "*"),
        "random": Name("random, frozen", "#adadad", "o"),
        "from_cifar10": Name("from CIFAR-10", "#7a4437", "*"),
        "from_cifar10_30pct": Name("from 30 % of CIFAR-10", "#b07f75", "*"),
        "from_cifar10_10pct": Name("from 10 % of CIFAR-10", "#d3b1aa", "*"),
        "from_imagenette32": Name("from Imagenette", "#c06c3e", "*"),
        "pointwise_cifar10": Name("pointwise, from CIFAR-10", "#4a6b8a", "d"),
    },
    "role": {
        "trained": Name("trained depthwise", "#5b3a8c", "o"),
        "regular": Name("trained regular", "#a6761d", "s"),
        "untrained": Name("untrained", _GREY, "X"),
        "shuffled": Name("shuffled taps", "#c4c4c4", "."),
    },
    "centre": {
        "excitatory": Name("excitatory", _RED, "o"),
        "inhibitory": Name("inhibitory", _BLUE, "s"),
        "other": Name("other", "#bdbdbd", "X"),
    },
    "pattern": {
        "on-centre": Name("on-centre", _RED, "o"),
        "off-centre": Name("off-centre", _BLUE, "s"),
        "on-square": Name("on-square", "#e8a598", "^"),
        "off-square": Name("off-square", "#92b8dd", "v"),
        "off-centre cross": Name("off-centre cross", "#4a9a8a", "P"),
        "first derivative": Name("first derivative", "#9b6fb0", "D"),
        "second derivative": Name("second derivative", "#d0a136", "h"),
        "other": Name("other", "#bdbdbd", "X"),
    },
    "model": {
        "dog": Name("Difference of Gaussians", "#009e73", "^"),
        "gaussian": Name("Gaussian", "#b07aa1", "o"),
        "gaussian_derivative_1": Name("first derivative of a Gaussian", "#9b6fb0", "D"),
        "gaussian_derivative_2": Name("second derivative of a Gaussian", "#d0a136", "h"),
        "discrete_gaussian": Name("discrete Gaussian"),
    },
    "frozen": {
        "trained": Name("trained from scratch", "#222222", "o"),
        "transferred": Name("transferred, frozen", "#009e73", "^"),
        "transferred, shuffled": Name("transferred, shuffled taps", "#e69f00", "s"),
        "random": Name("random, frozen", _GREY, "X"),
        "DoG": Name("DoG, frozen", "#66c5ab", "D"),
    },
    "filters": {  # sets of filters that replace all kernels
        "kept": Name("own kernels kept", "#222222", "o"),
        "dog": Name("DoG", "#009e73", "^"),
        "centroids": Name("k-means centroids", "#58508d", "v"),
        "decoded": Name("decoded patterns", "#8e44ad", "D"),
        "published eight": Name("published eight", "#e69f00", "s"),
        "eight": Name("published eight", "#e69f00", "s"),
        "eight ideal": Name("eight ideal models", "#a6761d", "P"),
        "ideal": Name("eight ideal models", "#a6761d", "P"),
        "random": Name("random", _GREY, "X"),
    },
    "dataset": {
        "photographs": Name("photographs"),
        "digits": Name("digits"),
        "cifar10": Name("CIFAR-10"),
        "cifar100": Name("CIFAR-100"),
        "imagenet": Name("ImageNet-1k"),
        "faces": Name("faces"),
        "imagenette64": Name("Imagenette, 64 px"),
        "imagenette32": Name("Imagenette, 32 px"),
        "cifar10_30pct": Name("30 % of CIFAR-10"),
        "cifar10_10pct": Name("10 % of CIFAR-10"),
        "tiny_imagenet": Name("Tiny ImageNet"),
        "nature": Name("natural scenes"),
        "made": Name("man-made scenes"),
        "digits32": Name("digits, 32 px"),
    },
    "architecture": {
        "mobilenetv2": Name("MobileNetV2"),
        "convnext": Name("ConvNeXt"),
        "hornet": Name("HorNet"),
        "convmixer": Name("ConvMixer"),
        "convmixer_k3": Name("ConvMixer, 3×3"),
        "convmixer_k5": Name("ConvMixer, 5×5"),
        "convmixer_k7": Name("ConvMixer, 7×7"),
        "convmixer_k9": Name("ConvMixer, 9×9"),
        "convmixer_k11": Name("ConvMixer, 11×11"),
        "mobilenetv2_100": Name("MobileNetV2"),
        "convnext_tiny": Name("ConvNeXt-T"),
        "hornet_tiny": Name("HorNet-T"),
        "convmixer_768": Name("ConvMixer-768/32"),
        "convmixer_deep": Name("ConvMixer, 6 layers"),
        "hornet_deep": Name("HorNet, 6 layers"),
        "mobilenetv2_regular": Name("MobileNetV2, regular convolutions"),
        "convnext_regular": Name("ConvNeXt, regular convolutions"),
        "hornet_regular": Name("HorNet, regular convolutions"),
        "convmixer_regular": Name("ConvMixer, regular convolutions"),
        "mixer": Name("ConvMixer, 7×7"),
        "mixer_k5": Name("ConvMixer, 5×5"),
        "next": Name("ConvNeXt, 7×7"),
    },
    "network": {  # the part of a bank's name before the first "-" or "."
        "mcunet_in3": Name("MCUNet-in3"),
        "mcunet_in4": Name("MCUNet-in4"),
        "mobilenet_edgetpu": Name("MobileNet-EdgeTPU"),
        "mobilenet_v1": Name("MobileNetV1"),
        "mobilenet_v2": Name("MobileNetV2"),
        "mobilenet_v2_fp32": Name("MobileNetV2, fp32"),
        "mobilenet_v2_w035": Name("MobileNetV2 ×0.35"),
        "resnet50v2": Name("ResNet-50 v2"),
        "squeezenet1_0": Name("SqueezeNet 1.0"),
        "inception_v3": Name("Inception V3"),
        "resnet20_cifar10": Name("ResNet-20, CIFAR-10"),
        "resnet56_cifar10": Name("ResNet-56, CIFAR-10"),
        "mobilenetv2": Name("MobileNetV2"),
        "mobilenetv2_100": Name("MobileNetV2 (timm)"),
        "mobilenetv3_large_100": Name("MobileNetV3-L"),
        "efficientnet_b0": Name("EfficientNet-B0"),
        "convnext": Name("ConvNeXt"),
        "convnext_tiny": Name("ConvNeXt-T"),
        "convnext_small": Name("ConvNeXt-S"),
        "convnext_base": Name("ConvNeXt-B"),
        "convnextv2_tiny": Name("ConvNeXt-V2-T"),
        "hornet": Name("HorNet"),
        "convmixer": Name("ConvMixer"),
        "convmixer_768_32": Name("ConvMixer-768/32"),
        "convmixer_1536_20": Name("ConvMixer-1536/20"),
        "efficientnet_lite0": Name("EfficientNet-Lite0"),
        "efficientnet_lite1": Name("EfficientNet-Lite1"),
        "efficientnet_lite2": Name("EfficientNet-Lite2"),
        "cifar10_convmixer": Name("ConvMixer on CIFAR-10"),
        "mtcnn_pnet": Name("MTCNN P-Net"),
        "mtcnn_rnet": Name("MTCNN R-Net"),
        "mtcnn_onet": Name("MTCNN O-Net"),
        "random_weights_control": Name("random weights"),
    },
}
_SPARE = [
    Name("", colour, marker)
    for colour, marker in zip(
        ("#0b7a75", "#bc5090", "#ffa600", "#58508d", "#7a5195", "#ef5675", "#003f5c", "#7f8c1d"),
        "DvPX<>ph",
        strict=True,
    )
]
_SHADES = {3: "#b9c84f", 5: "#8b9d2b", 7: "#63751a", 9: "#434f10", 11: "#262e06"}  # by kernel size
_DEPTHS = ("#fdbe85", "#e6550d", "#7f2704")  # thirds of the depth, from the input


def label(kind: str, name: str) -> str:
    """Label of a name; the name itself if the table does not list it."""
    return TABLES[kind][name].label if name in TABLES[kind] else name.replace("_", " ")


def order(kind: str, names: Iterable[str]) -> list[str]:
    """Distinct names in the table's order; unlisted ones follow in the order given."""
    given = list(dict.fromkeys(names))
    return [name for name in TABLES[kind] if name in given] + [name for name in given if name not in TABLES[kind]]


def looks(kind: str, names: Sequence[str]) -> dict[str, Name]:
    """Label, colour and marker of each name, in the order given.

    Parameters
    ----------
    kind : str
        Key of `TABLES`.
    names : sequence of str
    """
    others = [name for name in names if name not in TABLES[kind]]
    users = current().colours(len(names))
    made = {}
    for place, name in enumerate(names):
        known = TABLES[kind].get(name) or _SPARE[others.index(name) % len(_SPARE)]
        colour = users[place] if users and kind not in ("centre", "pattern") else known.colour
        made[name] = Name(label(kind, name), colour, known.marker)  # type: ignore[arg-type]
    return made


def palette(kind: str, names: Sequence[str]) -> dict[str, str]:
    """Colour of each label, for seaborn's `palette`."""
    return {one.label: one.colour for one in looks(kind, names).values()}


def markers(kind: str, names: Sequence[str]) -> dict[str, str]:
    """Marker of each label, for seaborn's `markers`."""
    return {one.label: one.marker for one in looks(kind, names).values()}


def labelled(kind: str, values: Iterable[str]) -> list[str]:
    """Labels of a column's values, for a tidy table whose legend matches the figures."""
    return [label(kind, value) for value in values]


def bank_labels(models: Iterable[str]) -> dict[str, str]:
    """Labels of banks by id, in the order of their networks: `convnext-dog` is "ConvNeXt, DoG".

    The tag of a timm model is included only if two banks would otherwise have the same label.
    """
    split = {model: _parts(model) for model in dict.fromkeys(models)}
    networks = order("network", [parts[0] for parts in split.values()])
    ordered = sorted(split, key=lambda model: networks.index(split[model][0]))
    short = {model: ", ".join([label("network", split[model][0]), *split[model][1:]]) for model in ordered}
    shared = {name for name in short.values() if list(short.values()).count(name) > 1}
    return {model: model.replace("_", " ") if name in shared else name for model, name in short.items()}


def with_size(network: str, size: int) -> str:
    """Append a kernel size to a network's name, unless the name has it."""
    return network if f"{size}×{size}" in network.split(", ") else f"{network}, {size}×{size}"


def _parts(model: str) -> list[str]:
    """Split the id of a bank into its network and the remaining parts; `k9` becomes 9×9."""
    network, *rest = model.split(".")[0].split("-")
    sized = (re.sub(r"^k(\d+)$", r"\1×\1", part) for part in rest)
    return [network, *(label("initialisation", part) for part in sized)]


def size_colours(sizes: Iterable[int]) -> dict[int, str]:
    """Colour of each kernel size, lighter for small ones."""
    return {size: _SHADES.get(size, "#1c2204") for size in sorted(set(sizes))}


def depth_colours() -> tuple[str, str, str]:
    """Colours of the first, second and last third of a network's depth."""
    return _DEPTHS
