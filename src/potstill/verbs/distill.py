"""``potstill distill``: from teachers and data to a student, its evidence and its report, all in one run folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from transformers import set_seed

from potstill.console import say
from potstill.data.series.saved_frames import saved_frames
from potstill.errors import UserError
from potstill.evaluation.validation import Validation
from potstill.families.base import Forecaster
from potstill.families.load import load
from potstill.recipe import Recipe
from potstill.recipe.options import recipe_of_run, resolve
from potstill.runs import check_run, open_run, write_atomically
from potstill.tasks.control import charged, control_steps
from potstill.tasks.finish import finish
from potstill.tasks.forecasting import AUTO, Setup, prepare
from potstill.tasks.gkd import TRL
from potstill.tasks.plan import plan_lines
from potstill.tasks.training_data import Ensemble, TrainingData
from potstill.teaching.stores.forecasts import LabelStore
from potstill.training.fit import TrainingRun
from potstill.types import Windows
from potstill.verbs.label import label_windows, settings


def distill(
    recipe: Recipe | str | Path | None = None,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    **options: Any,
) -> Path:
    """Distil.

    Parameters
    ----------
    recipe
        A recipe or the path of one; default: Potstill's defaults.
    output
        The run's folder; must not hold a run yet, unless it is resumed.
    options
        Laid over the recipe by their short names, as on the command line: ``teacher``, ``data`` (paths, or a pandas
        frame, which is kept in the run), ``student``, ``max_steps``, ``alpha`` …; see ``recipe.options.OPTIONS``.
    resume
        Go on from the newest whole checkpoint; ends where the unbroken run would have ended. The run's own recipe
        counts, as it stands in the run; a recipe or options given beside it must agree with it.
    dry_run
        Print the plan (windows, sizes, memory, time) and stop; nothing is written.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    UserError
        Where input or options do not fit; one sentence.
    Interrupted
        After SIGINT or SIGTERM; a checkpoint is left.
    """
    if output is None:
        raise UserError("output: none given; name the folder that the run goes into.")
    run = Path(output) if dry_run else check_run(output, resume)
    with saved_frames(options) as (options, frame):
        recipe = resolve(recipe, _but_for_its_own_frame(run, options, frame) if resume else options)
        recipe = recipe_of_run(run, recipe) if resume else recipe.absolute()
        if recipe.task == "language":
            from potstill.tasks.language.distill import distill_language

            return distill_language(recipe, run, resume, dry_run)
        setup = prepare(recipe)
        recipe = setup.recipe
        plan = plan_lines(setup)
        if dry_run:
            say(*plan)
            return run
        validation = Validation(setup.validation, recipe.training.eval_windows)
        store = _ready_labels(setup)
        open_run(run, resume)  # only now: bad input leaves no folder behind
        if frame is not None:
            recipe.data.paths = [str(Path(shutil.copy(frame, run / frame.name)).absolute())]
    say(*plan)
    write_atomically(run / "recipe.yaml", recipe.to_yaml())
    if recipe.labels == AUTO and setup.objective().needs:
        store = label_windows(setup, run / "labels")
    lessons = TrainingData.of(setup, store)

    say(f"Training the student: {setup.steps:,} steps of {recipe.training.batch_size} windows")
    taken = _fit(setup, "student", setup.steps, validation, lessons).run(run, resume)
    if recipe.control and recipe.control_steps is None:
        lessons, taken = charged(lessons, taken, recipe, run)
        recipe.control_steps = control_steps(setup, lessons, _fresh(setup), taken)
        write_atomically(run / "recipe.yaml", recipe.to_yaml())
    models: dict[str, Forecaster | Ensemble] = {"student": load(run / "student", device=setup.device)}
    if setup.teachers:
        models = {"teacher": _one_teacher(setup), **models}
    if recipe.control and recipe.control_steps is not None:
        say(f"Training the control, without a teacher: {recipe.control_steps:,} steps")
        _fit(setup, "control", recipe.control_steps, validation, None).run(run, resume)
        models["control"] = load(run / "control", device=setup.device)
    finish(setup, run, models)
    return run


def _but_for_its_own_frame(run: Path, options: dict[str, Any], frame: Path | None) -> dict[str, Any]:
    """The options without the frame that the run keeps a copy of."""
    if frame is None or not (run / frame.name).exists() or (run / frame.name).read_bytes() != frame.read_bytes():
        return options
    return {name: value for name, value in options.items() if name != "data"}


def _fit(setup: Setup, name: str, steps: int, validation: Validation, lessons: TrainingData | None) -> TrainingRun:
    """The training of a model of the run; one without lessons learns from the truth alone."""
    return TrainingRun(
        name=name,
        student=_fresh(setup),
        objective=setup.objective(None if lessons else 0.0),
        dataset=lessons.windows if lessons else setup.training_windows(steps),
        teach=lessons.teach if lessons else None,
        validate=validation,
        config=setup.recipe.training,
        steps=steps,
        horizon=setup.recipe.data.prediction_length,
        device=setup.device,
        describe=lambda windows: _names(setup, windows),
        teacher=next(iter(setup.teachers.values())) if lessons and setup.recipe.training.engine == TRL else None,
    )


def _fresh(setup: Setup) -> Forecaster:
    """The student before its first step, the same for the same seed."""
    set_seed(setup.recipe.training.seed)
    student = setup.family.build(setup.architecture, setup.recipe.training.dropout)
    if setup.recipe.student.start == "teacher":
        lines = setup.family.start_from(student, next(iter(setup.teachers.values())))
        say(*lines)
    return student


def _ready_labels(setup: Setup) -> LabelStore | None:
    """The store that the recipe names, checked against the run; None where the teacher answers in another way."""
    labels = setup.recipe.labels
    if labels in (None, AUTO) or not setup.objective().needs:
        return None
    teacher = next(iter(setup.teachers.values())) if len(setup.teachers) == 1 else None
    dataset = setup.training_windows(setup.steps)
    store = LabelStore.open(labels, dataset, teacher, settings(setup.recipe))
    if store.labelled() < len(dataset):
        raise UserError(
            f"{labels}: holds labels for {store.labelled():,} windows of the {len(dataset):,} this run trains on; give"
            " `potstill label` the same recipe, steps and batch size: it goes on where it stopped."
        )
    return store


def _one_teacher(setup: Setup) -> Forecaster | Ensemble:
    teachers = list(setup.teachers.values())
    if len(teachers) == 1:
        return teachers[0]
    return Ensemble(teachers, [config.weight for config in setup.recipe.teacher])


def _names(setup: Setup, windows: Windows) -> str:
    known = sorted({int(i) for i in windows.series if i >= 0})
    names = [setup.store.names[i] for i in known[:5]]
    made = int((windows.series < 0).sum())
    return ", ".join(names + ["…"] * (len(known) > 5) + [f"{made} generated windows"] * (made > 0))
