"""`echos initialise` from a model's name alone, for other people's training code; and over trained weights."""

from pathlib import Path

import pytest
import timm
import torch
from by_hand import echos, under
from safetensors.torch import load_file, save_file
from timm.models import load_checkpoint

from neural_echos import init_depthwise_
from neural_echos.files import read_json

SMALL = ["convnext_atto", "--kwargs", '{"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 16]}']
KERNELS = {f"stages.{stage}.blocks.0.conv_dw.weight" for stage in range(4)}


def small(classes: int) -> torch.nn.Module:
    return timm.create_model("convnext_atto", num_classes=classes, depths=[1, 1, 1, 1], dims=[8, 8, 8, 16])


def differing(first: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    assert first.keys() == other.keys()
    return {name for name in first if not torch.equal(first[name], other[name])}


def test_timm_loads_initial_weights_of_a_thousand_classes(tmp_path: Path) -> None:
    path = tmp_path / "init.safetensors"
    assert echos("initialise", *SMALL, "--scheme", "dog", "--seed", 3, "--output", path) == 0
    torch.manual_seed(3)
    ours = small(1000)
    init_depthwise_(ours, "dog", seed=3)
    theirs = timm.create_model(
        "convnext_atto", num_classes=1000, depths=[1, 1, 1, 1], dims=[8, 8, 8, 16], checkpoint_path=str(path)
    )
    assert not differing(ours.state_dict(), theirs.state_dict())
    other = small(1000)
    found = load_checkpoint(other, str(path))
    assert not found.missing_keys and not found.unexpected_keys
    assert not differing(ours.state_dict(), other.state_dict())
    made = read_json(path.with_suffix(".json"))
    assert (made["initialisation"], made["seed"], made["inputs"]) == ({"scheme": "dog"}, 3, {})


def test_classes_channels_and_options_are_given(tmp_path: Path) -> None:
    path = tmp_path / "init.safetensors"
    given = ["--scheme", "kaiming", "--options", '{"share": 0.5}', "--num-classes", 7, "--in-chans", 1]
    assert echos("initialise", *SMALL, *given, "--output", path) == 0
    weights = load_file(path)
    assert weights["head.fc.weight"].shape == (7, 16)
    assert weights["stem.0.weight"].shape[1] == 1
    assert [one["replaced"] for one in read_json(path.with_suffix(".json"))["did"]] == [4, 4, 4, 8]


def test_a_checkpoint_of_a_training_that_diverged_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = small(5).state_dict()
    trained["head.fc.bias"][1] = torch.nan
    save_file(trained, tmp_path / "trained.safetensors")
    given = ["--scheme", "dog", "--num-classes", 5, "--checkpoint", tmp_path / "trained.safetensors"]
    assert echos("initialise", *SMALL, *given, "--output", tmp_path / "init.safetensors") == 1
    assert "trained.safetensors: head.fc.bias contains NaN or infinity" in capsys.readouterr().err
    assert list(under(tmp_path)) == ["trained.safetensors"]


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_kernels_are_drawn_over_trained_weights(tmp_path: Path, form: str) -> None:
    trained = small(5).state_dict()
    path = tmp_path / f"trained.{form}"
    torch.save({"state_dict": trained}, path) if form == "pth" else save_file(trained, path)
    for name, classes in (("default", 5), ("dog", 5), ("dog", 3)):
        output = tmp_path / f"{name}{classes}.safetensors"
        given = ["--scheme", name, "--num-classes", classes, "--checkpoint", path, "--output", output]
        assert echos("initialise", *SMALL, *given) == 0
    assert not differing(trained, load_file(tmp_path / "default5.safetensors"))
    assert differing(trained, load_file(tmp_path / "dog5.safetensors")) == KERNELS
    head = {"head.fc.weight", "head.fc.bias"}
    assert differing(trained, load_file(tmp_path / "dog3.safetensors")) == KERNELS | head
    assert read_json(tmp_path / "dog3.json")["inputs"]["checkpoint"]["path"] == str(path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "no initialisation is given; choose one with --scheme, such as --scheme dog"),
        ("--scheme dgo", "did you mean 'dog'?"),
        ("--scheme transfer", "transfer needs the option bank: the bank of a trained model"),
        ("--scheme dog_fitted", "dog_fitted needs the option fits: the fits of a trained model's bank"),
        ("--scheme dog --initialisations {}", ""),
        ('--scheme dog --initialisations {"a":{"scheme":"dog"}}', "give only one of them"),
        ('--options {"gamma":0.5} --initialisations {"a":{"scheme":"dog"}}', "--options belongs to --scheme"),
        (
            "--scheme dog --data digits.safetensors --num-classes 5",
            "digits.safetensors: this dataset sets the numbers of classes and channels",
        ),
        ("--scheme dog --seeds 0 1", "does not give different paths for the 2 networks"),
        ("--scheme dog --checkpoint absent.pth", "absent.pth: there is no such checkpoint file"),
        ("--scheme dog --checkpoint good.safetensors", "good.safetensors: not the weights of this ConvNeXt: "),
    ],
)
def test_a_mistake_is_one_sentence(desk: Path, capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    before = under(desk)
    code = echos("initialise", *SMALL, *words.split(), "--output", "init.safetensors")
    assert (code == 0) == (not told)
    assert told in capsys.readouterr().err
    assert not told or under(desk) == before
