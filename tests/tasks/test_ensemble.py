"""The teachers' weights in a recipe: by data set, learned on validation windows, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from usage_errors import usage_error

from potstill.families.weighting import RecentSkill
from potstill.recipe import Recipe
from potstill.tasks.ensemble import learn_weights, weighting_of
from potstill.types import Forecast, Windows

SETS = ["hourly", "daily"]


def recipe(*weights, ensemble: str = "fixed"):
    teachers = [{"source": f"t{i}", "weight": weight} for i, weight in enumerate(weights)]
    return Recipe.lay_over({"teacher": teachers, "ensemble": ensemble}, {})


def test_weights_by_data_set():
    weighting = weighting_of(recipe({"hourly": 3, "other": 2}, 1.0), {}, SETS)
    assert weighting.default == [2.0, 1.0]
    assert weighting.by_dataset == {0: [3.0, 1.0]}
    unnamed = weighting_of(recipe({"daily": 0}, 4.0), {}, SETS)
    assert unnamed.default == [1.0, 4.0]
    assert unnamed.by_dataset == {1: [0.0, 4.0]}


def test_recent_skill_looks_back_one_horizon():
    models: dict[str, Any] = {"t0": SimpleNamespace(), "t1": SimpleNamespace()}
    weighting = weighting_of(recipe(1.0, 1.0, ensemble="recent"), models, SETS)
    assert isinstance(weighting, RecentSkill)
    assert weighting.steps == 96


def test_what_is_refused():
    with usage_error("teacher.unknown_dataset", "weekly", "hourly"):
        weighting_of(recipe({"weekly": 1}, 1.0), {}, SETS)
    with usage_error("teacher.no_weight", "daily"):
        weighting_of(recipe({"daily": 0}, {"daily": 0}), {}, SETS)
    with usage_error("ensemble.one_teacher", "validation"):
        recipe(1.0, ensemble="validation")


class Constant:
    """Forecasts one value, at all levels."""

    def __init__(self, value: float):
        self.value = value

    def predict(self, windows, prediction_length):
        rows = len(windows)
        values = torch.full((rows, 9, prediction_length), self.value)
        levels = torch.tensor([0.1 * k for k in range(1, 10)])
        return Forecast(levels, values, torch.zeros(rows, 1).double(), torch.ones(rows, 1).double())


@pytest.mark.parametrize(("truth", "share"), [((2.0, 9.0), (0.8, 0.1)), ((2.0, 2.0), (0.8, 0.8))])
def test_the_weights_that_are_best_on_validation(truth, share):
    """Teachers say 0 and 10: the average is 2 if the first weighs 0.8, and 9 if it weighs 0.1."""
    rows = 60
    dataset = np.repeat([0, 1], rows // 2)
    future = np.array(truth)[dataset][:, None] + 0.01 * np.random.default_rng(0).standard_normal((rows, 4))
    validation: Any = SimpleNamespace(
        windows=Windows.of_context(torch.zeros(rows, 8), 4),
        future=future,
        scored=np.arange(rows),
        scale=np.ones(rows),
        dataset=dataset,
    )
    teachers: dict[str, Any] = {"a": Constant(0.0), "b": Constant(10.0)}
    first, second = learn_weights(teachers, validation, SETS)
    assert (first["hourly"], first["daily"]) == pytest.approx(share, abs=0.02)
    assert {name: first[name] + second[name] for name in first} == pytest.approx({"other": 1, "hourly": 1, "daily": 1})
