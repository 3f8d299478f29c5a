"""Train one student of a run from its first weights (or its newest checkpoint) to its last step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Sampler
from transformers import Trainer, TrainerState

from potstill.families.base import Model
from potstill.objectives.objective import Objective
from potstill.recipe import TrainingConfig
from potstill.runs import clear_up, write_folder
from potstill.training.callbacks import BestStudent, Evaluations, RunLog, StopOnSignal
from potstill.training.checkpoints import STATE, newest_checkpoint
from potstill.training.heap import BoundedHeap
from potstill.training.run_trainer import TrainerHooks
from potstill.training.trainer import (
    DistillationModule,
    DistillationTrainer,
    TargetProvider,
    evaluation_steps,
    training_arguments,
)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run after a checkpoint; ``--resume`` goes on from there."""


@dataclass
class TrainingRun:
    """One training: who learns, from what, and where its traces go.

    Attributes
    ----------
    name
        ``student`` or ``control``: the folder of the best student in the run, and the model's name in the log.
    teach
        Fills in the teacher's labels; None where no term asks for them.
    validate
        Figures of the student on validation windows, among them ``metric``.
    metric
        The figure that picks the best checkpoint: the lowest.
    sampler
        The order of the ids; default: drawn windows as they come, others shuffled by arithmetic.
    teacher
        Of TRL's engine, which asks it itself; None: ours, which learns from ``teach`` and the truth.
    """

    name: str
    student: Model
    objective: Objective
    dataset: Any
    teach: TargetProvider | None
    validate: Callable[[Any], dict[str, float]]
    config: TrainingConfig
    steps: int
    horizon: int
    device: str
    describe: Callable[[Any], str]
    metric: str = "sql"
    sampler: Sampler[int] | None = None
    teacher: Model | None = None

    def run(self, run: Path, resume: bool) -> int:
        """Train, writing checkpoints, ``log.jsonl`` and the best student so far into ``run``.

        Returns
        -------
        int
            The steps taken, resumed ones included: fewer than planned where patience came to its end.

        Raises
        ------
        Interrupted
            After a signal; a checkpoint is left.
        Diverged
            When the loss is no longer a number.
        """
        clear_up(run / self.name)
        checkpoints = run / "checkpoints" / self.name
        evaluations = Evaluations(evaluation_steps(self.config, self.steps), self.config.patience, self.metric)
        found = newest_checkpoint(checkpoints) if resume else None
        done = TrainerState.load_from_json(str(found / STATE)) if found else TrainerState()
        if done.global_step >= self.steps or evaluations.exhausted(done):
            return done.global_step  # the trainer would take one step more from it
        self.student.module.to(self.device)
        signals = StopOnSignal()
        trainer = self._trainer(
            checkpoints,
            TrainerHooks(lambda: self.validate(self.student), self.describe, self.metric, self.sampler),
            [
                evaluations,
                BestStudent(lambda step, score: self._keep(run / self.name), self.metric),
                RunLog(run / "log.jsonl", self.name, self.metric),
                BoundedHeap(),
                signals,
            ],
        )
        trainer.remove_callback(_printer())
        with signals:
            trainer.train(resume_from_checkpoint=str(found) if found else None)
        if signals.received is not None:
            raise Interrupted
        return trainer.state.global_step

    def _trainer(self, checkpoints: Path, watch: TrainerHooks, callbacks: list[Any]) -> Trainer:
        told = self.config, checkpoints, self.steps, self.device, sys.stderr.isatty()
        if self.teacher is not None:
            from potstill.training.gkd import gkd_trainer  # TRL takes seconds to import

            return gkd_trainer(self.student, self.teacher, told, self.dataset, watch, self.horizon, callbacks)
        return DistillationTrainer(
            DistillationModule(self.student, self.objective),
            self.dataset,
            training_arguments(*told),
            watch,
            teach=self.teach,
            horizon=self.horizon,
            random_horizon=self.config.random_horizon,
            rollout=self.config.rollout,
            callbacks=callbacks,
        )

    def _keep(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_folder(folder, self.student.save)


def _printer() -> type:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
