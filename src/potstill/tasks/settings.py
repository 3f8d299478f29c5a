"""What follows from a recipe's sections: its objective, its steps, and whether it needs a teacher."""

from __future__ import annotations

import math
from typing import Any

from potstill.errors import UserError
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective, LanguageObjective, ObjectiveConfig, Recipe, TrainingConfig
from potstill.training.division import windows_per_step

AUTO_LABELS = "auto"  # the run labels its own windows
MIN_DEFAULT_STEPS = 1000  # one pass over a small file is too short to train a student
MOST_DEFAULT_PASSES = 100  # over the same windows; further ones cost time and gain nothing


def objective_config(recipe: Recipe, alpha: float | None) -> ObjectiveConfig:
    """A recipe's objective, or the same with another α and no further terms.

    The algorithm ``gkd`` has its own loss; its control uses the default objective on the ground truth.
    """
    config = getattr(recipe, "objective", None)
    if config is None:
        config = LanguageObjective() if recipe.task == "language" else ForecastObjective()
    if alpha is None:
        return config
    options = {key: value for key, value in config.terms.get(config.hard, {}).items() if key != "weight"}
    terms = {config.hard: options} if options else {}
    return config.model_copy(update={"alpha": alpha, "alpha_end": None, "beta": 0.0, "terms": terms})


def steps_of(training: TrainingConfig, windows: int, repeats: bool = True) -> int:
    """Optimizer steps: from ``max_steps`` or ``epochs``.

    By default one pass over the data, or 1,000 steps if that is more; but at most 100 passes over windows that repeat.
    """
    if training.max_steps is not None:
        return training.max_steps
    one_pass = windows / windows_per_step(training)
    if training.epochs is not None:
        return max(1, round(one_pass * training.epochs))
    least = min(MIN_DEFAULT_STEPS, math.ceil(MOST_DEFAULT_PASSES * one_pass)) if repeats else MIN_DEFAULT_STEPS
    return max(1, least, round(one_pass))


def check_teachers(recipe: Any, objective: Objective) -> None:
    """Raise UserError if the objective or the labels need a teacher that the recipe does not name."""
    labels = getattr(recipe, "labels", None)
    if objective.requires and not recipe.teacher and not labels:
        raise UserError(
            "teacher: the objective needs one (objective.alpha > 0);"
            " give --teacher, or --alpha 0 to train on the ground truth.",
            key="teacher.missing",
        )
    if labels and labels != AUTO_LABELS and not objective.requires:
        raise UserError(
            f"labels: no term of the objective reads those of {labels} (objective.alpha is 0); leave them out, or raise"
            " --alpha.",
            key="labels.unused",
        )
    if labels == AUTO_LABELS and not recipe.teacher:
        raise UserError("labels: auto: the recipe names no teacher; give --teacher.", key="teacher.missing")
