"""Columns: every table says where it lies, what its rows are and what each column means."""

import pytest

from neural_echos.tables.columns import SCHEMAS, TABLES, Column

UNITS = {"", "taps", "taps²", "nats", "pixels", "rad"}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_described_once(name):
    table = TABLES[name]
    names = [column.name for column in table.columns]
    assert SCHEMAS[name].names == names
    assert len(set(names)) == len(names)
    assert table.rows.endswith(".")
    assert table.path.endswith((".parquet", ".csv"))
    for column in table.columns:
        assert column.meaning
        assert not column.meaning.endswith(".")
        assert column.unit in UNITS
        assert "|" not in column.meaning


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="float63"):
        Column("x", "float63", "a mistake").type  # noqa: B018
