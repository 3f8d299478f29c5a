"""The base class of tasks: data, teachers, student, validation, plan and final evaluation of a run, all checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import set_seed

from potstill.console import say
from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Model
from potstill.objectives.objective import Objective
from potstill.ranks import world_size
from potstill.recipe import ForecastObjective, LanguageObjective, ObjectiveConfig, Recipe, TrainingConfig
from potstill.teaching.base import TargetProvider, TrainingData
from potstill.teaching.live import LiveTeachers
from potstill.training.run import TrainingRun

AUTO_LABELS = "auto"  # the run labels its own windows
GKD = "gkd"  # training.algorithm of TRL's trainer
MIN_DEFAULT_STEPS = 1000  # one pass over a small file is too short to train a student


class Task(ABC):
    """A checked run: everything except the student's weights.

    Attributes
    ----------
    recipe
        The run's copy of the recipe; the task fills in resolved values.
    device
        ``cpu`` or ``cuda``.
    teachers
        Frozen models by name; may be empty if labels are stored.
    family
        The student's family.
    metric
        The validation metric that selects the best checkpoint; lower is better.
    unit
        The name of the elements of a batch in messages.
    """

    recipe: Any
    device: str
    teachers: Mapping[str, Model]
    family: Family[Any]
    metric: ClassVar[str]
    unit: ClassVar[str]

    @property
    @abstractmethod
    def architecture(self) -> Architecture:
        """The student's config; raises UserError for sizes that are not possible."""

    @property
    @abstractmethod
    def horizon(self) -> int:
        """Steps of the future that the loss uses; 0 for language models."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of training windows or examples: one pass over the data."""

    @abstractmethod
    def dataset(self, steps: int) -> Any:
        """The training data set of a run of ``steps`` steps."""

    @abstractmethod
    def validation(self) -> Callable[[Any], dict[str, float]]:
        """A function that evaluates a model on validation data and returns metrics, including ``metric``."""

    @abstractmethod
    def ready_labels(self) -> TargetProvider | None:
        """The stored labels in the recipe, checked against the run; None with a live teacher."""

    @abstractmethod
    def label(self, folder: Path) -> TargetProvider:
        """Label all training windows with the teacher and store the labels; shows rate and time left."""

    @abstractmethod
    def seconds_of_labels(self, provider: Any) -> float:
        """Seconds that the teacher took for the stored labels that this run reads."""

    @abstractmethod
    def source_lines(self) -> list[str]:
        """Lines of the plan about the data, what was left out, and the teachers."""

    @abstractmethod
    def describe(self, ids: Tensor, series: Tensor | None) -> str:
        """Names of the series or examples of a batch, for messages."""

    @abstractmethod
    def open(self, name: str, folder: Path) -> Model:
        """Load a finished model of the run."""

    @abstractmethod
    def finish(self, run: Path, models: Mapping[str, Any]) -> None:
        """Evaluate the run's models; write metrics, examples, cards and report; print a summary."""

    @property
    def steps(self) -> int:
        """Optimizer steps of the student's training."""
        return steps_of(self.recipe.training, self.size)

    @property
    def windows_per_step(self) -> int:
        """Windows per optimizer step, over all processes."""
        return self.recipe.training.batch_size * self.recipe.training.accumulate * world_size()

    @property
    def teacher(self) -> Model | None:
        """The first teacher, from which the student's design and initial weights are taken."""
        return next(iter(self.teachers.values()), None)

    @property
    def grouped(self) -> bool:
        """Whether training windows have groups or covariates."""
        return False

    @property
    def learns_from_teacher(self) -> bool:
        """Whether the training uses a teacher or its labels."""
        return self.recipe.training.algorithm == GKD or bool(self.objective().requires)

    def objective(self, alpha: float | None = None) -> Objective:
        """The recipe's objective; for ``alpha=0`` the hard term alone, without further terms."""
        return Objective(objective_config(self.recipe, alpha))

    def sampler(self) -> Sampler[int] | None:
        """The order of the ids; None for the trainer's default."""
        return None

    def fresh(self, quiet: bool = False) -> Model:
        """The student with its initial weights, which the seed determines."""
        set_seed(self.recipe.training.seed)
        student = self.family.build(self.architecture, self.recipe.training.dropout, self.teacher)
        if self.recipe.student.start == "teacher":
            assert self.teacher is not None
            lines = self.family.start_from(student, self.teacher)
            if not quiet:
                say(*lines)
        return student

    def live_teachers(self) -> LiveTeachers | None:
        """The teachers as a target provider; None without teachers."""
        if not self.teachers:
            return None
        return LiveTeachers(self.teachers, [teacher.weight for teacher in self.recipe.teacher])

    def training(
        self,
        name: str,
        data: TrainingData,
        steps: int,
        validation: Callable[[Any], dict[str, float]],
        quiet: bool = False,
    ) -> TrainingRun:
        """The training of a model of the run; without a provider in ``data`` it uses the ground truth alone."""
        has_teacher = data.provider is not None
        gkd = self.recipe.training.algorithm == GKD and has_teacher
        return TrainingRun(
            name=name,
            student=self.fresh(quiet),
            objective=self.objective(None if has_teacher else 0.0),
            data=data,
            validate=validation,
            config=self.recipe.training,
            steps=steps,
            horizon=self.horizon,
            device=self.device,
            describe=self.describe,
            metric=self.metric,
            sampler=self.sampler(),
            teacher=self.teacher if gkd else None,
            grouped=self.grouped,
        )

    @contextmanager
    def teacher_unloaded(self) -> Iterator[None]:
        """A context in which the teacher is not needed because its labels are stored; a task may free its memory."""
        yield


