"""YAML is read strictly, presets lie on top of one another, and every key is found again in its file."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from neural_echos.design.yaml import CommandLine, locate, merge, read_yaml
from neural_echos.errors import EchosError


def write(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ":3: not valid YAML: the key 'a' is repeated here; correct that line"),
        ("a:\n  b: 1\n  b: 1\n", ":3: not valid YAML: the key 'b' is repeated here"),
        ("? [1, 2]\n: 3\n", ":1: not valid YAML: a key must be text"),
        ("a: [1\nb: 2\n", ":2: not valid YAML"),
        ("a: 1\n\tb: 2\n", ":2: not valid YAML"),
        ("- 1\n- 2\n", "must be a mapping (key: value), not [1, 2]"),
        ("a: !!python/object/apply:os.system ['true']\n", ":1: not valid YAML: could not determine"),
        ("a: " + "[" * 101 + "]" * 101, ":1: not valid YAML: nested more than 100 levels deep"),
        ("a: " + "[" * 200_000, ":1: not valid YAML: nested more than 100 levels deep"),
    ],
)
def test_broken_yaml_is_one_sentence(tmp_path, text, expected):
    with pytest.raises(EchosError) as caught:
        read_yaml(write(tmp_path, text))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_unreadable_files_are_one_sentence(tmp_path):
    with pytest.raises(EchosError, match="there is no such file; check the path"):
        read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(EchosError, match="UTF-8"):
        read_yaml(tmp_path / "bytes.yaml")


def test_an_empty_file_is_an_empty_mapping_and_merge_keys_may_repeat(tmp_path):
    assert read_yaml(write(tmp_path, "# nothing\n")) == {}
    merged = read_yaml(write(tmp_path, "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n"))
    assert merged["b"] == {"x": 3, "y": 2}


def test_a_file_is_parsed_once_until_it_changes_and_everyone_has_a_copy(tmp_path, monkeypatch):
    parsed, load = [], yaml.load
    monkeypatch.setattr(yaml, "load", lambda text, **options: parsed.append(text) or load(text, **options))
    path = write(tmp_path, "seeds: [0, 1]")
    read_yaml(path)["seeds"].append(2)
    assert read_yaml(path) == {"seeds": [0, 1]}
    assert len(parsed) == 1
    path.write_text("seeds: [3]")
    assert read_yaml(path) == {"seeds": [3]}
    path.write_text("seeds: [")
    for _ in range(2):
        with pytest.raises(EchosError, match="not valid YAML"):
            read_yaml(path)


LEAF = st.integers() | st.booleans() | st.text() | st.lists(st.integers(), max_size=2)
CONFIG = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAF, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), LEAF | inner, max_size=3),
    max_leaves=8,
)


@given(CONFIG, CONFIG)
def test_the_top_of_merged_layers_wins(one, two):
    assert merge([one, one]) == merge([{}, one]) == merge([one, {}]) == one
    assert set(merge([one, two])) == {*one, *two}
    for key, value in two.items():
        if not isinstance(value, dict):
            assert merge([one, two])[key] == value


def test_the_last_layer_that_holds_the_key_is_named(tmp_path):
    first = write(tmp_path, "training:\n  epochs: 0\n  rate: 1\nlist: [1,\n  2]\n", "first.yaml")
    last = write(tmp_path, "\n\ntraining:\n  epochs: 0\n", "last.yaml")
    assert locate([first, last], ["training", "epochs"]) == f"{last}:4"
    assert locate([first, last], ["training", "rate"]) == f"{first}:3"
    assert locate([first, last], ["list", "1"]) == f"{first}:5"
    assert locate([first], ["list", "5"]) == f"{first}:4"
    assert locate([first], ["nowhere"]) == str(first)
    assert locate([], ["nowhere"]) == "configuration"
    typed = CommandLine.read({"training": {"rate": "2"}})
    assert locate([first, typed], ["training", "rate"]) == "command line (--config training=…)"
    assert locate([first, typed], ["training", "epochs"]) == f"{first}:2"


def test_the_command_line_is_read_as_yaml_text_by_text():
    """Snakemake reads the lists and mappings of --config as text, whatever they hold."""
    read = CommandLine.read(
        {"seeds": ["0", "1"], "a": {"b": ["true", "0.5", "null", "x", "1e-3", "[1"]}, "scale": "x: y"}
    )
    assert read.values == {"seeds": [0, 1], "a": {"b": [True, 0.5, None, "x", "1e-3", "[1"]}, "scale": "x: y"}
