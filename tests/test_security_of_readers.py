"""Readers: anything that a file may hold is read, or refused in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from neural_echos.artifacts.rendering import read_notebook
from neural_echos.design.checked import check
from neural_echos.design.schema import Config
from neural_echos.design.yaml import read_yaml
from neural_echos.errors import EchosError
from neural_echos.evaluation import gather_runs
from neural_echos.kernels import bank_from_checkpoint
from neural_echos.tables import SCHEMAS, kernel_sizes, kernels_of, read_batches, read_table, write_table

# Readers --------------------------------------------------------------------------------------------------------------


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def survives(read: Callable[[Path], Any], path: Path) -> None:
    """Read a file; it is taken, or refused in one sentence."""
    try:
        read(path)
    except EchosError as error:
        assert "\n" not in str(error) and ": " in str(error)


TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "I8", "U8", "F8_E4M3", "BOOL", "X", 3]),
        "shape": st.lists(st.integers(-1, 1 << 64) | st.integers(0, 4), max_size=5),
        "data_offsets": st.lists(st.integers(0, 200) | st.integers(-1, 1 << 64), min_size=1, max_size=3),
    }
)
LENGTH = st.none() | st.integers(0, 1 << 64)
NAMES = st.sampled_from(["a.weight", "a.weight_scale", "b.conv.weight", "__metadata__", "a", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@FUZZ
@given(
    header=st.dictionaries(NAMES, TENSOR | JSON, max_size=4),
    length=st.none() | st.integers(0, 1 << 64),
    data=st.binary(max_size=200),
)
def test_any_safetensors_header_is_read_or_refused(tmp_path, header, length, data) -> None:
    path = tmp_path / "a.safetensors"
    text = json.dumps(header).encode()
    size = len(text) if length is None else min(length, (1 << 64) - 1)
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    survives(lambda path: bank_from_checkpoint(path, "m"), path)


SMALL = st.integers(-1, 9)
BANK_ROW = st.fixed_dictionaries(
    {
        **{
            field.name: st.none() | st.sampled_from(["depthwise", "regular", "é"])
            for field in SCHEMAS["bank"]
            if field.type == pa.string()
        },
        **{field.name: st.none() | SMALL for field in SCHEMAS["bank"] if pa.types.is_integer(field.type)},
        "depth": st.none() | st.floats(),
        "taps": st.none() | st.lists(st.none() | st.floats(width=32), max_size=9),
    }
)


def every_kernel(path: Path) -> None:
    table = read_table(path, "bank")
    for height, width in kernel_sizes(table):
        kernels_of(table, height, width)


@FUZZ
@given(
    rows=st.lists(BANK_ROW, max_size=3),
    damage=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=3),
)
def test_any_bank_is_read_or_refused(tmp_path, rows, damage) -> None:
    path = tmp_path / "bank.parquet"
    write_table(path, pa.Table.from_pylist(rows, schema=SCHEMAS["bank"]), "bank")
    content = bytearray(path.read_bytes())
    for place, value in damage:
        content[place % len(content)] = value
    path.write_bytes(content)
    survives(every_kernel, path)
    survives(lambda path: list(read_batches(path, "bank")), path)


@FUZZ
@given(
    value=st.dictionaries(st.sampled_from(sorted(Config.model_fields)) | st.text(max_size=5), JSON, max_size=3) | JSON
)
def test_any_values_of_a_config_are_taken_or_refused(tmp_path, value) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    survives(lambda path: check(read_yaml(path), Config, [path]), path)


@FUZZ
@given(text=st.text(st.sampled_from("a:- \n[]{}&*!|>'\"%@`?,#\t1.~<=_e\x85é"), max_size=60) | st.binary(max_size=60))
def test_any_text_of_a_config_is_taken_or_refused(tmp_path, text) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    survives(lambda path: check(read_yaml(path), Config, [path]), path)


NUMBERS = {"nbformat": st.sampled_from([4, 3, 2, "4", None]), "nbformat_minor": st.integers(-1, 6)}
NOTEBOOK = {"cells": JSON, "metadata": JSON, **NUMBERS}


@FUZZ
@given(value=st.fixed_dictionaries(NOTEBOOK) | JSON)
def test_any_notebook_that_cannot_be_executed_is_refused(tmp_path, value) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(value), encoding="utf-8")
    survives(read_notebook, path)


@FUZZ
@given(metrics=st.dictionaries(st.sampled_from(SCHEMAS["runs"].names), JSON) | JSON)
@example(metrics={"kernel_size": 0.5})
def test_any_record_of_a_run_is_read_or_refused(tmp_path, metrics) -> None:
    run = {"dataset": "d", "architecture": "a", "initialisation": "i", "seed": 0, "epoch": 1, "top1": 0.5}
    write_table(tmp_path / "history.parquet", pa.Table.from_pylist([run], schema=SCHEMAS["history"]), "history")
    whole = dict.fromkeys(SCHEMAS["runs"].names, 1)
    (tmp_path / "metrics.json").write_text(json.dumps(whole | metrics if isinstance(metrics, dict) else metrics))
    survives(lambda path: gather_runs([path]), tmp_path)
