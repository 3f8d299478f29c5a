"""The plan of a run as lines of text: data, sizes, memory and time, before training."""

from __future__ import annotations

import time
from typing import Any

import torch

from potstill.families.devices import CPU
from potstill.families.precision import device_precision
from potstill.tasks.base import GKD, Task
from potstill.tasks.gkd import objective_line
from potstill.tasks.memory import memory_line, process_lines
from potstill.tasks.settings import AUTO_LABELS
from potstill.teaching.base import TargetProvider, TrainingData
from potstill.teaching.stored import info_of_labels
from potstill.training.division import batches_per_step
from potstill.training.rollout import rollouts
from potstill.training.step import TrainingStep

SLOW_STEP_SECONDS = 2.0  # a slower step is timed once


def plan_lines(task: Task, stored: TargetProvider | None) -> list[str]:
    """One line each about data, teacher, student, training, memory and expected time."""
    recipe, training, student = task.recipe, task.recipe.training, task.architecture
    share = ""
    if task.teachers:
        largest = max(teacher.parameters for teacher in task.teachers.values())
        share = f", {student.parameters / largest:.1%} of the teacher's"
    active = f" ({student.active_parameters:,} of them active)" if student.active_parameters else ""
    seconds, held, patch = _measure_step(task, stored)
    return [
        *task.source_lines(),
        f"Student    {student.label}, {student.parameters:,} parameters{active}{share}, start: {task.start}",
        objective_line(recipe, task.objective()),
        f"Training   {task.steps:,} steps of {task.windows_per_step} {task.unit}{_passes(task)} on {task.device},"
        f" {device_precision(training.precision, task.device)}, learning rate {task.learning_rate():g}",
        *_label_lines(task),
        *_rollout_lines(training, patch),
        *process_lines(task),
        memory_line(task, held),
        f"Time       about {_clock(seconds * task.steps)} for the student on this machine",
    ]


def _passes(task: Task) -> str:
    """How often each window is seen, where it is more than once."""
    passes = task.steps * task.windows_per_step / max(task.size, 1)
    return f" ({passes:,.0f} passes over {task.size:,})" if task.repeats and passes >= 1.5 else ""


def _label_lines(task: Task) -> list[str]:
    if getattr(task.recipe, "labels", None) != AUTO_LABELS or not task.learns_from_teacher:
        return []
    return [f"Labels     the teacher runs once on {len(task.dataset(task.steps)):,} {task.unit}, before the training"]


def _rollout_lines(training: Any, patch: int) -> list[str]:
    rollout = getattr(training, "rollout", None)
    if rollout is None or rollout.share == 0:
        return []
    return [
        f"Rollouts   {rollout.share:.0%} of the windows continue for {patch} to {patch * rollout.patches} steps with"
        " the student's own forecast"
    ]


def _measure_step(task: Task, stored: TargetProvider | None) -> tuple[float, int, int]:
    """Measure a training step on the first batch, as an estimate.

    Returns its seconds, the bytes it keeps for the backward pass, and the student's output patch in steps.
    """
    recipe = task.recipe
    live = task.live_teachers() if task.learns_from_teacher else None
    if live is not None and getattr(
        recipe, "labels", None
    ):  # labels that do not exist yet: only forecasts or logits are stored
        live.infos = {name: info_of_labels(info) for name, info in live.infos.items()}
    dataset = task.dataset(task.steps) if stored is None else stored.dataset(task.dataset(task.steps))
    run = task.training("student", TrainingData(dataset, stored or live), task.steps, dict, random_start=True)
    step = run.step()
    step.module.to(task.device)  # including the weights of terms
    run.check(step)
    patch = getattr(run.student, "horizon_multiple", 1)
    if recipe.training.algorithm == GKD and task.horizon:
        step.rollout = rollouts(recipe.training.gkd.lmbda, recipe.training.gkd.max_new_tokens, patch)
    batch_size, batches = batches_per_step(recipe.training)
    batch = run.data.dataset.batch(list(range(min(batch_size, len(run.data.dataset))))).to(task.device)
    targets = None
    if getattr(recipe, "labels", None) and run.data.provider is not None:  # read from the store during training
        found = run.data.provider.outputs(batch, step.requests)
        targets = {name: output.to(task.device) for name, output in found.items()}
    held = _bytes_held(step, batch, targets)  # also warms up
    best = float("inf")
    for number in range(3):
        start = time.perf_counter()
        _one_step(step, batch, targets, number)
        best = min(best, time.perf_counter() - start)
        if best > SLOW_STEP_SECONDS:
            break
    return best * batches, held, patch


def _one_step(step: TrainingStep, batch: Any, targets: Any, number: int) -> None:
    loss, _ = step(step.module, batch, targets, number)
    loss.backward()
    if batch.ids.device.type != CPU:
        torch.accelerator.synchronize()


def _bytes_held(step: TrainingStep, batch: Any, targets: Any) -> int:
    held: dict[int, int] = {}
    own = {weight.data_ptr() for weight in step.module.parameters()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        _one_step(step, batch, targets, 0)
    return sum(held.values())


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
