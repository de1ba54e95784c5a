"""Kernels copied from a bank layer by layer or with shuffled taps, and frozen by depth."""

import numpy as np
import pytest
from torch import nn

from mixers import depthwise, network, trainable
from neural_echos.errors import EchosError
from neural_echos.initialisations import init_depthwise_
from neural_echos.kernels import bank_from_model


def test_by_layer_copies_every_channel_and_depths_freeze_the_first_layers_only():
    source, target = network(0), network(1)
    theirs, before, names = depthwise(source), depthwise(target), trainable(target)
    given = {"bank": bank_from_model(source, "s"), "by_layer": True, "frozen": True}
    report = init_depthwise_(target, "transfer", seed=0, depths=[0, 0.34], **given)
    for place, kernels in enumerate(depthwise(target)):
        np.testing.assert_array_equal(kernels, theirs[place] if place < 2 else before[place])
    frozen = {f"{entry.layer}.weight" for entry in report}
    assert names - trainable(target) == frozen
    assert len(frozen) == 2
    assert {f"{entry.layer}.bias" for entry in report} <= trainable(target)


def test_shuffled_taps_keep_the_values_of_every_kernel_and_lose_its_form():
    source, target = network(0), network(1)
    init_depthwise_(target, "transfer", seed=3, bank=bank_from_model(source, "s"), by_layer=True, taps="shuffled")
    for theirs, ours in zip(depthwise(source), depthwise(target), strict=True):
        np.testing.assert_array_equal(*(np.sort(one.reshape(len(one), -1)) for one in (theirs, ours)))
        assert (theirs != ours).mean() > 0.8


def test_by_layer_takes_the_same_channels_where_only_a_share_is_replaced():
    source, target = network(0), network(1)
    before = depthwise(target)
    init_depthwise_(target, "transfer", seed=0, bank=bank_from_model(source, "s"), by_layer=True, share=0.5)
    for theirs, mine, ours in zip(depthwise(source), before, depthwise(target), strict=True):
        copied = (ours == theirs).all(axis=(1, 2, 3))
        assert copied.sum() == 6
        np.testing.assert_array_equal(ours[~copied], mine[~copied])


def test_another_kernel_size_is_resampled_only_when_asked():
    bank = bank_from_model(network(0, kernel_size=7), "s")
    with pytest.raises(EchosError, match=r"the bank's layer .* has 7×7 kernels, not 5×5; .*set resample"):
        init_depthwise_(network(1), "transfer", seed=0, bank=bank, by_layer=True)
    target = network(1)
    init_depthwise_(target, "transfer", seed=0, bank=bank, by_layer=True, resample=True)
    for theirs, ours in zip(depthwise(network(0, kernel_size=7)), depthwise(target), strict=True):
        np.testing.assert_allclose(*(np.linalg.norm(one, axis=(2, 3)) for one in (theirs, ours)), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"by_layer": True, "taps": "mixed"}, "taps must be one of kept, shuffled, not 'mixed'"),
        ({"depths": [0.5, 0.2]}, "depths must be [low, high] with 0 ≤ low ≤ high ≤ 1, not [0.5, 0.2]"),
        ({"depths": [0.4, 0.6]}, "has no layer at a depth from 0.4 to 0.6, only 0, 0.333, 0.667, 1"),
    ],
)
def test_what_cannot_be_transferred_is_one_sentence(options, expected):
    bank = bank_from_model(network(0), "s")
    with pytest.raises(EchosError) as told:
        init_depthwise_(network(1), "transfer", seed=0, bank=bank, **options)
    assert expected in str(told.value)


def test_a_bank_of_another_architecture_needs_a_draw_by_depth():
    bank = bank_from_model(network(0, "convnext_small_images", kernel_size=5), "s")
    with pytest.raises(
        EchosError, match=r"by_layer needs 12 kernels of layer 'blocks.0.0.fn.0', which is not in the bank \(stages"
    ):
        init_depthwise_(network(1), "transfer", seed=0, bank=bank, by_layer=True)
    target = network(1)
    init_depthwise_(target, "transfer", seed=0, bank=bank)
    known = {
        row.tobytes()
        for row in np.array(bank.filter(bank["kind"].to_numpy() == "depthwise")["taps"].to_pylist(), np.float32)
    }
    assert all(kernel.tobytes() in known for layer in depthwise(target) for kernel in layer)


def test_freezing_everything_is_refused_and_changes_nothing():
    alone = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, bias=False))
    before = depthwise(alone)
    with pytest.raises(EchosError, match="all parameters would be frozen, leaving nothing to train; freeze fewer"):
        init_depthwise_(alone, "kaiming", seed=0, frozen=True)
    np.testing.assert_array_equal(before[0], depthwise(alone)[0])
    assert trainable(alone) == {"0.weight"}
