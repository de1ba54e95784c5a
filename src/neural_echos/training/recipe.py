"""How a model is trained: one checked, immutable record, and the learning rate that follows from it.

Papers: Loshchilov and Hutter, "SGDR", ICLR 2017 (cosine); Trockman and Kolter, "Patches Are All You Need?", TMLR 2023 (the
one-cycle-linear schedule); Zhang et al., "mixup", ICLR 2018; Yun et al., "CutMix", ICCV 2019; Zhong et al., "Random Erasing",
AAAI 2020; Cubuk et al., "RandAugment", 2020; Huang et al., "Deep networks with stochastic depth", ECCV 2016.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from timm.optim import list_optimizers

from neural_echos.errors import EchosError, nearest

SCHEDULES = ("cosine", "one-cycle-linear", "constant")
INTERPOLATIONS = ("bicubic", "bilinear", "random")
PRECISIONS = ("", "bf16", "fp16")
_TIMM = re.compile(r"rand(-(m|n|p|mstd|mmax|inc)[\d.]+|-t\w+)*")
_TORCHVISION = re.compile(r"torchvision-n([1-9])-m(30|[12]?\d)")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; checked when made, 0 or "" switches a part off.

    Attributes
    ----------
    epochs : int of at least 1
        Passes over the train images.
    batch_size : int of at least 1
        Images per step over all devices: the effective batch. A last batch that is not full is left out of its epoch.
    device_batch : int of at least 0
        Most images that one device holds at a time: gradients of several such parts make up a batch; 0 for no limit.
    optimizer : str
        Name of an optimizer of timm; biases, norms and other one-dimensional parameters are not decayed.
    optimizer_options : mapping
        More of its keywords: eps, betas, momentum, nesterov, ….
    lr : float above 0
        Peak learning rate.
    weight_decay : float of at least 0
        Weight decay.
    schedule : {"cosine", "one-cycle-linear", "constant"}
        Shape of the learning rate over time; see `learning_rate`.
    warmup_epochs : float of at least 0
        Epochs of linear warm-up from 0 (cosine and constant).
    min_lr : float of at least 0
        Learning rate at the end of a cosine.
    label_smoothing : float in [0, 1)
        Label smoothing.
    mixup, cutmix : float of at least 0
        α of its Beta distribution; where both are on, one of the two is drawn for each group.
    mixing_group : int of at least 0
        Images, an even number, that share a draw of Mixup and CutMix, in published recipes a micro-batch; 0 for the whole batch.
    random_erasing : float in [0, 1]
        Probability that a rectangle of an image is replaced by noise.
    image_size : int of at least 1
        Side of the images as the network sees them, pixels, where they are read from disk; images in memory keep theirs.
    crop_pct : float in (0, 1]
        Of an evaluated image read from disk, the share of its shorter side that the centre keeps.
    resized_crop : tuple of float in (0, 1]
        Least and greatest share of the image's area that a random crop keeps before it is resized, sides 3:4 to 4:3; () for none.
    interpolation : {"bicubic", "bilinear", "random"}
        How a random crop is resized, and what timm's RandAugment uses on disk; "random" draws one of the two for each image.
    flip : bool
        Mirror half of the images, left to right.
    shift : int of at least 0
        Greatest random shift, pixels; the border is reflected.
    randaugment : str
        timm's description, "rand-m9-mstd0.5-inc1" (image by image, on the CPU), or torchvision's operations and magnitude of
        31 levels, "torchvision-n2-m12" (batches in memory, on the device).
    colour_jitter : float in [0, 1)
        Greatest relative change of brightness, contrast and saturation.
    clip_grad : float of at least 0
        Gradient-clipping norm.
    drop_path : float in [0, 1)
        Stochastic depth; whoever builds the model gives it the same `drop_path_rate`.
    ema_decay : float in [0, 1)
        Decay per step of the average of the weights that is evaluated and kept in place of the last ones.
    precision : {"", "bf16", "fp16"}
        "bf16" or "fp16" for mixed precision on a GPU (a CPU is slower with it, and keeps to float32), "" for float32.
    compile : bool
        `torch.compile` the model.
    channels_last : bool
        Memory format of the weights.
    fast_depthwise : bool
        On a CPU, take the weight gradients of depthwise kernels of 5×5 and larger by a forward convolution: several times as fast
        as PyTorch's, and equal to it up to rounding.
    """

    epochs: int = 5
    batch_size: int = 64
    device_batch: int = 0
    optimizer: str = "adamw"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 0.02
    weight_decay: float = 0.05
    schedule: str = "cosine"
    warmup_epochs: float = 0.5
    min_lr: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixing_group: int = 0
    random_erasing: float = 0.0
    image_size: int = 224
    crop_pct: float = 0.875
    resized_crop: tuple[float, ...] = ()
    interpolation: str = "bicubic"
    flip: bool = False
    shift: int = 0
    randaugment: str = ""
    colour_jitter: float = 0.0
    clip_grad: float = 0.0
    drop_path: float = 0.0
    ema_decay: float = 0.0
    precision: str = ""
    compile: bool = False
    channels_last: bool = True
    fast_depthwise: bool = True

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, _typed(one.name, getattr(self, one.name), one.type))
        for name, (holds, expected) in _LIMITS.items():
            if not holds(self):
                found = getattr(self, name)
                guess = nearest(found, _choices(name)) if isinstance(found, str) else ""
                raise EchosError(f"recipe: {name}: expected {expected}, found {found!r}{guess}; correct it")

    @property
    def torchvision_randaugment(self) -> tuple[int, int] | None:
        """Operations an image and magnitude of torchvision's RandAugment, where that is asked for."""
        found = _TORCHVISION.fullmatch(self.randaugment)
        return (int(found[1]), int(found[2])) if found else None

    def model_kwargs(self) -> dict[str, float]:
        """Return the keywords that a model of this recipe is built with, beside its own."""
        return {"drop_path_rate": self.drop_path} if self.drop_path else {}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Make a recipe from a mapping, such as a part of a config file.

        Raises
        ------
        EchosError
            A key is unknown, or a value is of another type or out of range.
        """
        known = [one.name for one in fields(cls)]
        for name in values:
            if name not in known:
                raise EchosError(
                    f"recipe: expected keys among {', '.join(known)}, found {name!r}{nearest(str(name), known)}; "
                    "correct it or take it out"
                )
        return cls(**values)


_TYPES: dict[Any, tuple[Callable[[Any], bool], Callable[[Any], Any], str]] = {
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), int, "a whole number"),
    float: (
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
        float,
        "a finite number",
    ),
    bool: (lambda value: isinstance(value, bool), bool, "true or false"),
    str: (lambda value: isinstance(value, str), str, "text"),
}
_LIMITS: dict[str, tuple[Callable[[Recipe], bool], str]] = {
    "epochs": (lambda r: r.epochs >= 1, "at least 1"),
    "batch_size": (
        lambda r: r.batch_size >= 1 and not (r.batch_size % 2 and (r.mixup or r.cutmix)),
        "at least 1, and an even number where mixup or cutmix is on",
    ),
    "optimizer": (lambda r: r.optimizer in list_optimizers(), "an optimizer that timm.optim.list_optimizers() lists"),
    "device_batch": (lambda r: r.device_batch >= 0, "at least 0"),
    "lr": (lambda r: r.lr > 0, "a number above 0"),
    "weight_decay": (lambda r: r.weight_decay >= 0, "a number of at least 0"),
    "schedule": (lambda r: r.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
    "warmup_epochs": (lambda r: 0 <= r.warmup_epochs < r.epochs, "a number from 0 to below epochs"),
    "min_lr": (lambda r: 0 <= r.min_lr <= r.lr, "a number from 0 to lr"),
    "label_smoothing": (lambda r: 0 <= r.label_smoothing < 1, "a number from 0 to below 1"),
    "mixup": (lambda r: r.mixup >= 0, "a number of at least 0"),
    "cutmix": (lambda r: r.cutmix >= 0, "a number of at least 0"),
    "mixing_group": (lambda r: r.mixing_group >= 0 and not r.mixing_group % 2, "an even number of at least 0"),
    "random_erasing": (lambda r: 0 <= r.random_erasing <= 1, "a number from 0 to 1"),
    "image_size": (lambda r: r.image_size >= 1, "at least 1"),
    "crop_pct": (lambda r: 0 < r.crop_pct <= 1, "a number above 0 and up to 1"),
    "resized_crop": (
        lambda r: not r.resized_crop or (len(r.resized_crop) == 2 and 0 < r.resized_crop[0] <= r.resized_crop[1] <= 1),
        "two shares above 0 and up to 1 in ascending order, or an empty list for none",
    ),
    "interpolation": (lambda r: r.interpolation in INTERPOLATIONS, f"one of {', '.join(INTERPOLATIONS)}"),
    "shift": (
        lambda r: r.shift >= 0 and not (r.shift and r.resized_crop),
        "at least 0, and 0 where resized_crop is on",
    ),
    "randaugment": (
        lambda r: not r.randaugment or bool(_TIMM.fullmatch(r.randaugment) or _TORCHVISION.fullmatch(r.randaugment)),
        'text like "rand-m9-mstd0.5-inc1" or "torchvision-n2-m12" (n from 1, m from 0 to 30), or "" for none',
    ),
    "colour_jitter": (lambda r: 0 <= r.colour_jitter < 1, "a number from 0 to below 1"),
    "clip_grad": (lambda r: r.clip_grad >= 0, "a number of at least 0"),
    "drop_path": (lambda r: 0 <= r.drop_path < 1, "a number from 0 to below 1"),
    "ema_decay": (lambda r: 0 <= r.ema_decay < 1, "a number from 0 to below 1"),
    "precision": (lambda r: r.precision in PRECISIONS, '"bf16", "fp16", or "" for float32'),
}


def _typed(name: str, value: Any, kind: Any) -> Any:
    if name == "optimizer_options":
        if not isinstance(value, Mapping):
            raise EchosError(f"recipe: {name}: expected a mapping, found {value!r}; write it as keys and values")
        return dict(value)
    if name == "resized_crop":
        if not isinstance(value, list | tuple) or not all(_TYPES[float][0](share) for share in value):
            raise EchosError(
                f"recipe: {name}: expected a list of two numbers, found {value!r}; write [least, greatest]"
            )
        return tuple(map(float, value))
    holds, convert, expected = _TYPES[kind]
    if not holds(value):
        raise EchosError(f"recipe: {name}: expected {expected}, found {value!r}; correct it")
    return convert(value)


def _choices(name: str) -> list[str]:
    choices = {"schedule": SCHEDULES, "precision": PRECISIONS, "interpolation": INTERPOLATIONS}
    return list_optimizers() if name == "optimizer" else list(choices.get(name, ()))


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate at a moment of training.

    Step i of n in epoch e (both from 0) uses the rate at e + (i + 1)/n, so the last step of all uses the end's.

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
