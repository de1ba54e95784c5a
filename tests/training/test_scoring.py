"""Evaluation against a calculation by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_runs import FEW, build

from neural_echos.training import (
    evaluate,
)


def test_evaluation_agrees_with_a_calculation_by_hand() -> None:
    model = build().eval()
    with torch.no_grad():
        pixels = torch.tensor((FEW.test_images / 255 - FEW.mean[0]) / FEW.std[0], dtype=torch.float32)
        logits = model(pixels).numpy()
    order = np.argsort(-logits, axis=1)
    hits = order == FEW.test_labels[:, None]
    loss = F.cross_entropy(torch.tensor(logits), torch.tensor(FEW.test_labels)).item()
    found = evaluate(model, FEW.test_images, FEW.test_labels, FEW.mean, FEW.std, "cpu", batch_size=33)
    assert found == pytest.approx((loss, hits[:, 0].mean(), hits[:, :5].sum(axis=1).mean()), rel=1e-5)


def test_top_5_of_few_classes_is_1() -> None:
    model = build(classes=3)
    labels = FEW.test_labels % 3
    assert evaluate(model, FEW.test_images, labels, FEW.mean, FEW.std, "cpu")[2] == 1.0
