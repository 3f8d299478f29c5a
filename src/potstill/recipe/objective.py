"""The objective section: the loss terms and their weights."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from potstill.recipe.base import RecipeNode, invalid

Alpha = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="weight of the soft term, which compares with the teacher; 0: ground truth alone, 1: teacher alone",
    ),
]
Beta = Annotated[
    float, Field(ge=0, le=1, description="weight of the feature terms; the hard term has weight 1 − alpha − beta")
]
Soft = Annotated[str, Field(description="name of the term that compares with the teacher")]
Hard = Annotated[str, Field(description="name of the term that compares with the ground truth")]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ObjectiveConfig(RecipeNode):
    """Total = alpha · soft + beta · features + (1 − alpha − beta) · hard, plus extra terms by name."""

    alpha: Alpha
    beta: Beta = 0.0
    soft: Soft
    hard: Hard
    terms: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="further terms: name → {weight, …options of the term}"
    )
    auxiliary: dict[str, Weight] = Field(
        default_factory=dict, description="weights of the model's auxiliary losses: name → weight; default: 0.01"
    )

    @field_validator("terms")
    @classmethod
    def _check_weights(cls, terms: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, options in terms.items():
            weight = options.get("weight", 0.0)
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < inf:
                raise invalid("objective.bad_weight", f"{name}.weight: expected a number of at least 0, not {weight!r}")
        return terms

    @model_validator(mode="after")
    def _check_sum(self) -> ObjectiveConfig:
        if self.alpha + self.beta > 1:
            raise invalid(
                "objective.weights_above_one",
                f"alpha + beta must not exceed 1: the hard term has the rest (given: {self.alpha:g} + {self.beta:g})",
            )
        return self


class ForecastObjective(ObjectiveConfig):
    """The objective of forecasters."""

    alpha: Alpha = 0.8
    soft: Soft = "quantile_match"
    hard: Hard = "pinball"
    grouped: Literal["all", "truth"] = Field(
        default="all",
        description="terms for windows with groups or covariates: all, or only those on the ground truth",
    )

    @model_validator(mode="after")
    def _check_grouped(self) -> ForecastObjective:
        if self.grouped == "truth" and self.alpha + self.beta >= 1:
            raise invalid(
                "objective.grouped_without_truth",
                "grouped: truth needs a hard term, which has the weight 1 − alpha − beta; lower alpha",
            )
        return self


class LanguageObjective(ObjectiveConfig):
    """The objective of language models."""

    alpha: Alpha = 0.5
    temperature: float = Field(
        default=2.0,
        gt=0,
        allow_inf_nan=False,
        description="divides the logits before divergences compare them; default with labels: 1",
    )
    soft: Soft = "kl"
    hard: Hard = "cross_entropy"
