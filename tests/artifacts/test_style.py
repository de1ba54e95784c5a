"""The style of figures: the project's own, whatever the user's Matplotlib settings, which stay as they are."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pytest
import seaborn as sns

from neural_echos.artifacts.receptive_fields import dog_profile
from neural_echos.artifacts.style import canvas, drawing, save_figure
from neural_echos.tables import SCHEMAS, write_table

USERS = """font.family: serif
savefig.dpi: 30
figure.facecolor: yellow
savefig.transparent: True
image.interpolation: bicubic
image.cmap: jet
savefig.bbox: tight
svg.fonttype: none
pdf.compression: 0
axes.unicode_minus: False
axes.prop_cycle: cycler("color", ["red"])
"""


def settings() -> dict[str, object]:
    """Matplotlib's settings now, but for the backend, which is resolved when somebody looks."""
    return {name: value for name, value in mpl.rcParams.copy().items() if name != "backend"}


def profile(folder: Path) -> list[bytes]:
    """Draw a figure and save it in every format; return the bytes."""
    profile = dog_profile(7, 0.5)
    with drawing():
        figure, axes = canvas(1, 1, (3.5, 2.4))
        sns.lineplot(profile, x="distance", y="weight", hue="centre", style="part", errorbar=None, ax=axes[0, 0])
        axes[0, 0].set_title("A profile: −1")
    for suffix in ("png", "pdf", "svg"):
        save_figure(figure, folder / f"a.{suffix}")
    return [(folder / f"a.{suffix}").read_bytes() for suffix in ("png", "pdf", "svg")]


def test_settings_of_the_session_change_no_byte_of_a_figure_and_come_back(tmp_path):
    plain = profile(tmp_path)
    (tmp_path / "users").write_text(USERS)
    with mpl.rc_context(fname=tmp_path / "users"):
        mpl.rcParams["text.usetex"] = True  # which would need LaTeX
        before = settings()
        assert profile(tmp_path) == plain
        assert settings() == before


def test_settings_come_back_after_an_error():
    before = settings()
    with pytest.raises(ZeroDivisionError), drawing():
        assert mpl.rcParams["font.size"] == 8
        raise ZeroDivisionError
    assert settings() == before


def bank(path: Path) -> Path:
    row = {name: None for name in SCHEMAS["bank"].names}
    row |= {"model": "m", "layer": "a", "kind": "depthwise", "layer_index": 0, "depth": 0.0, "channel": 0}
    rows = [
        row | {"kernel_height": 3, "kernel_width": 3, "channel": place, "taps": np.arange(9.0) - place}
        for place in range(4)
    ]
    write_table(path, pa.Table.from_pylist(rows, schema=SCHEMAS["bank"]), "bank")
    return path


@pytest.mark.parametrize(
    ("users", "environment"),
    [
        ("text.usetex: True", {}),
        (USERS, {}),
        ("", {"MPLBACKEND": "nonsense"}),
        ("", {"LC_ALL": "C", "LANG": "C"}),
    ],
)
def test_a_command_draws_the_same_bytes_for_every_user(tmp_path, users, environment):
    command = [sys.executable, "-m", "neural_echos", "show", bank(tmp_path / "bank.parquet"), "--output"]
    (tmp_path / "matplotlibrc").write_text(users)
    given = {"plain": {}, "users": {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), **environment}}
    sums = set()
    for name, changes in given.items():
        figure = tmp_path / f"{name}.svg"
        subprocess.run([*command, figure], check=True, env={**os.environ, **changes}, capture_output=True)
        sums.add(hashlib.sha256(figure.read_bytes()).hexdigest())
    assert len(sums) == 1
