"""Progress: a bar on a terminal, lines in a log, and nothing of what is short."""

import io
import logging
import sys

import pytest

from neural_echos import progress
from neural_echos.progress import tracked


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed, as far as the module can see."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_a_minute_says_how_far_and_how_long(clock, caplog):
    caplog.set_level(logging.INFO)
    for _ in tracked(range(10), "parts", 10):
        clock[0] += 40
    assert [record.getMessage() for record in caplog.records] == [
        "parts: 2 of 10, about 5 min left",
        "parts: 4 of 10, about 4 min left",
        "parts: 6 of 10, about 3 min left",
        "parts: 8 of 10, about 1 min left",
    ]


def test_short_work_leaves_nothing_in_the_log(caplog):
    caplog.set_level(logging.INFO)
    assert list(tracked(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert not caplog.records


def test_a_terminal_has_a_bar_and_the_log_none(clock, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    for _ in tracked(range(3), "parts", 3):
        clock[0] += 70
    assert "parts" in sys.stderr.getvalue() and "100%" in sys.stderr.getvalue()
    assert not caplog.records
