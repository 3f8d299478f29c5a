"""The stages of a run: the student, then its controls (the same student, trained without a teacher for the same time).

Each stage trains one model and adds it to the run's models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from potstill.console import say
from potstill.ranks import on_main
from potstill.runs import RECIPE_FILE, write_atomically, write_folder
from potstill.tasks.base import GKD, Task
from potstill.tasks.start import GROWN
from potstill.teaching.base import TrainingData
from potstill.training.control import control_steps, logged_seconds, steps_in


@dataclass
class RunState:
    """The state that the stages share.

    Attributes
    ----------
    task, folder, resume
        The task, the run's folder, and whether the run is resumed.
    data
        The student's training data.
    validate
        Evaluates a model on validation data.
    models
        The finished models by name.
    taken
        Steps that the student took.
    """

    task: Task
    folder: Path
    resume: bool
    data: TrainingData
    validate: Callable[[Any], dict[str, float]]
    models: dict[str, Any] = field(default_factory=dict)
    taken: int = 0


Stage = Callable[[RunState], None]


def train_student(state: RunState) -> None:
    """Train the student."""
    task = state.task
    say(f"Training the student: {task.steps:,} steps of {task.windows_per_step} {task.unit}")
    training = task.training("student", state.data, task.steps, state.validate)
    if state.data.provider is not None and state.data.provider.stored:
        with task.teacher_unloaded():
            state.taken = training.run(state.folder, state.resume)
    else:
        state.taken = training.run(state.folder, state.resume)
    state.models["student"] = _finished(state, "student")


def train_control(state: RunState, name: str, random_start: bool) -> None:
    """Train a control: the same student without a teacher's outputs, for the time that the student took."""
    task, recipe = state.task, state.task.recipe
    if recipe.control_steps is None:
        steps = _control_steps(state)  # all processes train for it
        recipe.control_steps = on_main(lambda: steps)
        write_recipe(task, state.folder)
    weights = "random weights" if random_start or task.start == "random" else "the student's first weights"
    say(f"Training the {name.replace('_', ' ')}, without a teacher, from {weights}: {recipe.control_steps:,} steps")
    data = TrainingData(task.dataset(recipe.control_steps))
    training = task.training(name, data, recipe.control_steps, state.validate, random_start)
    training.run(state.folder, state.resume)
    state.models[name] = _finished(state, name)


def _finished(state: RunState, name: str) -> Any:
    """The best model of a training, calibrated."""
    model = state.task.open(name, state.folder / name)
    changes = on_main(lambda: state.task.calibrate(model, state.validate, name.replace("_", " ")))
    if changes:
        on_main(lambda: write_folder(state.folder / name, model.save))
        say(*changes)
    return model


def write_recipe(task: Task, run: Path) -> None:
    """Write the resolved recipe into the run's folder; it reproduces the run."""
    on_main(lambda: write_atomically(run / RECIPE_FILE, task.recipe.to_yaml()))


def stages_of(task: Task) -> list[Stage]:
    """The stages of the recipe, in order."""
    controls = (partial(train_control, name=n, random_start=r) for n, r in controls_of(task).items())
    return [*task.stages(train_student), *controls]


def controls_of(task: Task) -> dict[str, bool]:
    """The names of the run's controls, and which of them start from random weights."""
    asked = task.recipe.control
    if not asked:
        return {}
    asked = task.control_start if asked is True else asked
    if asked == "both" and task.start != "random":
        return {"control": True, "control_start": False}
    return {"control": asked != "start"}


def _control_steps(state: RunState) -> int:
    task = state.task
    no_teacher = TrainingData(task.dataset(task.steps))

    def training(data: TrainingData) -> Any:
        return task.training("control", data, task.steps, state.validate, random_start=True)

    if task.recipe.training.algorithm == GKD or task.start == GROWN:
        # the time of a step depends on the generated text, or on what is frozen, so the student's logged time is used
        seconds = logged_seconds(state.folder / "log.jsonl", "student") + state.data.labelling
        return steps_in(seconds, lambda: training(no_teacher))
    return control_steps(lambda: training(state.data), lambda: training(no_teacher), state.taken, state.data.labelling)
