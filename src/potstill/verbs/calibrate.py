"""How many steps the control may take, so that it costs the time the student costs."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch

from potstill.families.base import Forecaster
from potstill.objectives.base import Pass
from potstill.objectives.objective import Objective
from potstill.training.trainer import Teach, device_precision
from potstill.types import Output, Windows
from potstill.verbs.setup import Setup

ROUNDS = 7


def control_steps(setup: Setup, teach: Teach | None, student: Forecaster, labelling: float) -> int:
    """The student's steps times the ratio of the two steps' times, measured in turns on the same batch.

    ``labelling`` is the time in seconds that labels took before the training: the control gets that as well.
    """
    dataset = setup.training_windows(setup.steps)
    windows = dataset.__getitems__(list(range(min(setup.recipe.training.batch_size, len(dataset))))).to(setup.device)
    student.module.to(setup.device).train()
    taught, alone = setup.objective(), setup.objective(alpha=0.0)
    optimiser = torch.optim.AdamW(student.module.parameters(), lr=0.0, fused=True)
    precision = device_precision(setup.recipe.training.precision, setup.device)
    pairs = [
        (
            _seconds(student, windows, taught, teach, optimiser, precision),
            _seconds(student, windows, alone, None, optimiser, precision),
        )
        for _ in range(ROUNDS)
    ][1:]  # the first round warms up
    ratio = max(1.0, median(with_teacher / without for with_teacher, without in pairs))
    return round(setup.steps * ratio + labelling / median(without for _, without in pairs))


def _seconds(
    student: Forecaster, windows: Windows, objective: Objective, teach: Teach | None, optimiser: Any, precision: str
) -> float:
    start = time.perf_counter()
    horizon = windows.future.shape[1]
    given = teach(windows, horizon) if teach is not None and objective.needs else windows
    teacher = Output(given.labels) if given.labels is not None else None
    with torch.autocast(windows.context.device.type, torch.bfloat16, enabled=precision == "bf16"):
        output = student.forward(given, horizon)
    loss, _ = objective(Pass(given, output, teacher))
    loss.backward()
    # what a step costs beside the loss is the same for both and belongs to both
    torch.nn.utils.clip_grad_norm_(student.module.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    loss.item()
    return time.perf_counter() - start
