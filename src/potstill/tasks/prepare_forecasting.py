"""Load and check everything that a run of forecasters needs."""

from __future__ import annotations

from typing import Any

from potstill.data.device.series import excerpts
from potstill.data.series.opening import open_store
from potstill.data.series.store import Store
from potstill.data.series.windows import SeriesWindows, require_windows
from potstill.errors import UserError
from potstill.evaluation.baselines import make_baseline
from potstill.families.base import Forecaster, TeacherFamily
from potstill.families.devices import forecasting_device
from potstill.families.load import load_forecaster
from potstill.families.registry import default_student, family, students
from potstill.objectives.objective import Objective
from potstill.objectives.registry import import_terms
from potstill.ranks import on_main
from potstill.recipe import ForecastGkdRecipe, ForecastRecipe, Recipe
from potstill.tasks.ensemble import learn_weights
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.gkd import check_gkd
from potstill.tasks.lengths import check_gate, fit_lengths
from potstill.tasks.settings import AUTO_LABELS, check_teachers, objective_config

MOST_AUTO_LABELS = 100_000  # windows; above, labels are stored only where the recipe says so


def prepare_forecasting(recipe: Recipe) -> ForecastTask:
    """Load and check everything that a run of forecasters needs.

    Raises
    ------
    UserError
        If the recipe, data and models are not consistent: a term without a teacher, lengths beyond the teacher's, no
        usable window.
    """
    recipe = recipe.model_copy(deep=True)
    assert isinstance(recipe, ForecastRecipe | ForecastGkdRecipe)
    check_data(recipe)
    import_terms(recipe.imports)
    objective = Objective(objective_config(recipe, None))
    check_objective(recipe, objective)
    _check_rollout(recipe, objective)
    device = forecasting_device(recipe.training.device)
    teachers = load_teachers(recipe, device)
    grow = recipe.student.grow
    source = load_forecaster(grow.source, device=device) if grow else None
    store = open_store(recipe.data)
    recipe.data = fit_lengths(recipe.data, store, [*teachers.values(), *([source] if source else [])])
    check_gate(objective.gate_steps(recipe.data.prediction_length), recipe.data)
    windows, validation = open_windows(recipe, store)
    first = source or next(iter(teachers.values()), None)
    chosen = family(recipe.student.family or (first.family if first else default_student("forecast")))
    if isinstance(chosen, TeacherFamily):
        raise UserError(
            f"--student: {chosen.name} models can only be teachers; choose one of {', '.join(students())}.",
            key="student.family_cannot_be_trained",
        )
    check_gkd(recipe, [teacher.family for teacher in teachers.values()], chosen)
    task = ForecastTask(recipe, device, store, windows, validation, teachers, chosen, source)
    if isinstance(recipe, ForecastRecipe) and recipe.ensemble == "validation":
        learned = on_main(lambda: learn_weights(teachers, task.validation(), store.datasets))
        for teacher, weights in zip(recipe.teacher, learned, strict=True):
            teacher.weight = weights
        recipe.ensemble = "fixed"
    if isinstance(recipe, ForecastRecipe) and recipe.labels is None and _forecasts_repeat(task, objective):
        recipe.labels = AUTO_LABELS
    return task


def _forecasts_repeat(task: ForecastTask, objective: Objective) -> bool:
    """Whether a live teacher would forecast the same windows several times, and its forecasts are all that is needed.

    Labels then cost less than the training would. Very many are not stored without being asked for: at 21 levels and 96
    steps a window takes 4 kB.
    """
    recipe: Any = task.recipe
    if objective.requires != {"forecast"} or recipe.data.device is not None or recipe.training.rollout.share > 0:
        return False
    if task.grouped and objective.grouped == "truth":  # every window has covariates, so the teacher is not asked
        return False
    windows = len(task.dataset(task.steps))
    return windows <= MOST_AUTO_LABELS and task.steps * task.windows_per_step >= 2 * windows


def check_data(recipe: Any) -> None:
    """Raise UserError if the recipe names no data, or an unknown baseline."""
    if not recipe.data.paths:
        raise UserError(
            "data.paths: no data given; name a CSV or Parquet file or a folder with --data.", key="data.no_paths"
        )
    for baseline in recipe.evaluation.baselines:
        make_baseline(baseline)  # report an unknown baseline before the training


def check_objective(recipe: Any, objective: Objective) -> None:
    """Raise UserError if the terms are for language models, or need a teacher or labels that are not there."""
    if objective.task == "language":
        raise UserError(
            "objective: its terms are for language models; write task: language, or choose other terms.",
            key="objective.other_task",
        )
    check_teachers(recipe, objective)
    check_label_share(recipe, objective, "objective.alpha")


def check_label_share(recipe: Any, objective: Objective, alpha: str) -> None:
    """Raise UserError if windows without labels have no term; ``alpha`` is the key of the teacher's weight."""
    if recipe.data.label_share < 1 and all(term.requires for term in objective.terms.values()):
        raise UserError(
            "data.label_share: windows without labels are trained on the truth, and the objective has no term on it;"
            f" write {alpha} below 1, or label_share: 1.",
            key="data.label_share_without_truth",
        )


def open_windows(recipe: Any, store: Store) -> tuple[SeriesWindows, SeriesWindows]:
    """The windows for training and validation; raises UserError if a part has none."""
    windows = SeriesWindows(store, recipe.data, "train")
    if recipe.data.synthetic < 1:
        require_windows(windows)
        if recipe.data.device is not None:
            excerpts(store, windows.bounds, windows.report.add_dropped)
    validation = SeriesWindows(store, recipe.data, "validation")
    require_windows(validation)
    require_windows(SeriesWindows(store, recipe.data, recipe.evaluation.split, stride=1))
    return windows, validation


def load_teachers(recipe: Recipe, device: str) -> dict[str, Forecaster]:
    """The recipe's teachers by name, frozen."""
    loaded: dict[str, Forecaster] = {}
    for config in recipe.teacher:
        name = config.name or config.source.rstrip("/").split("/")[-1]
        if name in loaded:
            raise UserError(
                f"teacher: two teachers have the name {name!r}; give them different names, as in first=ID.",
                key="teacher.same_name",
            )
        loaded[name] = load_forecaster(
            config.source, device=device, precision=config.precision, revision=config.revision
        ).freeze()
    return loaded


def _check_rollout(recipe: Any, objective: Objective) -> None:
    rollout = getattr(recipe.training, "rollout", None)
    if rollout is not None and rollout.share > 0 and (recipe.labels or not objective.requires):
        raise UserError(
            "training.rollout: only a live teacher can forecast from where the student's own forecast ends; give"
            " --teacher and an --alpha above 0 without --labels, or leave training.rollout out.",
            key="training.rollout_without_teacher",
        )
