"""Every name that a config uses is declared, or refused with its place and the nearest declared one."""

from pathlib import Path
from typing import Any

import pytest

from neural_echos.design.checked import load_artifacts
from neural_echos.design.load import check_config, load_preset
from neural_echos.design.references import check_references
from neural_echos.design.yaml import read_yaml
from neural_echos.errors import EchosError

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    "dataset",
    "architecture",
    "architectures",
    "initialisations",
    "models",
    "control",
    "series",
    "pairs",
    "variants",
)
TAKES_ANY = {name: {"type": name, "required": False, "default": None, "description": "d"} for name in OPTIONS}
ARTIFACTS = load_artifacts(ROOT) | {"any": {"options": TAKES_ANY}}
DECLARED = {"inputs": list(read_yaml(ROOT / "config/inputs.yaml")), "artifacts": list(ARTIFACTS)}


def refusal(config: dict[str, Any], **told: Any) -> str:
    with pytest.raises(EchosError) as caught:
        check_references(check_config(config, ARTIFACTS), **DECLARED, **told)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["models", "artifacts", "claims"])
def test_two_entries_of_one_id_are_refused(kind):
    config = load_preset(ROOT).model_dump()
    config[kind].insert(2, config[kind][0])
    name = config[kind][0]["id"]
    assert refusal(config) == (
        f"configuration: '{kind}.2.id' repeats the id {name!r} of {kind}.0; rename one or remove it"
    )


def test_models_of_several_seeds_are_checked_one_by_one():
    config = load_preset(ROOT).model_dump()
    run = next(model["run"] for model in config["models"] if "run" in model)
    config["models"][0] = {"id": "a", "role": "trained", "run": run | {"seed": [0, 7]}}
    assert "'models.0.run.seed.1' refers to an undeclared seed: 7" in refusal(config)
    config["models"][0]["run"]["seed"] = [0, 1]
    config["models"][2]["id"] = "a-s1"
    assert "'models.2.id' repeats the id 'a-s1' of models.0" in refusal(config)


@pytest.mark.parametrize(
    ("entry", "options", "at", "kind", "found"),
    [
        ("NE3", {"initialisation": "dogg"}, "initialisation", "initialisation", "'dogg' (did you mean 'dog'?)"),
        ("NE3", {"dataset": "photograps"}, "dataset", "dataset", "'photograps' (did you mean 'photographs'?)"),
        ("NE3", {"architectures": ["convmixr"]}, "architectures.0", "architecture", "'convmixr' (did you mean"),
        ("NE6", {"fixed_gamma": ["dog", "dog_gama"]}, "fixed_gamma.1", "initialisation", "'dog_gama' (did you mean"),
        ("table_1_accuracy", {"initialisations": ["dogg"]}, "initialisations.0", "initialisation", "'dogg'"),
        ("initialisations_compared", {"baseline": "kaimng"}, "baseline", "initialisation", "'kaimng' (did you"),
        ("any", {"control": "x"}, "control", "initialisation, set of filters or model", "'x'"),
        ("table_2_ablation", {"variants": ["dogg"]}, "variants.0", "initialisation", "'dogg'"),
        ("any", {"series": {"a": [[8, "x"]]}}, "series.a.0.1", "initialisation", "'x'"),
        (
            "any",
            {"pairs": [{"label": "l", "before": "convnextt", "after": "convnext"}]},
            "pairs.0.before",
            "model",
            "'convnextt' (did you",
        ),
    ],
)
def test_an_undeclared_name_in_an_option_is_refused(entry, options, at, kind, found):
    config = load_preset(ROOT).model_dump()
    part = "claims" if entry.startswith("NE") else "artifacts"
    config["artifacts"].append({"id": "any", "options": {}})
    place = [one["id"] for one in config[part]].index(entry)
    config[part][place]["options"] |= options
    said = refusal(config)
    assert said.startswith(f"configuration: '{part}.{place}.options.{at}' refers to an undeclared {kind}: {found}")
    assert said.endswith("; correct the name or declare it")


@pytest.mark.parametrize(
    ("rule", "options", "at", "kind"),
    [
        ("transfer_grows_with_source", {"sources": {"dog": "x"}}, "sources.dog", "dataset"),
        ("transfer_grows_with_source", {"sources": {"x": "digits"}}, "sources.x", "initialisation"),
        ("replaced_keeps", {"candidates": "x", "control": "dog", "margin": 0.1}, "candidates", "set of filters"),
    ],
)
def test_names_in_the_options_of_every_rule_count(rule, options, at, kind):
    config = load_preset(ROOT).model_dump()
    named = {"architecture": "convmixer"} if "sources" in options else {"architectures": ["convmixer"]}
    config["claims"][0] |= {"rule": rule, "options": {"dataset": "digits", **named, **options}}
    assert refusal(config).startswith(f"configuration: 'claims.0.options.{at}' refers to an undeclared {kind}: 'x'")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"filters": "master_key"}, "'filters' refers to an undeclared input: 'master_key'"),
        ({"select": ["convnxt"]}, "'select.0' refers to an undeclared selection: 'convnxt' (did you mean 'convnext'?)"),
        (
            {"signals": {"dataset": "digit", "architectures": ["convmixer"]}},
            "'signals.dataset' refers to an undeclared dataset",
        ),
    ],
)
def test_an_undeclared_name_is_refused(change, expected):
    assert expected in refusal(load_preset(ROOT).model_dump() | change)


def test_what_is_not_used_may_name_what_is_not_there():
    config = load_preset(ROOT).model_dump()
    config["initialisations"]["spare"] = {"scheme": "transfer", "bank": "nowhere"}
    config["signals"] |= {"dataset": "nowhere", "architectures": []}
    check_references(check_config(config, ARTIFACTS), **DECLARED)
    config["experiments"][0]["initialisations"] = ["default", "spare"]
    assert "'initialisations.spare.bank' refers to an undeclared model: 'nowhere'" in refusal(config)


def test_a_claim_shows_a_declared_artifact_and_may_be_about_a_data_set_that_it_needs():
    config = load_preset(ROOT).model_dump()
    config["claims"][2] |= {"needs": ["imagenet", "cifar10"]}
    config["claims"][2]["options"]["dataset"] = "imagenet"
    check_references(check_config(config, ARTIFACTS), **DECLARED)
    config["claims"][2]["artifact"] = "table_1_acuracy"
    assert (
        "'claims.2.artifact' refers to an undeclared artifact: 'table_1_acuracy' (did you mean 'table_1_acc"
        in refusal(config)
    )
