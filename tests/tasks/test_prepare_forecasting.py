"""What preparing a run of forecasters decides: whether the teacher's forecasts are stored."""

from __future__ import annotations

import pytest
from training_fakes import small_recipe

from potstill.tasks import prepare_forecasting as module
from potstill.tasks.plan import plan_lines
from potstill.tasks.prepare_forecasting import prepare_forecasting


@pytest.fixture
def recipe(tiny_teacher, small_csv):
    recipe = small_recipe(tiny_teacher, small_csv)
    recipe.training.batch_size = 32
    recipe.training.max_steps = 1000
    return recipe


def test_forecasts_that_are_needed_again_are_stored(recipe, monkeypatch):
    task = prepare_forecasting(recipe)
    assert task.recipe.labels == "auto"
    assert recipe.labels is None
    windows = len(task.windows)
    assert f"Labels     the teacher runs once on {windows} windows, before the training" in plan_lines(task, None)
    recipe.training.max_steps = -(-2 * windows // 32)
    assert prepare_forecasting(recipe).recipe.labels == "auto"
    recipe.training.max_steps -= 1
    assert prepare_forecasting(recipe).recipe.labels is None
    recipe.training.max_steps += 1
    monkeypatch.setattr(module, "MOST_AUTO_LABELS", windows - 1)
    assert prepare_forecasting(recipe).recipe.labels is None


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"augmented": 0.5}},  # a new window at every step
        {"objective": {"alpha": 0.0}},  # no teacher
        {"objective": {"beta": 0.1, "terms": {"hidden_relations": {}}}},  # labels hold no hidden states
        {"training": {"rollout": {"share": 0.5}}},
    ],
)
def test_a_teacher_stays_live_where_labels_would_not_serve(recipe, change):
    changed = type(recipe).model_validate(
        {
            key: {**value, **change.get(key, {})} if key in change else value
            for key, value in recipe.model_dump().items()
        }
    )
    assert prepare_forecasting(changed).recipe.labels is None


def test_generated_windows_are_stored_if_their_number_is_given(recipe):
    recipe.data.augmented, recipe.data.distinct_windows = 0.5, 320
    assert prepare_forecasting(recipe).recipe.labels == "auto"
