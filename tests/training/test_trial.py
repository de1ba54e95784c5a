"""Before many trainings: a network that does not fit is refused."""

from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from neural_echos.errors import EchosError
from neural_echos.training.trial import WEAK, image_side, try_network

SMALL = {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 16]}
BOTH = {"default": {"scheme": "default"}, "dog": {"scheme": "dog"}}


@pytest.mark.parametrize(
    ("model", "shorter", "side"),
    [
        ("convnext_atto", 500, 224),
        ("convnext_atto", 64, 64),
        ("convnext_atto.d2_in1k", 55, 48),
        ("convnext_atto", 20, 32),
        ("coatnet_0_rw_224", 64, 224),  # takes one size only
    ],
)
def test_the_side_of_images_suits_model_and_images(model: str, shorter: int, side: int) -> None:
    assert image_side(model, shorter) == side


def test_a_network_that_fits_passes(tmp_path: Path) -> None:
    trained = timm.create_model("convnext_atto", num_classes=9, **SMALL)
    save_file(trained.state_dict(), tmp_path / "trained.safetensors")
    given = {"classes": 2, "side": 32, "initialisations": BOTH}
    for checkpoint in (None, tmp_path / "trained.safetensors"):
        assert 0 < try_network("convnext_atto", SMALL, checkpoint=checkpoint, **given) < WEAK  # its layer scale is 1e-6
    scaled = SMALL | {"ls_init_value": 1.0}
    assert try_network("convnext_atto", scaled, checkpoint=None, **given) > WEAK


@pytest.mark.parametrize(
    ("model", "kwargs", "side", "drawn", "told"),
    [
        ("convnext_ato", {}, 32, BOTH, r"did you mean 'convnext_atto'\?"),
        ("resnet10t", {}, 32, BOTH, "resnet10t has no depthwise convolutions"),
        ("convnext_atto", SMALL, 8, BOTH, r"does not accept images of 8×8 pixels \(.*\); choose another side"),
        (
            "convnext_atto",
            SMALL,
            32,
            {"m": {"scheme": "master_key"}},
            "'m' does not fit convnext_atto: .*needs the option filters",
        ),
    ],
)
def test_one_that_does_not_is_refused(
    model: str, kwargs: dict[str, object], side: int, drawn: dict[str, dict[str, str]], told: str
) -> None:
    with pytest.raises(EchosError, match=told):
        try_network(model, kwargs, classes=2, side=side, checkpoint=None, initialisations=drawn)
