"""The recipe of a run, typed and validated, read from and written to YAML; one class per task and algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, field_validator, model_validator

from potstill.recipe.base import RecipeNode, invalid
from potstill.recipe.data import DataConfig, SeriesData, TextData
from potstill.recipe.evaluation import EvaluationConfig, ForecastEvaluation, LanguageEvaluation
from potstill.recipe.kinds import choose, pair
from potstill.recipe.mixture import (
    BranchConfig,
    ExpertConfig,
    JointConfig,
    MixtureData,
    MixtureObjective,
    MixtureTraining,
    RouterConfig,
    parse_experts,
)
from potstill.recipe.notation import is_embedded, is_hub_data, parse_student, parse_teachers
from potstill.recipe.objective import ForecastObjective, LanguageObjective, ObjectiveConfig
from potstill.recipe.reading import absolute_path, absolute_source, put, read_yaml, usage_error
from potstill.recipe.student import ForecastStudent, LanguageStudent, StudentConfig
from potstill.recipe.teacher import TeacherConfig
from potstill.recipe.training import ForecastTraining, LanguageTraining, TrainingConfig
from potstill.recipe.yaml import to_yaml

EXCLUSIVE_KEYS = {"training.max_steps": "training.epochs", "training.epochs": "training.max_steps"}
#: the order of a written recipe; other keys follow
KEY_ORDER = ("task", "teacher", "experts", "student", "data", "labels", "objective", "training", "evaluation")


class Recipe(RecipeNode):
    """The settings of a run. ``Recipe.read(path)`` and ``recipe.write(path)`` are inverse.

    Every recipe is an instance of the subclass for its ``task`` and ``training.algorithm``, however it is created:
    ``Recipe(task="language")`` is a LanguageRecipe.
    """

    models: ClassVar[str]  # the kind of models, for messages

    task: Literal["forecast", "language", "mixture"] = Field(
        default="forecast",
        description="'forecast' for forecasters (default), 'language' for causal language models, 'mixture' for a"
        " router over forecasters (`potstill mix`)",
    )
    teacher: list[TeacherConfig] = Field(
        default_factory=list,
        description="teacher models; 'embedded' is the small Chronos-2 model that comes with Potstill",
    )
    student: StudentConfig = Field(
        default_factory=StudentConfig, description="family and sizes of the student; default family: the teacher's"
    )
    data: DataConfig = Field(default_factory=DataConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    imports: list[str] = Field(default_factory=list, description="Python files that define your own loss terms")
    control: Literal["random", "start", "both"] | bool = Field(
        default=False,
        description="also train a control, the same student without a teacher's outputs, for the same time: from random"
        " weights, from the student's start, or both; true: from random weights (for language models: from the start)",
    )
    control_steps: int | None = Field(
        default=None, ge=1, description="steps of the control; measured after the student's training by default"
    )

    def __new__(cls, *_: Any, **values: Any) -> Self:
        """An empty recipe of the kind that the values select; ``__init__`` of its class then fills it."""
        return super().__new__(choose(cls, values))

    @model_validator(mode="wrap")
    @classmethod
    def _choose_kind(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        kind = choose(cls, value) if isinstance(value, Mapping) else cls
        return handler(value) if kind is cls else kind.model_validate(value)

    @field_validator("teacher", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return parse_teachers(value)

    @field_validator("student", mode="before")
    @classmethod
    def _short_student(cls, value: Any) -> Any:
        return parse_student(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keep_kind(self) -> Self:
        """Mark task and algorithm as set unless they are the defaults, so that a dump yields the same kind again."""
        task, algorithm = pair(Recipe)
        if self.task != task:
            self.model_fields_set.add("task")
        if self.training.algorithm != algorithm:
            self.model_fields_set.add("training")
            self.training.model_fields_set.add("algorithm")
        return self

    @classmethod
    def read(cls, path: str | Path | None, overrides: dict[str, Any] | None = None) -> Self:
        """Read a YAML file (or the defaults) and apply the overrides ``{"dotted.key": value}``.

        Raises
        ------
        UserError
            Naming the file, the key and what was expected.
        """
        return cls.lay_over(read_yaml(Path(path)) if path is not None else {}, overrides or {}, path)

    @classmethod
    def lay_over(cls, tree: dict[str, Any], overrides: dict[str, Any], path: str | Path | None = None) -> Self:
        """Apply dotted overrides to a tree of plain values and validate it; ``path`` names its file in messages.

        An override removes a mutually exclusive key: ``training.epochs`` replaces the file's ``training.max_steps``.
        """
        for key, value in overrides.items():
            other = EXCLUSIVE_KEYS.get(key)
            if other is not None and other not in overrides and value is not None:
                put(tree, other.split("."), None)
            put(tree, key.split("."), value)
        kind = cls
        try:
            kind = choose(cls, tree)
            return kind.model_validate(tree)
        except ValidationError as error:
            raise usage_error(error, Recipe, kind, path) from None

    def absolute(self) -> Self:
        """A copy with absolute local paths, so that it is independent of the working directory.

        Hub ids, URLs, ``embedded`` and ``auto`` are not changed; a teacher's source is a path if such a folder exists.
        """
        recipe = self.model_copy(deep=True)
        changed = {}
        for key in ("paths", "train_only"):  # together: the entries of train_only are among the paths
            if entries := getattr(recipe.data, key, None):
                changed[key] = [
                    path if is_embedded(path) or is_hub_data(path) else absolute_path(path, f"data.{key}")
                    for path in entries
                ]
        recipe.data = recipe.data.model_copy(update=changed)
        if recipe.imports:
            recipe.imports = [absolute_path(path, "imports") for path in recipe.imports]
        if isinstance(recipe, OfflineRecipe) and recipe.labels not in (None, "auto"):
            recipe.labels = absolute_path(recipe.labels, "labels")
        models: list[tuple[Any, str]] = [(teacher, "teacher") for teacher in recipe.teacher]
        if isinstance(recipe, MixtureRecipe):
            models += [(expert, "experts") for expert in recipe.experts]
            models += [(recipe.branch, "branch.source")] if recipe.branch and recipe.branch.source else []
        if (grow := getattr(recipe.student, "grow", None)) is not None:
            models.append((grow, "student.grow.source"))
        for model, key in models:
            model.source = absolute_source(model.source, key)
        return recipe

    def write(self, path: str | Path) -> None:
        """Write the resolved recipe as YAML; reading it back gives an equal recipe."""
        Path(path).write_text(self.to_yaml(), encoding="utf-8")

    def to_yaml(self) -> str:
        """The recipe as YAML text."""
        tree = self.model_dump(mode="json")
        tree = {key: tree.pop(key) for key in KEY_ORDER if key in tree} | tree
        return to_yaml(tree)


class OfflineRecipe(Recipe):
    """``training.algorithm: offline``: an objective is minimised on the data, with a live teacher or its labels."""

    objective: ObjectiveConfig
    labels: str | None = Field(
        default=None,
        description="a label store (stored teacher outputs) written by `potstill label`; 'auto': label the windows once"
        " into RUN/labels; default: for forecasters auto if each of at most 100,000 windows is used twice or more, else"
        " run the teacher during the training",
    )


class ForecastRecipe(OfflineRecipe):
    """A forecaster distilled with an objective."""

    models = "forecasters"
    task: Literal["forecast"] = "forecast"
    student: ForecastStudent = Field(default_factory=ForecastStudent)
    data: SeriesData = Field(default_factory=SeriesData)
    objective: ForecastObjective = Field(default_factory=ForecastObjective)
    training: ForecastTraining = Field(default_factory=ForecastTraining)
    evaluation: ForecastEvaluation = Field(default_factory=ForecastEvaluation)
    ensemble: Literal["fixed", "validation", "recent"] = Field(
        default="fixed",
        description="weights of several teachers: fixed (each teacher's `weight`), validation (by data set, those with"
        " the lowest loss on validation windows), recent (by window, from how well each would have forecast its last"
        " steps)",
    )

    @model_validator(mode="after")
    def _check_ensemble(self) -> Self:
        if self.ensemble != "fixed" and len(self.teacher) < 2:
            raise invalid(
                "ensemble.one_teacher",
                f"ensemble: {self.ensemble} weights several teachers, and {len(self.teacher)} given",
            )
        if self.ensemble != "fixed" and any(teacher.weight != 1 for teacher in self.teacher):
            raise invalid(
                "ensemble.weights_given",
                f"ensemble: {self.ensemble} finds the weights of the teachers; leave teacher.weight out, or write"
                " ensemble: fixed",
            )
        return self

    @model_validator(mode="after")
    def _check_rollout(self) -> Self:
        if self.training.rollout.share > 0 and self.labels:
            raise invalid(
                "training.rollout_without_teacher",
                "training.rollout: only a live teacher can forecast from where the student's own forecast ends; leave"
                " out labels or training.rollout",
            )
        if self.training.rollout.share > 0 and self.objective.gate:
            raise invalid(
                "objective.gate_with_rollout",
                "objective.gate: tries the teacher on the observed end of the context, which training.rollout replaces"
                " by the student's own forecast; leave out one of them",
            )
        return self

    @model_validator(mode="after")
    def _check_device(self) -> Self:
        if self.data.device is not None and self.labels:
            raise invalid(
                "data.device_with_labels",
                "data.device: windows made on the device cannot be labelled in advance; leave out it or labels",
            )
        return self


class MixtureRecipe(Recipe):
    """A router over finished forecasters, trained on their stored forecasts."""

    models = "mixtures"
    task: Literal["mixture"] = "mixture"
    experts: list[ExpertConfig] = Field(
        default_factory=list, description="forecasters, as [NAME=]FOLDER_OR_ID; each is kept as it is"
    )
    most_experts: int = Field(
        default=5,
        ge=1,
        description="of more experts, those are left out one by one without which the mixture's loss on the validation"
        " part is lowest",
    )
    branch: BranchConfig | None = Field(
        default=None, description="train further experts: copies of a finished student, one per group of series"
    )
    kept: list[str] | None = Field(
        default=None, description="names of the experts that are kept; chosen by the run where there are too many"
    )
    router: RouterConfig = Field(default_factory=RouterConfig)
    joint: JointConfig | None = Field(
        default=None, description="train router and experts together afterwards; default: the experts stay as they are"
    )
    student: ForecastStudent = Field(default_factory=ForecastStudent)
    data: MixtureData = Field(default_factory=MixtureData)
    objective: MixtureObjective = Field(default_factory=MixtureObjective)
    training: MixtureTraining = Field(default_factory=MixtureTraining)
    evaluation: ForecastEvaluation = Field(default_factory=ForecastEvaluation)

    @field_validator("experts", mode="before")
    @classmethod
    def _short_experts(cls, value: Any) -> Any:
        return parse_experts(value)

    @model_validator(mode="after")
    def _check_sections(self) -> MixtureRecipe:
        if self.control:
            raise invalid(
                "mixture.control", "control: a mixture has none; it is compared with its experts and their mean"
            )
        if self.student != ForecastStudent():
            raise invalid("mixture.student", "student: a mixture has none; its sections are experts and router")
        return self


class LanguageRecipe(OfflineRecipe):
    """A language model distilled with an objective."""

    models = "language models"
    task: Literal["language"] = "language"
    student: LanguageStudent = Field(default_factory=LanguageStudent)
    data: TextData = Field(default_factory=TextData)
    objective: LanguageObjective = Field(default_factory=LanguageObjective)
    training: LanguageTraining = Field(default_factory=LanguageTraining)
    evaluation: LanguageEvaluation = Field(default_factory=LanguageEvaluation)

    @model_validator(mode="after")
    def _cool_stored_logits(self) -> Self:
        """With labels the default temperature is 1: the largest logits then hold most probability, at 2 only 40 %.

        The temperature is not marked as set.
        """
        if self.labels and "temperature" not in self.objective.model_fields_set:
            self.objective.temperature = 1.0
            self.objective.model_fields_set.discard("temperature")
        return self
