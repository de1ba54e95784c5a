"""Words of the command line become lists, numbers and JSON values, or one sentence."""

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from neural_echos.commands.app import program
from neural_echos.commands.parsing import json_list_of, json_object, spread_lists


def parsed(*words: str) -> dict[str, object]:
    """Return the arguments that a command's function would be given."""
    return program().get_command(None, words[0]).make_context(words[0], [*words[1:]]).params


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--seeds 0 1 --output x", "--seeds=0 --seeds=1 --output x"),
        ("a --seeds 0 --seeds 1", "a --seeds=0 --seeds=1"),
        ("--seeds --output x", "--output x"),  # an empty list
        ("--output x y --seeds 0", "--output x y --seeds=0"),
        ("--checks -1 2 --output x", "--checks=-1 --checks=2 --output x"),
        ("--seeds=0 1", "--seeds=0 1"),
        ("--seeds 0 -- --seeds 1", "--seeds=0 -- --seeds 1"),
    ],
)
def test_lists_are_spread(words, expected):
    assert spread_lists(words.split(), {"--seeds", "--checks"}) == expected.split()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_seeds_arrive_as_they_were_given(seeds):
    given = parsed(
        "initialise", "m", "--data", "d", "--initialisations", "{}", "--output", "o", "--seeds", *map(str, seeds)
    )
    assert given["seeds"] == seeds


def test_empty_lists_and_defaults():
    given = parsed("dataset", "digits", "--train", "--test", "--options", '{"size": 8}', "--output", "x")
    assert (given["train"], given["test"], given["options"], given["seed"]) == ([], [], {"size": 8}, 0)
    given = parsed("patterns", "a", "b", "--no-squash", "--centroids", "c", "--output", "o")
    assert ([str(path) for path in given["bank"]], given["squash"], given["hidden"]) == (["a", "b"], False, [64, 32])


def test_json_is_read_from_a_file_too(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert json_object(f"@{tmp_path / 'a.json'}") == json_object('{"a": 1}') == {"a": 1}
    assert json_list_of("a")('[{"a": 1, "b": 2}]') == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("text", ["{", "[]", "1", "", pytest.param("[" * 100_000, id="deep")])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(typer.BadParameter, match=r"is (not a JSON object|neither JSON nor @file)"):
        json_object(text)


@pytest.mark.parametrize("words", [["--k", "3.5"], ["--seed", "4294967296"], ["--threshold", "x"]])
def test_a_bad_number_names_its_option(words):
    with pytest.raises(typer.BadParameter) as caught:
        parsed("cluster", "bank", "--centroids", "c", "--output", "o", *words)
    assert f"'{words[0]}'" in caught.value.format_message()
    assert repr(words[1]) in caught.value.format_message()
