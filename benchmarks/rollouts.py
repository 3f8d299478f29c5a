"""On-policy rollouts against none: one student, trained for equal time, judged at one pass and far beyond it.

The teacher is the embedded one, the student a Chronos-2 of about a tenth of it; both arms ask the live teacher. A step
with rollouts takes longer: both arms' steps are timed in turns, and each arm gets as many as the minutes hold. Then
every student forecasts 96 steps (one pass) to 720 (eight passes, its own forecasts fed back) of the suite's last
fifths. Errors are means over seeds; the ratio of the arms is paired by window.

The suite is found as the tests find it: POTSTILL_DATA, or shared/data beside the checkout. What is finished in
runs/rollouts is not trained again, and what was stopped goes on.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np
from students import QUICK_SETS, suite_folder
from students_judge import CONTEXT, HORIZON, LAST_FIFTH, SETS, Judged, LatestWindows, Scores, data_of
from students_train import ROOT

from potstill.data.series.store import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.errors import UserError
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.outcome import NAIVE
from potstill.families.base import Forecaster
from potstill.families.load import load
from potstill.recipe import EvaluationConfig, Recipe
from potstill.runs import write_atomically
from potstill.tasks.control import Step
from potstill.tasks.forecasting import Setup, prepare
from potstill.tasks.training_data import TrainingData
from potstill.verbs import distill

MINUTES, SEEDS, HORIZONS, WINDOWS = 20.0, (0,), (96, 192, 336, 720), 200
QUICK_MINUTES, QUICK_SEEDS, QUICK_WINDOWS = 0.1, (0,), 12
TEACHER, PLAIN, ROLLED = "embedded", "plain", "rollouts"
ARMS = {PLAIN: {}, ROLLED: {"share": 0.25, "patches": 8}}
SHARED = {
    "teacher": TEACHER,
    "data": {"split": "suite", "context_length": CONTEXT, "prediction_length": HORIZON, "balance": 0.5}
    | {"augmented": 0.35},
    "objective": {"alpha": 0.8, "hard": "scaled_pinball"},
    "training": {"learning_rate": 1e-3, "batch_size": 64, "eval_windows": 512},
    "evaluation": {"max_windows": 50, "baselines": [NAIVE]},
}


def main() -> None:
    """Time, train, judge, print."""
    given = harness.options(__doc__)
    for told in (".*trained for horizons up to", "We recommend keeping prediction length"):
        warnings.filterwarnings("ignore", message=told)
    suite, sets = suite_folder(), QUICK_SETS if given.quick else tuple(SETS)
    runs = ROOT / "runs" / ("rollouts-quick" if given.quick else "rollouts")
    runs.mkdir(parents=True, exist_ok=True)
    minutes, seeds = (QUICK_MINUTES, QUICK_SEEDS) if given.quick else (MINUTES, SEEDS)
    recipes = {arm: recipe_of(arm, [suite / f"{name}.csv" for name in sets]) for arm in ARMS}
    timed = calibrated(recipes, runs / "steps.json", minutes, rounds=3 if given.quick else 15)
    models: dict[str, Forecaster] = {TEACHER: load(TEACHER).freeze()}
    for seed in seeds:
        for arm, recipe in recipes.items():
            folder = trained(recipe, runs / f"{arm}-{seed}", seed, timed[arm]["steps"])
            models[f"{arm}-{seed}"] = load(folder / "student").freeze()
    most = QUICK_WINDOWS if given.quick else WINDOWS
    horizons = {str(horizon): at_horizon(horizon, suite, sets, models, seeds, most) for horizon in HORIZONS}
    parameters = {name: models[name].parameters for name in (TEACHER, f"{PLAIN}-{seeds[0]}")}
    figures = {"quick": given.quick, "minutes": minutes, "seeds": len(seeds), "parameters": parameters}
    harness.finish(figures | {"rollout": ARMS[ROLLED], "arms": timed, "horizons": horizons}, given.output)


def recipe_of(arm: str, paths: list[Path]) -> Recipe:
    """An arm's recipe, without its length."""
    over = {"data.paths": [str(path) for path in paths], "training.rollout": ARMS[arm]}
    return Recipe.lay_over(json.loads(json.dumps(SHARED)), over)


