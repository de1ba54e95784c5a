"""Survey: the shipped table belongs to the pinned timm and agrees with a fresh walk; pages and errors."""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import timm
import torch

from neural_echos.errors import EchosError
from neural_echos.kernels import layers_of
from neural_echos.kernels.survey import read_survey, render_page, survey, write_survey
from neural_echos.tables import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "config" / "survey.csv"


@pytest.fixture(scope="module")
def shipped() -> pa.Table:
    return read_survey(SHIPPED)


def test_the_shipped_table_belongs_to_the_pinned_timm(shipped):
    pinned = re.search(r"^timm==([\w.]+)$", (ROOT / "envs" / "requirements.in").read_text(), re.MULTILINE)
    assert set(shipped["timm"].to_pylist()) == {pinned[1]} == {timm.__version__}
    assert SHIPPED.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    "name",
    [
        "convnext_tiny",
        "coat_tiny",  # shared modules
        "mobileone_s0",  # branches that are not fused
        "inception_next_atto",  # k×1 and 1×k
        "efficientnet_cc_b0_4e",  # CondConv
        "vovnet57a",  # no depthwise kernel
    ],
)
def test_a_fresh_walk_agrees_with_the_shipped_rows(shipped, name):
    assert survey([name]).to_pylist() == [row for row in shipped.to_pylist() if row["architecture"] == name]


def test_the_shipped_table_lists_every_pretrained_tag_once_and_its_licence(shipped):
    rows = shipped.to_pandas()
    assert not rows.duplicated(["architecture", "tag"]).any()
    known = {name for name in timm.list_pretrained() if name.partition(".")[0] in set(rows.architecture)}
    named = rows[rows.tag.notna()]
    assert set(named.architecture + "." + named.tag) == known
    for row in named.itertuples():
        stated = timm.get_pretrained_cfg(f"{row.architecture}.{row.tag}")
        assert (row.licence if isinstance(row.licence, str) else None) == stated.license


def test_the_shipped_numbers_are_consistent(shipped):
    for row in shipped.to_pylist():
        sizes = dict(part.split(":") for part in row["kernels_by_size"].split())
        assert sum(map(int, sizes.values())) == row["kernels"] > 0
        assert max(int(side) for size in sizes for side in size.split("x")) == row["largest"]
        assert 0 < row["layers"] <= row["kernels"] < row["parameters"]


def test_kernel_counts_are_those_that_the_papers_state(shipped):
    kernels = dict(zip(shipped["architecture"].to_pylist(), shipped["kernels"].to_pylist(), strict=True))
    stated = {
        "convnext_base": 18_048,
        "convnextv2_tiny": 6_624,
        "convmixer_768_32": 24_576,
        "convmixer_1536_20": 30_720,
    }
    assert {name: kernels[name] for name in stated} == stated


def test_the_page_is_what_the_shipped_table_says(shipped):
    assert (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8") == render_page(shipped)


def test_a_survey_comes_back_and_opens_in_pandas(tmp_path):
    table = survey(["convmixer_768_32", "cspdarknet53", "gcvit_tiny", "cs3se_edgenet_x"])
    write_survey(tmp_path / "x.csv", table)
    assert read_survey(tmp_path / "x.csv").equals(table)
    assert list(pd.read_csv(tmp_path / "x.csv").columns) == SCHEMAS["survey"].names
    write_survey(tmp_path / "empty.csv", SCHEMAS["survey"].empty_table())
    assert read_survey(tmp_path / "empty.csv").num_rows == 0


def test_initialisation_works_again_after_a_survey():
    survey(["lcnet_035"])
    assert torch.ones(3).mul_(2).tolist() == [2, 2, 2]
    model = timm.create_model("lcnet_035")
    assert all(model.get_submodule(layer.name).weight.std() > 0 for layer in layers_of(model))


def test_an_architecture_that_cannot_be_built_is_left_out_by_name(caplog):
    assert survey(["convnext_tny"]).num_rows == 0
    assert "skipped: architecture: 'convnext_tny' is not a model of timm" in caplog.text
    assert "'convnext_tny'" in caplog.text


@pytest.mark.parametrize("text", [None, "", "a,b\n1,2\n", "\x00\xff", "family\nx\n"])
def test_what_is_no_survey_is_one_sentence(tmp_path, text):
    path = tmp_path / "x.csv"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(EchosError) as caught:
        read_survey(path)
    assert str(caught.value).startswith((f"{path}: cannot be read as a CSV survey", f"{path}: the columns are "))
    assert "\n" not in str(caught.value)
