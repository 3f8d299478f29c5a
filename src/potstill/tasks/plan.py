"""The plan of a run in plain lines: windows, sizes, memory and time, before anything is trained."""

from __future__ import annotations

import time

import torch

from potstill.tasks.forecasting import Setup
from potstill.tasks.gkd import TRL, objective_line
from potstill.training.rollout import on_policy, rollouts
from potstill.training.trainer import device_precision

ADAM_COPIES = 4  # weights, gradients, two moments


def source_lines(setup: Setup) -> list[str]:
    """What there is to learn from: a line on the data, with what was dropped, and one for each teacher."""
    data = setup.recipe.data
    lines = [
        f"Data       {len(setup.store.datasets)} data sets, {len(setup.store.names):,} series;"
        f" {len(setup.windows):,} training and {len(setup.validation):,} validation windows"
        f" of {data.context_length} → {data.prediction_length} (split {data.split})",
        *(f"           {line}" for line in setup.windows.report.lines()),
    ]
    if data.synthetic or data.augmented:
        lines.append(f"           {data.synthetic:.0%} of them synthetic, {data.augmented:.0%} mixed or warped")
    for name, teacher in setup.teachers.items():
        lines.append(f"Teacher    {name}: {teacher.family}, {teacher.parameters:,} parameters")
    return lines


def plan_lines(setup: Setup) -> list[str]:
    """One line each on data, teacher, student, training, memory and expected time."""
    recipe, training = setup.recipe, setup.recipe.training
    share = ""
    if setup.teachers:
        largest = max(teacher.parameters for teacher in setup.teachers.values())
        share = f", {setup.architecture.parameters / largest:.1%} of the teacher's"
    precision = device_precision(training.precision, setup.device)
    seconds, held, patch = _rehearse(setup)
    weights = 4 * (setup.architecture.parameters * ADAM_COPIES + sum(t.parameters for t in setup.teachers.values()))
    return [
        *source_lines(setup),
        f"Student    {setup.architecture.family}, {setup.architecture.parameters:,} parameters{share},"
        f" start: {recipe.student.start}",
        objective_line(recipe, setup.objective()),
        f"Training   {setup.steps:,} steps of {training.batch_size * training.accumulate} windows on {setup.device},"
        f" {precision}",
        *_rollout_lines(setup, patch),
        f"Memory     about {(weights + held) / 1e6:,.0f} MB for weights, optimiser and one batch",
        f"Time       about {_clock(seconds * setup.steps)} for the student on this machine",
    ]


def _rollout_lines(setup: Setup, patch: int) -> list[str]:
    rollout = setup.recipe.training.rollout
    if rollout.share == 0:
        return []
    return [
        f"Rollouts   {rollout.share:.0%} of the windows go on from {patch} to {patch * rollout.patches} steps of the"
        " student's own forecast"
    ]


def _rehearse(setup: Setup) -> tuple[float, int, int]:
    """Seconds of a step on made-up windows, and bytes that a batch holds for its gradients: rough, for orientation.

    The student's output patch comes along, in steps.
    """
    from potstill.families.base import bare_windows

    data, batch = setup.recipe.data, setup.recipe.training.batch_size
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = setup.family.build(setup.architecture, 0.0)
        windows = bare_windows(torch.randn(batch, data.context_length).cumsum(1), data.prediction_length)
    student.module.to(setup.device)
    windows = windows.to(setup.device)
    best, held, rollout = float("inf"), {}, setup.recipe.training.rollout
    if setup.recipe.training.engine == TRL:
        gkd = setup.recipe.training.gkd
        rollout = rollouts(gkd.lmbda, gkd.max_new_tokens, student.horizon_multiple)
    own = {weight.data_ptr() for weight in student.module.parameters()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = student.forward(windows, data.prediction_length).forecast.values.square().mean()
    loss.backward()  # both also warm up
    for _ in range(3):
        start = time.perf_counter()
        if setup.recipe.labels is None and setup.objective().needs:
            given = on_policy(windows, student, rollout, setup.recipe.training.seed, 0)
            with torch.no_grad():
                for teacher in setup.teachers.values():
                    teacher.forward(given, data.prediction_length)
        student.forward(windows, data.prediction_length).forecast.values.square().mean().backward()
        best = min(best, time.perf_counter() - start)
    return best * setup.recipe.training.accumulate, sum(held.values()), student.horizon_multiple


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
