"""What tests of initialisations share: models as they were drawn, and what borrowing initialisations borrow."""

import numpy as np
import pytest
import timm
import torch
from networks import FAMILIES, State, copy, small
from torch import nn

import neural_echos.architectures  # noqa: F401  (registers convmixer_small and hornet_small_images)
from neural_echos import receptive_fields
from neural_echos.kernels import bank_from_model
from neural_echos.structure.kmeans import cluster_bank


@pytest.fixture(scope="session")
def fresh() -> dict[str, tuple[nn.Module, State]]:
    """One model of each family, and its state as timm drew it; `reset` puts that back."""
    torch.manual_seed(0)
    models = {name: timm.create_model(name) for name in FAMILIES}
    return {name: (model, copy(model)) for name, model in models.items()}


@pytest.fixture(scope="session")
def lent() -> dict[str, dict[str, object]]:
    """What borrowing initialisations borrow: tables of a small bank with every size that `small` networks below have."""
    rng = np.random.default_rng(0)
    kernels = {k: receptive_fields.dog(k, rng.uniform(0.2, 0.6, 60), rng.choice([-1, 1], 60)) for k in (3, 5, 7, 9)}
    model = small(*[(60, k) for k in kernels])
    with torch.no_grad():
        for module, drawn in zip(model, kernels.values(), strict=True):
            noise = rng.normal(0, 0.02, drawn.shape)
            module.weight.copy_(
                torch.from_numpy((drawn / np.linalg.norm(drawn, axis=(1, 2))[:, None, None] + noise)[:, None])
            )
    bank = bank_from_model(model, "lender")
    fits, _ = receptive_fields.fit_bank(bank, seed=0, threshold=0.7)
    centroids = cluster_bank(bank, k=3, restarts=2, seed=0, threshold=0.7)[1]
    filters = rng.normal(size=(8, 7, 7))
    return {
        "dog_fitted": {"fits": fits},
        "transfer": {"bank": bank},
        "universal": {"set": "ideal", "resample": True},
        "master_key": {"filters": filters, "resample": True, "a": [-1, 1], "b": {"normal": [0, 0.1]}},
        "clustered": {"centroids": centroids},
    }
