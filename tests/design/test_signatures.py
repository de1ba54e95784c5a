"""The models take their options from the library's functions: what the source says is what Python sees when it imports them."""

import inspect
from dataclasses import fields
from typing import Literal, get_args, get_origin

import pytest

from neural_echos import datasets, verdicts
from neural_echos.design.claims import RULES
from neural_echos.design.datasets import KINDS
from neural_echos.design.initialisations import SCHEMES, Initialisation
from neural_echos.design.recipes import Recipe
from neural_echos.initialisations import init_pointwise_, registry
from neural_echos.training import recipe


def shown(field):
    """The default that the JSON schema of a field shows."""
    schema = {}
    if field.json_schema_extra:
        field.json_schema_extra(schema)
    return schema.get("default")


def own(model):
    return {name: field for name, field in model.model_fields.items() if name not in Initialisation.model_fields}


def test_every_scheme_has_the_options_of_its_function():
    assert sorted(SCHEMES) == sorted([*registry.names(), "pointwise"])
    for scheme, model in SCHEMES.items():
        entry = registry.lookup(scheme, {}) if scheme != "pointwise" else None
        options = set(entry.options) if entry else {"weights", "rows"} if scheme == "pointwise" else set()
        assert set(own(model)) == options, scheme
        function = entry.draw if entry else init_pointwise_
        for name, field in own(model).items():
            default = inspect.signature(function).parameters[name].default
            assert shown(field) in (default, list(default) if isinstance(default, tuple) else None, None), (
                scheme,
                name,
            )


def test_every_rule_has_the_options_of_its_function():
    assert sorted(RULES) == verdicts.rules()
    for rule, model in RULES.items():
        _, *parameters = inspect.signature(verdicts.RULES[rule]).parameters.values()
        options = model.model_fields["options"].annotation.model_fields
        assert list(options) == [one.name for one in parameters]
        assert [name for name, field in options.items() if field.is_required()] == [
            one.name for one in parameters if one.default is one.empty
        ]


def test_every_kind_of_data_set_has_the_options_of_its_maker():
    assert sorted(KINDS) == sorted(datasets.MAKERS)
    for kind, model in KINDS.items():
        parameters = inspect.signature(datasets.MAKERS[kind]).parameters.values()
        keywords = [one for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != "seed"]
        options = model.model_fields["options"].annotation.model_fields
        assert list(options) == [one.name for one in keywords]
        assert [options[one.name].is_required() for one in keywords] == [one.default is one.empty for one in keywords]


def test_a_recipe_has_the_keys_and_defaults_of_the_training():
    plain = recipe.Recipe()
    assert list(Recipe.model_fields) == [one.name for one in fields(recipe.Recipe)]
    for name, field in Recipe.model_fields.items():
        assert shown(field) in (getattr(plain, name), list(getattr(plain, name)) if name == "resized_crop" else None), (
            name
        )
    properties = Recipe.model_json_schema()["properties"]
    for one in fields(recipe.Recipe):
        if get_origin(one.type) is Literal:
            assert properties[one.name]["enum"] == list(get_args(one.type))
    assert properties["epochs"]["minimum"] == 1
    assert (properties["ema_decay"]["minimum"], properties["ema_decay"]["exclusiveMaximum"]) == (0, 1)
    assert properties["resized_crop"]["items"] == {"exclusiveMinimum": 0, "maximum": 1, "type": "number"}


@pytest.mark.parametrize("models", [SCHEMES, RULES, KINDS])
def test_every_option_is_described(models):
    for model in models.values():
        options = model.model_fields.get("options")
        for name, field in (options.annotation if options else model).model_fields.items():
            assert field.description, (model.__name__, name)
