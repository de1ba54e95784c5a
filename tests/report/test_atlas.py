"""The atlas: every network of a preset in one table, and the page that a browser searches and sorts."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from browser import needs_chromium, shown
from PIL import Image

from neural_echos import commands
from neural_echos.kernels import bank_from_model
from neural_echos.receptive_fields import dog
from neural_echos.report.atlas import list_networks
from neural_echos.structure.kmeans import cluster_bank
from neural_echos.tables import SCHEMAS, read_table, write_table

ROWS = [
    ("mcunet_in4", "depthwise", "5×5"),
    ("mcunet_in4", "stem", "3×3"),
    ("noise", "regular", "3×3"),
    ("noise", "regular", "1×3"),
]


def networks() -> dict[str, torch.nn.Module]:
    """A network of planted centres, 40 on and 20 off, behind a layer that reads the image; and one of regular noise."""
    rng = np.random.default_rng(0)
    taps = np.concatenate([dog(5, 0.5)[None] * sign for sign in [1.0] * 40 + [-1.0] * 20])
    planted = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(60, 60, 5, groups=60))
    noise = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3), torch.nn.Conv2d(8, 4, (1, 3)))
    with torch.no_grad():
        torch.manual_seed(0)
        planted[1].weight.copy_(torch.from_numpy((taps + rng.normal(0, 0.002, taps.shape))[:, None]))
        for layer in (planted[0], *noise):
            layer.weight.normal_()
    return {"noise": noise, "mcunet_in4": planted}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Banks, clusters and tables of two networks."""
    folder = tmp_path_factory.mktemp("atlas")
    for name, model in networks().items():
        bank = bank_from_model(model, name)
        write_table(folder / f"{name}.bank.parquet", bank, "bank")
        write_table(
            folder / f"{name}.clusters.parquet",
            cluster_bank(bank, k=3, restarts=2, seed=0, threshold=0.7)[0],
            "clusters",
        )
    row = dict.fromkeys(SCHEMAS["structure"].names, 0) | {"trained_on": "", "low": 0.1, "high": 1.0, "resampled": []}
    found = [
        row | {"model": "mcunet_in4", "kind": "depthwise", "role": "trained", "kernel_size": 5, "share": 0.9}
        | {"excitatory_share": 2 / 3, "inhibitory_share": 1 / 3},
        row | {"model": "mcunet_in4", "kind": "stem", "role": "trained", "kernel_size": 3, "share": 0.2},
        row | {"model": "noise", "kind": "regular", "role": "untrained", "kernel_size": 3, "share": 0.05},
    ]  # fmt: skip
    write_table(folder / "structure.parquet", pa.Table.from_pylist(found, SCHEMAS["structure"]), "structure")
    row = dict.fromkeys(SCHEMAS["pattern_shares"].names) | {
        "model": "mcunet_in4",
        "kind": "depthwise",
        "kernel_size": 5,
    }
    row |= {"role": "trained", "trained_on": "imagenet", "threshold": 0.8, "declared": True, "kernels": 60, "layers": 1}
    row |= {"by": "kernel", "low": 0.0, "high": 1.0, "by_training": [0.5]}
    shares = [row | {"shuffled": shuffled, "share": 0.25 if shuffled else 0.75} for shuffled in (False, True)]
    shares += [shares[0] | {"by": "cluster", "share": 0.1}, shares[0] | {"declared": False, "share": 0.1}]
    write_table(folder / "shares.parquet", pa.Table.from_pylist(shares, SCHEMAS["pattern_shares"]), "pattern_shares")
    return folder


def entries(folder: Path) -> list[dict[str, Any]]:
    trained = {"noise": ("untrained", "nothing", ""), "mcunet_in4": ("trained", "imagenet", "MCUNet")}
    return [
        {"model": name, "role": role, "trained_on": data, "family": family, "page": f"{folder / name}.html"}
        | {kind: f"{folder / name}.{kind}.parquet" for kind in ("bank", "clusters")}
        for name, (role, data, family) in trained.items()
    ]


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    options = [
        "--structure",
        folder / "structure.parquet",
        "--shares",
        folder / "shares.parquet",
        "--scale",
        "a <test>",
    ]
    words = ["atlas", json.dumps(entries(folder)), *options, "--output", folder / "index.html"]
    assert commands.main([str(word) for word in words]) == 0
    return (folder / "index.html").read_text(encoding="utf-8")


