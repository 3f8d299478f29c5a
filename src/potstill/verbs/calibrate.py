"""How many steps the control may take, so that it costs the time the student costs."""

from __future__ import annotations

import time
from statistics import median

from potstill.families.base import Forecaster
from potstill.objectives.base import Pass
from potstill.objectives.objective import Objective
from potstill.training.trainer import Teach
from potstill.types import Output, Windows
from potstill.verbs.setup import Setup

ROUNDS = 7


def control_steps(setup: Setup, teach: Teach | None, student: Forecaster) -> int:
    """The student's steps times the ratio of the two steps' times, measured in turns on the same batch."""
    dataset = setup.training_windows(setup.steps)
    windows = dataset.__getitems__(list(range(min(setup.recipe.training.batch_size, len(dataset))))).to(setup.device)
    student.module.to(setup.device).train()
    taught, alone = setup.objective(), setup.objective(alpha=0.0)
    _seconds(student, windows, taught, teach)
    _seconds(student, windows, alone, None)
    ratios = [
        _seconds(student, windows, taught, teach) / _seconds(student, windows, alone, None) for _ in range(ROUNDS)
    ]
    return max(1, round(setup.steps * max(1.0, median(ratios))))


def _seconds(student: Forecaster, windows: Windows, objective: Objective, teach: Teach | None) -> float:
    start = time.perf_counter()
    horizon = windows.future.shape[1]
    given = teach(windows, horizon) if teach is not None and objective.needs else windows
    teacher = Output(given.labels) if given.labels is not None else None
    loss, _ = objective(Pass(given, student.forward(given, horizon), teacher))
    loss.backward()
    student.module.zero_grad()
    loss.item()
    return time.perf_counter() - start
