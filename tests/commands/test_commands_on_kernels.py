"""Kernels by hand: extract, survey, show, fit, cluster and structure."""

import re
from pathlib import Path

import pytest
from by_hand import echos, under

from neural_echos.files import write_json
from neural_echos.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "mobilenet_v2_w035_imagenet.depthwise.safetensors"


def test_show_draws_the_kernels_of_a_layer(trained, tmp_path, capsys):
    weights = trained / "dog" / "0.safetensors"
    assert echos("extract", weights, "--model", "digits-net", "--output", tmp_path / "bank.parquet") == 0
    capsys.readouterr()
    assert echos("show", tmp_path / "bank.parquet", "--layer", "blocks.0.*", "--output", tmp_path / "a.png") == 0
    assert "digits-net: 16 of 16 depthwise kernels in 1 layer," in capsys.readouterr().err
    for suffix in ("png", "pdf", "svg"):
        assert echos("show", weights, "--output", tmp_path / f"b.{suffix}") == 0
        assert (tmp_path / f"b.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "show bank.parquet --layer blocks.7.* --output x.png",
            "layer matches 'blocks.7.*' (did you mean 'blocks.",
        ),
        (
            "show bank.parquet --kind regular --layer blocks.* --output x.png",
            "no regular layer matches 'blocks.*'",
        ),
        ("show bank.parquet --output x.jpeg", "x.jpeg: figures are written as .png, .pdf or .svg"),
        ("show absent.parquet --output x.png", "absent.parquet: there is no such bank table"),
        (
            "show good.json --output x.png",
            "good.json: this JSON file has no `weight_map`, so it is not the index of a checkpoint",
        ),
        ("show convnext_tine --output x.png", "did you mean 'convnext_tiny'?"),
        ("show convmixer_small --output x.png", "no pretrained weights on the hub"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(desk, capsys, command, expected):
    capsys.readouterr()
    assert echos(*command.split()) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"echos: [^\n]+\n", said)
    assert expected in said
    assert not list(desk.glob("x.*"))


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="needs the data folder beside the checkout (../shared/data)")
def test_real_kernels_walk_from_extract_to_structure(tmp_path, capsys):
    bank, fits, clusters, centroids, found = (tmp_path / f"{n}.parquet" for n in ("bank", "fits", "cl", "ce", "st"))
    assert echos("extract", WEIGHTS, "--model", "mobilenet", "--output", bank) == 0
    assert echos("fit", bank, "--output", fits) == 0
    assert echos("cluster", bank, "--restarts", 2, "--centroids", centroids, "--output", clusters) == 0
    entry = {"model": "mobilenet", "role": "trained", "trained_on": "imagenet"}
    write_json(tmp_path / "models.json", [{**entry, "bank": str(bank), "clusters": str(clusters)}])
    assert echos("structure", f"@{tmp_path / 'models.json'}", "--output", found) == 0
    (row,) = read_table(found, "structure").to_pylist()
    assert (row["kernels"], row["kernel_size"], row["layers"]) == (2605, 3, 17)  # three kernels are zero
    assert row["low"] > 0.05  # trained kernels have more structure than shuffled ones
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"echos: {WEIGHTS}: 17 depthwise layers (2,608 3×3 kernels)"
    assert "'dropped_zero': 3" in said[1]
    assert "'clustered': 2605" in said[2]
    assert all(line.startswith("echos: ") for line in said)


def test_a_bank_of_a_run_takes_its_layers_from_the_json_beside_the_initial_weights(trained, tmp_path):
    weights = trained / "runs" / "dog" / "0" / "weights.safetensors"
    bank = tmp_path / "bank.parquet"
    layers = ["--layers", trained / "dog" / "0.json"]
    assert echos("extract", weights, "--model", "m", *layers, "--regular-per-layer", 10, "--output", bank) == 0
    table = read_table(bank, "bank").to_pandas()
    assert table.kind.value_counts().to_dict() == {"depthwise": 32, "regular": 10}
    assert set(table[table.kind == "regular"].stride) == {2}


def test_the_same_command_writes_the_same_bytes(trained, tmp_path):
    weights = trained / "dog" / "0.safetensors"
    for name in "ab":
        folder = tmp_path / name
        assert echos("extract", weights, "--model", "m", "--output", folder / "bank.parquet") == 0
        assert echos("fit", folder / "bank.parquet", "--output", folder / "fits.parquet") == 0
        made = ["--restarts", 2, "--centroids", folder / "ce.parquet", "--output", folder / "cl.parquet"]
        assert echos("cluster", folder / "bank.parquet", *made) == 0
    assert under(tmp_path / "a") == under(tmp_path / "b")
    assert len(under(tmp_path / "a")) == 4


def test_a_survey_writes_its_table_and_its_page(tmp_path, monkeypatch):
    from neural_echos.kernels import survey

    monkeypatch.setattr(survey, "_architectures", lambda: ["convmixer_768_32", "vgg11"])
    assert echos("survey", "--page", tmp_path / "zoo.md", "--output", tmp_path / "survey.csv") == 0
    table = survey.read_survey(tmp_path / "survey.csv")
    assert table["architecture"].to_pylist() == ["convmixer_768_32"]
    assert "| convmixer | 1 | 1 | 7×7 24,576 | mit |" in (tmp_path / "zoo.md").read_text(encoding="utf-8")
