"""Tables: they come back as they were written, with the same bytes, and any other file is refused in one sentence."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_echos.errors import EchosError
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of, read_table, write_table


def made(name: str, rows: int = 3) -> pa.Table:
    """Make a table of any schema, with a null in every column and kernels of three sizes."""
    rng = np.random.default_rng(0)
    sizes = [(3, 3), (5, 5), (1, 7)]

    def value(field: pa.Field, row: int) -> object:
        height, width = sizes[row % 3]
        if field.name in ("kernel_height", "kernel_width", "taps"):
            return {"kernel_height": height, "kernel_width": width, "taps": rng.random(height * width).tolist()}[
                field.name
            ]
        if row == rows - 1:
            return None
        if pa.types.is_string(field.type):
            return f"{field.name} é {row}"
        if pa.types.is_binary(field.type):
            return bytes([0, row, 255])
        if pa.types.is_boolean(field.type):
            return row % 2 == 0
        if pa.types.is_list(field.type):
            return [row / 7] * row
        return row / 7 if pa.types.is_floating(field.type) else row

    columns = [pa.array([value(field, row) for row in range(rows)], field.type) for field in SCHEMAS[name]]
    return pa.table(columns, schema=SCHEMAS[name])


def complaint(path: Path, name: str = "bank") -> str:
    with pytest.raises(EchosError) as caught:
        read_table(path, name)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_table_of_every_schema_comes_back_with_the_same_bytes(tmp_path, name):
    table = made(name)
    write_table(tmp_path / "a.parquet", table, name)
    write_table(tmp_path / "b.parquet", pa.concat_tables([table.slice(0, 1), table.slice(1)]), name)
    again = read_table(tmp_path / "a.parquet", name)
    assert again.equals(table)
    assert again.schema.equals(SCHEMAS[name])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_an_empty_table_comes_back(tmp_path):
    write_table(tmp_path / "x.parquet", SCHEMAS["fits"].empty_table(), "fits")
    assert read_table(tmp_path / "x.parquet", "fits").num_rows == 0


def test_taps_that_are_not_finite_come_back(tmp_path):
    table = made("bank", 1).set_column(11, "taps", pa.array([[np.nan, np.inf, -np.inf]], pa.list_(pa.float32())))
    assert table.schema.names == SCHEMAS["bank"].names
    write_table(tmp_path / "x.parquet", table, "bank")
    np.testing.assert_array_equal(
        read_table(tmp_path / "x.parquet", "bank")["taps"][0].as_py(), [np.nan, np.inf, -np.inf]
    )


def test_some_columns_can_be_read_alone(tmp_path):
    write_table(tmp_path / "x.parquet", made("history"), "history")
    assert read_table(tmp_path / "x.parquet", "history", ["seed", "top1"]).column_names == ["seed", "top1"]


def test_columns_are_put_in_order_and_others_left_out(tmp_path):
    table = made("runs")
    shuffled = table.select(sorted(table.column_names)).append_column("extra", pa.array([1, 2, 3]))
    write_table(tmp_path / "x.parquet", shuffled, "runs")
    assert read_table(tmp_path / "x.parquet", "runs").equals(table)


def test_a_table_that_does_not_fit_is_not_written(tmp_path):
    with pytest.raises(KeyError):
        write_table(tmp_path / "x.parquet", made("runs").drop_columns(["seed"]), "runs")
    words = made("runs").set_column(3, "seed", pa.array(["a", "b", "c"]))
    with pytest.raises(pa.ArrowInvalid):
        write_table(tmp_path / "x.parquet", words, "runs")
    assert list(tmp_path.iterdir()) == []


# What must be refused


def test_a_table_of_another_release_says_in_which_columns(tmp_path):
    old = made("runs").drop_columns(["area"])
    key = {b"neural_echos.schema": b"runs/1"}
    pq.write_table(old.replace_schema_metadata(key), tmp_path / "x.parquet")
    with pytest.raises(EchosError, match="but one from another release, which differs in area; make it again"):
        read_table(tmp_path / "x.parquet", "runs")


def test_advice_deletes_nobodys_file(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"weights of mine")
    with pytest.raises(EchosError, match="choose another file, or make this one again"):
        read_table(tmp_path / "weights.safetensors", "bank")


def test_a_missing_table_is_one_sentence(tmp_path):
    assert complaint(tmp_path / "x.parquet") == "there is no such bank table; check the path, or make it first"


def test_a_folder_is_one_sentence(tmp_path):
    assert "is a directory" in complaint(tmp_path)


def test_a_table_of_another_schema_is_refused_by_name(tmp_path):
    write_table(tmp_path / "x.parquet", made("fits"), "fits")
    told = "not a table with the schema bank/1, but fits/1; make it again, or choose another file"
    assert complaint(tmp_path / "x.parquet") == told


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, "but one without a neural_echos schema"),
        ({b"neural_echos.schema": b"bank/2"}, "but bank/2"),
        ({b"neural_echos.schema": b"\xff"}, "not a table with the schema bank/1"),
    ],
)
def test_a_table_of_another_version_or_program_is_refused(tmp_path, metadata, expected):
    pq.write_table(made("bank").replace_schema_metadata(metadata), tmp_path / "x.parquet")
    assert expected in complaint(tmp_path / "x.parquet")


def test_a_table_with_other_columns_is_refused(tmp_path):
    table = made("bank").drop_columns(["stride"]).replace_schema_metadata({b"neural_echos.schema": b"bank/1"})
    pq.write_table(table, tmp_path / "x.parquet")
    assert complaint(tmp_path / "x.parquet").startswith("not a table with the schema bank/1")


def test_a_table_cut_short_is_one_sentence(tmp_path):
    path = tmp_path / "x.parquet"
    write_table(path, made("bank"), "bank")
    raw = path.read_bytes()
    for length in {*range(0, len(raw), len(raw) // 60), 3, 4, 8, 12, len(raw) - 1}:
        path.write_bytes(raw[:length])
        assert "cannot be read as a bank table in Parquet" in complaint(path)


def test_a_damaged_table_is_read_or_refused_and_never_crashes(tmp_path):
    rng = random.Random(0)
    path = tmp_path / "x.parquet"
    write_table(path, made("bank"), "bank")
    whole, refused = path.read_bytes(), 0
    for _ in range(200):
        raw = bytearray(whole)
        raw[rng.randrange(len(raw))] = rng.randrange(256)
        path.write_bytes(raw)
        try:
            read_table(path, "bank")
        except EchosError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 0 < refused < 200


@settings(deadline=None, max_examples=40)
@given(raw=st.binary(max_size=200))
def test_random_bytes_are_one_sentence(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "random.parquet"
    path.write_bytes(b"\0" + raw)  # no web page or pointer by chance: these have a test of their own
    assert complaint(path)


# Kernels of a table


def test_kernels_of_one_size_come_with_their_rows():
    table = made("bank", 8)
    assert kernel_sizes(table) == [(1, 7), (3, 3), (5, 5)]
    for height, width in kernel_sizes(table):
        rows, kernels = kernels_of(table, height, width)
        assert kernels.shape == (len(rows), height, width)
        assert kernels.dtype == np.float32
        for row, kernel in zip(rows, kernels, strict=True):
            np.testing.assert_array_equal(kernel.ravel(), np.float32(table["taps"][int(row)].as_py()))
    assert sorted(np.concatenate([kernels_of(table, *size)[0] for size in kernel_sizes(table)])) == list(range(8))


@pytest.mark.parametrize("table", [made("bank"), made("bank").slice(0, 0), SCHEMAS["bank"].empty_table()])
def test_a_size_that_does_not_occur_has_no_kernels(table):
    rows, kernels = kernels_of(table, 9, 9)
    assert rows.shape == (0,)
    assert kernels.shape == (0, 9, 9)


def test_kernels_of_a_part_of_a_table_and_of_several_joined():
    table = made("bank", 9)
    rows, kernels = kernels_of(table.slice(1, 7), 3, 3)
    np.testing.assert_array_equal(rows, [2, 5])
    joined_rows, joined = kernels_of(pa.concat_tables([table.slice(1, 7), table]), 3, 3)
    np.testing.assert_array_equal(joined_rows, [2, 5, 7, 10, 13])
    np.testing.assert_array_equal(joined[:2], kernels)
    np.testing.assert_array_equal(joined[2:], kernels_of(table, 3, 3)[1])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "this is a Git LFS pointer"),
        ("<!DOCTYPE html><html></html>", "this is a web page"),
    ],
)
def test_what_stands_for_a_table_is_told(tmp_path, content, told):
    (tmp_path / "x.parquet").write_text(content)
    with pytest.raises(EchosError, match=f"x.parquet: {told}"):
        read_table(tmp_path / "x.parquet", "bank")
