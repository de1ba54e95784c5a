"""Watchers: the bar of a terminal, and TensorBoard's events."""

import re
from pathlib import Path

import pytest
from small_runs import run

from neural_echos.training import (
    Events,
    LiveBar,
    Recipe,
)


def test_a_terminal_sees_a_bar_and_a_folder_gets_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboardX.proto.event_pb2 import Event

    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, for rich
    monkeypatch.setenv("COLUMNS", "120")
    result = run(tmp_path, Recipe(epochs=2, batch_size=32), watchers=[LiveBar(), Events(tmp_path / "events")])
    shown = " ".join(re.sub(r"\x1b\[[\d;?]*\w", "", capsys.readouterr().err.split("\r")[-1]).split())
    assert re.search(r"^digits///0 \S+ epoch 2/2 [\d,]+ images/s top-1 \d+\.\d % 0:00:00$", shown), shown
    content = next((tmp_path / "events").glob("events.*")).read_bytes()
    found = {}
    while content:  # records: length (8 bytes), checksum (4), an event, checksum (4)
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        content = content[16 + length :]
    expected = {(name, row["epoch"]): row[name] for row in result.history for name in ("top1", "loss", "learning_rate")}
    assert {key: found[key] for key in expected} == pytest.approx(expected)
