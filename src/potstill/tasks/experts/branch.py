"""The stage that branches experts from one finished student: a copy for each group of series, trained further on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from potstill.console import say
from potstill.data.series.training_windows import TrainingWindows
from potstill.data.series.windows import SeriesWindows
from potstill.errors import UserError
from potstill.evaluation.validation import Validation
from potstill.families.load import load_forecaster
from potstill.objectives.objective import Objective
from potstill.ranks import on_main
from potstill.recipe import ForecastObjective, MixtureRecipe
from potstill.tasks.experts.groups import group_series
from potstill.tasks.experts.names import branch_names
from potstill.tasks.stages import RunState
from potstill.teaching.base import TrainingData
from potstill.training.division import windows_per_step

EXPERTS = "experts"  # folder of the run


def branch_experts(state: RunState) -> None:
    """Train an expert per group; one that is no better on its validation windows than the base is left out."""
    task: Any = state.task
    config = task.recipe.branch
    groups = group_series(task.store, task.recipe.data.split, config.by, task.recipe.training.seed)
    say(f"Training {len(groups)} experts by {config.by}: {config.max_steps:,} steps each from {config.source}")
    found = {}
    for group, name in branch_names(groups, task.recipe).items():
        expert = _branch(state, name, groups[group])
        if expert is not None:
            found[name] = expert
    task.add(found)
    state.data = task.training_data(state.folder, None)
    state.validate = task.validation()


def branch_objective(recipe: MixtureRecipe) -> Objective:
    """The objective of the experts that branch: of the teacher, if there is one, and the truth."""
    assert recipe.branch is not None
    alpha = recipe.branch.alpha if recipe.teacher else 0.0
    return Objective(ForecastObjective(alpha=alpha, hard="scaled_pinball"))


def _branch(state: RunState, name: str, series: np.ndarray) -> Any:
    """The expert of a group of series; None if it does not improve on the base there."""
    task: Any = state.task
    recipe, config = task.recipe, task.recipe.branch
    store = task.store.only(series)
    windows = SeriesWindows(store, recipe.data, "train")
    held_out = SeriesWindows(store, recipe.data, "validation")
    if not len(windows) or not len(held_out):
        say(f"No expert for {name}: its series have no window to train on, or none to validate on")
        return None
    try:
        validate = on_main(lambda: Validation(held_out, recipe.training.eval_windows))
    except UserError as error:
        say(f"No expert for {name}: {error}")
        return None
    count = config.max_steps * windows_per_step(recipe.training.model_copy(update={"batch_size": config.batch_size}))
    training = task.training_of(
        f"{EXPERTS}/{name}",
        load_forecaster(config.source, device=task.device),
        branch_objective(recipe),
        TrainingData(
            TrainingWindows(windows, recipe.data, recipe.training.seed, count),
            task.live_teachers() if config.alpha else None,
        ),
        validate=validate,
        steps=config.max_steps,
        config={"batch_size": config.batch_size, "learning_rate": config.learning_rate, "ema": None},
    )
    training.run(state.folder, state.resume)
    base = load_forecaster(config.source, device=task.device)
    expert = task.open(name, state.folder / EXPERTS / name)
    before, after = on_main(lambda: [validate(model)["sql"] for model in (base, expert)])
    kept = after < before
    verdict = "kept" if kept else "left out"
    say(f"Expert {name}: validation loss {before:.4f} → {after:.4f} on its {len(series):,} series; {verdict}")
    return expert.freeze() if kept else None
