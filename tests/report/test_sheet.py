"""Sheets of kernels: what a notebook shows of a model, and what is said where the drawing packages are missing."""

import io
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image
from torch import nn

import neural_echos
from neural_echos.commands import main
from neural_echos.errors import EchosError

ROOT = Path(__file__).resolve().parents[2]


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 5, groups=8), nn.Conv2d(8, 8, 7, groups=8))


def test_a_notebook_shows_the_kernels_of_a_model_and_of_its_bank(tmp_path: Path) -> None:
    model = network()
    sheet = neural_echos.show_kernels(model, layer="1")
    assert repr(sheet) == "Sequential: 8 of 8 depthwise kernels in 1 layer, each scaled by its largest tap."
    png, shown = sheet._repr_png_()
    with Image.open(io.BytesIO(png)) as image:
        assert image.width == pytest.approx(shown["width"] * 200 / 96, abs=2)
    bank = neural_echos.bank_from_model(model, "net")
    assert "net: 16 of 16 depthwise kernels in 2 layers" in repr(neural_echos.show_kernels(bank))
    sheet.save(tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(EchosError, match=r"a.bmp: figures are written as .png, .pdf or .svg"):
        sheet.save(tmp_path / "a.bmp")
    with pytest.raises(EchosError, match=r"no depthwise layer matches '3' \(there are 1, 2\)"):
        neural_echos.show_kernels(model, layer="3")


def test_the_drawing_packages_are_an_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"matplotlib", "seaborn"} <= set(extras["figures"]) and "neural-echos[figures]" in extras["workflow"]


class _Without:
    """An importer that lacks a package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("missing", ["matplotlib", "seaborn"])
def test_a_missing_drawing_package_is_one_sentence(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == missing or name.startswith(("neural_echos.artifacts", "neural_echos.report")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(missing), *sys.meta_path])
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy>=2", f'{missing}>=1; extra == "figures"'])
    sentence = (
        f"needs the package {missing}, which is not installed; install it with `pip install 'neural-echos[figures]'`"
    )
    with pytest.raises(EchosError) as caught:
        neural_echos.inspect  # noqa: B018
    assert str(caught.value) == f"neural_echos.inspect {sentence}"
    assert main(["inspect", "bank.parquet"]) == 1
    assert capsys.readouterr().err == f"echos: echos inspect {sentence}\n"


def test_a_package_that_no_extra_brings_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda _: ['matplotlib; extra == "figures"'])
    from neural_echos.errors import missing_package

    assert missing_package(ModuleNotFoundError("no", name="matplotlib_venn"), "it") is None
    monkeypatch.setattr(metadata, "requires", lambda _: None)
    assert missing_package(ModuleNotFoundError("no", name="matplotlib"), "it") is None
