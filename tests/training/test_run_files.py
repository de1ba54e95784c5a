"""What a run is made from, and what identifies it: functions of training/runs.py that read files."""

import json
from pathlib import Path

import pytest

from neural_echos.errors import EchosError
from neural_echos.training.runs import kernel_size_of, read_initial, run_key, trained_weights


def test_a_run_key_depends_on_content_not_on_order():
    key = run_key({"seed": 0, "recipe": {"epochs": 2, "lr": 0.1}})
    assert key == run_key({"recipe": {"lr": 0.1, "epochs": 2}, "seed": 0})
    assert key != run_key({"recipe": {"lr": 0.1, "epochs": 2}, "seed": 1})
    # Checkpoints that lie on disk are found by this key: it must not change.
    assert key == "24c653e15f4a19c19770b26d548c555d77c2c52fbb31ee170623aafdd7b976ef"


def test_initial_weights_need_the_json_beside_them(tmp_path: Path):
    made = {"model": "m", "kwargs": {}, "seed": 0, "layers": [], "did": []}
    path = tmp_path / "seed0.json"
    path.write_text(json.dumps(made))
    assert read_initial(tmp_path / "seed0.safetensors") == made
    path.write_text(json.dumps({key: made[key] for key in ("model", "kwargs", "did")}))
    with pytest.raises(
        EchosError, match=r"seed0\.json: not written by echos initialise: no layers, seed; run echos initialise again"
    ):
        read_initial(tmp_path / "seed0.safetensors")


def test_a_run_without_metrics_is_not_finished(tmp_path: Path):
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(EchosError, match="not a finished run with its weights; train it first"):
        trained_weights(tmp_path)
    (tmp_path / "metrics.json").touch()
    assert trained_weights(tmp_path) == tmp_path / "weights.safetensors"


def test_the_largest_depthwise_kernels_give_the_kernel_size():
    layers = [
        {"kind": kind, "kernel_height": size} for kind, size in (("regular", 7), ("depthwise", 3), ("depthwise", 5))
    ]
    assert kernel_size_of(layers) == 5
    assert kernel_size_of(layers[:1]) == 7
