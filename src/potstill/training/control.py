"""The number of steps of the control (the same student trained without a teacher) that takes the student's time.

Both are timed in their own trainer, from the end of one step to the end of the next. This includes data loading,
logging and callbacks. Student and control are timed on the same batches, interleaved.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback

from potstill.training.division import windows_per_step
from potstill.training.run import TrainingRun

TIMING_ROUNDS, TIMED_STEPS = 4, 4  # interleaved rounds, and timed steps per round after one warm-up step


def control_steps(
    student: Callable[[], TrainingRun], control: Callable[[], TrainingRun], taken: int, labelling: float
) -> int:
    """The control's steps: the time of the student and its labels, divided by the time of a control step.

    Parameters
    ----------
    student, control
        Create a training run with fresh weights, used only for timing.
    taken
        Steps that the student took: fewer than planned after early stopping.
    labelling
        Seconds that the teacher took for the stored labels that the run read.
    """
    pairs = [(_seconds(student(), place), _seconds(control(), place)) for place in range(TIMING_ROUNDS)]
    control_seconds = [seconds for _, of_control in pairs for seconds in of_control]
    # a ratio per step: both use the same batches, and other load on the machine slows both steps of a pair
    ratio = median(s / c for of_student, of_control in pairs for s, c in zip(of_student, of_control, strict=True))
    # batches of text differ in length, so labels are charged by the mean step
    return max(1, round(taken * ratio + labelling / fmean(control_seconds)))


def logged_seconds(log: Path, model: str) -> float:
    """Training seconds of a model according to its log, without evaluations and checkpoints."""
    found = 0.0
    for text in log.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # a line torn by a kill
            line = json.loads(text)
            found += line["seconds"] if line["event"] == "train" and line["model"] == model else 0
    return found


def steps_in(seconds: float, control: Callable[[], TrainingRun]) -> int:
    """The number of control steps that fit in ``seconds``."""
    step_seconds = [step for place in range(TIMING_ROUNDS) for step in _seconds(control(), place)]
    return max(1, round(seconds / fmean(step_seconds)))


def _seconds(training: TrainingRun, place: int) -> list[float]:
    """Seconds of each step of a short training, timed in its trainer; each round ``place`` uses different batches."""
    clock, config = _Clock(), training.config
    planned, training.steps = training.steps, TIMED_STEPS + 1
    if training.sampler is not None:
        training.sampler = _WithoutFirst(training.sampler, place * training.steps * windows_per_step(config))
    with tempfile.TemporaryDirectory() as folder:
        trainer = training.trainer(Path(folder), [clock])
        trainer.args.logging_steps = max(1, min(50, planned // 100))  # as often as in the full training
        trainer.args.save_strategy = "no"
        trainer.train()
    return clock.seconds


class _WithoutFirst(Sampler[int]):
    """A sampler without its first ``skipped`` ids (modulo its length, so some ids are always left)."""

    def __init__(self, sampler: Any, skipped: int):
        self.sampler, self.skipped = sampler, skipped % max(1, len(sampler))

    def __len__(self) -> int:
        return len(self.sampler) - self.skipped

    def __iter__(self) -> Iterator[int]:
        return islice(iter(self.sampler), self.skipped, None)


class _Clock(TrainerCallback):
    """Records the time from the end of one step to the end of the next."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.seconds: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.accelerator.is_available():  # otherwise only the launch of a step's kernels is timed
            torch.accelerator.synchronize()
        now = time.perf_counter()
        if self.last is not None:
            self.seconds.append(now - self.last)
        self.last = now
