"""What all tests share, and their order: files that take long come first, so that two processes end at about the same time."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neural_echos import commands

LONGEST = (
    "test_slurm",
    "test_workflow",
    "test_faults",
    "test_faults_of_surroundings",
    "test_documented_commands",
    "test_checkpoints",
    "test_devices",
    "test_replacement",
    "test_transfers",
    "test_mistakes",
    "test_apply",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Give the process its own log handlers back: every `echos` command sets them."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.fixture
def digits(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command that writes some 100 kB, and return its exit code and what it said."""

    def run(output: Path, *more: str) -> tuple[int, str]:
        code = commands.main([*more, "dataset", "digits", "--output", str(output)])
        return code, capsys.readouterr().err

    return run