def test_a_row_says_what_the_tables_say_of_each_kind_and_size(folder: Path) -> None:
    measured = read_table(folder / "structure.parquet", "structure").to_pandas()
    shares = read_table(folder / "shares.parquet", "pattern_shares").to_pandas()
    rows = list_networks(entries(folder), measured, shares)
    assert [*zip(rows.model, rows.kind, rows["size"], strict=True)] == ROWS
    planted, stem, _, flat = (row for _, row in rows.iterrows())
    assert (planted.network, planted.trained_on, planted.family) == ("MCUNet-in4", "ImageNet-1k", "MCUNet")
    assert (planted.kernels, planted.layers, stem.kernels) == (60, 1, 24)
    assert (planted.share, stem.share, planted.named, planted.null_named) == (0.9, 0.2, 0.75, 0.25)
    assert (planted.excitatory, planted.inhibitory) == (2 / 3, 1 / 3)
    assert np.isnan([flat.share, flat.excitatory, stem.named]).all()


def test_typical_kernels_are_those_nearest_to_the_averages_of_their_clusters(folder: Path) -> None:
    rows = list_networks(entries(folder), read_table(folder / "structure.parquet", "structure").to_pandas())
    bank = read_table(folder / "mcunet_in4.bank.parquet", "bank").to_pandas()
    clusters = read_table(folder / "mcunet_in4.clusters.parquet", "clusters").to_pandas()
    mine = clusters[(clusters.clustering == "k=3") & (clusters.kind == "depthwise") & (clusters.cluster == 0)]
    nearest = bank.taps[mine.sort_values("distance").row[:3]]
    assert np.array_equal(rows.typical[0][:3].reshape(3, -1), np.stack(nearest))
    assert rows.named.isna().all()


def test_the_page_links_to_the_networks_and_needs_no_other_file(page: str) -> None:
    assert set(re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)) == {"mcunet_in4.html", "noise.html"}
    strip = re.search(r'<img src="data:image/png;base64,([^"]+)" height="(\d+)"', page)
    assert strip and strip[2] == "24"
    with Image.open(io.BytesIO(base64.b64decode(strip[1]))) as image:
        assert image.size[1] == 6 and not image.size[0] % 6
    assert "a &lt;test&gt;" in page and "90.0 % of trained depthwise kernels" in page
    assert page.count('<tr role="row" data-role') == len(ROWS) == page.count('scope="row"')


@needs_chromium
def test_a_browser_searches_filters_and_sorts_the_rows(page: str, tmp_path: Path) -> None:
    steps = """
      const listed = () => [...document.querySelectorAll("tbody tr")].filter((row) => !row.hidden)
        .map((row) => row.cells[0].innerText.split("\\n")[0] + " " + row.dataset.size).join(", ");
      const told = [];
      const click = (name) => document.querySelector(`button[aria-label^="sort by ${name}"]`).click();
      const enter = (id, value) => {
        const one = document.getElementById(id);
        one.value = value;
        one.dispatchEvent(new Event(id === "search" ? "input" : "change"));
      };
      click("structured"); told.push(listed());
      click("structured"); told.push(listed());
      enter("search", "mcu imagenet"); told.push(listed());
      enter("size", "3×3"); told.push(listed(), document.getElementById("left").innerText);
      enter("search", ""); enter("size", ""); enter("sort", ""); told.push(listed());
      document.title = told.join(" | ") + " | " + (document.documentElement.scrollWidth - innerWidth);"""
    made = shown(page, tmp_path, steps)
    title = re.search(r"<title>(.*?)</title>", made)
    assert title
    falling, rising, searched, filtered, left, again, beyond = title[1].split(" | ")
    assert falling == "MCUNet-in4 5×5, MCUNet-in4 3×3, noise 3×3, noise 1×3"
    assert rising == "noise 3×3, MCUNet-in4 3×3, MCUNet-in4 5×5, noise 1×3"
    assert (searched, filtered, left) == ("MCUNet-in4 3×3, MCUNet-in4 5×5", "MCUNet-in4 3×3", "1 of 4 rows")
    assert again == "MCUNet-in4 5×5, MCUNet-in4 3×3, noise 3×3, noise 1×3"
    assert int(beyond) <= 0


def test_an_atlas_of_nothing_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["atlas", "[]", "--structure", str(folder / "structure.parquet"), "--output", str(tmp_path / "index.html")]
    assert commands.main(words) == 1
    assert "an atlas needs at least one model" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
