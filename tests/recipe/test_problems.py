"""Values of a wrong kind or size are named in plain words."""

import pytest
from usage_errors import usage_error

from potstill.recipe import Recipe


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("training.max_steps", "abc", "training.max_steps: must be a whole number (given: 'abc')."),
        ("training.max_steps", 1.5, "must be a whole number (given: 1.5)."),
        ("training.max_steps", 0, "must be at least 1 (given: 0)."),
        ("training.learning_rate", 0, "must be more than 0 (given: 0)."),
        ("training.learning_rate", float("nan"), "must be a finite number (given: nan)."),
        ("objective.alpha", 2, "must be at most 1 (given: 2)."),
        ("objective.alpha", "x", "must be a number (given: 'x')."),
        ("data.split", [1], "must be text (given: [1])."),
        ("data.paths", 3, "must be a list, such as [a, b] (given: 3)."),
        ("data.context_length", 2, "must be at least 3 (given: 2)."),
        ("training.calibrate", "maybe", "must be true or false (given: 'maybe')."),
        ("training.precision", "fp8", "must be 'auto', 'fp32' or 'bf16' (given: 'fp8')."),
        ("objective.terms", 3, "must be a section with keys (given: 3)."),
        ("training", 3, "must be a section with keys (given: 3)."),
        ("evaluation.calibrate", True, "must be a whole number (given: True)."),
        ("training.learning_rate", False, "must be a number (given: False)."),
        ("evaluation.calibrate", 101, "must be at most 100 (given: 101)."),
    ],
)
def test_what_is_expected(key, value, said):
    with usage_error("recipe.invalid_value", said):
        Recipe.read(None, {key: value})


def test_sentences_of_our_own_checks_stay():
    with usage_error("objective.weights_above_one", "alpha + beta must not exceed 1"):
        Recipe.read(None, {"objective.alpha": 0.8, "objective.beta": 0.3})
