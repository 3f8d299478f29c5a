"""The evaluation section: the final evaluation of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from potstill.recipe.base import RecipeNode

MOST_HORIZONS = 100  # to whose errors intervals are fitted
MaxWindows = Annotated[int, Field(ge=1, description="maximum number of windows per data set, or of text examples")]


class EvaluationConfig(RecipeNode):
    """The evaluation section: the final evaluation of a run."""

    split: Literal["validation", "test"] = "test"
    max_windows: MaxWindows = 2000


class ForecastEvaluation(EvaluationConfig):
    """Evaluation of forecasters."""

    stride: int | None = Field(
        default=None,
        ge=1,
        description="default: 5 (not a divisor of common seasons), larger for large data, 1 for few windows",
    )
    baselines: list[str] = Field(default_factory=lambda: ["seasonal_naive", "ridge", "auto_theta"])
    calibrate: int | None = Field(
        default=None,
        ge=0,
        le=MOST_HORIZONS,
        description="horizons before each window, to whose errors the intervals of MODEL+calibrated are fitted; 0: no"
        " such rows; default: one of the student, with training.calibrate_horizons",
    )


class LanguageEvaluation(EvaluationConfig):
    """Evaluation of language models."""

    max_windows: MaxWindows = 500
