"""A trial before many trainings: whether a network can be built, accepts an image size, and has kernels that can be drawn."""

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
WEAK = 1e-3  # relative change of a network's output above which its kernels matter from the start


def image_side(model: str, shorter_side: int) -> int:
    """Choose the side of a network's images: its own or, for smaller images, theirs rounded down to a multiple of 16 (at least 32).

    Parameters
    ----------
    model : str
        Name of a timm model.
    shorter_side : int
        Shorter side of the original images, pixels.
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
        Keyword arguments of the model.
    classes : int
    side : int
        Side of the images, pixels.
    checkpoint : Path or None
        Trained weights to start from.
    initialisations : mapping of str to mapping
        Declared as in a config.

    Returns
    -------
    float
        Largest distance between an initialisation's output for random images and the first one's, relative to the norm of the
        latter.

    Raises
    ------
    EchosError
        The network cannot be built, has no depthwise convolutions or does not accept such images; the checkpoint belongs to another
        network; or an initialisation cannot draw its kernels.
    """
    network = architectures.create(model, num_classes=classes, in_chans=3, kwargs=kwargs)
    if all(layer.kind != "depthwise" for layer in layers_of(network)):
        raise EchosError(
            f"{model} has no depthwise convolutions for the initialisations to draw; choose another model, such as convnext_atto "
            "(config/survey.csv lists timm's)"
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
            return network.train()(images)  # with the batch's own statistics: batch norm has no others yet
    except (RuntimeError, AssertionError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise EchosError(
            f"{model} does not accept images of {side}×{side} pixels ({why}); choose another side with --image-size"
        ) from None
