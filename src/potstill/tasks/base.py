"""The base class of tasks: data, teachers, student, validation, plan and final evaluation of a run, all checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.utils.data import Sampler
from transformers import set_seed

from potstill.console import say
from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Forecaster, Model
from potstill.families.devices import forecasting_device
from potstill.families.load import load_forecaster
from potstill.families.weighting import Weighting
from potstill.objectives.objective import Objective
from potstill.ranks import on_main
from potstill.tasks.settings import AUTO_LABELS, objective_config, steps_of
from potstill.tasks.start import BASES, calibration_batches, check_layers, choose_start, default_rate, start_student
from potstill.teaching.base import TargetProvider, TrainingData
from potstill.teaching.live import LiveTeachers
from potstill.teaching.stores.writing import Distribute
from potstill.training.division import windows_per_step
from potstill.training.freezing import Freeze
from potstill.training.run import TrainingRun

GKD = "gkd"  # training.algorithm of TRL's trainer


class Task(ABC):
    """A checked run: everything except the student's weights.

    Attributes
    ----------
    recipe
        The run's copy of the recipe; the task fills in resolved values.
    device
        Where models compute, such as ``cpu`` or ``cuda:1``.
    teachers
        Frozen models by name; may be empty if labels are stored.
    family
        The student's family.
    metric
        The validation metric that selects the best checkpoint; lower is better.
    unit
        The name of the elements of a batch in messages.
    control_start
        The first weights of a control if the recipe only says ``control: true``.
    calibration_size
        Windows or examples on which a cut is calibrated.
    freeze
        Weights of the student that are not trained at first; None: all are.
    """

    recipe: Any
    device: str
    teachers: Mapping[str, Model]
    family: Family[Any]
    metric: ClassVar[str]
    unit: ClassVar[str]
    control_start: ClassVar[Literal["random", "start"]]
    calibration_size: ClassVar[int] = 256
    freeze: Freeze | None = None
    _first_weights: dict[str, Tensor] | None = None

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
    def label(self, folder: Path, distribute: Distribute | None = None) -> TargetProvider:
        """Label all training windows with the teacher and store the labels; shows rate and time left.

        ``distribute`` labels the shards in other processes, with ``shard_labeller``.
        """

    @abstractmethod
    def shard_labeller(self, folder: Path) -> Callable[[range], None]:
        """A function that labels the windows of one shard of a store that ``label`` began, and writes it."""

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

    def calibrate(self, model: Any, validate: Any, owner: str) -> list[str]:
        """Change a finished model after training, such as its intervals.

        Returns
        -------
        list[str]
            What was changed, one sentence each, in which the model is called ``owner``; empty if nothing was.
        """
        return []

    def stages(self, train: Callable[[Any], None]) -> list[Callable[[Any], None]]:
        """The stages of the run before its controls, with ``train`` for the training of the student."""
        return [train]

    @abstractmethod
    def finish(self, run: Path, models: Mapping[str, Any]) -> None:
        """Evaluate the run's models; write metrics, examples, cards and report; print a summary."""

    @property
    def steps(self) -> int:
        """Optimizer steps of the student's training."""
        return steps_of(self.recipe.training, self.size, self.repeats)

    @property
    def repeats(self) -> bool:
        """Whether the training windows repeat after a pass; False if new ones are generated at every step."""
        return True

    @property
    def windows_per_step(self) -> int:
        """Windows per optimizer step, over all processes."""
        return windows_per_step(self.recipe.training)

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

    @cached_property
    def start(self) -> str:
        """The student's start; resolved in the run's recipe as well, which then starts the same way elsewhere."""
        config = self.recipe.student
        chosen, reason = choose_start(config.start, self.family, self.architecture, self.teacher)
        if reason and self.teacher is not None:
            say(f"The student starts from random weights: {reason}")
        if config.layers is not None and chosen not in BASES:
            raise UserError(
                f"student.layers: a student with start: {chosen} keeps no chosen layers, only one that is cut from its"
                " teacher does; leave it out, or write start: teacher.",
                key="student.layers_without_cut",
            )
        if config.layers is not None and self.teacher is not None:  # before the run has a folder
            check_layers(config.layers, self._random().layers, self.teacher.layers)
        config.start = chosen
        return chosen

    def fresh(self, without_teacher: bool = False) -> Model:
        """The student with its initial weights, which the seed determines, or with random ones."""
        if self.start == "random" or without_teacher:
            return self._random()
        if self._first_weights is None:
            student, lines = self.started(self.start)
            say(*lines)
            self._first_weights = {name: weight.clone() for name, weight in student.module.state_dict().items()}
            return student
        student = self._random()
        student.module.load_state_dict(self._first_weights)
        return student

    def started(self, start: Any) -> tuple[Model, list[str]]:
        """The student with the weights of a start, and lines about what it has of its teacher."""
        student = self._random()
        layers = self.recipe.student.layers
        batches = self.calibration() if start in BASES or student.auxiliary else []
        lines = start_student(start, self.family, self.architecture, student, self.exact_teacher(), batches, layers)
        return student, lines

    def calibration(self) -> list[Any]:
        """Batches of training windows or examples on which a cut from the teacher is calibrated."""
        return calibration_batches(self.dataset(self.steps), self.calibration_size, self.recipe.training.seed)

    def exact_teacher(self) -> Model | None:
        """The first teacher with its weights as they were saved, which a student may start from."""
        return self.teacher

    def _random(self) -> Model:
        set_seed(self.recipe.training.seed)
        return self.family.build(self.architecture, self.recipe.training.dropout, self.teacher)

    def learning_rate(self, random_start: bool = False) -> float:
        """The recipe's learning rate, or the default of the start."""
        share = self.architecture.parameters / self.teacher.parameters if self.teacher is not None else 1.0
        return self.recipe.training.learning_rate or default_rate("random" if random_start else self.start, share)

    @property
    def weighting(self) -> Weighting | None:
        """How the outputs of several teachers are weighted; None for one teacher."""
        return None

    def training_data(self, run: Path, labels: TargetProvider | None) -> TrainingData:
        """The training data with stored labels (labelled now for ``labels: auto``), live teachers, or no teacher."""
        dataset = self.dataset(self.steps)
        if not self.learns_from_teacher:
            return TrainingData(dataset)
        if getattr(self.recipe, "labels", None) == AUTO_LABELS:
            labels = on_main(lambda: self.label(run / "labels"))
        if labels is None:
            return TrainingData(dataset, self.live_teachers())
        return TrainingData(labels.dataset(dataset), labels, self.seconds_of_labels(labels))

    def live_teachers(self) -> LiveTeachers | None:
        """The teachers as a target provider; None without teachers."""
        if not self.teachers:
            return None
        share = getattr(self.recipe.data, "label_share", 1.0)
        return LiveTeachers(self.teachers, self.weighting, share, self.recipe.training.seed)

    def training(
        self,
        name: str,
        data: TrainingData,
        steps: int,
        validation: Callable[[Any], dict[str, float]],
        random_start: bool = False,
    ) -> TrainingRun:
        """The training of a model of the run; without a provider in ``data`` it uses the ground truth alone.

        With ``random_start`` its weights are random and not those of the recipe's start: for a control without a
        teacher, and where only the time of a step matters, because a cut from the teacher takes a while.
        """
        has_teacher = data.provider is not None
        return TrainingRun(
            name=name,
            student=self.fresh(random_start),
            objective=self.objective(None if has_teacher else 0.0),
            data=data,
            validate=validation,
            config=self.recipe.training.model_copy(update={"learning_rate": self.learning_rate(random_start)}),
            steps=steps,
            horizon=self.horizon,
            device=self.device,
            describe=self.describe,
            metric=self.metric,
            sampler=self.sampler(),
            teacher=self.teacher if has_teacher and self.recipe.training.algorithm == GKD else None,
            grouped=self.grouped,
            freeze=None if random_start else self.freeze,
            random_start=random_start or self.start == "random",
        )

    @property
    @abstractmethod
    def data_fingerprint(self) -> str:
        """Hash of the data of all parts."""

    @contextmanager
    def teacher_unloaded(self) -> Iterator[None]:
        """A context in which the teacher is not needed because its labels are stored; a task may free its memory."""
        yield


def forecaster_of(model: str | Path | Model, device: str | None) -> Forecaster:
    """A loaded forecaster as it is (moved to ``device`` if that is given), or the one at a place; see ``load``."""
    if isinstance(model, Forecaster):
        if device is not None:
            model.module.to(forecasting_device(device))
        return model
    if isinstance(model, Model):
        raise UserError(
            f"{model.source.name}: is a language model, not a forecaster; use `potstill generate`.",
            key="model.not_a_forecaster",
        )
    return load_forecaster(model, device=forecasting_device(device))
