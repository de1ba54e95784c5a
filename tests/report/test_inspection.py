"""Inspection of one network: its measures on planted kernels, its page in a real browser, and its command."""

import base64
import io
import json
import re

import numpy as np
import pytest
import timm
import torch
from browser import needs_chromium, shown
from PIL import Image

import neural_echos
from neural_echos import commands
from neural_echos.errors import EchosError
from neural_echos.kernels import bank_from_model
from neural_echos.receptive_fields import dog
from neural_echos.report.inspection import inspect, offsets
from neural_echos.report.inspection_page import page
from neural_echos.tables import write_table

CENTRES, NOISE = "centres", "noise"


@pytest.fixture(scope="module")
def network():
    """Two depthwise layers of 5×5, one of DoGs with a little noise and one of noise, and a regular one."""
    rng = np.random.default_rng(0)
    model = torch.nn.Sequential()
    for name in (CENTRES, NOISE):
        model.add_module(name, torch.nn.Conv2d(120, 120, 5, padding=2, groups=120))
    model.add_module("mixing", torch.nn.Conv2d(120, 4, 3))
    centre = np.concatenate([dog(5, 0.5)[None] * sign for sign in [1.0] * 90 + [-1.0] * 30])
    taps = {
        CENTRES: centre / np.abs(centre).max() + rng.normal(0, 0.02, centre.shape),
        NOISE: rng.normal(size=centre.shape),
    }
    with torch.no_grad():
        for name, values in taps.items():
            model.get_submodule(name).weight.copy_(torch.from_numpy(values[:, None]))
    return model


@pytest.fixture(scope="module")
def found(network):
    return inspect(network, name="planted", seed=1)


def test_planted_centres_are_structured_and_noise_is_not(found):
    layers = found.layers.set_index("layer")
    assert list(layers.index) == [CENTRES, NOISE]
    assert layers.structured[CENTRES] == 1.0
    assert layers.structured[NOISE] < 0.15
    assert layers.on_centre[CENTRES] == 0.75
    assert layers.gamma[CENTRES] == pytest.approx(0.5, abs=0.05)
    assert layers.named[CENTRES] > 0.95
    assert found.sizes.structured[0] == pytest.approx((layers.structured * layers.kernels).sum() / 240)
    assert set(found.clusters.name) >= {"excitatory", "inhibitory"}


def test_the_untrained_control_leaves_model_and_random_numbers_alone(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    layers = inspect(network).layers
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert (layers.untrained < 0.15).all()


def test_broken_kernels_are_counted_and_most_typical_ones_come_first(network):
    broken = torch.nn.Sequential()
    broken.add_module(CENTRES, torch.nn.Conv2d(120, 120, 5, groups=120))
    with torch.no_grad():
        broken.centres.weight.copy_(network.centres.weight)
        broken.centres.weight[3] = torch.nan
        broken.centres.weight[4] = 0.0
        broken.centres.weight[5] *= 1e-3
    found = inspect(bank_from_model(broken, "broken"))
    states = found.kernels.set_index("channel").state
    assert (states[3], states[4], states[5]) == ("not finite", "zero or constant", "almost dead")
    assert found.layers.dropped[0] == 2
    assert found.layers.almost_dead[0] == 1
    assert set(found.kernels.channel[-2:]) == {3, 4}
    assert "architecture is unknown" in found.untrained


def test_a_network_without_a_usable_kernel_says_so():
    dead = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 5, groups=4))
    torch.nn.init.zeros_(dead[0].weight)
    told = page(inspect(bank_from_model(dead, "dead")))
    assert "None of its kernels is usable, so none was compared with a Difference of Gaussians." in told


def test_without_depthwise_kernels_regular_ones_are_shown_those_of_the_stem_apart():
    torch.manual_seed(0)
    found = inspect(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3)), name="resnet50v2")
    assert found.kind == "regular"
    assert dict(zip(found.sizes["size"], found.sizes.kernels, strict=True)) == {"3×3": 64, "3×3 stem": 24}
    assert list(found.layers["size"]) == ["3×3 stem", "3×3"]
    assert "resnet50v2" not in set(found.zoo.model) and set(found.zoo["size"]) == {"3×3", "3×3 stem"}
    told = page(found, "index.html")
    assert "of its 3×3 stem kernels resemble" in told and "<h1>ResNet-50 v2" in told and '<a href="index.html">' in told


def test_offsets_are_those_of_the_centre_of_mass():
    kernels = np.zeros((2, 3, 5))
    kernels[0, 1, 2], kernels[1, 1, 4] = -2.0, 1.0
    assert offsets(kernels).tolist() == [0.0, 2.0]


def test_the_page_needs_no_other_file_and_shows_every_kernel(found, tmp_path):
    found.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    numbers = json.loads(re.search(r'<script id="numbers" type="application/json">(.*?)</script>', page, re.S)[1])
    assert len(numbers["channel"]) == 240
    assert numbers["channel"] == found.kernels.channel.tolist()
    sheets = re.findall(r'<img class="mosaic" src="data:image/png;base64,([^"]+)"', page)
    first = Image.open(io.BytesIO(base64.b64decode(sheets[0])))
    assert first.size == (48 * 6, 3 * 6)
    corner = np.asarray(first.convert("RGB"), int)[:5, :5]
    largest = found.kernels.taps[0][2, 2]
    red, blue = corner[2, 2, 0], corner[2, 2, 2]
    assert (red > blue) == (largest > 0)
    assert "iframe" in found._repr_html_()


@needs_chromium
def test_a_browser_filters_layers_and_shows_the_numbers_of_a_kernel(found, tmp_path):
    found.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    steps = """
      layer.value = "noi"; layer.dispatchEvent(new Event("input"));
      const image = document.querySelectorAll("img.mosaic")[1], box = image.getBoundingClientRect();
      image.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: box.left + 25, clientY: box.top + 5}));"""
    made = shown(page, tmp_path, steps)
    assert "1 of 2 layers" in made
    second = found.kernels[found.kernels.layer == NOISE].iloc[1]
    assert re.search(rf'<div id="hint"[^>]*>channel {second.channel}, input 0|channel {second.channel}<br>', made)


def test_the_command_makes_the_page_of_a_checkpoint_beside_its_untrained_layers(tmp_path, capsys):
    torch.manual_seed(0)
    weights, page = tmp_path / "small.pth", tmp_path / "small.html"
    torch.save(timm.create_model("mobilenetv2_035", num_classes=10).state_dict(), weights)
    assert commands.main(["inspect", str(weights), "--timm", "mobilenetv2_035", "--output", str(page)]) == 0
    assert "3×3 depthwise kernels" in capsys.readouterr().err
    assert "mobilenetv2_035 with timm&#39;s initial weights" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--output", "page.pdf"], "page.pdf: the page is an .html file"),
        (["--output", "page.html", "--kind", "regular"], "it has only depthwise kernels"),
        (["--output", "page.html", "--threshold", "2"], "threshold must be a cosine in [0, 1], not 2.0"),
    ],
)
def test_what_cannot_be_inspected_is_said_in_one_sentence(network, tmp_path, monkeypatch, capsys, options, sentence):
    monkeypatch.chdir(tmp_path)
    depthwise = torch.nn.Sequential()
    depthwise.add_module(CENTRES, network.centres)
    write_table(tmp_path / "bank.parquet", bank_from_model(depthwise, "net"), "bank")
    assert commands.main(["inspect", "bank.parquet", *options]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_it_is_a_public_name():
    assert neural_echos.inspect is inspect
    with pytest.raises(EchosError, match="nowhere"):
        inspect("nowhere.pth")
