"""Mixup and CutMix in groups of images: each group draws its own λ and mixes only its own images.

Published recipes draw once per micro-batch of a process, so the number of images that share a draw is part of the recipe. With
timm's mixing of a whole batch, all 4,096 images of a batch on one device would share one λ.

Papers: Zhang et al., "mixup", ICLR 2018; Yun et al., "CutMix", ICCV 2019.
"""

import torch
from timm.data import Mixup


class Mixing:
    """timm's Mixup and CutMix, drawn separately for each group of images.

    Parameters
    ----------
    mixup, cutmix : float of at least 0
        α of their Beta distributions; if both are on, one of the two is picked for each group. If both are 0, nothing is mixed.
    group : int of at least 0
        Number of images per group, even; 0 for the whole batch. The last group of a batch may be smaller.
    label_smoothing : float in [0, 1)
    classes : int
    """

    def __init__(self, mixup: float, cutmix: float, *, group: int, label_smoothing: float, classes: int):
        self.group = group
        self.draw = None
        if mixup or cutmix:
            self.draw = Mixup(mixup, cutmix, label_smoothing=label_smoothing, num_classes=classes)

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix a batch of an even number of images in place; draws come from numpy's global generator.

        Parameters
        ----------
        images : Tensor of float32, shape (n, c, h, w)
        labels : Tensor of int64, shape (n,)

        Returns
        -------
        images : Tensor of float32, shape (n, c, h, w)
            The same tensor.
        labels : Tensor of float32, shape (n, classes)
            Weights of the classes; the labels unchanged if nothing is mixed.
        """
        if self.draw is None:
            return images, labels
        size = self.group or len(images)
        mixed = [self.draw(part, known) for part, known in zip(images.split(size), labels.split(size), strict=True)]
        return images, torch.cat([weights for _, weights in mixed])
