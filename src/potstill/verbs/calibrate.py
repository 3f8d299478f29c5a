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


def control_steps(setup: Setup, teach: Teach | None, student: Forecaster, labelling: float) -> int:
    """The student's steps times the ratio of the two steps' times, measured in turns on the same batch.

    ``labelling`` is the time in seconds that labels took before the training: the control gets that as well.
    """
    dataset = setup.training_windows(setup.steps)
    windows = dataset.__getitems__(list(range(min(setup.recipe.training.batch_size, len(dataset))))).to(setup.device)
    student.module.to(setup.device).train()
    taught, alone = setup.objective(), setup.objective(alpha=0.0)
    _seconds(student, windows, taught, teach)
    _seconds(student, windows, alone, None)
    pairs = [
        (_seconds(student, windows, taught, teach), _seconds(student, windows, alone, None)) for _ in range(ROUNDS)
    ]
    ratio = max(1.0, median(with_teacher / without for with_teacher, without in pairs))
    return round(setup.steps * ratio + labelling / median(without for _, without in pairs))


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
