"""Figures on a page: what is embedded, how large it is, and where it may be cut."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neural_echos.report.pictures import picture_of


def test_the_smaller_of_svg_and_png_is_embedded_and_a_large_one_reduced(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 1800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.svg").write_text("<svg/>")
    assert picture_of(tmp_path / "a", 10, 200).source.startswith("data:image/svg+xml;base64,")
    (tmp_path / "a.svg").write_bytes(noise.tobytes() * 2)
    whole, reduced = (picture_of(tmp_path / "a", most, 200) for most in (10**9, 200_000))
    assert whole.source.startswith("data:image/png") and reduced.source.startswith("data:image/png")
    assert len(reduced.source) < 200_000 * 4 / 3 + 30 < len(whole.source)
    assert whole.width == reduced.width == 1080  # 9 inches


@pytest.mark.parametrize(
    ("ink", "cut"),
    [
        ([(0, 95), (105, 200)], 0.5),
        ([(0, 60), (90, 110), (130, 200)], 0.6),  # of two, the nearer to the middle
        ([(0, 99), (101, 200)], None),  # too narrow a gap
        ([(0, 20), (40, 200)], None),  # too far from the middle
        ([(0, 200)], None),
    ],
)
def test_a_figure_is_cut_where_nothing_crosses_its_middle(
    tmp_path: Path, ink: list[tuple[int, int]], cut: float | None
) -> None:
    pixels = np.full((20, 202, 3), 255, dtype=np.uint8)
    for start, end in ink:
        pixels[5:9, start + 1 : end + 1] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = picture_of(tmp_path / "a", 10**9, 100).cut
    assert found == (None if cut is None else pytest.approx(cut, abs=0.005))
