"""Layers whose weights are tied, distributed, flattened, computed or in another form than a Conv2d's."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from neural_echos.errors import EchosError
from neural_echos.initialisations import init_depthwise_, init_pointwise_

DISTRIBUTED = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from neural_echos.initialisations import init_depthwise_, init_pointwise_
from neural_echos.kernels import bank_from_model

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 4, 5, groups=4), nn.Conv2d(4, 7, 1), nn.ReLU(), nn.Conv2d(7, 7, 3, groups=7))

dist.init_process_group("gloo")
model, plain = network(), network()
fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),)))
rows = {"rows": "shuffled", "weights": {"1.weight": torch.arange(28.0).reshape(7, 4, 1, 1).numpy()}}
reports = []
for one in (model, plain):
    reports.append(init_depthwise_(one, "dog", seed=1, share=0.5, scale="match_default", gamma=0.4))
    reports[-1] += init_pointwise_(one, seed=1, **rows)
assert reports[0] == reports[1], reports
assert bank_from_model(model, "m").equals(bank_from_model(plain, "m"))
for (name, ours), theirs in zip(model.named_parameters(), plain.parameters()):
    assert type(ours.data).__name__ == "DTensor"
    assert torch.equal(ours.full_tensor(), theirs), name
    assert ours.requires_grad == theirs.requires_grad
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_a_model_that_fsdp2_distributes_gets_the_kernels_of_one_that_is_not(tmp_path: Path):
    (tmp_path / "script.py").write_text(DISTRIBUTED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launcher, tmp_path / "script.py"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_flattened_weight_is_refused():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Linear(2, 2))
    model[0].weight = nn.Parameter(torch.zeros(36))
    with pytest.raises(
        EchosError, match=r"layer 0: its weight has been flattened to shape \(36,\) .*before it is wrapped$"
    ):
        init_depthwise_(model, "dog", seed=0)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_tied_layers_are_drawn_once_and_report_what_they_have(share):
    model = nn.Sequential(*(nn.Conv2d(4, 4, 5, groups=4) for _ in range(3)))
    alone = nn.Sequential(*(nn.Conv2d(4, 4, 5, groups=4) for _ in range(3)))
    alone.load_state_dict(model.state_dict())
    model[2].weight = model[0].weight
    report = init_depthwise_(model, "kaiming", seed=0, share=share)
    wanted = init_depthwise_(alone, "kaiming", seed=0, share=share)
    assert torch.equal(model[0].weight, alone[0].weight)
    assert torch.equal(model[1].weight, alone[1].weight)
    assert report[:2] == wanted[:2]
    assert report[2].std_after == report[0].std_after == float(model[0].weight.detach().double().std())
    before = model[0].weight.clone()
    init_depthwise_(model, "kaiming", seed=0, share=share)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("normed", [weight_norm, parametrizations.weight_norm, parametrizations.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_a_normed_weight_is_refused_before_any_change(normed):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), normed(nn.Conv2d(4, 4, 3, groups=4)))
    before = model[0].weight.clone()
    with pytest.raises(
        EchosError, match=r"layer 1: its weight is computed from others .*; remove the parametrisation first"
    ):
        init_depthwise_(model, "dog", seed=0)
    assert torch.equal(model[0].weight, before)


def test_a_lazy_layer_is_refused_by_name():
    with pytest.raises(EchosError, match=r"layer '0' is lazy and has no weights yet; run one batch"):
        init_depthwise_(nn.Sequential(nn.LazyConv2d(4, 3, groups=4)), "dog", seed=0)


def test_conditional_convolutions_are_named_and_stay_as_they_are(caplog):
    model = timm.create_model("tf_efficientnet_cc_b0_4e")
    kept = [
        name for name, module in model.named_modules() if type(module).__name__ == "CondConv2d" and "conv_dw" in name
    ]
    before = model.get_submodule(kept[0]).weight.clone()
    with caplog.at_level(logging.WARNING, logger="neural_echos"):
        report = init_depthwise_(model, "dog", seed=0)
    [said] = [one.getMessage() for one in caplog.records]
    assert f"{len(kept)} depthwise layers keep their weights: " in said
    assert all(f"{name} (conditional convolution)" in said for name in kept)
    assert len(kept) == len(report) == 8
    assert torch.equal(model.get_submodule(kept[0]).weight, before)


def test_a_model_of_transposed_depthwise_layers_alone_is_refused_by_their_names():
    model = nn.Sequential(nn.ConvTranspose2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1))
    with pytest.raises(EchosError, match=r"no depthwise .*; these are not supported: 0 \(transposed convolution\)$"):
        init_depthwise_(model, "dog", seed=0)


def test_an_ordinary_model_is_initialised_without_a_warning(caplog):
    init_depthwise_(timm.create_model("test_convnext"), "dog", seed=0)
    init_pointwise_(timm.create_model("test_convnext"), seed=0, rows="own")
    assert not caplog.records
