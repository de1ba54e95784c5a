"""A mistake ends a command with one sentence, and nothing is written."""

import re

import pytest
from by_hand import echos, under

ENTRY = '[{"model": "m", "role": "trained", "trained_on": "d", "bank": "bank.parquet", "clusters": "bank.parquet"}]'
CLAIM = '[{"id": "NE1", "paper": "p", "statement": "s", "rule": "gian", "needs": "d", "artifact": "a", "options": {}}]'
ARTIFACT = '[{"id": "a", "kind": "figure", "group": "g", "title": "t", "caption": "c", "stem": "figures/a"}]'
INITIALISE = (
    "initialise convmixer_small --data digits.safetensors --seeds 0 1 --output {initialisation}-{seed}.safetensors"
)
SIGNALS = "signals convmixer_small --data digits.safetensors --dataset d --architecture a --seeds 0 --output x"
TRAIN = "train --data digits.safetensors --dataset d --architecture a --initialisation i --device cpu"


@pytest.mark.parametrize(
    ("command", "more", "expected"),
    [
        ("fetch nothing --output x", [], "config/inputs.yaml"),
        ("dataset digitz --output x", [], "digits"),
        ("extract absent.pth --model m --output x", [], "absent.pth: there is no such checkpoint file"),
        ("extract cut.safetensors --model m --output x", [], "cut.safetensors: the file is incomplete; fetch it again"),
        ("extract good.safetensors --model m --timm convnext_ato --output x", [], "did you mean 'convnext_atto'?"),
        (
            "extract good.safetensors --model m --timm convnext_atto --output x",
            [],
            "no weights for 15 of the model's 16 layers",
        ),
        (
            "extract good.safetensors --model m --layers absent.json --output x",
            [],
            "absent.json: there is no such file",
        ),
        (
            "extract good.safetensors --model m --layers list.json --output x",
            [],
            "list.json: this is not a list of layers",
        ),
        ("extract good.safetensors --model m --regular-per-layer -1 --output x", [], "must be at least 0, not -1"),
        (
            "extract good.safetensors --model m --output folder",
            [],
            "folder: this is a folder or a device, not a file",
        ),
        ("extract good.safetensors --model m --output good.json/x", [], "good.json: cannot be read or written: "),
        ("cluster absent.parquet --centroids c --output x", [], "absent.parquet: there is no such bank table"),
        ("cluster bank.parquet --k 1 --centroids c --output x", [], "k: must be at least 2, not 1"),
        ("fit cut.parquet --output x", [], "cut.parquet: cannot be read as a bank table in Parquet"),
        ("fit bank.parquet --threshold 2 --output x", [], "threshold must be a cosine in [0, 1], not 2.0"),
        ("structure --output x", [ENTRY], "bank.parquet: not a table with the schema clusters/1, but bank/1"),
        ("structure @absent.json --output x", [], "absent.json: there is no such file"),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "dgo"}}'], "did you mean 'dog'?"),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "dog", "gama": 0.5}}'], "did you mean 'gamma'?"),
        (
            INITIALISE,
            ["--initialisations", '{"a": {}}'],
            "initialisation 'a' must be an object with a scheme, not {}",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": 5}'],
            "initialisation 'a' must be an object with a scheme, not 5",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": "transfer", "bank": "cut.parquet"}}'],
            "cut.parquet: cannot be read as a bank",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": "transfer", "bank": "bank.parquet"}}'],
            "only 5×5",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": ["dog"]}}'],
            "initialisation 'a' must be an object with a scheme, not {'scheme': ['dog']}",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": "dog", "seed": 3}}'],
            "initialisation 'a': 'seed' is set by the command; remove it from the options",
        ),
        (
            INITIALISE,
            ["--initialisations", '{"a": {"scheme": "default", "gamma": 0.5}}'],
            "initialisation 'default' has no option 'gamma'; it has none",
        ),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "default", "share": "1"}}'], "share, the share of "),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "dog", "depths": 0.5}}'], "not 0.5"),
        (INITIALISE, ["--initialisations", '{"a": {"scheme": "transfer", "bank": [1]}}'], "not [1]"),
        (f"{SIGNALS} --images 9999", ["--initialisations", '{"a": {"scheme": "dog"}}'], "not 9999"),
        (SIGNALS, ["--initialisations", '{"a": {}}'], "must be an object with a scheme"),
        (
            INITIALISE.replace("-{seed}", ""),
            ["--initialisations", '{"a": {"scheme": "dog"}}'],
            "'{initialisation}.safetensors' does not give different paths for the 2 networks",
        ),
        *[
            (
                INITIALISE.removesuffix(".safetensors") + suffix,
                ["--initialisations", '{"a": {"scheme": "dog"}}'],
                f"--output: '{{initialisation}}-{{seed}}{suffix}' does not end in .safetensors; give it this suffix",
            )
            for suffix in (".json", "", ".pth")
        ],
        (
            INITIALISE.replace("{seed}", "{sed}"),
            ["--initialisations", '{"a": {"scheme": "dog"}}'],
            "{initialisation}-{sed}",
        ),
        (
            INITIALISE + " --kwargs",
            ['{"kernel_sise": 3}', "--initialisations", '{"a": {"scheme": "dog"}}'],
            "kernel_sise",
        ),
        (
            f"{TRAIN} --initial good.safetensors --run r s",
            [],
            "--run: 2 folders for 1 initial weights; give one folder for each",
        ),
        (f"{TRAIN} --initial absent.safetensors --run r", [], "absent.json: there is no such file"),
        (
            f"{TRAIN} --initial list.safetensors --run r",
            [],
            "list.json: not written by echos initialise: no did, kwargs, layers, model, seed",
        ),
        (
            f"{TRAIN} --initial cut.safetensors --run r",
            [],
            "cut.safetensors: not the initial weights of convmixer_small",
        ),
        (
            f"{TRAIN} --initial other.safetensors --run r",
            [],
            "other.safetensors: not the initial weights of convmixer_small",
        ),
        (f"{TRAIN} --initial good.safetensors --run r --recipe", ['{"epoch": 1}'], "did you mean 'epochs'?"),
        (
            "evaluate run --histories h --comparisons c --output x",
            [],
            "history.parquet: there is no such history table",
        ),
        ("verdicts --scale s --output x", [CLAIM], "did you mean 'gain'?"),
        ("render absent.ipynb --output x --rendered r --draft d", [], "absent.ipynb: there is no such notebook"),
        ("render list.json --output x --rendered r --draft d", [], "list.json: not a readable notebook ("),
        ("paper --title t --output x", [ARTIFACT], "figures/a.pdf: the artifact a has not been made"),
        (
            "report --verdicts v --config {} --benchmarks b --output x",
            [ARTIFACT],
            "figures/a.json: there is no such file",
        ),
        ("crate folder --output x.zip", [], "folder: there are no figures or tables with their JSON"),
        ("crate absent --output x.zip", [], "absent: there is no such folder; check the path"),
        ("explain folder", [], "folder: this is a folder; name a file in it"),
        ("--log folder fit bank.parquet --output x", [], "folder: cannot be read or written: Is a directory"),
        (
            "fit bank.parquet --output bank.parquet",
            [],
            "bank.parquet: --output is the same file as bank; choose another output",
        ),
        (
            "cluster bank.parquet --centroids x --output ./x",
            [],
            "x: --output is the same file as centroids; choose another output",
        ),
    ],
)
def test_a_mistake_ends_with_1_and_one_sentence_and_writes_nothing(desk, capsys, command, more, expected):
    capsys.readouterr()
    before = under(desk)
    assert echos(*command.split(), *more) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"echos: [^\n]+\n", said)
    assert expected in said
    assert under(desk) == before