def calibrated(recipes: dict[str, Recipe], kept: Path, minutes: float, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of a step of each arm, taken in turns, and the steps that the minutes hold; measured once, then kept."""
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    arms = {}
    for arm, recipe in recipes.items():
        recipe = recipe.model_copy(deep=True)
        recipe.training.max_steps = rounds + 1
        arms[arm] = one_step(prepare(recipe))
    times = {arm: harness.median(taken) for arm, taken in harness.interleave(arms, rounds).items()}
    found = {arm: {"seconds": took, "steps": max(1, round(60 * minutes / took))} for arm, took in times.items()}
    write_atomically(kept, json.dumps(found))
    return found


def one_step(setup: Setup) -> Any:
    """A training step of an arm, to be timed."""
    student = setup.family.build(setup.architecture, 0.0)
    student.module.to(setup.device).train()
    step = Step(setup, student, list(range(setup.recipe.training.batch_size)))
    lessons, objective = TrainingData.of(setup, None), setup.objective()
    return lambda: step.seconds(lessons.windows, objective, lessons.teach)


def trained(recipe: Recipe, run: Path, seed: int, steps: float) -> Path:
    """An arm's run of a seed: made, gone on with, or finished already."""
    if (run / "metrics.json").exists():
        return run
    if (run / "recipe.yaml").exists():
        return distill(output=run, resume=True)
    recipe = recipe.model_copy(deep=True)
    recipe.training.seed, recipe.training.max_steps = seed, int(steps)
    return distill(recipe, run)


def at_horizon(
    horizon: int, suite: Path, sets: tuple[str, ...], models: dict[str, Forecaster], seeds: tuple[int, ...], most: int
) -> dict[str, Any]:
    """Both arms and the teacher against seasonal naive, and the arms against one another, at one horizon."""
    judged = [one for name in sets if (one := judge(name, suite, models, horizon, most)) is not None]
    for one in judged:
        for arm in ARMS:
            one.sql[arm] = np.mean([one.sql[f"{arm}-{seed}"] for seed in seeds], axis=0)
            one.coverage[arm] = float(np.mean([one.coverage[f"{arm}-{seed}"] for seed in seeds]))
    scores = Scores(judged)
    return {
        "sets": {one.name: len(one.series) for one in judged},
        **{name: scores.of(name) for name in (TEACHER, *ARMS)},
        "rollouts_over_plain": scores.ratio(ROLLED, PLAIN),
        "by_seed": {f"{seed}": scores.ratio(f"{ROLLED}-{seed}", f"{PLAIN}-{seed}")["value"] for seed in seeds},
    }


def judge(name: str, suite: Path, models: dict[str, Forecaster], horizon: int, most: int) -> Judged | None:
    """A data set's windows and errors at a horizon; None where its last fifth holds no such window."""
    if SETS[name][0] < HORIZON:  # a year of months
        return None
    data = data_of(name, suite).model_copy(update={"prediction_length": horizon})
    store = open_store(data)
    test = LatestWindows(store, data.model_copy(update={"split": LAST_FIFTH}), "test", stride=1)
    test.most = most
    if len(test) == 0:
        return None
    train = SeriesWindows(store, data.model_copy(update={"prediction_length": HORIZON}), "train")
    try:
        found = evaluate_models(models, test, train, [], EvaluationConfig(stride=1, max_windows=most))
    except UserError as error:
        print(f"{name} is left out at {horizon} steps: {error}")
        return None
    windows = found.windows[name]
    coverage = {model: metrics[name]["coverage_80"] for model, metrics in found.metrics.items()}
    return Judged(name, windows["series"], windows["origin"], horizon, windows["sql"], coverage)


if __name__ == "__main__":
    main()
