"""The objective section: the loss terms and their weights."""

from __future__ import annotations

from math import cos, inf, pi
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from potstill.recipe.base import RecipeNode, invalid

Alpha = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="weight of the soft term, which compares with the teacher; 0: ground truth alone, 1: teacher alone;"
        " with alpha_end: at the first step",
    ),
]
Beta = Annotated[
    float, Field(ge=0, le=1, description="weight of the feature terms; the hard term has weight 1 − alpha − beta")
]
Soft = Annotated[str, Field(description="name of the term that compares with the teacher")]
Hard = Annotated[str, Field(description="name of the term that compares with the ground truth")]
#: the soft term in the unit of a hard term
SOFT_OF_HARD = {
    "pinball": "expected_pinball",
    "scaled_pinball": "scaled_expected_pinball",
    "hard_median": "soft_median",
    "distribution_cross_entropy": "distribution_kl",
    "soft_dtw_truth": "soft_dtw",
}
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ObjectiveConfig(RecipeNode):
    """Total = alpha · soft + beta · features + (1 − alpha − beta) · hard, plus extra terms by name."""

    alpha: Alpha
    alpha_end: float | None = Field(
        default=None, ge=0, le=1, description="alpha at the last step; default: alpha stays the same"
    )
    alpha_schedule: Literal["linear", "cosine"] = Field(
        default="linear", description="how alpha reaches alpha_end; cosine: slowly at first and at the end"
    )
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
        for name, alpha in (("alpha", self.alpha), ("alpha_end", self.alpha_end)):
            if alpha is not None and alpha + self.beta > 1:
                raise invalid(
                    "objective.weights_above_one",
                    f"{name} + beta must not exceed 1: the hard term has the rest (given: {alpha:g} + {self.beta:g})",
                )
        return self

    def alpha_at(self, progress: float) -> float:
        """The weight of the soft term after a share of the steps: ``alpha`` at 0, ``alpha_end`` at 1."""
        if self.alpha_end is None:
            return self.alpha
        share = progress if self.alpha_schedule == "linear" else (1 - cos(pi * progress)) / 2
        return (1 - share) * self.alpha + share * self.alpha_end


class HorizonWeights(RecipeNode):
    """Weights of the steps ahead in the terms that are means over steps."""

    kind: Literal["uniform", "linear", "exponential"] = Field(
        default="uniform",
        description="uniform: all steps count equally; linear: from 1 at the first step to 1/H at the last of H;"
        " exponential: exp(−tau · h / (H − 1)) at step h from 0",
    )
    tau: float = Field(
        default=1.0,
        ge=-20,
        le=20,
        description="sharpness of the exponential weights: the first step counts exp(tau) times as much as the last;"
        " negative: the last steps count most",
    )


class ForecastObjective(ObjectiveConfig):
    """The objective of forecasters."""

    alpha: Alpha = 0.8
    soft: Annotated[
        str,
        Field(description="name of the term that compares with the teacher; default: the one in the hard term's unit"),
    ] = "expected_pinball"
    hard: Hard = "pinball"
    grouped: Literal["all", "truth"] = Field(
        default="all",
        description="terms for windows with groups or covariates: all, or only those on the ground truth",
    )

    horizon_weights: HorizonWeights = Field(default_factory=HorizonWeights)
    gate: bool | Annotated[int, Field(ge=1)] = Field(
        default=False,
        description="give the soft weight of a window to the hard term where the teacher, tried on the last steps of"
        " the context, does worse than a seasonal naive forecast; true: as many steps as the horizon; or their number",
    )

    @model_validator(mode="after")
    def _match_units(self) -> ForecastObjective:
        """The default soft term has the unit of the hard term; it is not marked as set."""
        if "soft" not in self.model_fields_set:
            self.soft = SOFT_OF_HARD.get(self.hard, "expected_pinball")
            self.model_fields_set.discard("soft")
        return self

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
        ge=0.001,
        le=1000,
        description="divides the logits before divergences compare them; default with labels: 1",
    )
    soft: Soft = "kl"
    hard: Hard = "cross_entropy"
