"""Order of the tests: files that take long come first, so that two processes end at about the same time."""

import pytest

LONGEST = (
    "test_slurm",
    "test_workflow",
    "test_faults",
    "test_documented_commands",
    "test_training",
    "test_replacement",
    "test_transfers",
    "test_mistakes",
    "test_apply",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
