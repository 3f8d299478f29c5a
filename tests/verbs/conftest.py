"""One finished run that the tests of the verbs look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_fakes import small_recipe

import potstill
from potstill.recipe import Recipe


@pytest.fixture(scope="session")
def recipe(tiny_teacher: Path, small_csv: Path) -> Recipe:
    """Twelve steps, with control."""
    recipe = small_recipe(tiny_teacher, small_csv)
    recipe.control, recipe.student.start = True, "random"
    return recipe


@pytest.fixture(scope="session")
def distilled(recipe: Recipe, quick_trainer: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of ``recipe``."""
    return potstill.distill(recipe, tmp_path_factory.mktemp("distilled") / "run")
