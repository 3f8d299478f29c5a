"""Train one student of a run from its first weights (or its newest checkpoint) to its last step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import Trainer, TrainerState

from potstill.console import say
from potstill.errors import UserError
from potstill.families.attention import without_cudnn
from potstill.families.base import Model
from potstill.objectives.objective import Objective
from potstill.ranks import is_main, on_main
from potstill.recipe import TrainingConfig
from potstill.runs import clear_up, write_folder
from potstill.teaching.base import TrainingData
from potstill.training.arguments import check_arguments, evaluation_steps, refuse_checkpointing, training_arguments
from potstill.training.average import UpdateAverage
from potstill.training.callbacks import BestStudent, EpochOrder, Evaluations, Progress, RunLog, StopOnSignal, best_step
from potstill.training.checkpoints import loading, newest_checkpoint, state_of
from potstill.training.freezing import Freeze, FrozenWeights
from potstill.training.heap import BoundedHeap
from potstill.training.hooks import TrainerHooks
from potstill.training.sharding import check_sharding, is_requested, shard, sharded_blocks
from potstill.training.step import DistillationModule, TrainingStep
from potstill.training.trainer import DistillationTrainer, check_rates

STUDENT = "student_module."  # prefix of the student's weights


class Interrupted(KeyboardInterrupt):
    """A signal stopped the run after it wrote a checkpoint; ``--resume`` continues from there."""


@dataclass
class TrainingRun:
    """The training of one model: the student, its objective and data, and the settings.

    Attributes
    ----------
    name
        ``student`` or ``control``: the folder of the best student in the run, and the model's name in the log.
    student, objective, data
        The model to train, the loss to minimise, and the data set with the provider of the teachers' outputs.
    validate
        Returns validation metrics of the student, including ``metric``.
    config
        The recipe's training section.
    steps
        Optimizer steps.
    horizon
        Steps of the future that the loss uses; 0 for language models.
    device
        Where the student is trained, such as ``cpu`` or ``cuda:1``.
    describe, metric, sampler
        See :class:`potstill.training.hooks.TrainerHooks`.
    teacher
        Only for the algorithm ``gkd``, whose trainer calls the teacher directly.
    grouped
        Whether windows have groups or covariates.
    freeze
        Weights of the student that are not trained at first; None: all are.
    random_start
        Whether the student begins with random weights. One that does not is also evaluated before its first step:
        training must not make a student worse than its start. A few validation windows can prefer random weights by
        chance.
    """

    name: str
    student: Model
    objective: Objective
    data: TrainingData
    validate: Callable[[Any], dict[str, float]]
    config: TrainingConfig
    steps: int
    horizon: int
    device: str
    describe: Callable[[Tensor, Tensor | None], str]
    metric: str = "sql"
    sampler: Sampler[int] | None = None
    teacher: Model | None = None
    grouped: bool = field(default=False)
    freeze: Freeze | None = None
    random_start: bool = False
    whole: Model | None = field(default=None, init=False)  # the whole student in the main process, where it is sharded

    def run(self, run: Path, resume: bool) -> int:
        """Train, writing checkpoints, ``log.jsonl`` and the best student so far into ``run``.

        Returns
        -------
        int
            The number of steps taken, including those before a resume: fewer than planned after early stopping.

        Raises
        ------
        Interrupted
            After a signal; a checkpoint is written first.
        Diverged
            When the loss is not finite.
        """
        on_main(lambda: clear_up(run / self.name))
        checkpoints = run / "checkpoints" / self.name
        evaluations = Evaluations(evaluation_steps(self.config, self.steps), self.config.patience, self.metric)
        checkpoint = on_main(lambda: newest_checkpoint(checkpoints)) if resume else None
        done = state_of(checkpoint) if checkpoint else TrainerState()
        if done.global_step >= self.steps or evaluations.exhausted(done):
            return done.global_step  # the trainer would take one more step
        signals = StopOnSignal()
        progress = Progress(self.name)
        callbacks: list[Any] = [EpochOrder(), evaluations, BoundedHeap(), signals, progress]
        if is_main():
            callbacks.append(BestStudent(lambda step, score: self._keep(trainer, run / self.name), self.metric))
            callbacks.append(RunLog(run / "log.jsonl", self.name, self.metric))
        trainer = self.trainer(checkpoints, callbacks)
        trainer.args.eval_on_start = checkpoint is None and not self.random_start
        no_cudnn = without_cudnn(torch.device(self.device))  # for TRL's trainers, which call the module itself
        with signals, closing(progress), loading(checkpoint), self._sharded_teachers(), no_cudnn:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if signals.received is not None:
            raise Interrupted
        if best_step(trainer.state, self.metric) == 0:
            say(
                f"The {self.name.replace('_', ' ')} was best on the validation part before its first step, so its first"
                " weights are kept; training.learning_rate may be too high for so few data"
            )
        return trainer.state.global_step

    def trainer(self, checkpoints: Path, callbacks: list[Any]) -> Trainer:
        """The trainer of the recipe's algorithm, ready to train."""
        self.student.module.to(self.device)
        hooks = TrainerHooks(lambda: self._validated(trainer), self.describe, self.metric, self.sampler)
        arguments = self.config, checkpoints, self.steps, self.device
        if self.freeze is not None:
            callbacks = [*callbacks, FrozenWeights(self.freeze, self.student.module)]
        if self.teacher is not None:
            from potstill.training.gkd import gkd_trainer  # TRL takes seconds to import

            trainer: Trainer = gkd_trainer(
                self.student, self.teacher, arguments, self.data.dataset, hooks, self.horizon, callbacks
            )
        else:
            step = self.step()
            if is_requested(self.config):
                self._shard(step)
            average = step.module.average
            trainer = DistillationTrainer(
                step,
                self.data,
                training_arguments(*arguments, **self._loader()),
                hooks,
                learning_rates=self.config.learning_rates,
                callbacks=[*callbacks, *([UpdateAverage(average)] if average is not None else [])],
            )
        trainer.remove_callback(_printer())
        return trainer

    def check(self, step: TrainingStep) -> None:
        """Check the trainer's arguments before the run has a folder.

        Not for a control: it has no terms, whose weights a pattern may match.

        Raises
        ------
        UserError
            For invalid ``training.arguments`` or ``training.learning_rates``.
        """
        check_sharding(self.config, self.student, self.freeze is not None)
        if self.teacher is not None:
            from potstill.training.gkd import check_gkd_settings

            check_gkd_settings(self.config, self.steps, self.device)
            if self.student.auxiliary:
                raise UserError(
                    "training.algorithm: gkd has its own loss, which does not keep experts balanced; for a student with"
                    " experts write training.algorithm: offline.",
                    key="training.experts_with_gkd",
                )
        else:
            check_arguments(self.config, self.steps, self.device)
            if not getattr(self.student.module, "supports_gradient_checkpointing", False):
                refuse_checkpointing(
                    self.config, f"a {self.student.family} student does not support activation checkpointing"
                )
            check_rates(self.config.learning_rates, step.module)
            if self.grouped and "forecast" not in self.student.group_signals:
                raise UserError(
                    f"data: a {self.student.family} student cannot use groups or covariates; leave known, past and"
                    " groups out, and write device.groups.share: 0, or choose --student chronos2.",
                    key="model.no_groups",
                )

    def step(self) -> TrainingStep:
        """The training step. Binds the objective to the models, which creates the weights of terms."""
        provider = self.data.provider
        infos: Mapping[str, Any] = provider.infos if provider is not None else {}
        with torch.random.fork_rng():  # the seed decides a term's initial weights, without changing other draws
            torch.manual_seed(self.config.seed)
            self.objective.bind(self.student.info, infos, self.grouped)
        return TrainingStep(
            DistillationModule(self.student, self.objective, getattr(self.config, "ema", None)),
            provider,
            self.horizon,
            self.config.seed,
            getattr(self.config, "rollout", None),
            getattr(self.config, "random_horizon", False),
            self.steps,
        )

    def _loader(self) -> dict[str, Any]:
        """Arguments of the data loader: batches made on the device need no processes and no copies."""
        if not getattr(self.data.dataset, "on_device", False):
            return {}
        return {
            "dataloader_num_workers": 0,
            "dataloader_persistent_workers": False,
            "dataloader_pin_memory": False,
            "accelerator_config": {"non_blocking": False},
        }

    def _shard(self, step: TrainingStep) -> None:
        """Shard student and objective; the main process keeps a whole copy of the student, to validate and save it."""
        self.whole = copy.deepcopy(self.student) if is_main() else None
        step.module.to(self.device)
        shard(step.module)

    @contextmanager
    def _sharded_teachers(self) -> Iterator[None]:
        """A block in which live teachers are sharded, if the student is."""
        teachers = getattr(self.data.provider, "teachers", {}) if is_requested(self.config) else {}
        if not teachers:
            yield
            return
        on_main(getattr(self.validate, "prepare", lambda: None))  # the main process alone cannot run them afterwards
        with sharded_blocks(list(teachers.values())):
            yield

    def _validated(self, trainer: Trainer) -> dict[str, float]:
        """Validation metrics, computed by the main process; all processes must call this."""
        self._collect(trainer)
        with self._averaged(trainer):
            return on_main(lambda: self.validate(self.whole or self.student))

    def _collect(self, trainer: Any) -> None:
        """Copy sharded weights into the whole student."""
        if not is_requested(self.config):
            return
        state = trainer.step.module.state_dict()
        if self.whole is not None:
            own = {n.removeprefix(STUDENT): t for n, t in state.items() if n.startswith(STUDENT)}
            self.whole.module.load_state_dict(own, strict=False)  # further names of tied weights are not in it

    def _keep(self, trainer: Trainer, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self._averaged(trainer):
            write_folder(folder, (self.whole or self.student).save)

    @staticmethod
    def _averaged(trainer: Trainer) -> AbstractContextManager[None]:
        step = getattr(trainer, "step", None)  # TRL's trainers have none, and no average
        return step.module.averaged() if isinstance(step, TrainingStep) else nullcontext()


def _printer() -> type:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