def objective_config(recipe: Recipe, alpha: float | None) -> ObjectiveConfig:
    """A recipe's objective, or the same with another α and no further terms.

    The algorithm ``gkd`` has its own loss; its control uses the default objective on the ground truth.
    """
    config = getattr(recipe, "objective", None)
    if config is None:
        config = LanguageObjective() if recipe.task == "language" else ForecastObjective()
    if alpha is None:
        return config
    options = {key: value for key, value in config.terms.get(config.hard, {}).items() if key != "weight"}
    terms = {config.hard: options} if options else {}
    return config.model_copy(update={"alpha": alpha, "beta": 0.0, "terms": terms})


def steps_of(training: TrainingConfig, windows: int) -> int:
    """Optimizer steps: from ``max_steps`` or ``epochs``; by default one pass over the data, at least 1,000 steps."""
    if training.max_steps is not None:
        return training.max_steps
    one_pass = windows / (training.batch_size * training.accumulate * world_size())
    if training.epochs is not None:
        return max(1, round(one_pass * training.epochs))
    return max(MIN_DEFAULT_STEPS, round(one_pass))


def check_teachers(recipe: Any, objective: Objective) -> None:
    """Raise UserError if the objective, the labels or the start need a teacher that the recipe does not name."""
    labels = getattr(recipe, "labels", None)
    if objective.requires and not recipe.teacher and not labels:
        raise UserError(
            "teacher: the objective needs one (objective.alpha > 0);"
            " give --teacher, or --alpha 0 to train on the ground truth.",
            key="teacher.missing",
        )
    if labels == AUTO_LABELS and len(recipe.teacher) != 1:
        raise UserError(
            f"labels: auto: a store holds the labels of one teacher, {len(recipe.teacher)} given; leave labels out.",
            key="labels.several_teachers",
        )
    if recipe.student.start == "teacher" and not recipe.teacher:
        raise UserError("student.start: teacher: the recipe names no teacher; give --teacher.", key="teacher.missing")


def available_device(device: str | None) -> str:
    """The requested device; default: cuda if available. Raises UserError if the device is not available."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch sees no GPU on this machine; use --device cpu.", key="device.not_available"
        )
    return device or ("cuda" if torch.cuda.is_available() else "cpu")
