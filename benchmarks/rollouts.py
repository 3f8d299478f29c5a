"""On-policy rollouts against none at equal training time, evaluated at one pass and far beyond it.

With rollouts the student trains on contexts that end with its own forecast. The teacher is the embedded one, the
student a Chronos-2 of about a tenth of its size; both arms use the live teacher. A step with rollouts takes longer:
the steps of both arms are timed interleaved, and each arm gets as many as the minutes allow. Then every student
forecasts 96 steps (one pass) to 720 (eight passes, its own forecasts fed back) in the last fifth of each file of the
suite. Errors are means over seeds; the ratio of the arms is paired by window.

The suite is found as in the tests: POTSTILL_DATA, or shared/data next to the checkout. Finished runs in runs/rollouts
are not trained again; interrupted ones continue.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import torch
from students import QUICK_SETS, suite_folder
from students_judge import CONTEXT, HORIZON, LAST_FIFTH, SETS, Judged, LatestWindows, Scores, data_of
from students_train import ROOT

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.errors import UserError
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.outcome import SEASONAL_NAIVE
from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
from potstill.families.precision import device_precision
from potstill.recipe import ForecastEvaluation, Recipe
from potstill.runs import write_atomically
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData
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
    "evaluation": {"max_windows": 50, "baselines": [SEASONAL_NAIVE]},
}


def main() -> None:
    """Time, train, evaluate, print."""
    given = harness.options(__doc__)
    for pattern in (".*trained for horizons up to", "We recommend keeping prediction length"):
        warnings.filterwarnings("ignore", message=pattern)
    suite, sets = suite_folder(), QUICK_SETS if given.quick else tuple(SETS)
    runs = ROOT / "runs" / ("rollouts-quick" if given.quick else "rollouts")
    runs.mkdir(parents=True, exist_ok=True)
    minutes, seeds = (QUICK_MINUTES, QUICK_SEEDS) if given.quick else (MINUTES, SEEDS)
    recipes = {arm: recipe_of(arm, [suite / f"{name}.csv" for name in sets]) for arm in ARMS}
    timed = calibrated(recipes, runs / "steps.json", minutes, rounds=3 if given.quick else 15)
    models: dict[str, Forecaster] = {TEACHER: load_forecaster(TEACHER).freeze()}
    for seed in seeds:
        for arm, recipe in recipes.items():
            folder = trained(recipe, runs / f"{arm}-{seed}", seed, timed[arm]["steps"])
            models[f"{arm}-{seed}"] = load_forecaster(folder / "student").freeze()
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
    """Seconds of a step of each arm, interleaved, and the steps that the minutes allow; measured once, then stored."""
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    arms = {}
    for arm, recipe in recipes.items():
        recipe = recipe.model_copy(deep=True)
        recipe.training.max_steps = rounds + 1
        arms[arm] = one_step(prepare_forecasting(recipe))
    times = {arm: harness.median(taken) for arm, taken in harness.interleave(arms, rounds).items()}
    found = {arm: {"seconds": took, "steps": max(1, round(60 * minutes / took))} for arm, took in times.items()}
    write_atomically(kept, json.dumps(found))
    return found


def one_step(task: ForecastTask) -> Callable[[], None]:
    """A training step of an arm, to be timed: always on the first batch, each time with different rollouts."""
    config, data = task.recipe.training, TrainingData(task.dataset(task.steps), task.live_teachers())
    training = task.training("student", data, task.steps, dict, random_start=True)
    training.student.module.to(task.device).train()
    step, numbers = training.step(), count()
    optimizer = torch.optim.AdamW(step.module.parameters(), lr=0.0, fused=True)
    half = device_precision(config.precision, task.device) == "bf16"

    def once() -> None:
        batch = data.dataset.batch(range(config.batch_size)).to(task.device)
        with torch.autocast(task.device, torch.bfloat16, enabled=half):
            loss, _ = step(step.module, batch, None, next(numbers))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(step.module.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the device

    return once


def trained(recipe: Recipe, run: Path, seed: int, steps: float) -> Path:
    """The run of an arm and a seed: trained, resumed, or finished already."""
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
    """Both arms and the teacher against seasonal naive, and one arm against the other, at one horizon."""
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
    """Windows and errors of a data set at a horizon; None if its last fifth holds no such window."""
    if SETS[name][0] < HORIZON:  # monthly data
        return None
    data = data_of(name, suite).model_copy(update={"prediction_length": horizon})
    store = open_store(data)
    test = LatestWindows(store, data.model_copy(update={"split": LAST_FIFTH}), "test", stride=1)
    test.most = most
    if len(test) == 0:
        return None
    train = SeriesWindows(store, data.model_copy(update={"prediction_length": HORIZON}), "train")
    try:
        found = evaluate_models(models, test, train, [], ForecastEvaluation(stride=1, max_windows=most))
    except UserError as error:
        print(f"{name} is left out at {horizon} steps: {error}")
        return None
    windows = found.windows[name]
    coverage = {model: metrics[name]["coverage_80"] for model, metrics in found.metrics.items()}
    return Judged(name, windows["series"], windows["origin"], horizon, windows["sql"], coverage)


if __name__ == "__main__":
    main()
