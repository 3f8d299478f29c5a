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
from potstill.types import Output
from potstill.verbs.setup import Setup
from potstill.verbs.teach import Lessons

ROUNDS = 7


def control_steps(setup: Setup, lessons: Lessons, student: Forecaster, taken: int) -> int:
    """The steps that the student took, times the ratio of the two steps' times, plus those its labels would have paid.

    The times are measured in turns on the same window ids, fetching them included: the control draws its windows from
    the data, where the student may read them from a label store. ``taken`` counts what the student really did, which
    is less than planned where patience ended it; labels made in advance cost what the store says they did, however
    often the labelling was interrupted.
    """
    drawn = setup.training_windows(setup.steps)
    ids = list(range(min(setup.recipe.training.batch_size, len(drawn))))
    student.module.to(setup.device).train()
    step = _Step(setup, student, ids)
    taught, alone = setup.objective(), setup.objective(alpha=0.0)
    pairs = [
        (step.seconds(lessons.windows, taught, lessons.teach), step.seconds(drawn, alone, None)) for _ in range(ROUNDS)
    ][1:]  # the first round warms up
    ratio = max(1.0, median(with_teacher / without for with_teacher, without in pairs))
    return round(taken * ratio + lessons.labelling / (median(w for _, w in pairs) * setup.recipe.training.accumulate))


class _Step:
    """One training step on one batch, timed; what it changes in the student is nothing (a learning rate of zero)."""

    def __init__(self, setup: Setup, student: Forecaster, ids: list[int]):
        self.student, self.ids, self.device = student, ids, setup.device
        self.precision = device_precision(setup.recipe.training.precision, setup.device)
        self.optimiser = torch.optim.AdamW(student.module.parameters(), lr=0.0, fused=True)

    def seconds(self, dataset: Any, objective: Objective, teach: Teach | None) -> float:
        """Wall-clock seconds of one step on the batch."""
        start = time.perf_counter()
        windows = dataset.__getitems__(self.ids).to(self.device)
        horizon = windows.future.shape[1]
        given = teach(windows, horizon) if teach is not None and objective.needs else windows
        teacher = Output(given.labels) if objective.needs and given.labels is not None else None
        with torch.autocast(windows.context.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            output = self.student.forward(given, horizon)
        loss, _ = objective(Pass(given, output, teacher))
        loss.backward()
        # what a step costs beside the loss is the same for both and belongs to both
        torch.nn.utils.clip_grad_norm_(self.student.module.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        loss.item()
        return time.perf_counter() - start
