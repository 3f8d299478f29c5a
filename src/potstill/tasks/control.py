"""How many steps the control may take, so that it costs the time the student costs."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from potstill.families.base import Forecaster, Model
from potstill.objectives.objective import Objective
from potstill.recipe import Recipe
from potstill.tasks.forecasting import Job
from potstill.tasks.gkd import TRL
from potstill.tasks.training_data import TrainingData
from potstill.training.rollout import on_policy
from potstill.training.trainer import DistillationModule, TargetProvider, device_precision
from potstill.types import Windows

ROUNDS = 7


def control_steps(setup: Job, lessons: TrainingData, student: Model, taken: int) -> int:
    """The steps that the student took, times the ratio of the two steps' times, plus those its labels would have paid.

    The times are measured in turns on the same batches, fetching them included: the control draws its windows from
    the data, where the student may read them from a label store. ``taken`` counts what the student really did, which
    is less than planned where patience ended it; labels made in advance cost what the store says they did, however
    often the labelling was interrupted.
    """
    drawn = setup.training_windows(setup.steps)
    student.module.to(setup.device).train()
    taught, alone = setup.objective(), setup.objective(alpha=0.0)
    batches, pairs = setup.batches(ROUNDS), []
    step = Step(setup, student, batches[0])
    for step.ids in batches:
        pairs.append((step.seconds(lessons.windows, taught, lessons.teach), step.seconds(drawn, alone, None)))
    del pairs[0]  # it warmed up
    ratio = max(1.0, median(with_teacher / without for with_teacher, without in pairs))
    own = fmean(without for _, without in pairs)  # texts differ in length: the mean is what a step costs
    return round(taken * ratio + lessons.labelling / (own * setup.recipe.training.accumulate))


def charged(lessons: TrainingData, taken: int, recipe: Recipe, run: Path) -> tuple[TrainingData, int]:
    """TrainingData and steps that ``control_steps`` reckons with.

    A step of TRL's takes now this long, now that, as what it generates does: all the time that the student's log tells
    is charged, none by the step.
    """
    if recipe.training.engine != TRL:
        return lessons, taken
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = sum(line["seconds"] for line in lines if line["event"] == "train" and line["model"] == "student")
    return replace(lessons, labelling=lessons.labelling + seconds), 0


class Step:
    """One training step on one batch, timed; what it changes in the student is nothing (a learning rate of zero)."""

    def __init__(self, setup: Job, student: Model, ids: list[int]):
        self.student, self.ids, self.device, self.horizon = student, ids, setup.device, setup.horizon
        self.training, self.taken = setup.recipe.training, 0
        self.precision = device_precision(self.training.precision, setup.device)
        self.optimiser = torch.optim.AdamW(student.module.parameters(), lr=0.0, fused=True)

    def seconds(self, dataset: Any, objective: Objective, teach: TargetProvider | None) -> float:
        """Wall-clock seconds of one step on the batch."""
        start = time.perf_counter()
        batch = dataset.__getitems__(self.ids).to(self.device)
        if teach is not None and objective.needs:
            self.taken += 1  # each step draws other rollouts, in training as here
            if isinstance(batch, Windows) and isinstance(self.student, Forecaster):
                batch = on_policy(batch, self.student, self.training.rollout, self.training.seed, self.taken)
            batch = teach(batch, self.horizon)
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            loss, _ = DistillationModule(self.student, objective)(batch, self.horizon)
        loss.backward()
        # what a step costs beside the loss is the same for both and belongs to both
        torch.nn.utils.clip_grad_norm_(self.student.module.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        loss.item()
        return time.perf_counter() - start
