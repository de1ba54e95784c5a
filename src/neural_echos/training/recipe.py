"""How a model is trained: one checked, immutable record, and its learning-rate schedule.

Papers: Loshchilov and Hutter, "SGDR", ICLR 2017 (cosine); Trockman and Kolter, "Patches Are All You Need?", TMLR 2023 (the
one-cycle-linear schedule); Zhang et al., "mixup", ICLR 2018; Yun et al., "CutMix", ICCV 2019; Zhong et al., "Random Erasing",
AAAI 2020; Cubuk et al., "RandAugment", 2020; Huang et al., "Deep networks with stochastic depth", ECCV 2016.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
from timm.optim import list_optimizers

from neural_echos.errors import EchosError, nearest

_INTERVAL = re.compile(r"in ([\[(])([\d.]+), ([\d.]+)([\])])")
_TIMM = re.compile(r"rand(-(m|n|p|mstd|mmax|inc)[\d.]+|-t\w+)*")
_TORCHVISION = re.compile(r"torchvision-n([1-9])-m(30|[12]?\d)")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Values are checked on construction against the annotated limits; 0 or "" switches a part off.

    Attributes
    ----------
    epochs : int
        Passes over the training images.
    batch_size : int
        Images per step over all devices (the effective batch size). An incomplete last batch is dropped.
    device_batch : int
        Maximum number of images on one device at a time; gradients are accumulated over such micro-batches. 0 for no limit.
    optimizer : str
        Name of a timm optimizer; biases, norms and other one-dimensional parameters are not decayed.
    optimizer_options : mapping
        Its other keyword arguments: eps, betas, momentum, nesterov, ….
    lr : float
        Peak learning rate.
    weight_decay : float
        Weight decay.
    schedule : str
        Shape of the learning rate over time; see `learning_rate`.
    warmup_epochs : float
        Epochs of linear warm-up from 0 (cosine and constant).
    min_lr : float
        Learning rate at the end of a cosine.
    label_smoothing : float
        Label smoothing.
    mixup, cutmix : float
        α of its Beta distribution; if both are on, one of the two is picked for each group.
    mixing_group : int
        Number of images, even, that share a draw of Mixup and CutMix (a micro-batch in published recipes); 0 for the whole batch.
    random_erasing : float
        Probability that a rectangle of an image is replaced by noise.
    image_size : int
        Side of the images as the network sees them, pixels, if they are read from disk; images in memory keep their size.
    crop_pct : float
        Share of the shorter side that the centre crop keeps when an image read from disk is evaluated.
    resized_crop : tuple of float
        Smallest and largest share of the image's area that a random crop keeps before resizing, sides 3:4 to 4:3; () for none.
    interpolation : str
        Interpolation of random crops and, for images on disk, of timm's RandAugment; "random" picks one of the two for each image.
    flip : bool
        Mirror half of the images, left to right.
    shift : int
        Largest random shift, pixels; the border is reflected.
    randaugment : str
        timm's description, "rand-m9-mstd0.5-inc1" (image by image, on the CPU), or torchvision's number of operations and magnitude
        out of 31 levels, "torchvision-n2-m12" (batches in memory, on the device).
    colour_jitter : float
        Largest relative change of brightness, contrast and saturation.
    clip_grad : float
        Gradient-clipping norm.
    drop_path : float
        Rate of stochastic depth; the model must be built with the same `drop_path_rate`.
    ema_decay : float
        Decay per step of the EMA weights, which are evaluated and saved instead of the last weights.
    precision : str
        "bf16" or "fp16" for mixed precision on a GPU (a CPU would be slower and always uses float32), "" for float32.
    compile : bool
        `torch.compile` the model.
    channels_last : bool
        Memory format of the weights.
    fast_layers : bool
        On a CPU, train depthwise layers with kernels of 5×5 and larger, linear layers of feature maps and global average pooling in
        ways that are faster than PyTorch's and equal up to rounding.
    """

    epochs: Annotated[int, "at least 1"] = 5
    batch_size: Annotated[int, "at least 1"] = 64
    device_batch: Annotated[int, "at least 0"] = 0
    optimizer: str = "adamw"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    lr: Annotated[float, "above 0"] = 0.02
    weight_decay: Annotated[float, "at least 0"] = 0.05
    schedule: Literal["cosine", "one-cycle-linear", "constant"] = "cosine"
    warmup_epochs: Annotated[float, "at least 0"] = 0.5
    min_lr: Annotated[float, "at least 0"] = 0.0
    label_smoothing: Annotated[float, "in [0, 1)"] = 0.0
    mixup: Annotated[float, "at least 0"] = 0.0
    cutmix: Annotated[float, "at least 0"] = 0.0
    mixing_group: Annotated[int, "at least 0"] = 0
    random_erasing: Annotated[float, "in [0, 1]"] = 0.0
    image_size: Annotated[int, "at least 1"] = 224
    crop_pct: Annotated[float, "in (0, 1]"] = 0.875
    resized_crop: Annotated[tuple[float, ...], "in (0, 1]"] = ()
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    flip: bool = False
    shift: Annotated[int, "at least 0"] = 0
    randaugment: str = ""
    colour_jitter: Annotated[float, "in [0, 1)"] = 0.0
    clip_grad: Annotated[float, "at least 0"] = 0.0
    drop_path: Annotated[float, "in [0, 1)"] = 0.0
    ema_decay: Annotated[float, "in [0, 1)"] = 0.0
    precision: Literal["", "bf16", "fp16"] = ""
    compile: bool = False
    channels_last: bool = True
    fast_layers: bool = True

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, _checked(one.name, getattr(self, one.name), one.type))
        for name, (holds, expected) in _RULES.items():
            if not holds(self):
                raise _refusal(name, expected, getattr(self, name))

    @property
    def torchvision_randaugment(self) -> tuple[int, int] | None:
        """Operations per image and magnitude of torchvision's RandAugment, if requested."""
        found = _TORCHVISION.fullmatch(self.randaugment)
        return (int(found[1]), int(found[2])) if found else None

    def model_kwargs(self) -> dict[str, float]:
        """Return the keyword arguments that this recipe adds to the model's own."""
        return {"drop_path_rate": self.drop_path} if self.drop_path else {}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Make a recipe from a mapping, such as part of a config file.

        Raises
        ------
        EchosError
            A key is unknown, or a value has the wrong type or is out of range.
        """
        known = [one.name for one in fields(cls)]
        for name in values:
            if name not in known:
                raise EchosError(
                    f"recipe: unknown key {name!r}{nearest(str(name), known)}; keys are {', '.join(known)}"
                )
        return cls(**values)


_TYPES: dict[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: (int | float, "a finite number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
}
# Rules that the annotation of a single key cannot express.
_RULES: dict[str, tuple[Callable[[Recipe], bool], str]] = {
    "batch_size": (
        lambda r: not (r.batch_size % 2 and (r.mixup or r.cutmix)),
        "an even number if mixup or cutmix is on",
    ),
    "optimizer": (lambda r: r.optimizer in list_optimizers(), "an optimizer from timm.optim.list_optimizers()"),
    "warmup_epochs": (lambda r: r.warmup_epochs < r.epochs, "less than epochs"),
    "min_lr": (lambda r: r.min_lr <= r.lr, "at most lr"),
    "mixing_group": (lambda r: not r.mixing_group % 2, "an even number"),
    "resized_crop": (
        lambda r: not r.resized_crop or (len(r.resized_crop) == 2 and r.resized_crop[0] <= r.resized_crop[1]),
        "two shares in ascending order, or an empty list",
    ),
    "shift": (lambda r: not (r.shift and r.resized_crop), "0 if resized_crop is on"),
    "randaugment": (
        lambda r: not r.randaugment or bool(_TIMM.fullmatch(r.randaugment) or _TORCHVISION.fullmatch(r.randaugment)),
        'like "rand-m9-mstd0.5-inc1" or "torchvision-n2-m12" (n from 1, m from 0 to 30), or ""',
    ),
}


def _checked(name: str, value: Any, kind: Any) -> Any:
    """Convert the value of a key to its annotated type, after checking its type and limit."""
    kind, limit = get_args(kind) if get_origin(kind) is Annotated else (kind, "")
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise _refusal(name, f"one of {', '.join(map(repr, get_args(kind)))}", value, get_args(kind))
        return value
    if get_origin(kind) is Mapping:
        if not isinstance(value, Mapping):
            raise _refusal(name, "a mapping", value)
        return dict(value)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise _refusal(name, "a list", value)
        return tuple(_within(name, one, get_args(kind)[0], limit) for one in value)
    return _within(name, value, kind, limit)


def _within(name: str, value: Any, kind: type, limit: str) -> Any:
    """Convert a number, boolean or text; `limit` is "" or like "at least 1", "above 0" or "in [0, 1)"."""
    accepted, expected = _TYPES[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise _refusal(name, expected, value)
    if kind is float and not math.isfinite(value):
        raise _refusal(name, expected, value)
    if interval := _INTERVAL.fullmatch(limit):
        low, high = float(interval[2]), float(interval[3])
        inside = low < value < high or (value == low and interval[1] == "[") or (value == high and interval[4] == "]")
    else:
        word, _, least = limit.rpartition(" ")
        inside = not word or value > float(least) or (value == float(least) and word == "at least")
    if not inside:
        raise _refusal(name, limit, value)
    return kind(value)


def _refusal(name: str, expected: str, found: Any, choices: Iterable[str] = ()) -> EchosError:
    known = list_optimizers() if name == "optimizer" else choices
    guess = nearest(found, known) if isinstance(found, str) else ""
    return EchosError(f"recipe: {name} must be {expected}, not {found!r}{guess}")


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate at a point of training.

    Step i of n in epoch e (both from 0) uses the rate at e + (i + 1)/n, so the very last step uses the final rate.

    - cosine: linear from 0 to lr over `warmup_epochs`, then min_lr + ½ (lr − min_lr)(1 + cos πt), t from 0 to 1.
    - one-cycle-linear: linear through 0 at the start, lr at 2/5, lr/20 at 4/5, and 0 at the end.
    - constant: lr, after the same warm-up.

    Parameters
    ----------
    recipe : Recipe
    epoch : float
        Epochs done, from 0 to `recipe.epochs`.
    """
    if recipe.schedule == "one-cycle-linear":
        knots = np.array([0, 2, 4, 5]) / 5 * recipe.epochs
        return float(np.interp(epoch, knots, [0.0, recipe.lr, recipe.lr / 20, 0.0]))
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    if recipe.schedule == "constant":
        return recipe.lr
    t = (epoch - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
    return recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * t))
