"""Weights: the kernels equal the network's effective weights, or the file is refused by name."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from neural_echos.errors import EchosError
from neural_echos.initialisations import init_depthwise_
from neural_echos.kernels import bank_from_checkpoint, bank_from_model, fused_layers_of, layers_of

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


def saved(state: dict, path: Path, **metadata: str) -> Path:
    path = path / "x.safetensors"
    save_file({key: value.detach().contiguous().clone() for key, value in state.items()}, path, metadata or None)
    return path


def pickled(state: object, path: Path) -> Path:
    torch.save(state, path / "x.pth")
    return path / "x.pth"


def kernels(bank: pa.Table, kind: str = "depthwise") -> dict[str, np.ndarray]:
    """Kernels by layer, array (n, kh, kw)."""
    found: dict[str, list[np.ndarray]] = {}
    for row in bank.to_pylist():
        if row["kind"] == kind:
            found.setdefault(row["layer"], []).append(
                np.array(row["taps"], np.float32).reshape(row["kernel_height"], row["kernel_width"])
            )
    return {layer: np.stack(one) for layer, one in found.items()}


def refused(path: Path, **options: object) -> str:
    with pytest.raises(EchosError) as caught:
        bank_from_checkpoint(path, "m", **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def tiny(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {
        "stem.weight": torch.randn(8, 3, 3, 3),
        "a.dw.weight": torch.randn(8, 1, 5, 5),
        "a.pw.weight": torch.randn(16, 8, 1, 1),
        "b.dw.weight": torch.randn(16, 1, 3, 3),
        "b.pw.weight": torch.randn(8, 16, 1, 1),
    }


def took(bank: pa.Table, state: dict[str, torch.Tensor]) -> bool:
    return np.array_equal(next(iter(kernels(bank).values())), state["a.dw.weight"][:, 0].numpy())


def masked(conv: nn.Conv2d) -> nn.Module:
    class Mask(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", (torch.rand(conv.weight.shape) > 0.5).float())

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight * self.mask

    return parametrize.register_parametrization(conv, "weight", Mask())


WAYS: dict[str, Callable[[nn.Conv2d], object]] = {
    "weight_norm of old": weight_norm,
    "weight_norm of old over all": lambda conv: weight_norm(conv, dim=None),
    "weight_norm of old along an input axis": lambda conv: weight_norm(conv, dim=2),
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm of old": spectral_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "pruning": lambda conv: prune.l1_unstructured(conv, "weight", 0.5),
    "mask": masked,
}


@pytest.mark.parametrize("how", [saved, pickled])
@pytest.mark.parametrize("way", WAYS)
def test_reparametrised_weights_are_those_of_the_network(tmp_path, way, how):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 5, groups=8), nn.Conv2d(8, 4, 1))
    WAYS[way](model[1])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith(("_u", "_v")):
                parameter.mul_(1.7)
        model(torch.randn(2, 3, 16, 16))
        model.eval()(torch.randn(2, 3, 16, 16))
    expected = model[1].weight.detach()[:, 0].numpy()
    path = how(model.state_dict(), tmp_path)
    for layers in (None, layers_of(model)):
        found = kernels(bank_from_checkpoint(path, "m", layers=layers))
        assert list(found) == ["1"]
        np.testing.assert_array_equal(found["1"], expected)
    np.testing.assert_array_equal(kernels(bank_from_model(model.train(), "m"))["1"], expected)


def test_extracting_does_not_move_the_power_iteration():
    conv = parametrizations.spectral_norm(nn.Conv2d(8, 8, 3, groups=8))
    before = {key: value.clone() for key, value in conv.state_dict().items()}
    bank_from_model(conv, "m")
    assert conv.training
    assert all(torch.equal(before[key], value) for key, value in conv.state_dict().items())


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"x.weight_v": (8, 1, 3, 3)}, "weight_g is missing"),
        ({"x.weight_g": (8, 1, 1, 1)}, "others are missing"),
        ({"x.weight_mask": (8, 1, 3, 3)}, "others are missing"),
        ({"x.weight_orig": (8, 1, 3, 3)}, "weight_mask is missing"),
        ({"x.weight_orig": (8, 1, 3, 3), "x.weight_u": (8,)}, "weight_v is missing"),
        ({"x.parametrizations.weight.original": (8, 1, 3, 3)}, "does not say how"),
        (
            {"x.parametrizations.weight.original": (8, 1, 3, 3), "x.parametrizations.weight.0.base": (8, 9)},
            "unknown parametrisation",
        ),
        ({"x.weight": (8, 1, 3, 3), "x.weight_mask": (8, 1, 3, 3)}, "plain weight beside weight_mask"),
        ({"x.weight_orig": (8, 1, 3, 3), "x.weight_mask": (8, 1, 1, 1)}, "does not belong to a weight of shape"),
        ({"x.kernel_orig": (8, 1, 3, 3)}, "unknown kind"),
        ({"x.lora_A.weight": (4, 1, 3, 3)}, "LoRA"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(tmp_path, parts, expected):
    said = refused(saved({name: torch.ones(shape) for name, shape in parts.items()}, tmp_path))
    assert expected in said
    assert "x." in said


RAW, EMA = tiny(0), tiny(1)


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


SETS = {
    "two dictionaries": ({"state_dict": RAW, "state_dict_ema": EMA}, EMA, "state_dict", RAW),
    "ema_state_dict": ({"state_dict": RAW, "ema_state_dict": prefixed("module.", EMA)}, EMA, "state_dict", RAW),
    "MMEngine": (
        {"state_dict": EMA, "ema_state_dict": prefixed("module.", RAW) | {"steps": torch.tensor(3)}},
        EMA,
        "ema_state_dict",
        RAW,
    ),
    "ema_model.module.": (prefixed("model.", RAW) | prefixed("ema_model.module.", EMA), EMA, "plain", RAW),
    "ema.": (RAW | prefixed("ema.", EMA), EMA, "plain", RAW),
    "MMCV": (
        EMA | {f"ema_{key.replace('.', '_')}": value for key, value in RAW.items()},
        EMA,
        "ema",
        RAW,
    ),
    "teacher and student": ({"student": RAW, "teacher": EMA}, EMA, "student", RAW),
    "optimiser state": (
        {"model": EMA, "optimizer": {"state": {i: {"exp_avg": v} for i, v in enumerate(RAW.values())}}},
        EMA,
        "model",
        EMA,
    ),
}


@pytest.mark.parametrize("case", SETS)
def test_the_set_that_would_be_evaluated_is_taken_and_another_can_be_named(tmp_path, case, caplog):
    content, default, name, other = SETS[case]
    path = pickled(content, tmp_path)
    with caplog.at_level(logging.INFO):
        bank = bank_from_checkpoint(path, "m")
    assert took(bank, default)
    assert len(kernels(bank)) == 2
    assert ("optimiser state" if case == "optimiser state" else "also in the file: ") in caplog.text
    assert took(bank_from_checkpoint(path, "m", weights=name), other)


def test_a_set_that_is_not_there_is_refused(tmp_path):
    assert "there is no set of weights 'emma'" in refused(pickled({"model": RAW, "ema": EMA}, tmp_path), weights="emma")


def test_sets_of_unknown_roles_are_refused_unless_they_are_equal(tmp_path):
    assert "several sets of weights" in refused(pickled({"one": RAW, "two": EMA}, tmp_path))
    assert took(bank_from_checkpoint(pickled({"one": RAW, "two": RAW}, tmp_path), "m"), RAW)
    assert "several sets of weights" in refused(pickled(RAW | prefixed("module.", EMA), tmp_path))
    assert len(kernels(bank_from_checkpoint(pickled(RAW | prefixed("module.", RAW), tmp_path), "m"))) == 2


def test_two_networks_in_one_file_are_both_kept(tmp_path):
    decoder = {"up.0.dw.weight": torch.randn(4, 1, 7, 7), "up.0.pw.weight": torch.randn(3, 4, 1, 1)}
    found = kernels(bank_from_checkpoint(pickled({"encoder": RAW, "decoder": decoder}, tmp_path), "m"))
    assert list(found) == ["a.dw", "b.dw", "up.0.dw"]


def test_tied_weights_are_counted_once(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        found = kernels(bank_from_checkpoint(pickled(RAW | {"z.dw.weight": RAW["a.dw.weight"]}, tmp_path), "m"))
    assert list(found) == ["a.dw", "b.dw"]
    assert "tied weights (z.dw)" in caplog.text


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "a.{}.", "_fsdp_wrapped_module.", "_forward_module.module."]
)
def test_wrappers_anywhere_in_a_path_are_taken_out(tmp_path, prefix):
    def name(key: str) -> str:
        wrapper = "_checkpoint_wrapped_module._orig_mod"
        return key.replace("a.", prefix.format(wrapper), 1) if "{" in prefix else prefix + key

    found = kernels(bank_from_checkpoint(pickled({name(key): value for key, value in RAW.items()}, tmp_path), "m"))
    assert list(found) == ["a.dw", "b.dw"]


def keras(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        key.replace(".dw.weight", "/depthwise_kernel").replace(".weight", "/kernel"): value.permute(2, 3, 0, 1)
        if ".dw" in key
        else value.permute(2, 3, 1, 0)
        for key, value in state.items()
    }


@pytest.mark.parametrize("metadata", [{}, {"format": "tf"}, {"format": "flax"}, {"format": "keras"}])
def test_the_axes_of_keras_are_brought_into_order(tmp_path, metadata):
    bank = bank_from_checkpoint(saved(keras(RAW), tmp_path, **metadata), "m")
    assert took(bank, RAW)
    np.testing.assert_array_equal(kernels(bank, "regular")["stem"].reshape(8, 3, 3, 3), RAW["stem.weight"].numpy())


def test_several_kernels_of_a_channel_in_keras(tmp_path):
    kernel = torch.randn(3, 3, 4, 2)
    state = {"stem/kernel": torch.randn(3, 3, 3, 4), "x/depthwise_kernel": kernel}
    found = kernels(bank_from_checkpoint(saved(state, tmp_path, format="tf"), "m"))["x"]
    for channel in range(4):
        for m in range(2):
            np.testing.assert_array_equal(found[2 * channel + m], kernel[:, :, channel, m].numpy())


@pytest.mark.parametrize("metadata", [{}, {"format": "mlx"}])
def test_the_axes_of_mlx_are_brought_into_order(tmp_path, metadata):
    state = {key: value.permute(0, 2, 3, 1) for key, value in RAW.items()}
    assert took(bank_from_checkpoint(saved(state, tmp_path, **metadata), "m"), RAW)


def test_metadata_that_contradicts_the_shapes_is_refused(tmp_path):
    assert "shapes as in PyTorch" in refused(saved(RAW, tmp_path, format="mlx"))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "convnext_atto", "resnet10t", "test_convnext"])
def test_the_stem_of_a_grey_network_is_regular(tmp_path, name):
    model = timm.create_model(name, in_chans=1)
    for path in (pickled(model.state_dict(), tmp_path), saved(model.state_dict(), tmp_path)):
        bank = bank_from_checkpoint(path, "m")
        expected = {layer.name for layer in layers_of(model) if layer.kind == "depthwise"}
        assert set(kernels(bank)) == expected


def test_what_is_not_a_kernel_is_counted_with_the_reason(tmp_path, caplog):
    row = torch.tensor([1.0, 2, 1])
    state = RAW | {
        "a.filt": (row[:, None] * row).expand(8, 1, 3, 3),
        "a.blur.kernel": (row[:, None] * row).expand(8, 1, 3, 3),
        "a.grn.gamma": torch.randn(1, 1, 1, 96),
        "pos_embed": torch.randn(1, 14, 14, 32),
        "filter.complex_weight": torch.randn(14, 8, 32, 2),
        "attn_mask": torch.ones(1, 8, 7, 7),
        "relative_coords_table": torch.randn(1, 13, 13, 2),
    }
    with caplog.at_level(logging.INFO):
        found = kernels(bank_from_checkpoint(saved(state, tmp_path), "m"))
    assert list(found) == ["a.dw", "b.dw"]
    for name in ("a.filt", "a.blur", "a.grn.gamma", "pos_embed", "complex_weight", "attn_mask"):
        assert name in caplog.text
    assert "2 depthwise layers (16 3×3, 8 5×5 kernels)" in caplog.text


def test_complex_weights_are_refused(tmp_path):
    assert "complex" in refused(pickled({"a.weight": torch.randn(8, 1, 3, 3, dtype=torch.complex64)}, tmp_path))


@pytest.mark.parametrize("how", [saved, pickled])
@pytest.mark.parametrize("part", ["weight_scale", "weight_scale_inv", "weight.scale"])
@pytest.mark.parametrize("shape", [(6, 1, 1, 1), (6,), (1,), ()])
def test_scales_of_float8_multiply(tmp_path, how, part, shape):
    torch.manual_seed(0)
    stored, scale = torch.randn(6, 1, 3, 3).to(torch.float8_e4m3fn), torch.rand(shape) + 0.5
    found = kernels(bank_from_checkpoint(how({"a.weight": stored, f"a.{part}": scale}, tmp_path), "m"))["a"]
    spread = scale.reshape(-1, 1, 1) if scale.numel() > 1 else scale.reshape(())
    np.testing.assert_allclose(found, (stored.float()[:, 0] * spread).numpy(), rtol=1e-6)


def test_scales_of_blocks(tmp_path):
    stored, scale = torch.randn(256, 1, 3, 3).to(torch.float8_e4m3fn), torch.tensor([2.0, 3.0]).reshape(2, 1, 1, 1)
    found = kernels(bank_from_checkpoint(saved({"a.weight": stored, "a.weight_scale_inv": scale}, tmp_path), "m"))["a"]
    np.testing.assert_allclose(found, (stored.float() * scale.repeat_interleave(128, 0))[:, 0].numpy(), rtol=1e-6)


def test_names_of_the_authors_are_matched_by_order_and_shape(tmp_path, caplog):
    torch.manual_seed(0)
    model = timm.create_model("test_convnext")

    def name(key: str) -> str:
        key = re.sub(r"stages\.(\d)\.blocks\.(\d+)\.conv_dw", r"stages.\1.\2.dwconv", key)
        return re.sub(r"stages\.(\d)\.downsample", r"downsample_layers.\1", key).replace(
            "stem.", "downsample_layers.0."
        )

    expected = bank_from_model(model, "m")
    for how in (saved, pickled):
        path = how({name(key): value for key, value in model.state_dict().items()}, tmp_path)
        with caplog.at_level(logging.INFO):
            assert bank_from_checkpoint(path, "m", layers=layers_of(model)).equals(expected)
    assert "matched by order and shape" in caplog.text


def test_fused_branches_belong_to_the_same_model(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("repvgg_a0").eval()
    fused = timm.utils.reparameterize_model(model)
    path = saved(fused.state_dict(), tmp_path)
    bank = bank_from_checkpoint(path, "m", layers=layers_of(model), fused=lambda: fused_layers_of(model))
    assert bank.equals(bank_from_model(fused, "m"))


def test_conditional_convolutions_are_named(tmp_path, caplog):
    conv = timm.layers.CondConv2d(8, 8, 3, groups=8)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), conv)
    with caplog.at_level(logging.INFO):
        bank_from_model(model, "m")
    assert "1 conditional convolutions" in caplog.text


def test_layers_without_values_are_one_sentence():
    with pytest.raises(EchosError, match="layer '0' is lazy"):
        layers_of(nn.Sequential(nn.LazyConv2d(8, 3)))
    with pytest.raises(EchosError, match="meta device"):
        bank_from_model(nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, device="meta")), "m")


def test_long_rectangles_stay_as_they_lie(tmp_path):
    weight = torch.randn(8, 1, 51, 5)
    torch.save({"dwconv.weight": weight}, tmp_path / "c.pth")
    bank = bank_from_checkpoint(tmp_path / "c.pth", "m").to_pydict()
    assert (bank["kind"][0], bank["kernel_height"][0], bank["kernel_width"][0]) == ("depthwise", 51, 5)
    np.testing.assert_array_equal(np.array(bank["taps"], np.float32), weight.numpy().reshape(8, -1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_module_in_memory_is_refused():
    module = torch.jit.script(torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4)))
    for use in (lambda: bank_from_model(module, "m"), lambda: init_depthwise_(module, "dog", seed=0)):
        with pytest.raises(EchosError, match="TorchScript module, whose layers cannot be identified"):
            use()
