"""Recipes: their checks, and the learning rate that follows from them."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from neural_echos.errors import EchosError
from neural_echos.training import (
    Recipe,
    learning_rate,
)


def test_a_recipe_survives_json() -> None:
    recipe = Recipe.from_dict({"epochs": 3, "lr": 1, "optimizer_options": {"betas": [0.9, 0.95]}})
    assert recipe.lr == 1.0
    assert isinstance(recipe.lr, float)
    assert Recipe.from_dict(json.loads(json.dumps(asdict(recipe)))) == recipe


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epoch": 3}, "'epoch' (did you mean 'epochs'?)"),
        ({"epochs": 0}, "recipe: epochs must be at least 1, not 0"),
        ({"epochs": 2.5}, "recipe: epochs must be a whole number, not 2.5"),
        ({"batch_size": True}, "batch_size must be a whole number, not True"),
        ({"batch_size": 31, "mixup": 0.8}, "batch_size must be an even number if mixup or cutmix is on, not 31"),
        ({"lr": 0}, "lr must be above 0, not 0"),
        ({"lr": float("nan")}, "lr must be a finite number, not nan"),
        ({"lr": "1e-3"}, "lr must be a finite number, not '1e-3'"),
        ({"optimizer": "adamv"}, "did you mean 'adam"),
        ({"optimizer_options": [1]}, "optimizer_options must be a mapping, not [1]"),
        ({"schedule": "cosin"}, "did you mean 'cosine'?"),
        ({"warmup_epochs": 5}, "warmup_epochs must be less than epochs, not 5.0"),
        ({"min_lr": 1.0}, "min_lr must be at most lr, not 1.0"),
        ({"randaugment": "m9"}, "rand-m9-mstd0.5-inc1"),
        ({"ema_decay": 1.0}, "ema_decay must be in [0, 1), not 1.0"),
        ({"random_erasing": 1.5}, "random_erasing must be in [0, 1], not 1.5"),
        ({"flip": 1}, "flip must be true or false, not 1"),
        ({"mixing_group": 3}, "mixing_group must be an even number, not 3"),
        ({"interpolation": "bicubc"}, "not 'bicubc' (did you mean 'bicubic'?)"),
        ({"resized_crop": [0.0, 1]}, "resized_crop must be in (0, 1], not 0.0"),
        ({"resized_crop": [0.9, 0.1]}, "resized_crop must be two shares in ascending order"),
        ({"resized_crop": [0.1, 1], "shift": 2}, "shift must be 0 if resized_crop is on, not 2"),
    ],
)
def test_a_wrong_recipe_is_refused_in_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(EchosError) as caught:
        Recipe.from_dict(values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_cycle_linear_goes_through_its_knots() -> None:
    recipe = Recipe(epochs=25, lr=0.05, schedule="one-cycle-linear")
    rates = [learning_rate(recipe, epoch) for epoch in (0, 5, 10, 15, 20, 25)]
    assert rates == pytest.approx([0, 0.025, 0.05, 0.02625, 0.0025, 0])


def test_cosine_warms_up_and_ends_where_it_should() -> None:
    recipe = Recipe(epochs=10, lr=0.4, schedule="cosine", warmup_epochs=2, min_lr=0.1)
    rates = [learning_rate(recipe, epoch) for epoch in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.25, 0.1])


def test_constant_is_constant_after_warm_up() -> None:
    recipe = Recipe(epochs=4, lr=0.4, schedule="constant", warmup_epochs=1)
    assert [learning_rate(recipe, epoch) for epoch in (0.5, 1, 2, 4)] == pytest.approx([0.2, 0.4, 0.4, 0.4])
