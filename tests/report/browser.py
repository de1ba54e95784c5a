"""A page as Chromium shows it."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="there is no Chromium on this machine")


def shown(page: str, folder: Path, steps: str, width: int = 1280) -> str:
    """Open a page in a window of this width, run a script at its end, and return what the document is then."""
    path = folder / "shown.html"
    path.write_text(page.replace("</body>", f"<script>{steps}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    options += [f"--window-size={width},900", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(["chromium", *options, path], capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr[-2000:]
    return done.stdout
