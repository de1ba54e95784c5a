"""A trial before many trainings: whether a network can be built, takes images of a size, and lets its kernels be drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm.models import get_pretrained_cfg
from torch import nn

from neural_echos import architectures
from neural_echos.errors import EchosError
from neural_echos.initialisations import initialise_, start_from
from neural_echos.kernels import layers_of

_USUAL = 224  # pixels
_LEAST, _STEP = 32, 16  # pixels
WEAK = 1e-3  # share of its output by which a network must change for its kernels to count from the start


def image_side(model: str, shorter_side: int) -> int:
    """Choose the side of a network's images: its own, or that of smaller images, rounded down to a multiple of 16 (32 at least).

    Parameters
    ----------
    model : str
        Name of a timm model.
    shorter_side : int
        Of the images as they are, pixels.
    """
    known = get_pretrained_cfg(model, allow_unregistered=True)
    own = int(known.input_size[-1]) if known else _USUAL
    if known and known.fixed_input_size:
        return own
    return min(own, max(_LEAST, shorter_side // _STEP * _STEP))


def try_network(
    model: str,
    kwargs: Mapping[str, Any],
    *,
    classes: int,
    side: int,
    checkpoint: Path | None,
    initialisations: Mapping[str, Mapping[str, Any]],
) -> float:
    """Build a network for colour images, draw each initialisation, and pass some images through it.

    Parameters
    ----------
    model : str
    kwargs : mapping
        Keywords of the model.
    classes : int
    side : int
        Of the images, pixels.
    checkpoint : Path or None
        Trained weights to start from.
    initialisations : mapping of str to mapping
        As a config declares them.

    Returns
    -------
    float
        How far the initialisations' outputs for random images lie from the first one's, the farthest of them, as a share of
        that output's norm.

    Raises
    ------
    EchosError
        The network cannot be built, has no depthwise convolutions or does not take such images; the checkpoint is of another one;
        or an initialisation cannot draw its kernels.
    """
    network = architectures.create(model, num_classes=classes, in_chans=3, kwargs=kwargs)
    if all(layer.kind != "depthwise" for layer in layers_of(network)):
        raise EchosError(
            f"{model} has no depthwise convolutions, which initialisations draw; choose another model, such as convnext_atto "
            "(config/survey.csv lists those of timm)"
        )
    if checkpoint:
        start_from(network, checkpoint)
    images = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    outputs = []
    for name, declared in initialisations.items():
        try:
            initialise_(network, declared, seed=0)
        except EchosError as error:
            raise EchosError(f"the initialisation {name!r} does not fit {model}: {error}") from None
        outputs.append(_output(network, images, model))
    first = outputs[0]
    return max(float((one - first).norm() / first.norm()) for one in outputs)


def _output(network: nn.Module, images: torch.Tensor, model: str) -> torch.Tensor:
    side = images.shape[-1]
    try:
        with torch.no_grad():
            return network.train()(images)  # with a batch's own statistics: at first, batch norm has no others
    except (RuntimeError, AssertionError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise EchosError(
            f"{model} does not take images of {side}×{side} pixels ({why}); choose another side with --image-size"
        ) from None
