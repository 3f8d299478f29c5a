"""The recipes of ``training.algorithm: gkd``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from potstill.recipe.base import invalid
from potstill.recipe.data import SeriesData, TextData
from potstill.recipe.evaluation import ForecastEvaluation, LanguageEvaluation
from potstill.recipe.recipe import Recipe
from potstill.recipe.student import ForecastStudent, LanguageStudent
from potstill.recipe.training import ForecastGkd, LanguageGkd


class GkdRecipe(Recipe):
    """``training.algorithm: gkd``: TRL's GKD trainer, with the student's own answers and its own divergence."""

    @model_validator(mode="after")
    def _check_teacher(self) -> Self:
        if not self.teacher:
            raise invalid(
                "teacher.missing",
                "teacher: training.algorithm: gkd needs one; give --teacher, or write training.algorithm: offline",
            )
        return self


class ForecastGkdRecipe(GkdRecipe):
    """A forecaster distilled by GKD."""

    models = "forecasters"
    task: Literal["forecast"] = "forecast"
    student: ForecastStudent = Field(default_factory=ForecastStudent)
    data: SeriesData = Field(default_factory=SeriesData)
    training: ForecastGkd = Field(default_factory=ForecastGkd)
    evaluation: ForecastEvaluation = Field(default_factory=ForecastEvaluation)

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        if self.data.device is not None:
            raise invalid(
                "data.device_with_gkd",
                "data.device: TRL's trainer loads its data; leave it out, or write another training.algorithm",
            )
        if self.data.label_share < 1:
            raise invalid(
                "data.label_share_with_gkd",
                "data.label_share: gkd compares every window with the teacher; leave it out, or write another"
                " training.algorithm",
            )
        return self


class LanguageGkdRecipe(GkdRecipe):
    """A language model distilled by GKD."""

    models = "language models"
    task: Literal["language"] = "language"
    student: LanguageStudent = Field(default_factory=LanguageStudent)
    data: TextData = Field(default_factory=TextData)
    training: LanguageGkd = Field(default_factory=LanguageGkd)
    evaluation: LanguageEvaluation = Field(default_factory=LanguageEvaluation)
